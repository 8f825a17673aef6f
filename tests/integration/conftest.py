"""What the tests of our client at Label Studio share."""

from __future__ import annotations

import pytest

from labelstudio import client, transport
from labelstudio.client import LabelStudio


@pytest.fixture
def impatient(monkeypatch):
    """Small pages, so that every list has several; short waits."""
    monkeypatch.setattr(transport, "PAGE_SIZE", 3)
    monkeypatch.setattr(client, "FILES", 4)
    monkeypatch.setattr(client, "TASKS", 4)
    monkeypatch.setattr(transport, "SETTLE_S", 0.25)
    monkeypatch.setattr(client, "pause_s", lambda failures: 0.01)
    monkeypatch.setattr(transport, "pause_s", lambda failures: 0.01)
    monkeypatch.setattr("labelstudio.experts.pause_s", lambda failures: 0.01)


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
