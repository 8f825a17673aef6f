"""What it costs to ask many questions: requests and time at a real Label Studio, and how soon annotate starts.

A round of 2,000 queries that three experts have answered is far more than a round has; that the cost per query
is the same as with 200 says that nothing in between grows faster than the round.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import yaml
from PIL import Image

from benchmarks.measure import RUNS, Figure, seconds
from labelstudio.client.backend import LabelStudio
from labelstudio.exchange.records import Manifest, Proposal, Query
from labelstudio.exchange.tasks import tasks
from labelstudio.server import accounts, local

FEW, MANY = 200, 2000
EXPERTS = 3
SIDE = 96  # pixels of a picture
BATCH = 100  # tasks in one import of answers


@dataclass(frozen=True)
class Cost:
    """Of one round's push and pull: requests of both, and seconds of each."""

    requests: int
    push_s: float
    pull_s: float

    def per_task_s(self, count: int) -> float:
        """Seconds for one of ``count`` queries."""
        return (self.push_s + self.pull_s) / count


def requests_per_100() -> Figure:
    """Requests for 100 of 2,000 queries: pushed, and pulled with the answers of three experts."""
    return Figure.of([100 * costs()[MANY].requests / MANY])


def push_s_per_100() -> Figure:
    """Seconds to push 100 of 2,000 queries, pictures included."""
    return Figure.of([100 * costs()[MANY].push_s / MANY])


def pull_s_per_100() -> Figure:
    """Seconds to pull 100 of 2,000 queries with the answers of three experts."""
    return Figure.of([100 * costs()[MANY].pull_s / MANY])


def time_ratio() -> Figure:
    """Time for a query of 2,000 over time for one of 200, push and pull together: 1 is linear."""
    return Figure.of([costs()[MANY].per_task_s(MANY) / costs()[FEW].per_task_s(FEW)])


def start_s() -> Figure:
    """Seconds from `python -m pipeline.stages.annotate` to its first request."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _stage(folder)
        return Figure.of([_seconds_to_first_request(folder) for _ in range(RUNS)])


FIGURES = {
    "annotation_requests_per_100": requests_per_100,
    "annotation_push_s_per_100": push_s_per_100,
    "annotation_pull_s_per_100": pull_s_per_100,
    "annotation_time_ratio": time_ratio,
    "annotate_start_s": start_s,
}


# --- many queries ---


@functools.cache
def costs(counts: tuple[int, ...] = (FEW, MANY)) -> dict[int, Cost]:
    """What rounds of so many queries cost at a local Label Studio of their own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        running = local.start(folder / "label-studio")
        try:
            emails = [running.admin["email"], running.expert["email"], _another_expert(running)]
            _cost(running, emails, 1, folder)  # once unmeasured: the server loads what it needs
            return {count: _cost(running, emails, count, folder) for count in counts}
        finally:
            local.stop(folder / "label-studio")


def _cost(running: local.Server, emails: list[str], count: int, folder: Path) -> Cost:
    """Pushed to one project; pulled from another, where answers were imported with their tasks.

    Thousands of answers given one by one take a quarter of an hour, and are not what is measured.
    """
    client = LabelStudio(running.url, running.api_key)
    asked = _round(folder, count)
    project = client.ensure_project(f"push {count}")
    answered = client.ensure_project(f"pull {count}")
    posts = tasks(asked, lambda query: f"/data/upload/{query.image}", lambda query: f"/data/upload/{query.heat}")
    for post in posts:
        result = post["predictions"][0]["result"]
        post["annotations"] = [{"result": result, "lead_time": 2.0, "completed_by": {"email": e}} for e in emails]
    rest = httpx.Client(base_url=running.url, headers={"Authorization": f"Token {running.api_key}"}, timeout=120)
    for start in range(0, count, BATCH):
        rest.post(f"/api/projects/{answered.id}/import", json=posts[start : start + BATCH]).raise_for_status()

    with _counting() as sent:
        push_s = seconds(lambda: client.push(project, asked, folder))
        begin = time.perf_counter()
        answers = client.pull(answered, asked.keys())
        pull_s = time.perf_counter() - begin
    assert len(answers) == count * EXPERTS, f"{len(answers)} answers came back"
    return Cost(len(sent), push_s, pull_s)


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _counting() -> Iterator[list[logging.LogRecord]]:
    """The requests that are sent meanwhile: httpx logs one record for each."""
    log, handler = logging.getLogger("httpx"), _Collector()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield handler.records
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _another_expert(running: local.Server) -> str:
    person = accounts.Account(email="second-expert@localhost.local", password=secrets.token_urlsafe(12))
    link = accounts.invitation(running.url, running.admin).removeprefix(running.url)
    accounts.Browser(running.url).post_form(link, person)
    return person["email"]


def _round(folder: Path, count: int) -> Manifest:
    """Queries with two pictures each, which are written to ``folder``, and ten regions."""
    regions = tuple(Proposal(f"c{n}r{n}", 8 * n, 8 * n, 8, 8, 0.1) for n in range(10))
    rng = np.random.default_rng(0)
    queries = []
    for n in range(count):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)).save(buffer, "PNG")
        for name in (f"{n}.png", f"{n}.heat.png"):
            (folder / name).write_bytes(buffer.getvalue())
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        query = Query(str(n), f"{n}.png", digest, SIDE, SIDE, "8", "3", {"3": 0.6, "8": 0.4}, 0.9, regions)
        queries.append(replace(query, heat=f"{n}.heat.png"))
    return Manifest("bench", "00", tuple(queries))


# --- how soon it starts ---

# As the stage, but for the prepared data, of which it reads a few lines.
STAGE = """
from types import SimpleNamespace
from pipeline.datasets import prepared
from pipeline.stages import annotate, run

prepared.read = lambda folder: SimpleNamespace(digest="bench")
run(annotate.main, "scenario", "round")
"""


def _stage(folder: Path) -> None:
    """A project in which annotate can run, in this folder."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params["scenarios"] = {"bench": next(iter(params["scenarios"].values()))}
    params["hitl"]["scenarios"] = ["bench"]
    (folder / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    step = folder / "runs" / "bench" / "00"
    step.mkdir(parents=True)
    _round(step, 20).write(step / "queries.json")
    (folder / "stage.py").write_text(STAGE, encoding="utf-8")


def _seconds_to_first_request(folder: Path) -> float:
    with socket.create_server(("127.0.0.1", 0)) as label_studio:
        label_studio.settimeout(60)
        settings = {
            "PYTHONPATH": os.getcwd(),
            "LABEL_STUDIO_URL": f"http://127.0.0.1:{label_studio.getsockname()[1]}",
            "LABEL_STUDIO_API_KEY": "bench",
            "LABEL_STUDIO_EXPERT_API_KEY": "bench",
        }
        begin = time.perf_counter()
        command = [sys.executable, "stage.py", "--scenario", "bench", "--round", "00"]
        annotate = subprocess.Popen(command, cwd=folder, env={**os.environ, **settings})
        try:
            label_studio.accept()[0].close()
            return time.perf_counter() - begin
        finally:
            annotate.kill()
            annotate.wait()
