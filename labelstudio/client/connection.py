"""HTTP to Label Studio: one request is sent once, a list is read whole or not at all.

Uses the SDK's transport, which takes legacy tokens and personal access tokens alike, and
leaves its resource methods alone, for three reasons: they retry POSTs, which duplicates
tasks; their pager takes any 404 for the end; and importing them takes two seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from label_studio_sdk.core.api_error import ApiError
from label_studio_sdk.core.client_wrapper import SyncClientWrapper

from labelstudio.exchange.records import AnnotationError

ATTEMPTS = 5
PAGE_SIZE = 500
TIMEOUT = httpx.Timeout(120, connect=10)  # seconds
SETTLE_S = 5.0


class Unreachable(AnnotationError):
    """The server did not answer properly this time; it may the next time."""


class Connection:
    """One account's connection to one Label Studio. No message ever contains the API key."""

    def __init__(self, url: str, api_key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AnnotationError(f"{url!r} is not a Label Studio URL, such as http://localhost:8080")
        self.url = url.rstrip("/")
        self.path = parts.path.rstrip("/")
        self._now = datetime.now(timezone.utc)
        # A proxy named in the environment is for other machines, not for this one.
        is_local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        # Label Studio's own server sends a reply in two parts, the second of which waits 40 ms for an acknowledgement
        # of the first unless the connection is new; across a network, a new one costs more than that.
        kept = httpx.Limits(max_keepalive_connections=0 if is_local else 20)
        self._client = httpx.Client(timeout=TIMEOUT, trust_env=not is_local, limits=kept)
        self._api_key = api_key
        self._sign_in()

    def _sign_in(self) -> None:
        """Forget the access token that a personal access token was exchanged for; the next request gets another."""
        try:
            self._http = SyncClientWrapper(
                api_key=self._api_key, base_url=self.url + "/", max_retries=0, httpx_client=self._client
            ).httpx_client
        except ApiError as error:
            raise self._rejected() from error

    def get(self, path: str, **params: Any) -> Any:
        """The JSON at this path."""
        return self._accepted(path, *self._request("GET", path, params=params))

    def post(self, path: str, is_there: int | None = None, **content: Any) -> Any:
        """Post once, never again by itself; ``is_there`` is the status that means "I have that"."""
        status, reply = self._request("POST", path, **content)
        return reply if status == is_there else self._accepted(path, status, reply)

    def patch(self, path: str, **content: Any) -> Any:
        """Change what is at this path; doing it twice is doing it once."""
        return self._accepted(path, *self._request("PATCH", path, **content))

    def pages(self, path: str, rows: str, total: str, **params: Any) -> list[dict[str, Any]]:
        """All rows of a paged list, checked against its total; tries again while they disagree."""
        for failures in range(1, ATTEMPTS):
            try:
                return list(self._all_pages(path, rows, total, params))
            except Unreachable:
                time.sleep(pause_s(failures))
        return list(self._all_pages(path, rows, total, params))

    def _all_pages(self, path: str, rows: str, total: str, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
        seen: set[int] = set()
        page = 1
        while True:
            status, reply = self._request("GET", path, params={**params, "page": page, "page_size": PAGE_SIZE})
            if status == 404 and page > 1:
                raise Unreachable(f"{self.url}/{path} ends after {len(seen)} rows; run this again")
            reply = self._accepted(path, status, reply)
            new = [row for row in reply[rows] if row["id"] not in seen]
            yield from new
            seen |= {row["id"] for row in new}
            if len(seen) == reply[total]:
                return
            # Somebody is adding or deleting rows, or a page was cut short.
            if len(seen) > reply[total] or not new:
                raise Unreachable(f"{self.url}/{path} lists {len(seen)} of {reply[total]}; run this again")
            page += 1

    def now(self) -> datetime:
        """The time by the server's clock when it last answered."""
        return self._now

    def _request(self, method: str, path: str, **content: Any) -> tuple[int, Any]:
        """Status and JSON of the reply; AnnotationError if there is none, or a retry may help."""
        try:
            response = self._http.request(path, method=method, **content)
            if response.status_code == 401 and "." in self._api_key:
                # An access token lives for minutes, and by our clock, which may be slow, it is still good.
                # What was refused was not done: it can be sent again.
                self._sign_in()
                response = self._http.request(path, method=method, **content)
            status = response.status_code
            if date := response.headers.get("date"):
                self._now = parsedate_to_datetime(date)
            if status in (401, 403):
                raise self._rejected()
            if status >= 500 or status in (408, 429):
                raise Unreachable(f"{self.url}/{path} answers with status {status}; run this again later")
            if response.is_redirect:
                there = response.headers["location"]
                raise AnnotationError(f"{self.url} redirects to {there}; correct LABEL_STUDIO_URL")
            return status, response.json()
        except ApiError as error:  # a personal access token was not exchanged
            if (error.status_code or 0) < 500:
                raise self._rejected() from error
            raise Unreachable(f"{self.url} answers with status {error.status_code}; run this again") from error
        except (httpx.HTTPError, ValueError) as error:
            # What is not JSON comes from something in between, not from Label Studio.
            raise Unreachable(
                f"no Label Studio answers at {self.url} ({type(error).__name__}); start it "
                "(`python -m labelstudio.server.local start`), or correct LABEL_STUDIO_URL"
            ) from error

    def _accepted(self, path: str, status: int, reply: Any) -> Any:
        if status >= 400:
            raise AnnotationError(f"{self.url}/{path} refuses (status {status}): {str(reply)[:500]}")
        return reply

    def _rejected(self) -> AnnotationError:
        return AnnotationError(
            f"{self.url} does not accept the API key; copy a valid one from {self.url}/user/account into "
            "LABEL_STUDIO_API_KEY"
        )


def settle() -> None:
    """Wait as long as a request whose client is gone may still be under way on the server."""
    time.sleep(SETTLE_S)


def pause_s(failures: int) -> float:
    """How long to wait before another attempt: from a quarter of a second up to five."""
    return float(min(2.0**failures / 8, 5.0))
