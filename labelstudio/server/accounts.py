"""The local server's accounts: an administrator, and simulated experts.

Each answer carries its author's account. So a simulated expert does not use the administrator's key: it signs up
with an invitation, as a person does.
"""

from __future__ import annotations

import secrets
from typing import Any

import requests

from labelstudio.exchange.records import AnnotationError

TIMEOUT_S = 30.0

Account = dict[str, str]  # email, password and, after signing in, token


def new(name: str) -> Account:
    """Return an account with a random password, which no server knows yet."""
    return {"email": f"{name}@localhost.local", "password": secrets.token_urlsafe(12)}


def are_ready(url: str, *accounts: Account) -> bool:
    """Return True if the server accepts the tokens of all these accounts."""
    try:
        for account in accounts:
            Browser(url).get("/api/current-user/whoami", account["token"])
    except (AnnotationError, KeyError):
        return False
    return True


def sign_in(url: str, admin: Account, *experts: Account) -> None:
    """Write the tokens into all these accounts; experts without an account at the server sign up.

    Each step can be repeated: if it was interrupted, the next call finishes it.
    """
    browser = Browser(url)
    if not browser.log_in(admin):
        raise AnnotationError(
            f"the Label Studio at {url} does not accept the password in its server.json: its database is older than "
            "that file. Fix: restore the file, or move the data folder away to start with an empty one."
        )
    admin["token"] = browser.token()
    page = browser.invitation()
    for expert in experts:
        browser = Browser(url)
        if not browser.log_in(expert):
            browser.post_form(page, {"email": expert["email"], "password": expert["password"]})
        expert["token"] = browser.token()


def invitation(url: str, admin: Account) -> str:
    """Return the link with which people sign up; it stays the same until an administrator resets it."""
    browser = Browser(url)
    if not browser.log_in(admin):
        raise AnnotationError(
            f"the Label Studio at {url} does not accept the administrator's password. Fix: correct the password."
        )
    return url + browser.invitation()


class Browser:
    """A session at the server's pages, as of a person's browser: it sends forms and keeps cookies."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False  # never send a local password through a proxy

    def get(self, path: str, token: str | None = None) -> requests.Response:
        """Return a page; raise AnnotationError if there is none."""
        headers = {"Authorization": f"Token {token}"} if token else {}
        return self._request("GET", path, headers=headers)

    def post_form(self, path: str, fields: Account) -> None:
        """Fill in the form on a page and send it."""
        self.get(path)
        csrf = self.session.cookies.get("csrftoken") or ""
        self._request("POST", path, data={**fields, "csrfmiddlewaretoken": csrf})

    def log_in(self, account: Account) -> bool:
        """Log in; return False if the server does not accept the password."""
        self.post_form("/user/login/", {"email": account["email"], "password": account["password"]})
        try:
            self.token()
        except AnnotationError:
            return False
        return True

    def token(self) -> str:
        """Return the API key of the account that is logged in."""
        return str(self.get("/api/current-user/token").json()["token"])

    def invitation(self) -> str:
        """Return the path of the page where invited people sign up."""
        return str(self.get("/api/invite").json()["invite_url"])

    def _request(self, method: str, path: str, **content: Any) -> requests.Response:
        try:
            response = self.session.request(method, self.url + path, timeout=TIMEOUT_S, **content)
        except requests.RequestException as error:
            raise AnnotationError(
                f"no Label Studio answers at {self.url} ({type(error).__name__}). Fix: start it "
                "(`lookaway server start`)."
            ) from error
        if not response.ok:
            page = path.partition("?")[0]  # the rest of an invitation's address is a secret
            raise AnnotationError(
                f"{self.url}{page} answers with status {response.status_code}. Fix: run this again; if the status "
                "stays, look at the server's log."
            )
        return response
