"""The detached Label Studio process of one data folder: launched, found again, and where it serves.

It holds a lock on its data folder for as long as it lives, and the kernel gives that lock back
however it dies: so "is it running?" never rests on a pid that something else may have got since.
The password reaches it through its environment, where other users cannot see it.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labelstudio.exchange.records import AnnotationError
from labelstudio.server import accounts

FIRST_PORT = 8080
PATIENCE_S = 240  # a first start creates the database: 20 s alone, minutes on a busy machine


def launch(data_dir: Path, state: dict[str, Any]) -> None:
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


def is_running(data_dir: Path) -> bool:
    """Whether a server of this data folder lives, wherever it was started."""
    try:
        with (data_dir / "running.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def pid(data_dir: Path) -> int:
    """The running server's pid; a server that has just been launched needs a moment to write it."""
    path = data_dir / "server.pid"
    wait_while(lambda: not (path.exists() and path.read_text().endswith("\n")), patience_s=5)
    return int(path.read_text())


def wait_until_it_serves(data_dir: Path) -> str:
    """The launched server's URL, once it answers; AnnotationError with its last words if it never does."""
    wait_while(lambda: is_running(data_dir) and not serving_at(data_dir), PATIENCE_S, every_s=0.5)
    if here := serving_at(data_dir):
        return here
    last_words = "\n".join(_log(data_dir).splitlines()[-10:])
    if not is_running(data_dir):
        raise AnnotationError(f"Label Studio did not start; it said:\n{last_words}")
    raise AnnotationError(
        f"Label Studio has been silent for {PATIENCE_S} s; see {data_dir / 'server.log'}, or run "
        f"`python -m labelstudio.server.local stop --data-dir {data_dir}` and start it again"
    )


def lost_its_port(data_dir: Path) -> bool:
    """Whether the server ended because another one took the port between its being chosen and its use."""
    return not is_running(data_dir) and "Error: That port is already in use." in _log(data_dir)


def serving_at(data_dir: Path) -> str | None:
    """The URL at which this folder's server, and not one of another folder, answers; else None.

    Label Studio quietly moves on when its port has been taken meanwhile, so its log says
    where it really is.
    """
    announced = re.findall(r"Starting development server at \S+:(\d+)/", _log(data_dir))
    if not announced or not is_running(data_dir):
        return None
    here = url(int(announced[-1]))
    try:
        accounts.Browser(here).get("/health")
    except AnnotationError:
        return None
    return here


def _log(data_dir: Path) -> str:
    return (data_dir / "server.log").read_text(errors="replace")


def url(port: int) -> str:
    """Where a local server of that port is."""
    return f"http://127.0.0.1:{port}"


def free_port(wanted: int | None, preferred: int) -> int:
    """The wanted port, or AnnotationError if it is taken; without one, the preferred or the next free one."""
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


def wait_while(condition: Callable[[], bool], patience_s: float, every_s: float = 0.1) -> None:
    """Return when the condition no longer holds, or patience has run out."""
    deadline = time.monotonic() + patience_s
    while condition() and time.monotonic() < deadline:
        time.sleep(every_s)
