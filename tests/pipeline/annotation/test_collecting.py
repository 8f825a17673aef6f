"""Which answers a round has: the archive, the server, and answers that come too late."""

import dataclasses

from fakes.queries import manifest

from labelstudio.exchange.records import Answer, write_answers
from labelstudio.exchange.regions import DISREGARD, relabelled, to_result
from pipeline.annotation import collecting


def answer(key, marked, query, expert="a@example.org", number=1, **changes):
    result = relabelled(to_result(query), marked, DISREGARD)
    given = Answer(key, query.image_id, expert, number, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 5.0, False, 1)
    return dataclasses.replace(given, result=result, **changes)


def test_the_server_has_the_last_word_and_the_archive_fills_in(tmp_path, capsys):
    asked = manifest(tmp_path, 2)
    (key, query), (lost_key, lost_query) = asked.keys().items()
    old, lost = answer(key, set(), query), answer(lost_key, set(), lost_query, number=2)
    new = answer(key, {query.proposals[0].id}, query, updated_at="2026-01-02T00:00:00Z")
    assert collecting.merge([old, lost], [new]) == [new, lost]
    assert "has changed the answer" in capsys.readouterr().out
    assert collecting.merge([], [new]) == [new]
    colleague = answer(key, set(), query, "b@example.org", number=3)
    assert collecting.merge([colleague], [new]) == [new, colleague]  # who answered alone is not lost to who came later


def test_an_answer_changed_after_it_was_used_is_told_of_and_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(collecting, "step_dir", lambda scenario, round: tmp_path / round)
    asked, given = {}, {}
    for number, round in enumerate(["00", "01"]):
        (tmp_path / round).mkdir()
        asked[round] = manifest(tmp_path / round, 2, round, first=2 * number)
        asked[round].write(tmp_path / round / "queries.json")
        given[round] = [answer(key, set(), query) for key, query in asked[round].keys().items()]
        write_answers(tmp_path / round / "answers.json", given[round])
    rounds, used = ["00", "01"], given["00"] + given["01"]
    assert collecting.late_answers("digits", rounds, used) == []

    _, (key, query) = asked["01"].keys().items()
    changed = answer(key, {query.proposals[0].id}, query, updated_at="2026-01-02T00:00:00Z")
    added = dataclasses.replace(given["01"][0], expert="late@x", annotation_id=9)
    elsewhere = dataclasses.replace(added, key="a question that is not asked any more")
    (line,) = collecting.late_answers("digits", rounds, [*used[:3], changed, added, elsewhere])
    assert line.startswith("round 01: ")
    assert f"{changed.expert} on {query.image_id} (submitted untouched, now marked)" in line
    assert "late@x on image-002 (no answer, now submitted untouched)" in line
    assert line.endswith("`dvc repro --force --single-item annotate@digits-round1`, then `dvc repro`")
    assert collecting.late_answers("digits", ["00"], [*used[:3], changed]) == []
