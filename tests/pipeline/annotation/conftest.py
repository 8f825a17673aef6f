"""A project of which only `annotate` is to run."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
from fakes.clients import left_half
from fakes.crowds import HARD_OF_HEARING
from fakes.queries import manifest

from labelstudio.client.backend import LabelStudio
from labelstudio.server import local
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
def admin(label_studio):
    return LabelStudio(label_studio.url, label_studio.api_key)


@pytest.fixture
def expert_keys(label_studio):
    """API keys of three experts."""
    if hasattr(label_studio, "data_dir"):  # the real one gets the accounts that it has not got yet
        label_studio = local.start(label_studio.data_dir, experts=3)
    return label_studio.expert_api_keys


@pytest.fixture
def with_crowd(monkeypatch, fake):
    """Have the stage ask this crowd at the fake."""
    monkeypatch.setenv("LABEL_STUDIO_URL", fake.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", fake.api_key)
    monkeypatch.setenv("LABEL_STUDIO_EXPERT_API_KEY", ", ".join(fake.expert_api_keys))
    config = load()

    def use(settings):
        monkeypatch.setattr(annotate, "load", lambda: config.model_copy(update={"annotate": settings}))

    use(HARD_OF_HEARING)
    return use


@pytest.fixture
def asked_at_fake(fake, monkeypatch):
    """`annotate` asks at the fake server, and waits for nobody."""
    monkeypatch.setenv("LABEL_STUDIO_URL", fake.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", fake.api_key)
    monkeypatch.setenv("ANNOTATE_WAIT_S", "0")
