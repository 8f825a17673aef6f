"""Requests to one Label Studio: each is sent once, and a list is read completely or not at all.

All requests use the SDK's public client, on an HTTP client of ours. A hook of the HTTP client sees each reply first:
it checks the status, reads the server's clock and keeps the JSON untouched.

Three habits of the SDK are avoided. It repeats POSTs, which duplicates tasks. Its pager takes every 404 for the end of
a list. Its typed replies rewrite times.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from labelstudio.exchange.records import AnnotationError

if TYPE_CHECKING:
    import httpx
    from label_studio_sdk import LabelStudio as Sdk

ATTEMPTS = 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
PAGE_SIZE = 500
TIMEOUT_S, CONNECT_TIMEOUT_S = 120.0, 10.0
SETTLE_S = 5.0
CA_BUNDLE = "LABEL_STUDIO_CA_BUNDLE"

Page = dict[str, int]  # the parameters that choose one page of a list


class Unreachable(AnnotationError):
    """The server did not answer properly this time; it may the next time."""


class Refused(AnnotationError):
    """The server refused a request, which had no effect; ``status`` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """One account's connection to one Label Studio, for one thread. No message contains the API key."""

    def __init__(self, url: str, api_key: str) -> None:
        import httpx  # imported with the SDK, which takes seconds: only where a connection is made

        self.url = _checked_url(url)
        parts = urlsplit(self.url)
        self.path = parts.path
        self._api_key = _checked_key(api_key)
        self._now = datetime.now(UTC)
        self._reply: Any = None
        # A proxy named in the environment is for other machines, not for this one.
        is_local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        # Label Studio's own server sends a reply in two parts. On a kept connection, the second part waits 40 ms for
        # the acknowledgement of the first. Across a network, a new connection costs more.
        self._http = httpx.Client(
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            trust_env=not is_local,
            verify=_certificates(),
            limits=httpx.Limits(max_keepalive_connections=0 if is_local else 20),
            event_hooks={"response": [self._check]},
        )
        self._sdk = self._sign_in()

    def now(self) -> datetime:
        """Return the time of the server's last reply by the server's clock."""
        return self._now

    def call(self, send: Callable[[Sdk], object]) -> Any:
        """Send one request with the SDK, once, and return the server's JSON untouched.

        Raises Refused if the server refuses the request, Unreachable if a later attempt may succeed.
        """
        import httpx

        try:
            try:
                send(self._sdk)
            except Refused as error:
                if error.status != 401 or not self._has_personal_token():
                    raise
                # An access token lives for minutes. By our clock, which may be slow, it is still valid.
                # A refused request had no effect, so sending it again duplicates nothing.
                self._sdk = self._sign_in()
                send(self._sdk)
        except (httpx.HTTPError, ValueError) as error:
            raise self._failed(error) from error
        return self._reply

    def pages(self, send: Callable[[Sdk, Page], object], *, rows: str, total: str) -> list[dict[str, Any]]:
        """Return all rows of a paged list, compared with its total; try again while the two disagree.

        Args:
            send: Request one page with the SDK.
            rows: The name of the rows in the server's JSON.
            total: The name of the number of all rows in the server's JSON.
        """
        return attempts()(lambda: list(self._all_pages(send, rows=rows, total=total)))

    def upload(self, project: int, files: dict[str, tuple[str, bytes]]) -> None:
        """Upload pictures to a project, once; each has its file name and its content."""

        def send(sdk: Sdk) -> None:
            # Not an SDK call: `projects.import_tasks` sends JSON only, and Label Studio takes files as a form.
            self._http.post(
                f"{self.url}/api/projects/{project}/import",
                params={"commit_to_project": "false"},
                files=files,
                headers={"Authorization": self._authorization(sdk)},
            )

        self.call(send)

    def _all_pages(self, send: Callable[[Sdk, Page], object], *, rows: str, total: str) -> Iterator[dict[str, Any]]:
        # Not the SDK's pager, which takes every 404 for the end: page by page, until the total is reached.
        seen: set[int] = set()
        number = 1
        while True:
            try:
                reply = self._page(send, number)
            except Refused as error:
                if error.status == 404 and number > 1:
                    raise Unreachable(
                        f"a list at {self.url} ends after {len(seen)} rows. Fix: run this again."
                    ) from error
                raise
            new = [row for row in reply[rows] if row["id"] not in seen]
            yield from new
            seen |= {row["id"] for row in new}
            if len(seen) == reply[total]:
                return
            # Rows are being added or deleted meanwhile, or a page was cut short.
            if len(seen) > reply[total] or not new:
                raise Unreachable(f"{self.url} lists {len(seen)} of {reply[total]} rows. Fix: run this again.")
            number += 1

    def _page(self, send: Callable[[Sdk, Page], object], number: int) -> Any:
        page = {"page": number, "page_size": PAGE_SIZE}
        return self.call(lambda sdk: send(sdk, page))

    def _sign_in(self) -> Sdk:
        """Return a client of the SDK without an access token: its next request exchanges a personal token for one."""
        from label_studio_sdk import LabelStudio as Sdk
        from label_studio_sdk.core import ApiError

        try:
            # Without retries for every call: the SDK repeats POSTs, also after a 409.
            return Sdk(base_url=f"{self.url}/", api_key=self._api_key, httpx_client=self._http, max_retries=0)
        except ApiError as error:  # a personal access token that has expired
            raise self._wrong_key(401) from error

    def _has_personal_token(self) -> bool:
        return "." in self._api_key  # a JWT; Label Studio's legacy tokens are hexadecimal

    def _authorization(self, sdk: Sdk) -> str:
        if self._has_personal_token():
            return f"Bearer {sdk.tokens.refresh(refresh=self._api_key).access}"
        return f"Token {self._api_key}"

    def _check(self, response: httpx.Response) -> None:
        """Read the server's clock, keep the JSON, and raise an error that says what to do for any other reply."""
        response.read()
        status, where = response.status_code, response.url.copy_with(query=None)
        if date := response.headers.get("date"):
            self._now = parsedate_to_datetime(date)
        if status >= 500 or status in (408, 429):
            raise Unreachable(f"{where} answers with status {status}. Fix: run this again later.")
        if response.is_redirect:
            there = response.headers.get("location", "another address")
            raise AnnotationError(f"{self.url} redirects to {there}. Fix: correct `LABEL_STUDIO_URL`.")
        if status in (401, 403):
            raise self._wrong_key(status)
        try:
            self._reply = response.json()
        except ValueError as error:  # the reply is from another program between us and Label Studio
            raise self._not_there(f"another program replies, with status {status}") from error
        if status >= 400 and where.path.endswith("/api/token/refresh/"):
            raise self._wrong_key(status)
        if status >= 400:
            raise Refused(f"{where} refuses a request (status {status}): {str(self._reply)[:500]}", status)

    def _wrong_key(self, status: int) -> Refused:
        return Refused(
            f"{self.url} does not accept the API key. Fix: copy a valid key from {self.url}/user/account into "
            "`LABEL_STUDIO_API_KEY`.",
            status,
        )

    def _failed(self, error: Exception) -> AnnotationError:
        """Return the error to raise for a request without a reply; a later attempt mends no certificate."""
        causes = [error]
        while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and isinstance(cause, Exception):
            causes.append(cause)
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return AnnotationError(
                    f"the certificate of {self.url} is not trusted: {cause.verify_message}. Fix: set `{CA_BUNDLE}` to "
                    "the file with the certificate of its authority, or correct `LABEL_STUDIO_URL`."
                )
            if isinstance(cause, ssl.SSLError):
                return AnnotationError(
                    f"{self.url} answers without TLS ({cause.reason}). Fix: correct `LABEL_STUDIO_URL`, perhaps to "
                    "http://."
                )
        last = causes[-1]
        return self._not_there(str(getattr(last, "strerror", None) or type(error).__name__))

    def _not_there(self, reason: str) -> Unreachable:
        return Unreachable(
            f"no Label Studio answers at {self.url} ({reason}). Fix: start it (`lookaway server start`), or correct "
            "`LABEL_STUDIO_URL`."
        )


def _checked_url(url: str) -> str:
    """Return the URL without surrounding blanks and a slash at its end; AnnotationError if it is none."""
    import httpx

    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or re.search(r"\s", url.strip()):
        raise AnnotationError(
            f"{url!r} is not a Label Studio URL. Fix: set `LABEL_STUDIO_URL` to a URL such as http://localhost:8080."
        )
    return url.strip().rstrip("/")


def _checked_key(key: str) -> str:
    """Return the key without surrounding blanks and line ends; AnnotationError if no key can be like this."""
    if not re.fullmatch(r"[!-~]+", key.strip()):
        raise AnnotationError(
            "an API key is empty, or has a blank, a line end or a special character inside. Fix: correct "
            "`LABEL_STUDIO_API_KEY` (or `LABEL_STUDIO_EXPERT_API_KEY`); it is the key alone, without `Token` before it."
        )
    return key.strip()


def _certificates() -> ssl.SSLContext | bool:
    """Return the authorities that are trusted: the usual ones, and those in the file that the environment names."""
    bundle = os.environ.get(CA_BUNDLE)
    if not bundle:
        return True
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
    except (OSError, ssl.SSLError) as error:
        raise AnnotationError(
            f"`{CA_BUNDLE}` is {bundle!r}, which is no file with certificates ({error.strerror or error}). Fix: "
            "correct or unset it."
        ) from error
    return context


def attempts() -> Retrying:
    """Return the attempts at something that an unreachable server may interrupt, with growing pauses between them."""
    return Retrying(
        retry=retry_if_exception_type(Unreachable),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(multiplier=FIRST_PAUSE_S, max=LONGEST_PAUSE_S),
        reraise=True,
    )


def settle() -> None:
    """Wait as long as the server may still be working on a request that we have given up."""
    time.sleep(SETTLE_S)
