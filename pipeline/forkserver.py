"""A process that has imported what stages need, and is forked for each of them: imports alone take five seconds.

The first stage that DVC runs starts it, and runs by itself; those that follow within IDLE_S hand over their
arguments and open files, pass signals on, and end as their copy ends. The address says which modules
of this project it has imported, in which environment and within which limits: whoever changes any of them gets
another process, so that nothing stale ever runs. Only the standard library is imported here.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import hashlib
import io
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from glob import glob
from importlib import import_module
from pathlib import Path
from typing import NoReturn

IDLE_S = 60.0
REQUEST_S = 5.0  # whoever has not said in so long what to run is gone
ASKS = "annotate"
IMPORTED_LATE = ("torch.export", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store")  # by stages, as they run
TAKEN = b"+"  # said when the stage runs, and must not be run a second time
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1  # of prctl(2)
SIZE, STATUS, CREDENTIALS = struct.Struct("I"), struct.Struct("i"), struct.Struct("3i")  # process, user, group


def hand_over(command: list[str]) -> None:
    """Have ``[stage, "--argument", "value", …]`` run by a copy of the process that waits for it, and end as that ends.

    Returns where the stage is to be run here: none is waiting yet (one is started for the stages to come), it is not
    DVC that runs the stage, or a copy would not do. A GPU's driver does not survive a fork; a launcher's processes are
    its own; people are waited for for hours, during which nothing large is to stay in memory.
    """
    if not _is_of_use():
        return
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(_address(dict(os.environ)))
        except ConnectionRefusedError:
            if command[:1] == [ASKS]:
                return  # whether people or not: what asks is short of time at its start, and imports little
            nothing = subprocess.DEVNULL
            start = [sys.executable, "-m", "pipeline.forkserver"]
            subprocess.Popen(start, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
            return
        status = _ended(connection, command) if _user(connection) == os.getuid() else None
    if status is not None:
        _end(status)


def _is_of_use() -> bool:
    gpu = any(map(glob, ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg")))  # NVIDIA, AMD, WSL
    return sys.platform == "linux" and "DVC_STAGE" in os.environ and "LOCAL_RANK" not in os.environ and not gpu


def _address(environment: dict[str, str]) -> str:
    """An abstract socket, of which nothing is left behind, named after all that a stage's process follows from."""
    packages = [Path(__file__).parent, Path(__file__).parents[1] / "labelstudio"]
    sources = sorted(path for package in packages for path in package.rglob("*.py"))
    files = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in sources]
    installed = [os.stat(folder).st_mtime_ns for folder in sys.path if folder.endswith("site-packages")]
    limits = [os.nice(0), sorted(os.sched_getaffinity(0)), Path("/proc/self/cgroup").read_text(encoding="utf-8")]
    known = [os.getuid(), os.getcwd(), sys.executable, sys.version, files, installed, limits]
    known += [{name: value for name, value in environment.items() if name != "DVC_STAGE"}]
    return f"\0lookaway-{hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()}"


def _user(connection: socket.socket) -> int:
    """Whose process is at the other end: abstract sockets have no permissions."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return int(CREDENTIALS.unpack(found)[1])


def _ended(connection: socket.socket, command: list[str]) -> int | None:
    """The wait status with which the stage ended; None if it was not taken, and can be run here."""
    before = {number: signal.getsignal(number) for number in PASSED_ON}
    heard = [number for number, handler in before.items() if handler != signal.SIG_IGN]  # ignored: as under nohup
    for number in heard:
        signal.signal(number, lambda number, _: connection.sendall(bytes([number])))
    try:
        request = json.dumps([os.environ["DVC_STAGE"], *command]).encode()
        socket.send_fds(connection, [SIZE.pack(len(request))], [0, 1, 2])
        connection.sendall(request)
        taken = connection.recv(1) == TAKEN
    except (BrokenPipeError, ConnectionResetError):  # it could not import everything, which a stage will explain
        taken = False
    if not taken:
        for number in heard:
            signal.signal(number, before[number])
        return None
    if not (status := connection.recv(STATUS.size, socket.MSG_WAITALL)):
        sys.exit("error: the process that ran this stage is gone (is memory short?); run `dvc repro` to go on")
    return int(STATUS.unpack(status)[0])


def _end(status: int) -> None:
    """End as the process did that had this wait status."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def serve() -> list[str] | None:
    """Import everything, then fork for each stage: its command in the copy that is to run it; None when idle."""
    environment = dict(os.environ)  # which some imports add to
    address = _address(environment)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        from pipeline.running import STAGES, module

        for name in (*map(module, STAGES), *IMPORTED_LATE):
            import_module(name)
        if address != _address(environment) or threading.active_count() > 1:
            return None  # a source was changed meanwhile; or there is a thread, which copies would not have
        gc.collect()
        gc.freeze()  # what is there stays shared with the copies
        listener.settimeout(1.0)
        busy = time.monotonic()
        while time.monotonic() - busy < IDLE_S:
            if _is_busy():
                busy = time.monotonic()
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                if os.fork() == 0:
                    try:
                        return _keep(connection)
                    except (OSError, ValueError, struct.error):  # it is not for us, or the other end is gone
                        os._exit(1)
    return None


def _is_busy() -> bool:
    """Whether a stage runs."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _keep(connection: socket.socket) -> list[str]:
    """Fork for the stage that is handed over here, pass signals on to it, say how it ended, and end.

    Returns in the copy alone, with the stage's command.
    """
    if _user(connection) != os.getuid():
        raise PermissionError
    connection.settimeout(REQUEST_S)
    size, files, _, _ = socket.recv_fds(connection, SIZE.size, 3)
    stage, *command = json.loads(connection.recv(SIZE.unpack(size)[0], socket.MSG_WAITALL))
    if command[:1] == [ASKS] and _waits_for_people():
        raise PermissionError
    keeper, number = os.getpid(), os.fork()
    if number == 0:
        _become(stage, files, keeper)
        return command
    for file in files:
        os.close(file)
    process = os.pidfd_open(number)
    connection.sendall(TAKEN)
    while process not in select.select([connection.fileno(), process], [], [])[0]:
        said = connection.recv(1)
        # A stage ends when the process does that waits for it, as if it ran there.
        signal.pidfd_send_signal(process, said[0] if said else signal.SIGKILL)
        if not said:
            break
    connection.sendall(STATUS.pack(os.waitpid(number, 0)[1]))
    os._exit(0)


def _waits_for_people() -> bool:
    """Whether annotate does, by params.yaml as it is now; where that is wrong, the stage itself is to say so."""
    from pipeline.config import load
    from pipeline.errors import PipelineError

    try:
        return load().annotate.expert == "human"
    except PipelineError:
        return True


def _become(stage: str, files: list[int], keeper: int) -> None:
    """Make this copy what the stage's own process would be; it does not outlive its keeper."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:
        os._exit(1)
    for number in PASSED_ON:  # which come only if the stage's own process does not ignore them
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for standard, file in enumerate(files):
        os.dup2(file, standard)
        os.close(file)
    os.environ["DVC_STAGE"] = stage  # all else is the same: see `_address`
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(line_buffering=stream.isatty() or stream is sys.stderr)


def _leave() -> NoReturn:
    """End well, but leave the memory to the kernel, as a copy does: taking modules apart would first copy it all."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    if (command := serve()) is not None:
        from pipeline.running import run

        run(command)
        _leave()
