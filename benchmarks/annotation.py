"""The cost of many queries: requests and time at a real Label Studio.

2,000 queries with three answers each are far more than a round has. If a query costs as much as one of 200, nothing
grows faster than the round.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import requests
from PIL import Image

from benchmarks.measure import Figure, Figures, seconds
from labelstudio.client.backend import LabelStudio
from labelstudio.exchange.records import Answer, Manifest, Proposal, Query
from labelstudio.exchange.tasks import tasks
from labelstudio.server import local

COUNTS = (200, 2000)
EXPERTS = 3
SIDE = 96  # pixels of a picture
BATCH = 100  # tasks in one import of answers
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Cost:
    """The requests of one round's push and pull together, and the seconds of each."""

    requests: int
    push_s: float
    pull_s: float

    def per_task_s(self, count: int) -> float:
        """Return the seconds for one of ``count`` queries."""
        return (self.push_s + self.pull_s) / count


def requests_per_100(counts: tuple[int, ...] = COUNTS) -> Figure:
    """Requests for 100 of the most queries, pushed and pulled with the answers of three experts."""
    return Figure.of([100 * costs(counts)[counts[-1]].requests / counts[-1]])


def push_s_per_100(counts: tuple[int, ...] = COUNTS) -> Figure:
    """Seconds to push 100 of the most queries, with their pictures."""
    return Figure.of([100 * costs(counts)[counts[-1]].push_s / counts[-1]])


def pull_s_per_100(counts: tuple[int, ...] = COUNTS) -> Figure:
    """Seconds to pull 100 of the most queries with the answers of three experts."""
    return Figure.of([100 * costs(counts)[counts[-1]].pull_s / counts[-1]])


def time_ratio(counts: tuple[int, ...] = COUNTS) -> Figure:
    """Time for one of the most queries over the time for one of the fewest, push and pull together: 1 is linear."""
    few, many = counts[0], counts[-1]
    return Figure.of([costs(counts)[many].per_task_s(many) / costs(counts)[few].per_task_s(few)])


FIGURES: Figures = {
    "annotation_requests_per_100": requests_per_100,
    "annotation_push_s_per_100": push_s_per_100,
    "annotation_pull_s_per_100": pull_s_per_100,
    "annotation_time_ratio": time_ratio,
}


@functools.cache
def costs(counts: tuple[int, ...]) -> dict[int, Cost]:
    """Return the costs of rounds of so many queries at a new local Label Studio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = local.start(folder / "label-studio", experts=EXPERTS - 1)  # the administrator answers too
        try:
            _cost(server, 1, folder)  # once unmeasured: the server loads its modules
            return {count: _cost(server, count, folder) for count in counts}
        finally:
            local.stop(folder / "label-studio")


def _cost(server: local.Server, count: int, folder: Path) -> Cost:
    """Push to one project, and pull from another project, whose tasks were imported with their answers.

    Thousands of single answers take a quarter of an hour, and their time is not measured.
    """
    client = LabelStudio(server.url, server.api_key)
    manifest = write_round(folder, count)
    project = client.ensure_project(f"push {count}")
    answered = client.ensure_project(f"pull {count}")
    _import_answers(server, answered.id, manifest)
    found: list[Answer] = []
    with _counting() as sent:
        push_s = seconds(lambda: client.push(project, manifest, folder))
        pull_s = seconds(lambda: found.extend(client.pull(answered, manifest.keys())))
    assert len(found) == count * EXPERTS, f"{len(found)} answers were pulled"
    return Cost(len(sent), push_s, pull_s)


def _import_answers(server: local.Server, project: int, manifest: Manifest) -> None:
    """Import the queries as tasks, each with one answer of every expert."""
    experts = [server.admin, server.expert, *server.crowd]
    posts = tasks(manifest, lambda query: f"/data/upload/{query.image}", lambda query: f"/data/upload/{query.heat}")
    for post in posts:
        result = post["predictions"][0]["result"]
        post["annotations"] = [
            {"result": result, "lead_time": 2.0, "completed_by": {"email": expert["email"]}} for expert in experts
        ]
    with requests.Session() as session:
        session.trust_env = False  # never through a proxy
        session.headers["Authorization"] = f"Token {server.api_key}"
        for start in range(0, len(posts), BATCH):
            address = f"{server.url}/api/projects/{project}/import"
            session.post(address, json=posts[start : start + BATCH], timeout=TIMEOUT_S).raise_for_status()


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _counting() -> Iterator[list[logging.LogRecord]]:
    """Inside, httpx logs one record for each request of the client."""
    log, handler = logging.getLogger("httpx"), _Collector()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield handler.records
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def write_round(folder: Path, count: int) -> Manifest:
    """Write two pictures for each query to ``folder``, and return the queries, with ten regions each."""
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
