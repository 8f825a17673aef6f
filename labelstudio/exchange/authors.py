"""Whose an answer is: an answer is one answer for ever, under the name first seen.

Accounts are renamed, deleted and created again. If the name decided, one person's answer would count as two persons'
answers after such a change. So an answer is known by its identity, and an account by the answers that it has given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from labelstudio.exchange.records import Answer, Identity


def named(answers: Iterable[Answer], known: Iterable[Answer]) -> list[Answer]:
    """Return the answers of a server under the names first seen.

    Args:
        answers: Answers as the server has them now.
        known: Recorded answers, the oldest first.
    """
    pulled = list(answers)
    accounts = {answer.identity(): answer.account for answer in pulled}
    first: dict[Identity, str] = {}
    owned: dict[int, str] = {}  # by account
    for answer in known:
        identity = answer.identity()
        first.setdefault(identity, answer.expert)
        if (account := accounts.get(identity)) is not None:
            owned.setdefault(account, answer.expert)
    return [replace(answer, expert=_first_name(answer, first, owned)) for answer in pulled]


def _first_name(answer: Answer, first: dict[Identity, str], owned: dict[int, str]) -> str:
    if answer.account in owned:
        return owned[answer.account]
    if answer.identity() in first:
        return first[answer.identity()]
    if answer.account is not None and answer.expert in owned.values():
        return f"{answer.expert} (account {answer.account})"  # the address belonged to another account before
    return answer.expert


def merged(known: Iterable[Answer], pulled: list[Answer]) -> list[Answer]:
    """Return each answer once: the server's version, or the recorded one where the server has lost it.

    A recorded answer is left out if its expert has submitted another answer to the query. A skip is no answer, and
    replaces none.
    """
    there = {answer.identity() for answer in pulled}
    answered = {answer.author() for answer in pulled if not answer.skipped}
    lost = [a for a in known if a.identity() not in there and a.author() not in answered]
    return pulled + lost
