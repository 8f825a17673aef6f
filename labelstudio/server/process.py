"""The detached Label Studio process of one data folder: start it, find it again, and learn its URL.

The process holds a lock on its data folder as long as it lives, and the kernel releases the lock however the process
ends. So "is it running?" never depends on a process id, which another program may have got since. The lock is
`fcntl.flock` and not `filelock`, because the process must inherit the open descriptor. The password reaches the process
through its environment, which other users cannot read.
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
    """Start the detached server, which inherits the lock of a running server."""
    command = [sys.executable, "-m", "label_studio.server", "start", "--no-browser"]
    command += ["--internal-host", "127.0.0.1", "--port", str(state["port"]), "--data-dir", str(data_dir)]
    (data_dir / "server.pid").unlink(missing_ok=True)
    with (data_dir / "running.lock").open("a") as lock, (data_dir / "server.log").open("wb") as log:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.Popen(
            # The process writes its own id, so that the id is known even if this program is killed right here.
            ["/bin/sh", "-c", 'umask 077 && echo $$ > server.pid && exec "$@"', "sh", *command],
            cwd=data_dir,
            env=environment(data_dir, state["admin"]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock.fileno()],
            start_new_session=True,
        )


def environment(data_dir: Path, admin: accounts.Account) -> dict[str, str]:
    """Return only the variables that the server needs: it would read HOST, PORT or DEBUG as its settings."""
    ours = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return ours | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(data_dir),
        "LABEL_STUDIO_USERNAME": admin["email"],
        "LABEL_STUDIO_PASSWORD": admin["password"],
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        # The server must work without a network and send no data to others.
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_SENTRY_DSN": "",
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
        "PYTHONUNBUFFERED": "1",  # the log must show the port at once
    }


def is_running(data_dir: Path) -> bool:
    """Return True if a server of this data folder lives, no matter which program started it."""
    try:
        with (data_dir / "running.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def pid(data_dir: Path) -> int:
    """Return the running server's process id; a new server needs a moment to write its id."""
    path = data_dir / "server.pid"
    wait_while(lambda: not (path.exists() and path.read_text().endswith("\n")), patience_s=5)
    return int(path.read_text())


def wait_until_it_serves(data_dir: Path) -> str:
    """Return the started server's URL when the server answers; AnnotationError with the end of its log if it fails."""
    wait_while(lambda: is_running(data_dir) and not serving_at(data_dir), patience_s=PATIENCE_S, every_s=0.5)
    if here := serving_at(data_dir):
        return here
    if not is_running(data_dir):
        last_lines = "\n".join(_log(data_dir).splitlines()[-10:])
        raise AnnotationError(
            f"Label Studio in {data_dir} did not start. Fix: remove the cause that its log names:\n{last_lines}"
        )
    raise AnnotationError(
        f"Label Studio in {data_dir} does not answer after {PATIENCE_S} s. Fix: look at {data_dir / 'server.log'}, or "
        f"run `lookaway server stop --data-dir {data_dir}` and start it again."
    )


def lost_its_port(data_dir: Path) -> bool:
    """Return True if the server ended because another program took its port in the meantime."""
    return not is_running(data_dir) and "Error: That port is already in use." in _log(data_dir)


def serving_at(data_dir: Path) -> str | None:
    """Return the URL at which this folder's server answers, and no other folder's server; None if it does not.

    Label Studio takes another port if its own is in use, so its log says which port it really has.
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
    """Return the URL of a local server with this port."""
    return f"http://127.0.0.1:{port}"


def free_port(wanted: int | None, preferred: int) -> int:
    """Return the wanted port, or AnnotationError if it is in use; without one, the preferred or the next free port."""
    if wanted is not None:
        if _is_free(wanted):
            return wanted
        raise AnnotationError(f"port {wanted} is in use. Fix: choose another port, or none to get a free one.")
    for port in [preferred, *range(FIRST_PORT, FIRST_PORT + 1000)]:
        if _is_free(port):
            return port
    raise AnnotationError(
        f"all ports from {FIRST_PORT} to {FIRST_PORT + 999} are in use. Fix: choose one with `--port`."
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def wait_while(condition: Callable[[], bool], patience_s: float, every_s: float = 0.1) -> None:
    """Return when the condition is false, or after ``patience_s`` seconds."""
    deadline = time.monotonic() + patience_s
    while condition() and time.monotonic() < deadline:
        time.sleep(every_s)
