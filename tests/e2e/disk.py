"""A small disk for one folder: it can be full, and its folders can be read-only. Only root may mount it."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from pathlib import Path

SIZE = 1 << 29  # bytes


class Disk:
    """As a context manager, a tmpfs that is mounted at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.forbidden = folder, list[Path]()

    def __enter__(self) -> Disk:
        self.folder.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        self.mend()
        _run("umount", "-l", self.folder)

    def fill(self) -> None:
        """Leave no room at all."""
        with (self.folder / "ballast").open("ab") as ballast:
            try:
                while True:
                    room = os.statvfs(self.folder)
                    os.posix_fallocate(ballast.fileno(), ballast.tell(), max(room.f_bavail * room.f_bsize, 1))
                    ballast.seek(0, os.SEEK_END)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def forbid(self, name: str) -> None:
        """Make a folder of the disk read-only for everybody, root included; a file that is open stays writable."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        _run("mount", "--bind", folder, folder)
        _run("mount", "-o", "remount,ro,bind", folder)
        self.forbidden.append(folder)

    def mend(self) -> None:
        """Undo what was done to the disk."""
        while self.forbidden:
            _run("umount", "-l", self.forbidden.pop())
        (self.folder / "ballast").unlink(missing_ok=True)


def can_be_mounted() -> bool:
    """Return True if this account may mount a disk here."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with Disk(Path(folder)):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
