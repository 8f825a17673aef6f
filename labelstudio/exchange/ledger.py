"""The ledger: every answer ever pulled, in an append-only file, so that no expert's work is lost.

DVC deletes a stage's outputs before the stage runs again, and a server's database can be lost. The ledger survives
both. One JSON line is one version of one answer: an edited answer gets another line. No line is changed or removed.
An answer keeps the name of its first line (see ``authors``).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from labelstudio.exchange import authors
from labelstudio.exchange.records import AnnotationError, Answer, Identity, read_answer


def record(path: Path, answers: Iterable[Answer]) -> list[Answer]:
    """Append the answers that the ledger lacks, in this version and under the names first seen, and return them.

    The answers are on the disk when this function returns. Several processes may call it at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = _lines(file, path)
        known = {_version(answer) for answer in lines}
        new = {_version(answer): answer for answer in authors.named(answers, lines) if _version(answer) not in known}
        if new:
            text = "".join(json.dumps(answer.plain(), ensure_ascii=False) + "\n" for answer in new.values())
            file.write(b"" if _is_terminated(file) else b"\n")
            file.write(text.encode())
            file.flush()
        # Even with nothing new: another process may have died between its write and its sync.
        os.fsync(file.fileno())
    _sync_folder(path.parent)
    return list(new.values())


def recall(path: Path, keys: Iterable[str]) -> list[Answer]:
    """Return the latest version of every answer to these queries; an empty list without a ledger.

    The latest version of each answer is the last by the server's clock, then by its place in the file. It has the name
    of the answer's first line.
    """
    wanted = set(keys)
    answers = [answer for answer in _read(path) if answer.key in wanted]
    first = {answer.identity(): answer.expert for answer in reversed(answers)}
    last = {(a.key, first[a.identity()], a.annotation_id): a for a in sorted(answers, key=Answer.version)}
    return [replace(last[identity], expert=identity[1]) for identity in sorted(last)]


def named(path: Path, answers: Iterable[Answer]) -> list[Answer]:
    """Return a server's answers under the names first seen: the names that the ledger has for them."""
    return authors.named(answers, _read(path))


def _version(answer: Answer) -> tuple[Identity, datetime]:
    return answer.identity(), answer.version()[0]


def _read(path: Path) -> list[Answer]:
    try:
        with path.open("rb") as file:
            return _lines(file, path)
    except FileNotFoundError:
        return []


def _lines(file: BinaryIO, path: Path) -> list[Answer]:
    """All answers in the file, in its order.

    A line is incomplete if its process was killed. Such a line is ignored: ``record`` had not returned, so the
    server still has the answer, and the next pull records it again.
    """
    file.seek(0)
    answers = []
    for number, line in enumerate(file, start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        try:
            answers.append(read_answer(entry))
        except (ValueError, TypeError, AttributeError) as error:
            raise AnnotationError(
                f"{path}, line {number}, is not an answer. Fix: restore the file from Git, or remove that line."
            ) from error
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
