"""`make chaos`: a small `dvc repro` is killed at random moments of every stage, and must end as without a kill.

An undisturbed run gives the results and each stage's duration. A second run in a folder of its own, with its own Label
Studio, is killed again and again: SIGKILL for the whole process group at a random moment of a stage; during `annotate`
also for Label Studio alone; or files that may not grow, as on a full disk. After each of these it is run again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from e2e.project import path, tiny_project

from labelstudio.server import local, process

REPRO = ["dvc", "--wait-for-lock", "repro"]
RESULTS = ("runs/*/*/state.pt", "runs/*/*/masks.npz", "runs/*/*/history.csv", "report/metrics.json")
ROOM = 4096  # bytes that a file may have on a full disk
KILL, SERVER, FULL = "kill", "kill Label Studio", "full disk"


class Run:
    """One checkout, and `dvc repro` in it."""

    def __init__(self, folder: Path, durations: dict[str, float] | None = None) -> None:
        self.folder, self.durations = folder, durations or {}
        folder.mkdir(parents=True)
        tiny_project(folder)
        others = ("LABEL_STUDIO", "MLFLOW", "DVC")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        self.environment = {**kept, "PATH": path(), "PYTHONPATH": "", "PYTHONUNBUFFERED": "1"}

    def start(self, full: bool = False) -> subprocess.Popen[str]:
        """Start `dvc repro`, perhaps on a disk that is full: no file may grow beyond a few bytes."""

        def fill() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))

        # The tests' quick `python` belongs to another process, which no limit reaches.
        slow = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
        return subprocess.Popen(
            REPRO, cwd=self.folder, env=self.environment | (slow if full else {}),
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=fill if full else None,
        )  # fmt: skip

    def finish(self) -> dict[str, float]:
        """Run to the end, and return each stage's duration in seconds."""
        running, begun, said = self.start(), [], []
        for line in running.stdout or ():
            said.append(line)
            if stage := stage_of(line):
                begun.append((stage, time.monotonic()))
        if running.wait():
            raise SystemExit("`dvc repro` fails without a kill:\n" + "".join(said[-30:]))
        ends = [moment for _, moment in [*begun, ("", time.monotonic())][1:]]
        return {stage: end - begin for (stage, begin), end in zip(begun, ends, strict=True)}

    def disturb(self, stages: list[str], first: int, *, moment: float, kind: str) -> str | None:
        """Start, and disturb the first of these stages from number ``first`` on that runs.

        Args:
            stages: All stages in their order.
            first: The number of the stage to disturb; if it is done already, the next one is disturbed.
            moment: When to strike, as a share of the stage's duration.
            kind: One of the kinds below.

        Returns:
            The stage that was disturbed; None if all of these are done.
        """
        running = self.start(full=kind == FULL)
        stage = next((name for name in map(stage_of, running.stdout or ()) if name in stages[first:]), None)
        if stage is not None and kind != FULL:
            timer = threading.Timer(moment * self.durations[stage], self._strike, (running, kind))
            timer.start()
            timer.join()
        for line in running.stdout or ():
            if stage_of(line):  # it survived, and the stages that follow are for the next kills
                self._strike(running, KILL)
        running.wait()
        return stage

    def _strike(self, running: subprocess.Popen[str], kind: str) -> None:
        if kind == SERVER:
            data_dir = self.folder / ".labelstudio"
            if process.is_running(data_dir):
                os.kill(process.pid(data_dir), signal.SIGKILL)
        elif running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)

    def results(self) -> dict[str, str]:
        """The digest of each model, mask, history and of the metrics."""
        found = sorted(path for pattern in RESULTS for path in self.folder.glob(pattern))
        return {str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    def answers(self) -> Counter[tuple[str, str, str]]:
        """How often each answer is there: its query, its expert and what it says, without the server's numbers."""
        files = sorted(self.folder.glob("runs/*/*/answers.json"))
        answers = [answer for file in files for answer in json.loads(file.read_text())]
        return Counter((a["key"], a["expert"], json.dumps(a["result"], sort_keys=True)) for a in answers)

    def serve(self) -> None:
        """Start this checkout's Label Studio, as `lookaway demo` does."""
        local.start(self.folder / ".labelstudio")

    def stop(self) -> None:
        local.stop(self.folder / ".labelstudio")


def stage_of(line: str) -> str | None:
    found = re.search(r"Running stage '([^']+)'", line)
    return found[1] if found else None


def main(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Disturb a run so often, at moments spread over all stages, and return the summary."""
    chance = random.Random(seed)
    calm = Run(folder / "calm")
    try:
        calm.serve()
        durations = calm.finish()
    finally:
        calm.stop()
    stages, hits = list(durations), Counter[str]()
    wild = Run(folder / "wild", durations)
    try:
        wild.serve()
        for number in range(kills):
            first = number * len(stages) // kills
            # A Label Studio that a full disk starts would stay on its full disk.
            kinds = [KILL, KILL, SERVER] if stages[first].startswith("annotate") else [KILL, KILL, FULL]
            kind, moment = chance.choice(kinds), chance.random()
            stage = wild.disturb(stages, first, moment=moment, kind=kind)
            hits[stage or "nothing"] += 1
            print(f"{number + 1} of {kills}: {kind}, {stage} at {moment:.0%}", flush=True)
        wild.finish()
    finally:
        wild.stop()
    before, after = calm.results(), wild.results()
    expected, given = calm.answers(), wild.answers()
    return {
        "seed": seed,
        "kills": sum(count for stage, count in hits.items() if stage != "nothing"),
        "stages_hit": dict(hits),
        "differences": sorted(name for name in before | after if before.get(name) != after.get(name)),
        "answers_lost": sum((expected - given).values()),
        "answers_double": sum((given - expected).values()),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        summary = main(given.kills, given.seed, Path(folder))
    Path("report/chaos.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=1))
    if summary["differences"] or summary["answers_lost"] or summary["answers_double"]:
        raise SystemExit("error: the disturbed run ended otherwise than the undisturbed one")
