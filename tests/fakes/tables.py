"""An empty Label Studio database with all its tables, made once for each environment.

Label Studio makes its tables in three hundred steps, which take a minute of a slow core. A server that finds the tables
is there after a few seconds. Everything else of a first start, such as its accounts, is as without them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from labelstudio.server import process

DATABASE = "label_studio.sqlite3"
MADE = Path(sys.prefix) / f"label-studio-{version('label-studio')}.sqlite3"


def put(data_dir: Path) -> None:
    """Put the database into a data folder that has none."""
    if not (data_dir / DATABASE).exists():
        with FileLock(MADE.with_suffix(".lock")):
            if not MADE.exists():
                _make()
        shutil.copy(MADE, data_dir / DATABASE)


def _make() -> None:
    with tempfile.TemporaryDirectory() as folder:
        account = {"email": "", "password": ""}  # any command but `start` makes the tables, and no account
        environment = {name: value for name, value in process.environment(Path(folder), account).items() if value}
        command = [sys.executable, "-m", "label_studio.server", "version", "--data-dir", folder]
        subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True)
        draft = MADE.with_suffix(f".{os.getpid()}")
        shutil.copy(Path(folder) / DATABASE, draft)
        draft.replace(MADE)
