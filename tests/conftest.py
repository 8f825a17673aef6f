"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import tables
from fakes.clients import rest
from fakes.label_studio import FakeLabelStudio

from labelstudio.client import connection, push
from labelstudio.client.backend import LabelStudio
from labelstudio.server import local, process


@pytest.fixture(scope="session", autouse=True)
def soon():
    """Let every real Label Studio find its tables, which it would need a minute to make."""
    launch = process.launch

    def launch_with_tables(data_dir: Path, state: dict[str, Any]) -> None:
        tables.put(data_dir)
        launch(data_dir, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "launch", launch_with_tables)
        yield


@pytest.fixture(scope="session")
def real_label_studio(tmp_path_factory, soon):
    """A real Label Studio for this test session."""
    folder: Path = tmp_path_factory.mktemp("label-studio")
    try:
        yield local.start(folder)
    finally:
        local.stop(folder)


@pytest.fixture(scope="session")
def personal_access_token(real_label_studio):
    """The administrator's personal access token; Label Studio gives an account only one."""
    return rest(real_label_studio).post("/api/token/").json()["token"]


@pytest.fixture
def fake():
    with FakeLabelStudio() as fake:
        yield fake


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.labelstudio)])
def label_studio(request):
    """The fake and the real Label Studio, one after the other: each has url, api_key and expert_api_key."""
    return request.getfixturevalue("fake" if request.param == "fake" else "real_label_studio")


@pytest.fixture
def impatient(monkeypatch):
    """Small pages, so that every list has several; short waits."""
    monkeypatch.setattr(connection, "PAGE_SIZE", 3)
    monkeypatch.setattr(push, "FILES", 4)
    monkeypatch.setattr(push, "TASKS", 4)
    monkeypatch.setattr(connection, "SETTLE_S", 0.25)
    monkeypatch.setattr(connection, "LONGEST_PAUSE_S", 0.01)


@pytest.fixture
def admin(label_studio):
    return LabelStudio(label_studio.url, label_studio.api_key)


@pytest.fixture
def expert(label_studio):
    return LabelStudio(label_studio.url, label_studio.expert_api_key)


@pytest.fixture
def project(admin, request):
    """A project of the test's own, since the real server lives as long as the session."""
    return admin.ensure_project(f"{request.node.originalname}"[:50])


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page on the smallest screen we promise."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()
