"""A Label Studio of one's own, on this machine only.

    python -m labelstudio.server start|status|stop|login

The server is a detached process that outlives whoever started it. It holds a lock on its
data folder for as long as it lives, and the kernel gives that lock back however it dies: so
"is it running?" never rests on a pid that something else may have got since. Passwords and
tokens are random and lie in ``server.json`` in the data folder, readable by its owner only;
the password reaches the server through its environment, where other users cannot see it.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from rich.console import Console

from labelstudio import accounts
from labelstudio.records import AnnotationError

DATA_DIR = Path(".labelstudio")
FIRST_PORT = 8080
PATIENCE_S = 240  # a first start creates the database: 20 s alone, minutes on a busy machine

console = Console(stderr=True)


@dataclass(frozen=True)
class Server:
    """A running local server; its keys stay out of its printed form."""

    url: str
    data_dir: Path
    expert: accounts.Account = field(repr=False)
    admin: accounts.Account = field(repr=False)

    @property
    def api_key(self) -> str:
        """The administrator's key: it creates projects, pushes and pulls."""
        return self.admin["token"]

    @property
    def expert_api_key(self) -> str:
        """The expert's own key, with which answers are given."""
        return self.expert["token"]


def connect() -> tuple[str, str, str | None]:
    """(URL, API key, a simulated expert's own API key or None) of the Label Studio to use.

    That of ``LABEL_STUDIO_URL`` and ``LABEL_STUDIO_API_KEY``, from the environment or
    ``.env``, when they are set; otherwise a local server, started or reused
    (``LABEL_STUDIO_PORT`` chooses its port).
    """
    settings = {**dotenv_values(".env"), **os.environ}
    url, api_key = settings.get("LABEL_STUDIO_URL"), settings.get("LABEL_STUDIO_API_KEY")
    if url and api_key:
        return url, api_key, settings.get("LABEL_STUDIO_EXPERT_API_KEY") or None
    if url or api_key:
        missing = "LABEL_STUDIO_API_KEY" if url else "LABEL_STUDIO_URL"
        raise AnnotationError(
            f"{missing} is not set, but its counterpart is: set both to use that Label Studio, "
            "or neither to use a local one"
        )
    port = settings.get("LABEL_STUDIO_PORT") or None
    if port is not None and not port.isdecimal():
        raise AnnotationError(f"LABEL_STUDIO_PORT is {port!r}, not a port number; correct or unset it")
    server = start(port=int(port) if port else None)
    return server.url, server.api_key, server.expert_api_key


def start(data_dir: Path = DATA_DIR, port: int | None = None) -> Server:
    """The local server of this data folder, started if it is not running; waits until it serves.

    Without ``port`` it takes the one it had last, else 8080, else the next that is free.
    """
    data_dir = data_dir.absolute()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AnnotationError(f"cannot use {data_dir} for Label Studio's data: {error.strerror}") from error
    with console.status("Label Studio: looking for a running server") as progress, _alone(data_dir):
        state = _read_state(data_dir)
        if not _is_running(data_dir):
            state["port"] = _free_port(port, preferred=state.get("port", FIRST_PORT))
            _write_state(data_dir, state)  # the passwords, before the server learns them
            _launch(data_dir, state)
            if not console.is_terminal:  # where the display below shows nothing
                console.print(f"Label Studio: starting in {data_dir}", soft_wrap=True, highlight=False)
        progress.update("Label Studio: waiting until it serves (a first start takes about half a minute)")
        url = _wait_until_it_serves(data_dir)
        if port is not None and url != _url(port):
            raise AnnotationError(
                f"Label Studio runs at {url}, not on port {port}; to move it, run "
                f"`python -m labelstudio.server stop --data-dir {data_dir}` first"
            )
        admin, expert = state["admin"], state["expert"]
        if not accounts.are_ready(url, admin, expert):
            progress.update("Label Studio: creating its accounts")
            accounts.sign_in(url, admin, expert)
            _write_state(data_dir, state)
    return Server(url, data_dir, expert, admin)


def status(data_dir: Path = DATA_DIR) -> str | None:
    """The URL of this data folder's server, or None when none is running (or none serves yet)."""
    return _serving_at(data_dir) if _is_running(data_dir) else None


def stop(data_dir: Path = DATA_DIR) -> bool:
    """Stop this data folder's server, and no other; False when none was running."""
    if not _is_running(data_dir):
        return False
    with _alone(data_dir):
        for how in (signal.SIGTERM, signal.SIGKILL):
            if _is_running(data_dir):
                os.kill(_pid(data_dir), how)
                _wait_while(lambda: _is_running(data_dir), patience_s=10)
        if _is_running(data_dir):
            raise AnnotationError(f"the Label Studio in {data_dir} (process {_pid(data_dir)}) does not stop")
    return True


# --- the process ---


def _launch(data_dir: Path, state: dict[str, Any]) -> None:
    """Start the detached server; it inherits the lock that says it is running."""
    command = [sys.executable, "-m", "label_studio.server", "start", "--no-browser"]
    command += ["--internal-host", "127.0.0.1", "--port", str(state["port"]), "--data-dir", str(data_dir)]
    (data_dir / "server.pid").unlink(missing_ok=True)
    with (data_dir / "running.lock").open("a") as lock, (data_dir / "server.log").open("wb") as log:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.Popen(
            # The process writes its own pid, so that it is known even if we are killed right here.
            ["/bin/sh", "-c", 'umask 077 && echo $$ > server.pid && exec "$@"', "sh", *command],
            cwd=data_dir,
            env=_environment(data_dir, state["admin"]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock.fileno()],
            start_new_session=True,
        )


def _environment(data_dir: Path, admin: accounts.Account) -> dict[str, str]:
    """Only what the server needs: it would take HOST, PORT or DEBUG from ours as settings."""
    ours = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return ours | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(data_dir),
        "LABEL_STUDIO_USERNAME": admin["email"],
        "LABEL_STUDIO_PASSWORD": admin["password"],
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        # It must work without a network, and tell nobody anything.
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_SENTRY_DSN": "",
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
        "PYTHONUNBUFFERED": "1",  # the log must say at once where it serves
    }


def _is_running(data_dir: Path) -> bool:
    try:
        with (data_dir / "running.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _pid(data_dir: Path) -> int:
    """The running server's pid; a server that has just been launched needs a moment to write it."""
    path = data_dir / "server.pid"
    _wait_while(lambda: not (path.exists() and path.read_text().endswith("\n")), patience_s=5)
    return int(path.read_text())


def _wait_until_it_serves(data_dir: Path) -> str:
    _wait_while(lambda: _is_running(data_dir) and not _serving_at(data_dir), PATIENCE_S, every_s=0.5)
    if url := _serving_at(data_dir):
        return url
    last_words = "\n".join(_log(data_dir).splitlines()[-10:])
    if not _is_running(data_dir):
        raise AnnotationError(f"Label Studio did not start; it said:\n{last_words}")
    raise AnnotationError(
        f"Label Studio has been silent for {PATIENCE_S} s; see {data_dir / 'server.log'}, or run "
        f"`python -m labelstudio.server stop --data-dir {data_dir}` and start it again"
    )


def _serving_at(data_dir: Path) -> str | None:
    """The URL at which this folder's server, and not one of another folder, answers; else None.

    Label Studio quietly moves on when its port has been taken meanwhile, so its log says
    where it really is.
    """
    announced = re.findall(r"Starting development server at \S+:(\d+)/", _log(data_dir))
    if not announced or not _is_running(data_dir):
        return None
    url = _url(int(announced[-1]))
    try:
        accounts.Browser(url).get("/health")
    except AnnotationError:
        return None
    return url


def _log(data_dir: Path) -> str:
    return (data_dir / "server.log").read_text(errors="replace")


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _free_port(wanted: int | None, preferred: int) -> int:
    if wanted is not None:
        if _is_free(wanted):
            return wanted
        raise AnnotationError(f"port {wanted} is taken; choose another one, or none to get one that is free")
    for port in [preferred, *range(FIRST_PORT, FIRST_PORT + 1000)]:
        if _is_free(port):
            return port
    raise AnnotationError(f"no port from {FIRST_PORT} on is free; choose one with --port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def _wait_while(condition: Callable[[], bool], patience_s: float, every_s: float = 0.1) -> None:
    deadline = time.monotonic() + patience_s
    while condition() and time.monotonic() < deadline:
        time.sleep(every_s)


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Only one process at a time starts or stops this folder's server; the others wait."""
    with (data_dir / "starting.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- what is remembered ---


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
    parser = argparse.ArgumentParser(prog="python -m labelstudio.server", description="A local Label Studio.")
    parser.add_argument("command", choices=["start", "status", "stop", "login"])
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
        print(url or ("starting" if _is_running(options.data_dir) else "not running"))
        return 0 if url else 1
    else:
        server = start(options.data_dir)
        print(server.url)
        print(f"expert         {server.expert['email']}  {server.expert['password']}")
        print(f"administrator  {server.admin['email']}  {server.admin['password']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
