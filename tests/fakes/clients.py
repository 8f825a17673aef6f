"""Tests' other ways to a Label Studio, and helpers for tests of our client."""

from __future__ import annotations

from typing import Any

import numpy as np
import requests

from fakes.queries import SIDE
from labelstudio.client.backend import LabelStudio
from labelstudio.client.projects import Project
from labelstudio.exchange.geometry import Mask

ADMIN, EXPERT = "admin@localhost.local", "expert@localhost.local"


class Rest(requests.Session):
    """Raw access with an account's key, as of a person's browser or another program; paths instead of URLs."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__()
        self.trust_env = False
        self.url = url
        self.headers["Authorization"] = f"Token {key}"

    def request(self, method: str, path: str, **content: Any) -> requests.Response:  # type: ignore[override]
        return super().request(method, self.url + path, **content)


def rest(label_studio, *, key: str | None = None) -> Rest:
    """Raw access, by default with the administrator's key."""
    return Rest(label_studio.url, key or label_studio.api_key)


def keys_on(admin: LabelStudio, project: Project, wanted) -> list[str]:
    return sorted(task.key for task in admin.tasks(project, wanted.keys()))


def left_half(image_id: str) -> Mask:
    """Evidence in the left half: of the proposals, only the one in cell (7,7) is outside."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[:, : SIDE // 2] = True
    return mask
