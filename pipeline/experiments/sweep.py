"""``python -m pipeline.experiments.sweep``: the paper's future work, one setting at a time, on DVC's queue.

How many squares are shown, how large, of what shape, in how many rounds, how far apart, and lambda. Each value
is a DVC experiment of its own (`dvc exp run --queue`), which `dvc exp show` lists and `dvc exp apply` brings back;
several run at a time, against one Label Studio. What has run is in experiments/sweep.json, and is not run again.
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
from pipeline.commands import params_file
from pipeline.config import Config, fingerprint, load
from pipeline.errors import ConfigError
from pipeline.evaluation.figures import save
from pipeline.evaluation.statistics import mean_over_seeds, paired_difference, show
from pipeline.experiments import catalogue, tables
from pipeline.experiments.catalogue import HARM
from pipeline.experiments.cells import Result
from pipeline.report.tables import Table, markdown
from pipeline.tracking import publishing

RESULTS = Path("experiments/sweep.json")
PICTURE = Path("docs/images/sweeps.png")
QUERIES, EPOCHS = 100, 10  # in all, whatever the rounds
POLL_S = 30  # asking DVC takes two seconds of a core that experiments could have


def rounds(epochs: list[int]) -> str:
    """As a value of `hitl.rounds` that DVC's --set-param understands."""
    entries = catalogue.rounds(QUERIES, epochs)["hitl.rounds"]
    return (
        "[" + ",".join("{" + ",".join(f"{k}:{_quoted(v)}" for k, v in entry.items()) + "}" for entry in entries) + "]"
    )


def _quoted(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


def _spaced(count: int, apart: int) -> dict[str, str]:
    epochs = [apart] * (count - 1)
    return {"hitl.rounds": rounds([*epochs, EPOCHS - sum(epochs)]), "hitl.last": f"'{count - 1:02d}'"}


ALL = {"hitl.placebos": "[]"}  # of every experiment: nobody looks at placebos here
SWEEPS: dict[str, dict[str, dict[str, Any]]] = {  # what is varied → its values → settings; {} is what params.yaml has
    "squares shown": {"5": {"query.proposals": 5}, "10": {}, "20": {"query.proposals": 20}},
    "their side, pixels": {"4": {"query.cell": 4}, "8": {}, "16": {"query.cell": 16}},
    "their shape": {"grid": {}, "blobs": {"query.regions": "blobs"}, "superpixels": {"query.regions": "superpixels"}},
    "rounds": {"1": _spaced(1, 1), "2": _spaced(2, 1), "4": {}, "8": _spaced(8, 1)},
    "epochs between rounds": {"1": {}, "2": _spaced(4, 2), "3": _spaced(4, 3)},
    "lambda": {"1e-4": {"penalty.weight": 1e-4}, "1e-3": {}, "1e-2": {"penalty.weight": 1e-2}},
}


def main(*, seeds: int, jobs: int | None) -> None:
    """Queue the experiments that have no result yet, run them, and write the table and the picture.

    Args:
        seeds: How many seeds of each value.
        jobs: How many experiments to run at a time; None stands for one per core.
    """
    jobs = jobs or os.cpu_count() or 1
    params_file.restore_committed()
    config = load()
    if config.annotate.expert != "simulated":
        raise ConfigError("sweeps ask a simulated expert; set `annotate.expert: simulated` in params.yaml")
    wanted = {  # seeds in turn: where two experiments run the same stage at the same moment, DVC fails one of them
        _name(sweep, value, seed): settings | ALL | {"seed": seed}
        for sweep, values in SWEEPS.items()
        for value, settings in values.items()
        for seed in range(seeds)
    }
    digests = {name: _digest(config, settings) for name, settings in wanted.items()}
    head = _git("rev-parse", "HEAD").strip()  # somebody may commit while experiments run
    keep(digests, head)
    todo = {name: settings for name, settings in wanted.items() if name not in found(digests)}
    print(f"{len(todo)} of {len(wanted)} experiments to run, about {4 * len(todo) / jobs / 60:.1f} hours", flush=True)
    if todo:
        _run(config, todo, jobs, lambda: keep(digests, head))
    known = found(digests)
    if missing := [name for name in wanted if name not in known]:
        raise ConfigError(f"{len(missing)} experiments failed; `dvc queue logs {missing[0]}` says why of the first")
    save(picture(seeds, known), PICTURE)
    tables.put("sweep", table(config.hitl.scenarios[0], seeds, known))


def found(digests: dict[str, str]) -> dict[str, dict[str, Result]]:
    """Of each experiment that has run with the settings that it has now: arm → metric → value."""
    kept = _kept()
    return {name: kept[name]["arms"] for name in digests if name in kept and kept[name]["settings"] == digests[name]}


def keep(digests: dict[str, str], head: str) -> None:
    """Take over what DVC has run on that commit, which only this clone knows."""
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
    """A name for all that an experiment follows from."""
    (scenario,) = config.hitl.scenarios
    parts = [config.scenario(scenario), config.annotate, config.consensus, config.hitl]
    return fingerprint(*parts, settings)


def changes(scenario: str, settings: dict[str, Any]) -> list[str]:
    """Settings as DVC's --set-param takes them; most of them are the scenario's."""
    ours = ("hitl.", "seed")
    return [f"{'' if path.startswith(ours) else f'scenarios.{scenario}.'}{path}={v}" for path, v in settings.items()]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def _run(config: Config, todo: dict[str, dict[str, Any]], jobs: int, keep_finished: Callable[[], None]) -> None:
    """Queue these experiments and wait for them, with the Label Studio and the MLflow of this folder."""
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{Path('mlflow.db').absolute()}")
    os.environ["MLFLOW_EXPERIMENT_NAME"] = "lookaway-sweep"  # a page of its own: each experiment ends in a comparison
    os.environ["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) // jobs, 1))
    publishing.create_database()
    (scenario,) = config.hitl.scenarios
    ours = local.status() is None
    try:
        url, api_key, expert_keys = local.connect(len(config.annotate.crowd))
        os.environ |= {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": api_key}
        os.environ |= {"LABEL_STUDIO_EXPERT_API_KEY": expert_keys} if expert_keys else {}
        for name, settings in todo.items():
            options = [part for change in changes(scenario, settings) for part in ("--set-param", change)]
            subprocess.run(["dvc", "exp", "run", "--quiet", "--queue", "--name", name, *options], check=True)
        _wait(todo, jobs, keep_finished)
    finally:
        if ours:
            local.stop()


def _wait(todo: dict[str, dict[str, Any]], jobs: int, keep_finished: Callable[[], None]) -> None:
    """Until none of these is queued or running, so many at a time; keeps what has run, and says how many have."""
    left = len(todo) + 1
    while True:
        shown = subprocess.run(["dvc", "queue", "status"], capture_output=True, text=True, check=True).stdout
        states = [row.split()[-1] for row in shown.splitlines() if _named(row, todo)]
        queued, running = states.count("Queued"), states.count("Running")
        if queued and running < jobs:  # at first; and later, since a worker that a busy machine starves gives up
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
    """What DVC calls the experiment; the value that params.yaml has is one experiment for all sweeps."""
    settings = SWEEPS[sweep][value]
    label = f"{sweep.replace(', ', ' ').replace(' ', '-')}-{value.replace('.', '_')}" if settings else "as-it-is"
    return f"sweep-{label}-seed{seed}"


def _closed(metrics: dict[str, Result]) -> float:
    """Of what `automated` loses where the shortcut misleads, the share that `hitl` does not lose."""
    return HARM.of(metrics["hitl"], metrics["automated"])


def _readings(sweep: str, value: str, seeds: int, known: dict[str, Any]) -> NDArray[np.float64]:
    return np.array([_closed(known[_name(sweep, value, seed)]) for seed in range(seeds)])


def table(scenario: str, seeds: int, known: dict[str, Any]) -> str:
    """A row a value: the harm undone, and its difference from that of what params.yaml has, paired by seed."""
    rows = []
    for sweep, values in SWEEPS.items():
        (usual,) = (value for value, settings in values.items() if not settings)
        as_it_is = _readings(sweep, usual, seeds, known)
        for value, settings in values.items():
            closed = _readings(sweep, value, seeds, known)
            against = tables.difference(paired_difference(closed, as_it_is), HARM) if settings else ""
            label = value if settings else f"{value} (as it is)"
            rows.append([sweep, label, show(mean_over_seeds(closed), scale=HARM.scale, digits=HARM.digits), against])
    note = (
        f"`lookaway sweep --seeds {seeds}`. Harm undone: how much of the accuracy that `automated` loses between test "
        "and test-shifted `hitl` keeps. *As it is*: the value in `params.yaml`."
    )
    return markdown(
        Table(f"One setting at a time, {scenario}", ["Setting", "Value", HARM.title, "against as it is"], rows, note)
    )


def picture(seeds: int, known: dict[str, Any]) -> Figure:
    """A panel a setting: each seed as a dot, the mean as a line."""
    figure = Figure(figsize=(9.6, 5.2))
    axes = figure.subplots(2, 3, sharey=True)
    for axis, (sweep, values) in zip(axes.flat, SWEEPS.items(), strict=True):
        readings = np.array([_readings(sweep, value, seeds, known) for value in values])
        axis.plot(list(values), 100 * readings.mean(axis=1), color="#1f4e79", lw=1.4)
        for seed in range(seeds):
            axis.plot(list(values), 100 * readings[:, seed], "o", color="#1f4e79", alpha=0.35, ms=4)
        axis.set_title(sweep, fontsize=9)
        axis.tick_params(labelsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("harm undone, %", fontsize=8)
    figure.tight_layout()
    return figure
