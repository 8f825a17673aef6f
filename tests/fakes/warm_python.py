"""A `python` and a `dvc` whose libraries are imported already, for tests that run dozens of commands.

A stage imports PyTorch, timm, scikit-learn and MLflow, which takes longer than a tiny project's training. Here one
process imports these libraries and DVC, none of the project's own modules, and forks for each `python …` or `dvc …`.
Everything else is as in a process of its own: arguments, environment, folder, output, exit status; a killed command
takes its fork along, and all that the fork started. tests/benchmarks starts stages as users do.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import logging
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from filelock import FileLock

LIBRARIES = [
    "accelerate",
    "captum.attr",
    "dvc.cli.parser",
    "dvc.repo.reproduce",
    "dvc.repo.status",
    "dvc.schema",
    "label_studio_sdk",
    "matplotlib.figure",
    "mlflow.pyfunc",
    "mlflow.pytorch",
    "mlflow.store.tracking.sqlalchemy_store",
    "networkx",
    "pandas",
    "ruamel.yaml",
    "scipy.ndimage",
    "sklearn.metrics",
    "sklearn.model_selection",
    "tenacity",
    "timm",
    "torch._dynamo",
    "torchvision.transforms.v2",
    "typer",
]
PROGRAMS = {"python": [], "dvc": ["-m", "dvc"]}  # with their first arguments
LOOK_S = 0.01  # between two looks at a fork
SHIM = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = json.dumps([os.getcwd(), {first!r} + sys.argv[1:], dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    sys.exit(int.from_bytes(server.recv(4) or bytes([1]), "big"))
"""


@functools.cache
def folder() -> Path:
    """Return a folder to put first on the PATH; its programs serve all workers of this test session, until it ends."""
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    owner = os.getppid() if session else os.getpid()
    place = Path(tempfile.gettempdir(), f"warm-python-{session or owner}")
    with FileLock(place.with_suffix(".lock")):
        if not place.exists():
            _start(place, owner)
    return place


def _start(place: Path, owner: int) -> None:
    place.mkdir()
    address = str(place / "socket")
    for program, first in PROGRAMS.items():
        (place / program).write_text(SHIM.format(python=sys.executable, address=address, first=first))
        (place / program).chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(32)  # what comes before the libraries are there waits
        subprocess.Popen(
            [sys.executable, __file__, str(listening.fileno()), str(owner), str(place)],
            pass_fds=[listening.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(place / "log").open("w"),
            start_new_session=True,
        )


def run(*arguments: str, cwd: Path, code: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python …` in a folder, with the project's code from another."""
    variables = {**os.environ, "PYTHONPATH": str(code), **environment}
    command = [str(folder() / "python"), *arguments]
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)


def serve(listening: socket.socket, *, owner: int, place: Path) -> list[str]:
    """Fork for each request, until ``owner`` is gone; return the arguments of the request in the fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    while _lives(owner):
        if not select.select([listening], [], [], 1.0)[0]:
            continue
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            return keep(connection)
        connection.close()
    shutil.rmtree(place)
    place.with_suffix(".lock").unlink(missing_ok=True)
    os._exit(0)


def _lives(process: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def keep(connection: socket.socket) -> list[str]:
    """Fork the command, kill it with its caller, and report its exit status; return its arguments in the fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, files, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as request:
        where, arguments, environment = json.loads(request.read(int.from_bytes(head, "big")))
    worker = os.fork()
    if worker == 0:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.setpgid(0, 0)
        os.chdir(where)
        os.environ.clear()
        os.environ.update(environment)
        sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in environment
        return arguments
    os.setpgid(worker, worker)  # here as well, before it can be killed
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            connection.sendall((os.waitstatus_to_exitcode(status) & 0xFF).to_bytes(4, "big"))
            os._exit(0)
        if select.select([connection], [], [], LOOK_S)[0]:  # the caller says no more: it is gone
            os.killpg(worker, signal.SIGKILL)
            os.waitpid(worker, 0)  # only then is the output at its end, which a caller may wait for
            os._exit(0)


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    logging.root.handlers.clear()  # MLflow's, which would repeat what DVC logs
    gc.collect()
    gc.freeze()  # a collection in a fork would copy all of these libraries' memory
    descriptor, process, directory = sys.argv[1:]
    first, *rest = serve(socket.socket(fileno=int(descriptor)), owner=int(process), place=Path(directory))
    sys.path[:1] = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    code: object = 0
    try:
        if first == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif first == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(rest[0], {"__name__": "__main__"})
        else:
            sys.argv = [first, *rest]
            runpy.run_path(first, run_name="__main__")
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))  # tidying up would copy all memory, too
