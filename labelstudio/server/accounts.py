"""The local server's accounts: an administrator, and experts of their own.

Answers must carry the name of whoever gave them, so a simulated expert does not borrow the
administrator's key: it signs up by invitation, as a person would.
"""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import secrets
import urllib.parse
import urllib.request

from labelstudio.exchange.records import AnnotationError

Account = dict[str, str]  # email, password and, once looked up, token


def new(name: str) -> Account:
    """An account with a random password, not yet known to any server."""
    return {"email": f"{name}@localhost.local", "password": secrets.token_urlsafe(12)}


def are_ready(url: str, *accounts: Account) -> bool:
    """Whether the server accepts the tokens of all these accounts."""
    try:
        for account in accounts:
            Browser(url).get("/api/current-user/whoami", account["token"])
    except (AnnotationError, KeyError):
        return False
    return True


def sign_in(url: str, admin: Account, *experts: Account) -> None:
    """Look up the administrator's token, let the experts sign up by invitation; fills in all tokens.

    Each step can be repeated, so what was killed in between is finished by the next call.
    """
    browser = Browser(url)
    if not browser.log_in(admin):
        raise AnnotationError(
            f"the Label Studio at {url} does not know the password in its server.json: its database is older "
            "than that file; restore the file, or move the data folder away to start afresh"
        )
    admin["token"] = browser.token()
    invitation = browser.invitation()
    for expert in experts:
        browser = Browser(url)
        if not browser.log_in(expert):
            browser.post_form(invitation, {"email": expert["email"], "password": expert["password"]})
        expert["token"] = browser.token()


def invitation(url: str, admin: Account) -> str:
    """The link with which anybody signs up; the same one until somebody resets it in Label Studio."""
    browser = Browser(url)
    if not browser.log_in(admin):
        raise AnnotationError(f"the Label Studio at {url} does not accept the administrator's password any more")
    return url + browser.invitation()


class Browser:
    """What a person's browser does at the server: pages, forms and a session of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self.cookies),
            urllib.request.ProxyHandler({}),  # never send a local password through a proxy
        )

    def get(self, path: str, token: str | None = None) -> bytes:
        """The page's body; raises AnnotationError when there is none."""
        headers = {"Authorization": f"Token {token}"} if token else {}
        return self._open(urllib.request.Request(self.url + path, headers=headers))

    def post_form(self, path: str, fields: Account) -> None:
        """Fill in the form on this page and send it."""
        self.get(path)
        csrf = next((cookie.value for cookie in self.cookies if cookie.name == "csrftoken"), None)
        form = urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": csrf or ""})
        self._open(urllib.request.Request(self.url + path, data=form.encode()))

    def log_in(self, account: Account) -> bool:
        """Whether the server accepts this password."""
        self.post_form("/user/login/", {"email": account["email"], "password": account["password"]})
        try:
            self.token()
        except AnnotationError:
            return False
        return True

    def token(self) -> str:
        """The API key of whoever is logged in."""
        return str(json.loads(self.get("/api/current-user/token"))["token"])

    def invitation(self) -> str:
        """The path of the page where whoever has its address signs up; for whoever is logged in to pass on."""
        return str(json.loads(self.get("/api/invite"))["invite_url"])

    def _open(self, request: urllib.request.Request) -> bytes:
        try:
            with self.opener.open(request, timeout=30) as response:
                content: bytes = response.read()
                return content
        except (OSError, http.client.HTTPException) as error:
            raise AnnotationError(f"Label Studio at {self.url} does not answer as expected: {error}") from error
