"""A simulated crowd that errs, and the server's own words about its answers."""

from __future__ import annotations

from typing import Any

import requests

from pipeline.config import Annotate, Simulated

HARD_OF_HEARING = Annotate(
    expert="simulated",
    experts_per_query=2,
    evidence_share=0.05,
    crowd=[Simulated(), Simulated(miss_rate=0.4, speed_s=20.0), Simulated(false_alarm_rate=0.3, absent=0.5)],
)


def ask(label_studio: Any, path: str, **params: Any) -> Any:
    """The server's own JSON at this path of its API."""
    headers = {"Authorization": f"Token {label_studio.api_key}"}
    return requests.get(f"{label_studio.url}/api/{path}", params=params, headers=headers, timeout=60).json()
