"""The ledger: every answer ever pulled, in an append-only file, so that no expert's work is lost.

DVC deletes a stage's outputs before the stage runs again, and a server's database can be lost. The ledger survives
both. One JSON line is one version of one answer: an edited answer gets another line. No line is changed or removed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from labelstudio.exchange.records import Answer


def record(path: Path, answers: Iterable[Answer]) -> list[Answer]:
    """Append the answers that the ledger lacks, in this version, and return them.

    The answers are on the disk when this function returns. Several processes may call it at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        known = {_version(answer) for answer in _lines(file)}
        new = {_version(answer): answer for answer in answers if _version(answer) not in known}
        if new:
            text = "".join(json.dumps(asdict(answer), ensure_ascii=False) + "\n" for answer in new.values())
            file.write(b"" if _is_terminated(file) else b"\n")
            file.write(text.encode())
            file.flush()
        # Even with nothing new: another process may have died between its write and its sync.
        os.fsync(file.fileno())
    _sync_folder(path.parent)
    return list(new.values())


def recall(path: Path, keys: Iterable[str]) -> list[Answer]:
    """Return the latest version of every answer to these queries; an empty list without a ledger.

    The latest version of each (key, expert, annotation id) is the last by the server's clock, then by its place in
    the file.
    """
    wanted = set(keys)
    try:
        with path.open("rb") as file:
            answers = [answer for answer in _lines(file) if answer.key in wanted]
    except FileNotFoundError:
        return []
    last = {(a.key, a.expert, a.annotation_id): a for a in sorted(answers, key=Answer.version)}
    return [last[identity] for identity in sorted(last)]


def _version(answer: Answer) -> tuple[str, str, int, str]:
    return answer.key, answer.expert, answer.annotation_id, answer.updated_at


def _lines(file: BinaryIO) -> list[Answer]:
    """All answers in the file, in its order.

    A line is incomplete if its process was killed. Such a line is ignored: ``record`` had not returned, so the
    server still has the answer, and the next pull records it again.
    """
    file.seek(0)
    answers = []
    for line in file:
        try:
            answers.append(Answer(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return answers


def _is_terminated(file: BinaryIO) -> bool:
    """True if the last line is complete, so that the next line does not continue an incomplete one."""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _sync_folder(folder: Path) -> None:
    """Sync the folder: a new file's name is on the disk only then."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
