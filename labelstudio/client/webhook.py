"""Tell a chat room, or another listener at ``ANNOTATE_WEBHOOK``, that a round opens, is half-way or closes.

Each event is a POST of JSON in the background: a slow or broken listener costs a warning and nothing else. Slack,
Mattermost and similar programs show its "text". An event contains no key and no person's name. The address, which is
often a secret itself, is in no message.
"""

from __future__ import annotations

import atexit
import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import requests
from rich.console import Console

from labelstudio.client.progress import Progress
from labelstudio.client.projects import Project

TIMEOUT_S = 5.0
WEBHOOK = "ANNOTATE_WEBHOOK"

console = Console(stderr=True)


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """One round's events, each sent once however often the round runs again.

    Attributes:
        url: The listener's address; None if there is no listener.
        told: A folder with a file for each event that was sent, also without success.
        project: The round's project.
        round: The round's number.
        keys: The round's queries.
    """

    url: str | None
    told: Path
    project: Project
    round: str
    keys: Iterable[str]

    def tell(self, event: str, progress: Progress) -> None:
        """Send "opened", "half-way" or "closed" if there is a listener and the event is new; do not wait."""
        if self.url and self._is_first(event):
            thread = threading.Thread(target=self._post, args=(self.url, event, progress), daemon=True)
            thread.start()
            atexit.register(thread.join, TIMEOUT_S)  # the program's end waits for its last event, but not for ever

    def _is_first(self, event: str) -> bool:
        # After a change of params, the same round number can have other queries: that is another round.
        identity = "\n".join([self.project.url, self.round, *sorted(self.keys)])
        try:
            self.told.mkdir(parents=True, exist_ok=True)
            (self.told / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}-{event}").touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError as error:
            _warn(f"{self.told} cannot be written: {error.strerror}")
            return False
        return True

    def _post(self, url: str, event: str, progress: Progress) -> None:
        state = f"{progress.answered} of {progress.asked} answered"
        body: dict[str, str | int] = {
            "event": event,
            "project": self.project.title,
            "round": self.round,
            "asked": progress.asked,
            "answered": progress.answered,
            "url": self.project.url,
            "text": f"{self.project.title}, round {self.round} {event}: {state}. {self.project.url}",
        }
        try:
            # Streamed, because the reply's content does not matter.
            with requests.post(url, json=body, timeout=TIMEOUT_S, stream=True, allow_redirects=False) as reply:
                status = reply.status_code
        except requests.RequestException as error:
            _warn(type(error).__name__)
        else:
            if not 200 <= status < 300:
                _warn(f"status {status}")


def _warn(reason: str) -> None:
    console.print(
        f"warning: `{WEBHOOK}` did not get an event ({reason}). Nothing else is affected.", markup=False, soft_wrap=True
    )
