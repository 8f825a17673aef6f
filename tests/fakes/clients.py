"""What tests do at a Label Studio besides our client, and what they ask it."""

from __future__ import annotations

import httpx
import numpy as np

from fakes.queries import SIDE
from labelstudio.client import backend
from labelstudio.client.backend import LabelStudio
from labelstudio.exchange import regions

ADMIN, EXPERT = "admin@localhost.local", "expert@localhost.local"


def rest(label_studio, *, key: str | None = None) -> httpx.Client:
    """Raw access, for what a person or somebody else's program does."""
    headers = {"Authorization": f"Token {key or label_studio.api_key}"}
    return httpx.Client(base_url=label_studio.url, headers=headers)


def keys_on(admin: LabelStudio, project: backend.Project, wanted) -> list[str]:
    return sorted(task.key for task in admin.tasks(project, wanted.keys()))


def left_half(image_id: str) -> regions.Mask:
    """Evidence in the left half: of the proposals, only the one in cell (7,7) is outside."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[:, : SIDE // 2] = True
    return mask
