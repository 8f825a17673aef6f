"""No answer is lost when the writing process is killed."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing

import pytest

from labelstudio.exchange.ledger import recall, record
from labelstudio.exchange.records import AnnotationError, Answer


def answer(key: str = "k", expert: str = "ä@x", id: int = 1, at: str = "2026-01-01T10:00:00Z") -> Answer:
    return Answer(key, "image", expert, id, at, at, 1.5, False, None, [{"id": "r"}])


def test_recorded_answers_are_recalled(tmp_path):
    path = tmp_path / "answers" / "digits.jsonl"
    assert recall(path, ["k"]) == []
    answers = [answer(), answer(expert="b", id=2), answer(key="other", id=7)]
    assert record(path, answers) == answers
    assert recall(path, ["k", "other"]) == sorted(answers, key=lambda a: (a.key, a.expert))
    assert recall(path, ["other"]) == [answers[2]]


def test_only_new_versions_are_appended_and_no_line_changes(tmp_path):
    path = tmp_path / "digits.jsonl"
    record(path, [answer(), answer(id=2)])
    before = path.read_bytes()
    edited = dataclasses.replace(answer(), updated_at="2026-01-01T10:05:00Z", result=[])
    assert record(path, [answer(), answer(id=2), edited, edited]) == [edited]
    assert path.read_bytes().startswith(before)
    assert len(path.read_bytes().splitlines()) == 3
    assert recall(path, ["k"]) == [edited, answer(id=2)]
    assert record(path, [answer(), edited]) == []


def test_an_older_version_that_comes_later_does_not_replace_a_newer_one(tmp_path):
    path = tmp_path / "digits.jsonl"
    newer = answer(at="2026-01-01T10:00:00.500000Z")
    record(path, [newer])
    assert record(path, [answer()]) == [answer()]  # for instance from a restored back-up
    assert recall(path, ["k"]) == [newer]


@pytest.mark.parametrize("keep", range(1, 60, 7))
def test_a_line_torn_off_by_a_kill_costs_nothing_but_itself(tmp_path, keep):
    path = tmp_path / "digits.jsonl"
    record(path, [answer(id=1)])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:keep])
    assert recall(path, ["k"]) == [answer(id=1)]
    assert record(path, [answer(id=1), answer(id=2)]) == [answer(id=2)]
    assert recall(path, ["k"]) == [answer(id=1), answer(id=2)]
    assert path.read_bytes().startswith(whole + whole[:keep] + b"\n")
    assert record(path, [answer(id=2)]) == []


def test_a_whole_line_without_its_end_is_kept_and_not_written_again(tmp_path):
    path = tmp_path / "digits.jsonl"
    record(path, [answer(id=1)])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert record(path, [answer(id=1), answer(id=2)]) == [answer(id=2)]
    assert [json.loads(line)["annotation_id"] for line in path.read_text().splitlines()] == [1, 2]


def _record_some(path, expert: int) -> None:
    for id in range(20):
        record(path, [answer(expert=f"e{expert}", id=100 * expert + id), answer(expert="all", id=1000 + id)])


def test_several_processes_may_write_at_once(tmp_path):
    path = tmp_path / "digits.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_record_some, args=(path, n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    lines = path.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 20 * 4 + 20


def test_an_answer_keeps_the_name_of_its_first_line(tmp_path):
    path = tmp_path / "digits.jsonl"
    first = answer(expert="a@x")
    record(path, [first])
    assert record(path, [dataclasses.replace(first, expert="deleted-account-None")]) == []
    edited = dataclasses.replace(first, expert="b@x", updated_at="2026-01-01T10:05:00Z", result=[])
    assert [a.expert for a in record(path, [edited])] == ["a@x"]
    assert recall(path, ["k"]) == [dataclasses.replace(edited, expert="a@x")]


def test_an_old_ledger_with_an_answer_under_two_names_has_it_once(tmp_path):
    path = tmp_path / "digits.jsonl"
    lines = [answer(expert="a@x"), answer(expert="deleted-account-None"), answer(expert="deleted-account-None", id=2)]
    old = [{name: value for name, value in dataclasses.asdict(a).items() if name != "account"} for a in lines]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in [*old, {**old[2], "annotation_id": 3}]))
    names = [(a.expert, a.annotation_id) for a in recall(path, ["k"])]
    assert names == [("a@x", 1), ("deleted-account-of-answer-2", 2), ("deleted-account-of-answer-3", 3)]


def test_another_spelling_of_a_time_is_no_new_version(tmp_path):
    path = tmp_path / "digits.jsonl"
    record(path, [answer(at="2026-01-01T10:00:00Z")])
    assert record(path, [answer(at="2026-01-01T11:00:00+01:00")]) == []


def test_numbers_that_recur_on_a_new_server_are_other_answers(tmp_path):
    path = tmp_path / "digits.jsonl"
    record(path, [answer(expert="a@x")])
    (other,) = record(path, [answer(expert="b@x", at="2026-02-01T10:00:00Z")])
    assert recall(path, ["k"]) == [answer(expert="a@x"), other]


def test_a_line_of_a_newer_version_is_read_and_another_line_is_named(tmp_path):
    path = tmp_path / "digits.jsonl"
    path.write_text(json.dumps({**dataclasses.asdict(answer()), "new": 1}) + "\n")
    assert recall(path, ["k"]) == [answer()]
    path.write_text(path.read_text() + '{"key": "k"}\n')
    with pytest.raises(AnnotationError, match=r"digits\.jsonl, line 2, is not an answer.*Fix: restore"):
        recall(path, ["k"])
