"""A Label Studio of one's own, on this machine only.

    python -m labelstudio.server.local start|status|stop|login|invite

The server is a detached process that outlives whoever started it (``process.py``). Passwords
and tokens are random and lie in ``server.json`` in the data folder, readable by its owner only.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from rich.console import Console

from labelstudio.exchange.records import AnnotationError
from labelstudio.server import accounts, process

DATA_DIR = Path(".labelstudio")
LAUNCHES = 5  # servers that start at the same moment choose the same port, and all but one must choose again

console = Console(stderr=True)


@dataclass(frozen=True)
class Server:
    """A running local server; its keys stay out of its printed form."""

    url: str
    data_dir: Path
    expert: accounts.Account = field(repr=False)
    admin: accounts.Account = field(repr=False)
    crowd: tuple[accounts.Account, ...] = field(repr=False, default=())  # further simulated experts

    @property
    def api_key(self) -> str:
        """The administrator's key: it creates projects, pushes and pulls."""
        return self.admin["token"]

    @property
    def expert_api_key(self) -> str:
        """The expert's own key, with which answers are given."""
        return self.expert["token"]

    @property
    def expert_api_keys(self) -> list[str]:
        """The expert's key, and those of the further simulated experts."""
        return [account["token"] for account in (self.expert, *self.crowd)]


def connect(experts: int = 1) -> tuple[str, str, str | None]:
    """(URL, API key, simulated experts' own API keys or None) of the Label Studio to use.

    Several experts' keys are separated by commas; a local server has at least ``experts`` of them.

    That of ``LABEL_STUDIO_URL`` and ``LABEL_STUDIO_API_KEY``, from the environment or
    ``.env``, when they are set; otherwise a local server, started or reused
    (``LABEL_STUDIO_PORT`` chooses its port).
    """
    found = settings()
    url, api_key = found.get("LABEL_STUDIO_URL"), found.get("LABEL_STUDIO_API_KEY")
    if url and api_key:
        return url, api_key, found.get("LABEL_STUDIO_EXPERT_API_KEY") or None
    if url or api_key:
        missing = "LABEL_STUDIO_API_KEY" if url else "LABEL_STUDIO_URL"
        raise AnnotationError(
            f"{missing} is not set, but its counterpart is: set both to use that Label Studio, "
            "or neither to use a local one"
        )
    server = start(port=_port(found), experts=experts)
    return server.url, server.api_key, ",".join(server.expert_api_keys)


def is_there() -> bool:
    """Whether ``connect`` would start nothing: a server is named, or the local one is running."""
    return bool(settings().get("LABEL_STUDIO_URL")) or status() is not None


def start_early(data_dir: Path = DATA_DIR) -> None:
    """Start the local server, if that is the one to use, without waiting for it: ``connect`` will."""
    found = settings()
    if not found.get("LABEL_STUDIO_URL"):
        data_dir = _made(data_dir)
        with _alone(data_dir):
            _launch_unless_running(data_dir, _port(found))


def start(data_dir: Path = DATA_DIR, port: int | None = None, experts: int = 1) -> Server:
    """The local server of this data folder, started if it is not running; waits until it serves.

    Without ``port`` it takes the one it had last, else 8080, else the next that is free.
    """
    data_dir = _made(data_dir)
    with console.status("Label Studio: looking for a running server") as progress, _alone(data_dir):
        progress.update("Label Studio: waiting until it serves (a first start takes about half a minute)")
        state, url = _launch_and_wait(data_dir, port)
        if port is not None and url != process.url(port):
            raise AnnotationError(
                f"Label Studio runs at {url}, not on port {port}; to move it, run "
                f"`python -m labelstudio.server.local stop --data-dir {data_dir}` first"
            )
        admin, expert, crowd = state["admin"], state["expert"], state.setdefault("crowd", [])
        if len(crowd) < experts - 1:
            crowd += [accounts.new(f"expert-{number}") for number in range(len(crowd) + 2, experts + 1)]
            _write_state(data_dir, state)  # the passwords, before the server learns them
        if not accounts.are_ready(url, admin, expert, *crowd):
            progress.update("Label Studio: creating its accounts")
            accounts.sign_in(url, admin, expert, *crowd)
            _write_state(data_dir, state)
    return Server(url, data_dir, expert, admin, tuple(crowd))


def _launch_and_wait(data_dir: Path, port: int | None) -> tuple[dict[str, Any], str]:
    """What is remembered of the server, and where it serves; one that loses its port is launched on another."""
    for _ in range(LAUNCHES - 1):
        state = _launch_unless_running(data_dir, port)
        try:
            return state, process.wait_until_it_serves(data_dir)
        except AnnotationError:
            if not process.lost_its_port(data_dir):
                raise
    return _launch_unless_running(data_dir, port), process.wait_until_it_serves(data_dir)


def _launch_unless_running(data_dir: Path, port: int | None) -> dict[str, Any]:
    """What is remembered of this data folder's server, which runs now or soon."""
    state = _read_state(data_dir)
    if not process.is_running(data_dir):
        state["version"] = _version(data_dir, state.get("version"))
        state["port"] = process.free_port(port, preferred=state.get("port", process.FIRST_PORT))
        _write_state(data_dir, state)  # the passwords, before the server learns them
        process.launch(data_dir, state)
        if not console.is_terminal:  # where no display says so
            console.print(f"Label Studio: starting in {data_dir}", soft_wrap=True, highlight=False)
    return state


def _version(data_dir: Path, known: str | None) -> str:
    """The version that is installed; AnnotationError if a newer one has used this data folder.

    Label Studio changes its database when it is upgraded, and never back.
    """
    installed = version("label-studio")
    if known and _numbers(known) > _numbers(installed):
        raise AnnotationError(
            f"{data_dir} was last used by Label Studio {known}, and {installed}, which is installed, cannot read it; "
            f"install {known} (`pip install label-studio=={known}`), or move the folder away to start afresh"
        )
    return installed


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


def status(data_dir: Path = DATA_DIR) -> str | None:
    """The URL of this data folder's server, or None when none is running (or none serves yet)."""
    return process.serving_at(data_dir) if process.is_running(data_dir) else None


def stop(data_dir: Path = DATA_DIR) -> bool:
    """Stop this data folder's server, and no other; False when none was running."""
    if not process.is_running(data_dir):
        return False
    with _alone(data_dir):
        for how in (signal.SIGTERM, signal.SIGKILL):
            if process.is_running(data_dir):
                os.kill(process.pid(data_dir), how)
                process.wait_while(lambda: process.is_running(data_dir), patience_s=10)
        if process.is_running(data_dir):
            raise AnnotationError(f"the Label Studio in {data_dir} (process {process.pid(data_dir)}) does not stop")
    return True


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Only one process at a time starts or stops this folder's server; the others wait."""
    with (data_dir / "starting.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _made(data_dir: Path) -> Path:
    data_dir = data_dir.absolute()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AnnotationError(f"cannot use {data_dir} for Label Studio's data: {error.strerror}") from error
    return data_dir


# --- what is remembered ---


def settings() -> dict[str, str | None]:
    """The environment, and what ``.env`` says beyond it."""
    return {**dotenv_values(".env"), **os.environ}


def _port(found: dict[str, str | None]) -> int | None:
    port = found.get("LABEL_STUDIO_PORT") or None
    if port is not None and not port.isdecimal():
        raise AnnotationError(f"LABEL_STUDIO_PORT is {port!r}, not a port number; correct or unset it")
    return int(port) if port else None


def _read_state(data_dir: Path) -> dict[str, Any]:
    """Port and accounts of this data folder; new accounts when it has none yet."""
    path = data_dir / "server.json"
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"admin": accounts.new("admin"), "expert": accounts.new("expert")}
    except ValueError as error:
        raise AnnotationError(f"{path} is damaged ({error}); restore it, or move its folder away") from error
    return state


def _write_state(data_dir: Path, state: dict[str, Any]) -> None:
    """Replace ``server.json`` at once; readable by its owner only, from its first byte on."""
    draft = data_dir / "server.json.new"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(state, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(data_dir / "server.json")


# --- command line ---


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it worked, 1 when it did not (``status``: when nothing is running)."""
    parser = argparse.ArgumentParser(prog="python -m labelstudio.server.local", description="A local Label Studio.")
    parser.add_argument("command", choices=["start", "status", "stop", "login", "invite"])
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR, help="default: %(default)s")
    parser.add_argument("--port", type=int, help="for start; default: one that is free")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except AnnotationError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        console.print("interrupted; if the server was starting, it goes on starting")
    return 1


def _run(options: argparse.Namespace) -> int:
    if options.command == "start":
        print(start(options.data_dir, options.port).url)
    elif options.command == "stop":
        print("stopped" if stop(options.data_dir) else "nothing was running")
    elif options.command == "status":
        url = status(options.data_dir)
        print(url or ("starting" if process.is_running(options.data_dir) else "not running"))
        return 0 if url else 1
    elif options.command == "invite":
        server = start(options.data_dir)
        print(accounts.invitation(server.url, server.admin))
    else:
        server = start(options.data_dir)
        print(server.url)
        print(f"expert         {server.expert['email']}  {server.expert['password']}")
        print(f"administrator  {server.admin['email']}  {server.admin['password']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
