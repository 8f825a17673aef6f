"""A Label Studio with the settings of deploy/compose.yaml, on PostgreSQL and S3, but with plain HTTP on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
import yaml
from dotenv import dotenv_values

from fakes.checkout import ROOT
from fakes.postgres import USER, Postgres, postgres
from fakes.s3 import FakeS3
from labelstudio.server import accounts, process

COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
EXAMPLE = dotenv_values(ROOT / "deploy" / "example.env", interpolate=False)
PATIENCE_S = 600  # its first start makes the tables: a minute and a half of a core that other tests share


@dataclass
class Production:
    """A server that a test can kill and start again: its data are in the database and the storage."""

    folder: Path
    database: Postgres
    storage: FakeS3
    port: int = field(default_factory=lambda: process.free_port(None, preferred=18080))

    @property
    def url(self) -> str:
        return process.url(self.port)

    @property
    def admin(self) -> accounts.Account:
        settings = self._settings()
        return accounts.Account(email=settings["LABEL_STUDIO_USERNAME"], password=settings["LABEL_STUDIO_PASSWORD"])

    def start(self) -> None:
        """Start it, and return when it answers."""
        command = [sys.executable, "-m", "label_studio.server", "start", "--no-browser"]
        command += ["--internal-host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self.folder)]
        with (self.folder / "log").open("a") as log:
            self.server = subprocess.Popen(command, env=self._settings(), cwd=self.folder, stdout=log, stderr=log)
        process.wait_while(lambda: self.server.poll() is None and not self.serves(), PATIENCE_S, every_s=0.5)
        assert self.serves(), (self.folder / "log").read_text()[-2000:]

    def serves(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=10).ok
        except requests.RequestException:
            return False

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self.server.kill()
        self.server.wait()

    def sign_up(self, person: accounts.Account) -> str:
        """Let a person sign up with the administrator's invitation, and return the person's API key."""
        browser = accounts.Browser(self.url)
        browser.post_form(accounts.invitation(self.url, self.admin).removeprefix(self.url), person)
        return browser.token()

    def _settings(self) -> dict[str, str]:
        password, storage = self.database.password, self.storage.url
        values = {**EXAMPLE, "POSTGRES_USER": USER, "POSTGRES_PASSWORD": password, "S3_ENDPOINT_URL": storage}
        settings = {
            name: re.sub(r"\$\{(\w+)[^}]*\}", lambda match: values[match[1]], value)
            for name, value in COMPOSE["services"]["label-studio"]["environment"].items()
        }
        return settings | {
            "POSTGRE_HOST": "127.0.0.1",
            "POSTGRE_PORT": str(self.database.port),
            "LABEL_STUDIO_HOST": self.url,
            "CSRF_TRUSTED_ORIGINS": self.url,
            "SESSION_COOKIE_SECURE": "0",
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder),
            "LABEL_STUDIO_SENTRY_DSN": "",
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        }


@contextmanager
def production(folder: Path) -> Iterator[Production]:
    """A running server with a database and a storage of its own; the test is skipped if PostgreSQL is not installed."""
    with postgres() as database, FakeS3() as storage:
        database.shell("createdb labelstudio")
        server = Production(folder, database, storage)
        server.start()
        try:
            yield server
        finally:
            server.server.terminate()
            server.server.wait()
