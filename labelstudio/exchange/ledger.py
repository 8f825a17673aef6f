"""Every answer ever pulled, in an append-only file: nobody's work is asked for twice.

DVC deletes a stage's outputs before it runs again, and a server's database can be lost; the
ledger outlives both. One JSON line is one version of one answer (an edited answer gets a
further line), and no line is ever changed or removed.
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
    """Append the answers (or versions of answers) not yet in the ledger; returns those.

    When this returns they are on the disk. Safe with several processes at once.
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
    """The latest version of every answer to these queries; nothing when there is no ledger yet.

    Latest by the server's clock, then by place in the file, for each (key, expert,
    annotation id).
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

    A line that a kill tore off is passed over: ``record`` had not returned, so its answers
    are still on the server and come with the next pull.
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
    """Whether the last line is whole, so that the next one does not continue a torn one."""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _sync_folder(folder: Path) -> None:
    """A new file's name is safe only once its folder is synced too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
