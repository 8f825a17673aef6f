"""A PostgreSQL of one test module: Debian's package, in a folder of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labelstudio.server import process

USER = "lookaway"


@dataclass(frozen=True)
class Postgres:
    """Where it listens on loopback, the password of USER, the folder of its programs, and how to start and stop it."""

    port: int
    password: str
    programs: Path
    control: list[str]

    def crash(self) -> None:
        """End it without a word to its clients or a checkpoint, and start it again."""
        subprocess.run([*self.control, "-m", "immediate", "restart"], check=True, stdout=subprocess.DEVNULL)

    def shell(self, command: str, **more: Any) -> bytes:
        """Run a command with PostgreSQL's programs as USER, and return its output."""
        here = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": USER, "PGPASSWORD": self.password}
        here |= {"POSTGRES_USER": USER, "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run(["sh", "-c", command], env=here, check=True, stdout=subprocess.PIPE, **more).stdout


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL; the test is skipped if it is not installed."""
    programs = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql, or run `make test`")
    bin_dir = Path(programs).resolve().parent
    # PostgreSQL refuses to run as root; Debian's package brings an account of its own.
    account = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if account and subprocess.run([*account, "true"], check=False).returncode != 0:
        pytest.skip("there is no account `postgres`, and PostgreSQL does not run as root")
    folder = Path(tempfile.mkdtemp(prefix="lookaway-postgres-"))
    password = secrets.token_hex(16)
    (folder / "password").write_text(password)
    if account:
        shutil.chown(folder, "postgres")
        shutil.chown(folder / "password", "postgres")
    run = [*account, f"{bin_dir}/initdb", "-D", f"{folder}/data", "-U", USER]
    run += ["--auth=scram-sha-256", f"--pwfile={folder}/password", "--no-sync"]
    subprocess.run(run, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    port = process.free_port(None, preferred=15432)  # only now: others look for one, too
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
    control = [*account, f"{bin_dir}/pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options]
    subprocess.run([*control, "start"], cwd=folder, check=True)
    try:
        yield Postgres(port, password, bin_dir, control)
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], cwd=folder, check=False)
        shutil.rmtree(folder)
