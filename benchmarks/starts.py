"""How soon a stage starts to work, from its command in dvc.yaml on.

Each stage runs as `python -m pipeline stage …`, with bytecode and on one core, in a temporary project with a minimal
prepared data set. The process is killed as soon as it reaches its work.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml

from benchmarks import project
from benchmarks.annotation import write_round
from benchmarks.measure import RUNS, Figure, Figures
from pipeline.data import prepared
from pipeline.data.prepared import Item

SCENARIO = "bench"
ROUND = ("--round", "00")
TRAINING = {  # the stages that import PyTorch, with their arguments beside the scenario
    "baseline": (),
    "query-export": (*ROUND, "--after", "start", "--queries", "20"),
    "hitl-train": (*ROUND, "--after", "start", "--epochs", "1"),
    "automated": (),
    "placebo": ("--arm", "random-mask"),
    "evaluate": (),
}
LIMIT_S = 120.0
LOOK_S = 0.005  # between two looks


def annotate_start_s(runs: int = RUNS) -> Figure:
    """Seconds from the command of `annotate` to its first request to Label Studio."""
    with _project() as folder:
        return Figure.of([_annotate_s(folder) for _ in range(runs)])


def stage_start_s(stages: Collection[str] = tuple(TRAINING), runs: int = RUNS) -> Figure:
    """Seconds from the command of a stage to its first line of work, over all stages that train or explain.

    The first line of work opens the stage's first input: the prepared data, or the masks of `hitl`. Low and high are
    the fastest and the slowest stage, by their medians.
    """
    with _project() as folder:
        medians = []
        for stage in stages:
            _input_s(folder, stage)  # once unmeasured: it writes bytecode
            figure = Figure.of([_input_s(folder, stage) for _ in range(runs)])
            print(f"{stage}: {figure.median:.2f} s ({figure.low:.2f} to {figure.high:.2f})", flush=True)
            medians.append(figure.median)
    return Figure.of(medians)


FIGURES: Figures = {"annotate_start_s": annotate_start_s, "stage_start_s": stage_start_s}


@contextmanager
def _project() -> Iterator[Path]:
    """A folder with params.yaml, a prepared data set of two classes, and the queries of one round."""
    params = project.settings()
    settings = next(iter(params["scenarios"].values()))
    params["scenarios"] = {SCENARIO: settings}
    params["hitl"]["scenarios"] = [SCENARIO]
    params["annotate"]["expert"] = "human"
    params["compute"] = {"launcher": ""}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        _prepare(folder / "data" / "prepared" / settings["dataset"], settings["dataset"])
        step = folder / "runs" / SCENARIO / "00"
        step.mkdir(parents=True)
        write_round(step, count=1).write(step / "queries.json")
        yield folder


def _prepare(folder: Path, dataset: str) -> None:
    """Write a prepared data set of one image for each class and split."""
    picture = np.zeros((8, 8, 3), np.uint8)
    names = [(split, label) for split in ("train", "val", "test") for label in "ab"]
    items = [Item(f"{split}-{label}", label, split, picture, evidence=None) for split, label in names]
    table = prepared.write_arrays(folder, count=len(items), size=len(picture), items=items)
    prepared.write_index(folder, name=dataset, classes=["a", "b"], table=table.assign(id=table["name"]))


def _annotate_s(folder: Path) -> float:
    with socket.create_server(("127.0.0.1", 0)) as label_studio:
        services = {
            "LABEL_STUDIO_URL": f"http://127.0.0.1:{label_studio.getsockname()[1]}",
            "LABEL_STUDIO_API_KEY": "bench",
        }

        def has_request() -> bool:
            return bool(select.select([label_studio], [], [], 0)[0])

        return _seconds_until(has_request, folder, command("annotate", *ROUND), services)


def _input_s(folder: Path, stage: str) -> float:
    inputs = [*folder.glob("data/prepared/*/manifest.json"), *_masks(folder)]
    for path in inputs:
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)  # opening it for reading blocks, until somebody opens it for writing
    return _seconds_until(lambda: any(map(_has_reader, inputs)), folder, command(stage, *TRAINING[stage]), {})


def _masks(folder: Path) -> list[Path]:
    """Return the file of `hitl`'s last masks."""
    last = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["hitl"]["last"]
    return [folder / "runs" / SCENARIO / last / "masks.npz"]


def _has_reader(path: Path) -> bool:
    """Return whether a process has opened a named pipe for reading."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def command(stage: str, *arguments: str) -> list[str]:
    """Return the arguments of `lookaway` that run a stage of the temporary project."""
    return ["stage", stage, "--scenario", SCENARIO, *arguments]


def _seconds_until(reached: Callable[[], bool], folder: Path, arguments: list[str], services: dict[str, str]) -> float:
    """Return the seconds from a command's start until an event, and kill the command.

    Raises RuntimeError with the command's output if it ends before the event.
    """
    with tempfile.TemporaryFile("w+") as output, _one_core():
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=folder,
            env=project.environment() | services,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while not reached():
                if process.poll() is not None or time.perf_counter() - begin > LIMIT_S:
                    output.seek(0)
                    raise RuntimeError(f"`lookaway {' '.join(arguments)}` reached no work:\n{output.read()[-2000:]}")
                time.sleep(LOOK_S)
            return time.perf_counter() - begin
        finally:
            process.kill()
            process.wait()


@contextmanager
def _one_core() -> Iterator[None]:
    """Inside, this thread and the processes that it starts use one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
