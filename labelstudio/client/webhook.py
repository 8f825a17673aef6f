"""Tell a chat room, or whatever listens at ``ANNOTATE_WEBHOOK``, that a round opens, is half-way, or closes.

A POST of JSON, in the background: a listener that is slow or broken costs a warning and nothing else. Its
"text" is what Slack, Mattermost and the like show. It carries no key and nobody's name; and the address,
which often is a secret itself, is in no message.
"""

from __future__ import annotations

import atexit
import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console

from labelstudio.client.progress import Progress
from labelstudio.client.projects import Project

TIMEOUT_S = 5.0
WEBHOOK = "ANNOTATE_WEBHOOK"

console = Console(stderr=True)


@dataclass(frozen=True)
class Webhook:
    """One round's events, each told once however often the round is run again.

    A file in ``told`` for each event says that somebody has told it, or has tried to.
    """

    url: str | None
    told: Path
    project: Project
    round: str
    keys: Iterable[str]

    def tell(self, event: str, progress: Progress) -> None:
        """Post "opened", "half-way" or "closed", unless there is no address or it has been told; never waits."""
        if self.url and self._is_first(event):
            thread = threading.Thread(target=self._post, args=(self.url, event, progress), daemon=True)
            thread.start()
            atexit.register(thread.join, TIMEOUT_S)  # the last event still gets out, or is given up

    def _is_first(self, event: str) -> bool:
        # The same round number can ask other queries after a change of params: that is another round.
        identity = "\n".join([self.project.url, self.round, *sorted(self.keys)])
        try:
            self.told.mkdir(parents=True, exist_ok=True)
            (self.told / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}-{event}").touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError as error:
            _warn(f"{self.told} cannot be written ({error.strerror})")
            return False
        return True

    def _post(self, url: str, event: str, progress: Progress) -> None:
        state = f"{progress.answered} of {progress.asked} answered"
        body = {
            "event": event,
            "project": self.project.title,
            "round": self.round,
            "asked": progress.asked,
            "answered": progress.answered,
            "url": self.project.url,
            "text": f"{self.project.title}, round {self.round} {event}: {state}. {self.project.url}",
        }
        try:
            with httpx.stream("POST", url, json=body, timeout=TIMEOUT_S) as reply:  # what it replies is not read
                status = reply.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            _warn(type(error).__name__)
        else:
            if not 200 <= status < 300:
                _warn(f"status {status}")


def _warn(reason: str) -> None:
    console.print(f"warning: {WEBHOOK} was not told ({reason}); nothing else is affected", markup=False, soft_wrap=True)
