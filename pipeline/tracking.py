"""MLflow, as a projection of what DVC's outputs say: it can be deleted and rebuilt at any time.

One experiment, one run for each (scenario, arm, seed) and settings, found again by a tag. The only
module that imports mlflow; it is imported late, for it takes seconds. Nothing here decides
anything: no stage's outputs depend on this module, so dvc.yaml does not list it.
"""

from __future__ import annotations

import getpass
import hashlib
import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline import runs
from pipeline.config import Config
from pipeline.paths import curves_file, explanations_file, prepared_dir, step_dir

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

EXPERIMENT = "lookaway"
DEFAULT_URI = "sqlite:///mlflow.db"
KEY, HISTORY, MODEL, PICTURES = (f"lookaway.{name}" for name in ("key", "history", "model", "pictures"))


def create_database() -> None:
    """Create the database and the experiment, if they are not there yet."""
    _experiment(_client())


def publish(config: Config, scenario: str, arm: str, through: str | None = None) -> None:
    """Bring one arm's run up to date with the files on disk; ``through`` is the last finished round.

    Called by stages whose own work is done and kept: trouble with MLflow is said, and costs nothing,
    since `compare` publishes everything again.
    """
    try:
        client = _client()
        folder = step_dir(scenario, through) if through else runs.final_dir(config, scenario, arm)
        run_id = _run_id(client, config, scenario, arm, runs.history(folder))
        if arm == "hitl":
            done = [entry.n for entry in config.hitl.rounds if through is None or entry.n <= through]
            _log_query_pictures(client, run_id, scenario, done)
    except Exception as error:  # MLflow, its database and its server each have exceptions of their own
        print(f"warning: not published to MLflow ({error}); `compare` will try again", file=sys.stderr)


def publish_all(config: Config, note: str) -> None:
    """Bring every run up to date, with summaries, pictures and final models, and set the page's note.

    Raises whatever MLflow raises: this is the stage that has to show the comparison.
    """
    client = _client()
    for scenario in config.scenarios:
        for arm in runs.arms(config, scenario):
            history = runs.history(runs.final_dir(config, scenario, arm))
            run_id = _run_id(client, config, scenario, arm, history)
            if arm == "hitl":
                _log_query_pictures(client, run_id, scenario, [entry.n for entry in config.hitl.rounds])
            _log_evaluation(client, run_id, scenario, runs.summary(history, arm))
            _log_model(client, run_id, config, scenario, arm)
            client.set_terminated(run_id)
    client.set_experiment_tag(_experiment(client), "mlflow.note.content", note)


def _client() -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_TRACKING_URI", DEFAULT_URI)
    import mlflow

    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    return mlflow.MlflowClient()


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id if found else client.create_experiment(EXPERIMENT))


def _run_id(client: MlflowClient, config: Config, scenario: str, arm: str, history: pd.DataFrame) -> str:
    """The arm's run with exactly this history: appended to what is there, or, if that differs, anew."""
    params = _params(config, scenario, arm)
    key = _digest(json.dumps([scenario, arm, params], sort_keys=True))
    experiment = _experiment(client)
    found = client.search_runs([experiment], f"tags.`{KEY}` = '{key}'")
    run = found[0] if found else None
    rows = [_digest(row.to_json()) for _, row in history.iterrows()]
    logged: list[str] = json.loads(run.data.tags.get(HISTORY, "[]")) if run else []
    if run and logged != rows[: len(logged)]:
        client.delete_run(run.info.run_id)
        run, logged = None, []
    run = run or _new_run(client, experiment, config, scenario, arm, key, params)
    _log_epochs(client, run, history.iloc[len(logged) :])
    client.set_tag(run.info.run_id, HISTORY, json.dumps(rows))
    return str(run.info.run_id)


def _new_run(
    client: MlflowClient,
    experiment: str,
    config: Config,
    scenario: str,
    arm: str,
    key: str,
    params: dict[str, Any],
) -> Run:
    from mlflow.entities import Param

    data = json.loads((prepared_dir(config.scenario(scenario).dataset) / "manifest.json").read_text())
    tags = {
        KEY: key,
        "scenario": scenario,
        "arm": arm,
        "data.sha256": data["sha256"]["images.npy"],
        "mlflow.source.git.commit": _git_commit(),
        "mlflow.source.name": "dvc repro",
        "mlflow.source.type": "PROJECT",
        "mlflow.user": getpass.getuser(),
    }
    run = client.create_run(experiment, run_name=f"{arm}, {scenario}, seed {config.seed}", tags=tags)
    client.log_batch(run.info.run_id, params=[Param(name, str(value)) for name, value in params.items()])
    return run


def _log_epochs(client: MlflowClient, run: Run, rows: pd.DataFrame) -> None:
    from mlflow.entities import Metric

    metrics = []
    for row in rows.to_dict("records"):
        # No clock: the same (key, value, step, timestamp) again is the same point to MLflow.
        at = run.info.start_time + 1000 * row["epoch"]
        metrics += [
            Metric(str(name), float(value), at, row["epoch"])
            for name, value in row.items()
            if name not in ("step", "epoch")
        ]
    for start in range(0, len(metrics), 1000):  # MLflow's limit for one request
        client.log_batch(run.info.run_id, metrics=metrics[start : start + 1000])


def _log_query_pictures(client: MlflowClient, run_id: str, scenario: str, rounds: list[str]) -> None:
    """Each round's queries, proposals and marks as one picture, the round as its step."""
    from PIL import Image

    from labelstudio.records import Manifest
    from pipeline import masks, pictures

    logged: dict[str, str] = json.loads(client.get_run(run_id).data.tags.get(PICTURES, "{}"))
    for n in rounds:
        folder = step_dir(scenario, n)
        content = _digest((folder / "queries.json").read_text() + (folder / "answers.json").read_text())
        if logged.get(n) != content:
            entries = masks.read(folder / "masks.npz")
            figure = pictures.queries(Manifest.read(folder / "queries.json"), folder, entries)
            picture = Image.open(io.BytesIO(pictures.as_png(figure)))
            client.log_image(run_id, picture, key="queries", step=int(n), synchronous=True)  # with a step slider
            client.log_image(run_id, picture, artifact_file=f"queries/round-{n}.png")  # in full size
            logged[n] = content
    client.set_tag(run_id, PICTURES, json.dumps(logged))


def _log_evaluation(client: MlflowClient, run_id: str, scenario: str, summary: dict[str, float]) -> None:
    """Summaries under names of their own: MLflow's tables show a metric's last value only."""
    from mlflow.entities import Metric

    start = client.get_run(run_id).info.start_time
    metrics = [Metric(f"final/{name}", value, start, 0) for name, value in summary.items()]
    client.log_batch(run_id, metrics=metrics)
    for path in (curves_file(scenario), explanations_file(scenario)):
        client.log_artifact(run_id, str(path), path.parent.name)


def _log_model(client: MlflowClient, run_id: str, config: Config, scenario: str, arm: str) -> None:
    """The final network: uint8 RGB pictures (B, S, S, 3) in, class probabilities (B, C) out."""
    import mlflow
    import torch
    from mlflow.models import infer_signature

    from pipeline import training
    from pipeline.datasets import prepared
    from pipeline.model import Deployed

    path = runs.final_dir(config, scenario, arm) / "state.pt"
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    if client.get_run(run_id).data.tags.get(MODEL) == content:
        return
    state = training.restore(path, config.scenario(scenario).train)
    data = prepared.read(prepared_dir(config.scenario(scenario).dataset))
    example = np.array(data.images[:2])  # two: the exported graph takes any batch but one of a size it saw as 1
    network = Deployed(state.accelerator.unwrap_model(state.model)).cpu().eval()
    with torch.inference_mode():
        probabilities = network(torch.from_numpy(example)).numpy()
    with mlflow.start_run(run_id=run_id):
        mlflow.pytorch.log_model(
            network,
            name=f"{arm}-{scenario}",
            signature=infer_signature(example, probabilities),
            input_example=example,
            serialization_format="pt2",  # a graph and weights: loading it runs no code of anybody's
            pip_requirements=["torch", "numpy"],
            metadata={"classes": data.classes},
        )
    client.set_tag(run_id, MODEL, content)


def _params(config: Config, scenario: str, arm: str) -> dict[str, Any]:
    """What tells one run from another, flat: everything that can change an arm's result."""
    settings = config.scenario(scenario).model_dump()
    data = config.datasets[settings["dataset"]].model_dump(exclude={"root"})  # where it lies changes nothing
    kept = {"scenario": scenario, "arm": arm, "seed": config.seed, **settings, "data": data}
    if arm in ("baseline", "automated"):
        del kept["penalty"], kept["query"]
    if arm != "baseline":
        kept["rounds"] = " ".join(f"{r.queries}q{r.epochs}e" for r in config.hitl.rounds)
    if arm not in ("baseline", "automated"):
        kept["annotate"] = config.annotate.model_dump()
        kept["consensus"] = config.consensus.model_dump()
    return dict(_flat(kept))


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in tree.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return pairs


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _git_commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not in Git"
