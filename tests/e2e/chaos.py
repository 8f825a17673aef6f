"""`make chaos`: a small `dvc repro` is disturbed at random moments of every stage, and must end as without it.

An undisturbed run gives the results and each stage's duration. Other checkouts, each on a disk of its own, are
disturbed again and again at a random moment of a stage, and after each of these they are run again: SIGKILL for the
whole process group; a disk without room; a folder that is read-only; during `annotate` the end of Label Studio or of
its database. Some of these happen while the clock is wrong by up to 400 days.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from e2e.disk import Disk, can_be_mounted
from e2e.project import environment, tiny_project
from fakes.clients import EXPERT
from fakes.production import Production, production

from labelstudio.server import accounts
from pipeline.commands.repro import mend_dvc

REPRO = ["dvc", "--wait-for-lock", "repro"]
RESULTS = ("runs/*/*/state.pt", "runs/*/*/masks.npz", "runs/*/*/history.csv", "report/metrics.json")
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)  # Debian's libfaketime
DAYS, WRONG_CLOCKS = 400, 0.2  # the longest jump of the clock, in either direction; the share of starts with one
Strike = tuple[str, Callable[[], None] | None]  # its name; what happens, or None to kill the process group


class Run:
    """One checkout, `dvc repro` in it, and what may happen to it."""

    def __init__(self, folder: Path, known: dict[str, str]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        tiny_project(folder)
        self.environment = environment() | known | {"PYTHONUNBUFFERED": "1"}

    def start(self, clock: float = 0) -> subprocess.Popen[str]:
        """Start `dvc repro`, perhaps with a clock that is some days ahead (or behind, if negative)."""
        jump = {
            # The tests' quick `python` belongs to another process, whose clock is right.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME": f"{clock:+.2f}d",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        mend_dvc(self.folder / ".dvc")  # as docs/faults.md says
        return subprocess.Popen(
            REPRO, cwd=self.folder, env=self.environment | (jump if clock else {}),
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def finish(self) -> dict[str, float]:
        """Run to the end, and return each stage's duration in seconds."""
        running, begun, said = self.start(), [], []
        for line in running.stdout or ():
            said.append(line)
            if stage := stage_of(line):
                begun.append((stage, time.monotonic()))
        if running.wait():
            raise SystemExit("`dvc repro` fails without a disturbance:\n" + "".join(said[-30:]))
        ends = [moment for _, moment in [*begun, ("", time.monotonic())][1:]]
        return {stage: end - begin for (stage, begin), end in zip(begun, ends, strict=True)}

    def disturb(
        self, stages: list[str], *, strikes: Callable[[str], Strike], after_s: dict[str, float], clock: float
    ) -> tuple[str, str] | None:
        """Start, and disturb the first of these stages that runs.

        Args:
            stages: All stages that may be disturbed; if the first of them is done, it is the next one.
            strikes: Gives what happens to a stage, and its name; None to kill it.
            after_s: How many seconds after a stage's start that happens.
            clock: How many days the clock is ahead.

        Returns:
            The stage that was disturbed, and the name of what happened; None if all of these are done.
        """
        running = self.start(clock)
        kill = functools.partial(_kill, running)
        stage = next((name for name in map(stage_of, running.stdout or ()) if name in stages), None)
        name, strike = strikes(stage) if stage else ("", None)
        if stage:
            timer = threading.Timer(after_s[stage], strike or kill)
            timer.start()
            timer.join()
        for line in running.stdout or ():
            if stage_of(line):  # it survived, and the stages that follow are for the next disturbances
                kill()
        running.wait()
        return (stage, name) if stage else None

    def results(self) -> dict[str, str]:
        """The digest of each model, mask, history and of the metrics."""
        found = sorted(path for pattern in RESULTS for path in self.folder.glob(pattern))
        return {str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    def answers(self) -> Counter[tuple[str, str, str]]:
        """How often each answer is there: its query, its expert and what it says, without the server's numbers."""
        files = sorted(self.folder.glob("runs/*/*/answers.json"))
        answers = [answer for file in files for answer in json.loads(file.read_text())]
        return Counter((a["key"], a["expert"], json.dumps(a["result"], sort_keys=True)) for a in answers)


def _kill(running: subprocess.Popen[str]) -> None:
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL)


def keys(server: Production) -> dict[str, str]:
    """Return what `annotate` must know: the server's address, and the keys of its administrator and of an expert."""
    browser = accounts.Browser(server.url)
    assert browser.log_in(server.admin)
    expert = server.sign_up(accounts.new(EXPERT.partition("@")[0]))
    return {
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_API_KEY": browser.token(),
        "LABEL_STUDIO_EXPERT_API_KEY": expert,
    }


def stage_of(line: str) -> str | None:
    found = re.search(r"Running stage '([^']+)'", line)
    return found[1] if found else None


def restarted(server: Production) -> None:
    """As `restart: unless-stopped` of deploy/compose.yaml does."""
    server.kill()
    server.start()


def main(
    kills: int, *, seed: int, folder: Path, known: dict[str, str], server: Production | None = None
) -> dict[str, Any]:
    """Disturb checkouts at moments spread over all stages; a checkout that is done makes room for another.

    Args:
        kills: How many kills there are, of the process group, of Label Studio or of its database. Other disturbances
            come on top.
        seed: Of their kinds and moments.
        folder: For the undisturbed and the disturbed checkouts.
        known: The variables with which all of them find their Label Studio.
        server: That Label Studio, if it may be killed.

    Returns:
        The summary.
    """
    has_disk, chance = can_be_mounted(), random.Random(seed)
    if not has_disk:
        print("only root may mount disks: none is full or read-only", flush=True)
    if not FAKETIME:
        print("libfaketime is not installed: the clock is always right", flush=True)
    calm = Run(folder / "calm", known)
    durations = calm.finish()
    hits: list[tuple[str, str]] = []
    ends: list[dict[str, Any]] = []
    while (left := kills - sum(map(is_kill, hits))) > 0:
        place = folder / f"wild-{len(ends)}"
        with Disk(place) if has_disk else contextlib.nullcontext() as disk:
            wild = Run(place, known)
            for hit in disturbances(wild, durations, chance, disk, server):
                hits.append(hit)
                left -= is_kill(hit)
                if not left:
                    break
            wild.finish()
            ends.append(compare(calm, wild))
    return {
        "seed": seed,
        "kills": sum(map(is_kill, hits)),
        "disturbances": len(hits),
        "checkouts": len(ends),
        "kinds": dict(Counter(kind for _, kind in hits)),
        "stages_hit": dict(Counter(stage for stage, _ in hits)),
        "differences": sorted({name for end in ends for name in end["differences"]}),
        "answers_lost": sum(end["answers_lost"] for end in ends),
        "answers_double": sum(end["answers_double"] for end in ends),
    }


def is_kill(hit: tuple[str, str]) -> bool:
    return hit[1].startswith(("kill", "crash"))


def disturbances(
    wild: Run, durations: dict[str, float], chance: random.Random, disk: Disk | None, server: Production | None
) -> Iterator[tuple[str, str]]:
    """Disturb a checkout until all of its stages are done; yield each stage that was hit, and what happened to it."""
    everywhere: list[Strike] = [("kill", None)] * 6
    if disk:
        folder = ["runs", "data", "report"]
        everywhere += [("full disk", disk.fill), ("read-only folder", lambda: disk.forbid(chance.choice(folder)))]
    asking: list[Strike] = [("kill", None)]
    if server:
        asking += [("kill Label Studio", lambda: restarted(server)), ("crash of its database", server.database.crash)]
    stages, first = list(durations), 0
    while True:
        is_wrong, days, moment = chance.random() < WRONG_CLOCKS, chance.uniform(-DAYS, DAYS), chance.random()
        clock = days if FAKETIME and is_wrong else 0
        hit = wild.disturb(
            stages[first:],
            strikes=lambda stage: chance.choice(asking if stage.startswith("annotate") else everywhere),
            after_s={name: moment * seconds for name, seconds in durations.items()},
            clock=clock,
        )
        if disk:
            disk.mend()
        if hit is None:
            return
        stage, kind = hit[0], hit[1] + (", wrong clock" if clock else "")
        print(f"{kind}: {stage} at {moment:.0%}", flush=True)
        yield stage, kind
        first = stages.index(stage) + chance.choice([0, 1])


def compare(calm: Run, wild: Run) -> dict[str, Any]:
    """Return the results that differ, and how many answers were lost or are there more than once."""
    before, after = calm.results(), wild.results()
    expected, given = calm.answers(), wild.answers()
    return {
        "differences": sorted(name for name in before | after if before.get(name) != after.get(name)),
        "answers_lost": (expected - given).total(),
        "answers_double": (given - expected).total(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "label-studio")
        data.mkdir()
        with production(data) as server:
            summary = main(given.kills, seed=given.seed, folder=Path(folder), known=keys(server), server=server)
    Path("report/chaos.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=1))
    if summary["differences"] or summary["answers_lost"] or summary["answers_double"]:
        raise SystemExit("error: the disturbed run ended otherwise than the undisturbed one")
