"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from fakes.label_studio import FakeLabelStudio

from labelstudio import server


@pytest.fixture(scope="session")
def real_label_studio(tmp_path_factory):
    """A real Label Studio of this test session: URL, keys, accounts. Its first start takes half a minute."""
    folder: Path = tmp_path_factory.mktemp("label-studio")
    try:
        yield server.start(folder)
    finally:
        server.stop(folder)


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
