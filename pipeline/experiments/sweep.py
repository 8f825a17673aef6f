"""`lookaway sweep`: the paper's future work, one setting at a time, on DVC's queue.

The settings are the number, the size and the shape of the proposals, the number of rounds, the epochs between rounds,
and lambda. Each value is a DVC experiment (`dvc exp run --queue`): `dvc exp show` lists it, and `dvc exp apply`
restores its files. Several experiments run at a time, with one Label Studio. Finished experiments have their results
in experiments/sweep.json and do not run again.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from labelstudio.server import local
from pipeline.config import Config, fingerprint, load
from pipeline.errors import ConfigError, PipelineError
from pipeline.evaluation.figures import save
from pipeline.evaluation.statistics import mean_over_seeds, paired_difference, show
from pipeline.experiments import experiment, tables
from pipeline.experiments.cells import Result
from pipeline.experiments.metrics import HARM
from pipeline.report.table import Table, markdown
from pipeline.tracking import publishing

RESULTS = Path("experiments/sweep.json")
PICTURE = Path("docs/images/sweeps.png")
QUERIES, EPOCHS = 100, 10  # of all rounds together, for every value
MINUTES = 4  # duration of one experiment
POLL_S = 30  # a query of DVC's queue takes two seconds of a core that runs experiments
Known = dict[str, dict[str, Result]]  # experiment → arm → metric → value


def rounds(epochs: list[int]) -> str:
    """Return the value of `hitl.rounds` for rounds with these epochs, in the syntax of DVC's `--set-param`."""
    entries = experiment.rounds(QUERIES, epochs)["hitl.rounds"]
    texts = [",".join(f"{key}:{_quoted(value)}" for key, value in entry.items()) for entry in entries]
    return "[" + ",".join(f"{{{text}}}" for text in texts) + "]"


def _quoted(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


def _spaced(count: int, apart: int) -> dict[str, str]:
    """Return the settings of ``count`` rounds with ``apart`` epochs each; the last one trains the remaining epochs."""
    epochs = [apart] * (count - 1)
    return {"hitl.rounds": rounds([*epochs, EPOCHS - sum(epochs)]), "hitl.last": f"'{count - 1:02d}'"}


ALL = {"hitl.placebos": "[]"}  # in every experiment: no result of a placebo is used
# Setting → value → changes of params.yaml; no change marks the value in params.yaml. The names of the results in
# experiments/sweep.json are made of these words.
SWEEPS: dict[str, dict[str, dict[str, Any]]] = {
    "squares shown": {"5": {"query.proposals": 5}, "10": {}, "20": {"query.proposals": 20}},
    "their side, pixels": {"4": {"query.cell": 4}, "8": {}, "16": {"query.cell": 16}},
    "their shape": {"grid": {}, "blobs": {"query.regions": "blobs"}, "superpixels": {"query.regions": "superpixels"}},
    "rounds": {"1": _spaced(1, 1), "2": _spaced(2, 1), "4": {}, "8": _spaced(8, 1)},
    "epochs between rounds": {"1": {}, "2": _spaced(4, 2), "3": _spaced(4, 3)},
    "lambda": {"1e-4": {"penalty.weight": 1e-4}, "1e-3": {}, "1e-2": {"penalty.weight": 1e-2}},
}


def main(*, seeds: int, jobs: int | None) -> None:
    """Queue the experiments without a result, run them, and write the table and the picture.

    Args:
        seeds: The number of seeds of each value.
        jobs: The number of experiments that run at a time; None means one per core.

    Raises:
        ConfigError: params.yaml has no simulated expert.
        PipelineError: An experiment failed.
    """
    jobs = jobs or os.cpu_count() or 1
    config = load()
    if config.annotate.expert != "simulated":
        raise ConfigError(
            "the sweep needs simulated experts, but params.yaml has `annotate.expert: human`. "
            "Fix: set `annotate.expert: simulated` in params.yaml"
        )
    # Seeds alternate: if two experiments run the same stage at the same moment, DVC fails one of them.
    wanted = {
        _name(sweep, value, seed): settings | ALL | {"seed": seed}
        for sweep, values in SWEEPS.items()
        for value, settings in values.items()
        for seed in range(seeds)
    }
    digests = {name: _digest(config, settings) for name, settings in wanted.items()}
    head = _git("rev-parse", "HEAD").strip()  # a user may commit while experiments run
    keep(digests, head)
    todo = {name: settings for name, settings in wanted.items() if name not in found(digests)}
    hours = MINUTES * len(todo) / jobs / 60
    print(f"{len(todo)} of {len(wanted)} experiments to run, about {hours:.1f} hours", flush=True)
    if todo:
        _run(config, todo, jobs=jobs, keep_finished=lambda: keep(digests, head))
    known = found(digests)
    if missing := [name for name in wanted if name not in known]:
        raise PipelineError(
            f"{len(missing)} of {len(wanted)} experiments failed, the first of them {missing[0]}. "
            f"Fix: remove the cause that `dvc queue logs {missing[0]}` shows, and run `lookaway sweep` again"
        )
    save(picture(seeds, known), PICTURE)
    tables.put("sweep", table(config.hitl.scenarios[0], seeds, known))


def found(digests: dict[str, str]) -> Known:
    """Return the results that were made with the present settings."""
    kept = _kept()
    return {name: kept[name]["arms"] for name in digests if name in kept and kept[name]["settings"] == digests[name]}


def keep(digests: dict[str, str], head: str) -> None:
    """Copy the results of DVC's experiments on a commit to experiments/sweep.json; DVC's results stay in this clone."""
    refs = _git("for-each-ref", "--format=%(refname)", f"refs/exps/{head[:2]}/{head[2:]}").split()
    kept = _kept()
    for ref in refs:
        if (name := ref.rpartition("/")[2]) in digests:
            (arms,) = json.loads(_git("show", f"{ref}:report/metrics.json")).values()
            kept[name] = {"settings": digests[name], "arms": {arm: _of_interest(arms[arm]) for arm in arms}}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(dict(sorted(kept.items())), indent=0) + "\n", encoding="utf-8")


def _kept() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return kept


def _of_interest(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(numbers[name], 5) for name in ("test_accuracy", "test-shifted_accuracy")}


def _digest(config: Config, settings: dict[str, Any]) -> str:
    """Return a digest of every setting that an experiment's result depends on."""
    (scenario,) = config.hitl.scenarios
    parts = [config.scenario(scenario), config.annotate, config.consensus, config.hitl]
    return fingerprint(*parts, settings)


def changes(scenario: str, settings: dict[str, Any]) -> list[str]:
    """Return the settings as arguments of DVC's `--set-param`; a setting without its section is the scenario's."""
    outside = ("hitl.", "seed")
    prefix = f"scenarios.{scenario}."
    return [f"{'' if path.startswith(outside) else prefix}{path}={value}" for path, value in settings.items()]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def _run(config: Config, todo: dict[str, dict[str, Any]], *, jobs: int, keep_finished: Callable[[], None]) -> None:
    """Queue experiments and wait for them, with the Label Studio and the MLflow of this folder.

    Args:
        config: All settings.
        todo: Name → settings of each experiment.
        jobs: The number of experiments that run at a time.
        keep_finished: Stores the results of finished experiments.
    """
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').absolute()}")
    os.environ["MLFLOW_EXPERIMENT_NAME"] = "lookaway-sweep"  # apart from the demo: each experiment logs its comparison
    os.environ["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) // jobs, 1))
    publishing.create_database()
    (scenario,) = config.hitl.scenarios
    started_here = local.status() is None
    try:
        url, api_key, expert_keys = local.connect(len(config.annotate.crowd))
        os.environ |= {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": api_key}
        os.environ |= {"LABEL_STUDIO_EXPERT_API_KEY": expert_keys} if expert_keys else {}
        for name, settings in todo.items():
            options = [part for change in changes(scenario, settings) for part in ("--set-param", change)]
            subprocess.run(["dvc", "exp", "run", "--quiet", "--queue", "--name", name, *options], check=True)
        _wait(todo, jobs, keep_finished)
    finally:
        if started_here:
            local.stop()


def _wait(todo: dict[str, dict[str, Any]], jobs: int, keep_finished: Callable[[], None]) -> None:
    """Start DVC's workers and wait until no experiment is queued or running; print and store the progress."""
    left = len(todo) + 1
    while True:
        shown = subprocess.run(["dvc", "queue", "status"], capture_output=True, text=True, check=True).stdout
        states = [row.split()[-1] for row in shown.splitlines() if _named(row, todo)]
        queued, running = states.count("Queued"), states.count("Running")
        if queued and running < jobs:  # at first, and again later: on a busy machine, DVC's workers give up
            subprocess.run(["dvc", "queue", "start", "--jobs", str(jobs)], check=True)
        busy = queued + running
        if busy < left:
            keep_finished()
            print(f"{len(todo) - busy} of {len(todo)} experiments have run", flush=True)
            left = busy
        if not busy:
            return
        time.sleep(POLL_S)


def _named(row: str, todo: dict[str, dict[str, Any]]) -> bool:
    return any(word in todo for word in row.split())


def _name(sweep: str, value: str, seed: int) -> str:
    """Return DVC's name of an experiment; the value in params.yaml is one experiment for all settings."""
    settings = SWEEPS[sweep][value]
    label = f"{sweep.replace(', ', ' ').replace(' ', '-')}-{value.replace('.', '_')}" if settings else "as-it-is"
    return f"sweep-{label}-seed{seed}"


def _harm_undone(sweep: str, value: str, *, seeds: int, known: Known) -> NDArray[np.float64]:
    """Return the harm that `hitl` undoes with one value of a setting.

    Args:
        sweep: The setting.
        value: The value.
        seeds: The number of seeds.
        known: The results.

    Returns:
        A share for each seed, (seeds,).
    """
    results = [known[_name(sweep, value, seed)] for seed in range(seeds)]
    return np.array([HARM.of(result["hitl"], result["automated"]) for result in results])


def table(scenario: str, seeds: int, known: Known) -> str:
    """Return the table: for each value, the harm undone, and its difference from the value in params.yaml by seed."""
    rows = []
    for sweep, values in SWEEPS.items():
        undone = {value: _harm_undone(sweep, value, seeds=seeds, known=known) for value in values}
        (usual,) = (value for value, settings in values.items() if not settings)
        for value, found in undone.items():
            label = f"{value} (as it is)" if value == usual else value
            minus = "" if value == usual else tables.difference(paired_difference(found, undone[usual]), HARM)
            rows.append([sweep, label, show(mean_over_seeds(found), scale=HARM.scale, digits=HARM.digits), minus])
    note = (
        f"`lookaway sweep --seeds {seeds}`. Harm undone: how much of the accuracy that `automated` loses between test "
        "and test-shifted `hitl` keeps. *As it is*: the value in `params.yaml`."
    )
    return markdown(
        Table(f"One setting at a time, {scenario}", ["Setting", "Value", HARM.title, "Minus *as it is*"], rows, note)
    )


def picture(seeds: int, known: Known) -> Figure:
    """Return the picture: a panel for each setting, each seed as a dot, the mean as a line."""
    figure = Figure(figsize=(9.6, 5.2))
    axes = figure.subplots(2, 3, sharey=True)
    for axis, (sweep, values) in zip(axes.flat, SWEEPS.items(), strict=True):
        undone = np.array([_harm_undone(sweep, value, seeds=seeds, known=known) for value in values])
        axis.plot(list(values), 100 * undone.mean(axis=1), color="#1f4e79", lw=1.4)
        for seed in range(seeds):
            axis.plot(list(values), 100 * undone[:, seed], "o", color="#1f4e79", alpha=0.35, ms=4)
        axis.set_title(sweep, fontsize=9)
        axis.tick_params(labelsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("harm undone, %", fontsize=8)
    figure.tight_layout()
    return figure
