"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from fakes.label_studio import FakeLabelStudio

from labelstudio.client import backend, connection
from labelstudio.client.backend import LabelStudio
from labelstudio.server import local


@pytest.fixture(scope="session")
def real_label_studio(tmp_path_factory):
    """A real Label Studio of this test session: URL, keys, accounts. Its first start takes half a minute."""
    folder: Path = tmp_path_factory.mktemp("label-studio")
    try:
        yield local.start(folder)
    finally:
        local.stop(folder)


@pytest.fixture(scope="session")
def personal_access_token(real_label_studio):
    """The administrator's; Label Studio gives an account one only."""
    headers = {"Authorization": f"Token {real_label_studio.api_key}"}
    return httpx.post(f"{real_label_studio.url}/api/token/", headers=headers).json()["token"]


@pytest.fixture
def fake():
    with FakeLabelStudio() as fake:
        yield fake


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.labelstudio)])
def label_studio(request):
    """Both Label Studios, for what must hold on either: anything with url, api_key, expert_api_key."""
    return request.getfixturevalue("fake" if request.param == "fake" else "real_label_studio")


@pytest.fixture
def impatient(monkeypatch):
    """Small pages, so that every list has several; short waits."""
    monkeypatch.setattr(connection, "PAGE_SIZE", 3)
    monkeypatch.setattr(backend, "FILES", 4)
    monkeypatch.setattr(backend, "TASKS", 4)
    monkeypatch.setattr(connection, "SETTLE_S", 0.25)
    monkeypatch.setattr(backend, "pause_s", lambda failures: 0.01)
    monkeypatch.setattr(connection, "pause_s", lambda failures: 0.01)
    monkeypatch.setattr("labelstudio.client.experts.pause_s", lambda failures: 0.01)


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
