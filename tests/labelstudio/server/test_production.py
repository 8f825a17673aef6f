"""deploy/compose.yaml: what it says holds together, and its Label Studio works on PostgreSQL and S3."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fakes.checkout import ROOT
from fakes.clients import Rest
from fakes.production import COMPOSE, EXAMPLE, production
from fakes.queries import SIDE, manifest

from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert
from labelstudio.server import accounts

TASKS, EXPERTS = 200, 3
TOGETHER = 10  # so many are answered by every expert, the others by one each


# --- the file ---


def test_it_is_a_compose_file():
    """By the compose specification's own schema, which check-jsonschema brings along."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, ROOT / "deploy" / "compose.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def variables(text: str) -> dict[str, str]:
    """The variables that compose fills in, and what stands behind their names; $$ is a plain dollar."""
    return dict(re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", text))


def test_every_setting_is_in_the_example_and_nothing_else_is():
    used = variables((ROOT / "deploy" / "compose.yaml").read_text())
    assert {name for name, default in used.items() if not default.startswith(":-")} == set(EXAMPLE)
    assert all(default.startswith((":?", ":-")) for default in used.values()), "a missing one must be named"


def test_services_are_known_to_each_other():
    services = COMPOSE["services"]
    for name, service in services.items():
        assert ("image" in service) != ("build" in service), name
        for other, condition in service.get("depends_on", {}).items():
            assert condition["condition"] == "service_healthy" or "healthcheck" not in services[other], (name, other)
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"], name
        for config in service.get("configs", []):
            assert config["source"] in COMPOSE["configs"], name
        for value in (service.get("environment") or {}).values():
            assert isinstance(value, str), f"{name}: YAML would make {value!r} something else"
    for host in re.findall(r"reverse_proxy (\S+):", COMPOSE["configs"]["caddyfile"]["content"]):
        assert host in services


def test_only_the_proxy_can_be_reached_and_no_secret_is_in_the_file():
    assert [name for name, service in COMPOSE["services"].items() if "ports" in service] == ["proxy"]
    for service in COMPOSE["services"].values():
        for name, value in (service.get("environment") or {}).items():
            if re.search("PASSWORD|SECRET|KEY", name) and value not in ("true", "false"):
                assert variables(value), name
    ignored = subprocess.run(["git", "check-ignore", "-q", "deploy/.env"], cwd=ROOT)
    assert ignored.returncode == 0


def test_the_versions_are_those_that_are_tested():
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert EXAMPLE["LABEL_STUDIO_VERSION"] == pinned["label-studio"]
    assert EXAMPLE["MLFLOW_VERSION"] == pinned["mlflow"]


# --- its Label Studio ---


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with production(tmp_path_factory.mktemp("production")) as server:
        yield server


@pytest.mark.labelstudio
def test_three_experts_answer_two_hundred_queries_at_once_and_a_backup_has_all(server, tmp_path):
    browser = accounts.Browser(server.url)
    assert browser.log_in(server.admin)
    admin = LabelStudio(server.url, browser.token())
    assert not list(server.folder.glob("*.sqlite3")), "it is not PostgreSQL"
    keys, experts = [], []
    for n in range(EXPERTS):
        person = accounts.Account(email=f"expert{n}@example.org", password=secrets.token_urlsafe(12))
        keys.append(server.sign_up(person))
        experts.append(SimulatedExpert(LabelStudio(server.url, keys[-1]), lambda _: np.zeros((SIDE, SIDE), bool)))

    project, asked = admin.ensure_project("production"), manifest(tmp_path, TASKS)
    queries = asked.keys()
    begin = time.monotonic()
    assert admin.push(project, asked, tmp_path) == TASKS
    assert admin.push(project, asked, tmp_path) == 0
    pushed = time.monotonic()
    assert len(server.storage.objects) == 2 * TASKS, "the pictures and their saliency are not in the object storage"
    ordered = list(queries)
    parts = [{*ordered[:TOGETHER], *ordered[TOGETHER + n :: EXPERTS]} for n in range(EXPERTS)]
    with ThreadPoolExecutor(EXPERTS) as pool:
        counts = pool.map(lambda expert, part: expert.answer(project, part), experts, parts)
        assert list(counts) == [len(part) for part in parts]
    answered = time.monotonic()
    answers = admin.pull(project, queries)
    print(f"push {pushed - begin:.1f} s, answers {answered - pushed:.1f} s, pull {time.monotonic() - answered:.1f} s")
    given = sorted((answer.key, answer.expert) for answer in answers)
    assert given == sorted((key, f"expert{n}@example.org") for n, part in enumerate(parts) for key in part)
    assert all(answer.result and answer.parent_prediction for answer in answers)
    progress = admin.progress(project, queries)
    assert (progress.asked, progress.answered) == (TASKS, TASKS)

    rest = Rest(server.url, keys[0])
    tasks = rest.get("/api/tasks", params={"project": project.id, "page_size": 1, "resolve_uri": "false"}).json()
    picture = rest.get(tasks["tasks"][0]["data"]["image"])
    assert picture.content in server.storage.objects.values(), "an expert sees what lies there"

    # The documentation's commands, without the containers around them.
    page = (ROOT / "docs" / "label-studio.md").read_text()
    dump, restore = (re.search(rf"sh -c '({name} [^']* labelstudio)'", page)[1] for name in ("pg_dump", "pg_restore"))
    server.database.shell("createdb restored")
    server.database.shell(restore.replace("-d labelstudio", "-d restored"), input=server.database.shell(dump))
    count = "select count(*), md5(string_agg(result::text, ' ' order by id)) from task_completion"
    before, after = (server.database.shell(f'psql -At -d {name} -c "{count}"') for name in ("labelstudio", "restored"))
    assert before == after
    assert before.startswith(f"{len(answers)}|".encode())
