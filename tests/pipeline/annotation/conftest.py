"""A project of which only `annotate` is to run."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
from fakes.clients import left_half
from fakes.queries import manifest

from pipeline.config import load
from pipeline.paths import step_dir
from pipeline.stages import annotate


@pytest.fixture
def project_folder(tmp_path, monkeypatch):
    """A project of which only `annotate` is to run: eight queries with evidence in their left half."""
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    (scenario, *_) = load().hitl.scenarios
    folder = step_dir(scenario, "00")
    folder.mkdir(parents=True)
    manifest(folder, 8).write(folder / "queries.json")
    data = SimpleNamespace(known_evidence=left_half, digest="d")
    monkeypatch.setattr(annotate.prepared, "read", lambda folder: data)
    return tmp_path, scenario, folder


@pytest.fixture
def asked_at_fake(fake, monkeypatch):
    """`annotate` asks at the fake server, and waits for nobody."""
    monkeypatch.setenv("LABEL_STUDIO_URL", fake.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", fake.api_key)
    monkeypatch.setenv("ANNOTATE_WAIT_S", "0")
