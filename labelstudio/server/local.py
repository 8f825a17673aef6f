"""A local Label Studio, for this machine only: start it, find it, stop it, and choose between it and a shared one.

The server is a detached process that survives the program that started it (``process.py``). Its passwords and tokens
are random. They are in ``server.json`` in the data folder, which only its owner can read.
"""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from filelock import FileLock
from rich.console import Console

from labelstudio.exchange.records import AnnotationError
from labelstudio.server import accounts, checkout, process

DATA_DIR = ".labelstudio"  # in the checkout
LAUNCHES = 5  # servers that start at the same moment choose the same port, and all but one must choose again

console = Console(stderr=True)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running local server; its printed form contains no key.

    Attributes:
        url: The server's URL.
        data_dir: The folder with its database, log and passwords.
        admin: The account that creates projects, pushes and pulls.
        expert: The first simulated expert's account.
        crowd: The other simulated experts' accounts.
    """

    url: str
    data_dir: Path
    admin: accounts.Account = field(repr=False)
    expert: accounts.Account = field(repr=False)
    crowd: tuple[accounts.Account, ...] = field(repr=False, default=())

    @property
    def api_key(self) -> str:
        """The administrator's API key."""
        return self.admin["token"]

    @property
    def expert_api_key(self) -> str:
        """The first simulated expert's API key."""
        return self.expert["token"]

    @property
    def expert_api_keys(self) -> list[str]:
        """The API keys of all simulated experts."""
        return [account["token"] for account in (self.expert, *self.crowd)]


def connect(experts: int = 1) -> tuple[str, str, str | None]:
    """Return (URL, API key, simulated experts' API keys) of the Label Studio to use.

    ``LABEL_STUDIO_URL`` and ``LABEL_STUDIO_API_KEY``, in the environment or in ``.env``, choose a shared server.
    Without them, a local server is started or reused, with at least ``experts`` accounts of simulated experts;
    ``LABEL_STUDIO_PORT`` chooses its port. Several experts' keys are separated by commas; None if there is no key.
    """
    found = settings()
    url, api_key = found.get("LABEL_STUDIO_URL"), found.get("LABEL_STUDIO_API_KEY")
    if url and api_key:
        return url, api_key, found.get("LABEL_STUDIO_EXPERT_API_KEY") or None
    if url or api_key:
        present, missing = sorted(("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"), key=lambda name: not found.get(name))
        raise AnnotationError(
            f"`{missing}` is not set, but `{present}` is. Fix: set both to use that Label Studio, or neither to use a "
            "local one."
        )
    server = start(port=_port(found), experts=experts)
    return server.url, server.api_key, ",".join(server.expert_api_keys)


def is_there() -> bool:
    """Return True if ``connect`` starts no server: a server is named, or the local server runs."""
    return bool(settings().get("LABEL_STUDIO_URL")) or status() is not None


def start_early(data_dir: Path | None = None) -> None:
    """Start the local server, unless another server is named, and do not wait: ``connect`` waits for it."""
    found = settings()
    if not found.get("LABEL_STUDIO_URL"):
        data_dir = _made(data_dir or default_dir())
        with _alone(data_dir):
            _launch_unless_running(data_dir, _port(found))


def start(data_dir: Path | None = None, port: int | None = None, experts: int = 1) -> Server:
    """Return this data folder's server; start it if it does not run, and wait until it answers.

    Without ``port``, the server gets its last port, or else 8080, or else the next free one. It has accounts of at
    least ``experts`` simulated experts.
    """
    data_dir = _made(data_dir or default_dir())
    with console.status("Label Studio: looking for a running server") as progress, _alone(data_dir):
        progress.update("Label Studio: waiting until it answers (a first start takes about half a minute)")
        state, url = _launch_and_wait(data_dir, port)
        if port is not None and url != process.url(port):
            raise AnnotationError(
                f"Label Studio runs at {url}, not on port {port}. Fix: to move it, first run "
                f"`lookaway server stop --data-dir {data_dir}`."
            )
        admin, expert, crowd = state["admin"], state["expert"], state.setdefault("crowd", [])
        if len(crowd) < experts - 1:
            crowd += [accounts.new(f"expert-{number}") for number in range(len(crowd) + 2, experts + 1)]
            _write_state(data_dir, state)  # the passwords, before the server gets them
        if not accounts.are_ready(url, admin, expert, *crowd):
            progress.update("Label Studio: creating its accounts")
            accounts.sign_in(url, admin, expert, *crowd)
            _write_state(data_dir, state)
    return Server(url=url, data_dir=data_dir, admin=admin, expert=expert, crowd=tuple(crowd))


def status(data_dir: Path | None = None) -> str | None:
    """Return the URL of this data folder's server; None if it does not run or does not answer yet."""
    data_dir = data_dir or default_dir()
    return process.serving_at(data_dir) if process.is_running(data_dir) else None


def stop(data_dir: Path | None = None) -> bool:
    """Stop this data folder's server, and no other; return False if it does not run."""
    data_dir = data_dir or default_dir()
    if not process.is_running(data_dir):
        return False
    with _alone(data_dir):
        for signal_ in (signal.SIGTERM, signal.SIGKILL):
            if process.is_running(data_dir):
                os.kill(process.pid(data_dir), signal_)
                process.wait_while(lambda: process.is_running(data_dir), patience_s=10)
        if process.is_running(data_dir):
            number = process.pid(data_dir)
            raise AnnotationError(
                f"the Label Studio in {data_dir} (process {number}) does not stop. Fix: end that process by hand."
            )
    return True


def invite(data_dir: Path | None = None) -> str:
    """Return the link with which people sign up at this data folder's server; start the server if it does not run."""
    server = start(data_dir)
    return accounts.invitation(server.url, server.admin)


# --- start ---


def _launch_and_wait(data_dir: Path, port: int | None) -> tuple[dict[str, Any], str]:
    """Return the server's state and URL; start the server again on another port if it loses its port."""
    for _ in range(LAUNCHES - 1):
        state = _launch_unless_running(data_dir, port)
        try:
            return state, process.wait_until_it_serves(data_dir)
        except AnnotationError:
            if not process.lost_its_port(data_dir):
                raise
    return _launch_unless_running(data_dir, port), process.wait_until_it_serves(data_dir)


def _launch_unless_running(data_dir: Path, port: int | None) -> dict[str, Any]:
    """Return the state of this data folder's server, which runs now or soon."""
    state = _read_state(data_dir)
    if not process.is_running(data_dir):
        state["version"] = _version(data_dir, state.get("version"))
        state["port"] = process.free_port(port, preferred=state.get("port", process.FIRST_PORT))
        _write_state(data_dir, state)  # the passwords, before the server gets them
        process.launch(data_dir, state)
        if not console.is_terminal:  # a terminal shows the status display
            console.print(f"Label Studio: starting in {data_dir}", soft_wrap=True, highlight=False)
    return state


def _version(data_dir: Path, known: str | None) -> str:
    """Return the installed version; AnnotationError if there is none, or if a newer one used this data folder.

    A newer Label Studio changes the database, and an older one cannot change it back.
    """
    try:
        installed = version("label-studio")
    except PackageNotFoundError:
        raise AnnotationError(
            "Label Studio is not installed here, so no local server can start. Fix: `pip install -e '.[local-server]'` "
            "or set `LABEL_STUDIO_URL` and `LABEL_STUDIO_API_KEY`."
        ) from None
    if known and _numbers(known) > _numbers(installed):
        raise AnnotationError(
            f"{data_dir} was last used by Label Studio {known}, and the installed {installed} cannot read it. Fix: "
            f"`pip install label-studio=={known}`, or move the folder away to start with an empty one."
        )
    return installed


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def _alone(data_dir: Path) -> FileLock:
    """Return the lock with which one program at a time starts or stops this folder's server; the others wait."""
    return FileLock(data_dir / "starting.lock")


def _made(data_dir: Path) -> Path:
    data_dir = data_dir.absolute()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AnnotationError(
            f"{data_dir} cannot be Label Studio's data folder: {error.strerror}. Fix: choose another folder."
        ) from error
    return data_dir


# --- settings and state ---


def default_dir() -> Path:
    """Return the data folder of the checkout, which is the default."""
    return checkout.home() / DATA_DIR


def settings() -> dict[str, str | None]:
    """Return the environment, and the variables that only the checkout's ``.env`` has."""
    return {**dotenv_values(checkout.home() / ".env"), **os.environ}


def _port(found: dict[str, str | None]) -> int | None:
    port = found.get("LABEL_STUDIO_PORT") or None
    if port is not None and not port.isdecimal():
        raise AnnotationError(f"`LABEL_STUDIO_PORT` must be a port number, not {port!r}. Fix: correct or unset it.")
    return int(port) if port else None


def _read_state(data_dir: Path) -> dict[str, Any]:
    """Return the port and the accounts of this data folder; new accounts if it has none."""
    path = data_dir / "server.json"
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"admin": accounts.new("admin"), "expert": accounts.new("expert")}
    except ValueError as error:
        raise AnnotationError(f"{path} is not JSON. Fix: restore it, or move its folder away.") from error
    return state


def _write_state(data_dir: Path, state: dict[str, Any]) -> None:
    """Replace ``server.json`` at once; only its owner can read it, from its first byte on."""
    draft = data_dir / "server.json.new"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(state, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(data_dir / "server.json")
