"""The experts' answers become masks, and each part of an answer that is not used is named."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from fakes.queries import CELL, SIDE, answer, manifest

from labelstudio.exchange.regions import EVIDENCE, choice, relabelled
from pipeline.config import Consensus
from pipeline.feedback.answers import known_answers, to_entries


def test_answers_become_masks_and_entries_keep_the_judged_regions(tmp_path):
    asked = manifest(tmp_path, 3)
    (key, query), (skipped_key, skipped_query), _ = asked.keys().items()
    p = query.proposals[1]
    answers = [answer(key, {p.id}, query), answer(skipped_key, {p.id}, skipped_query, skipped=True)]
    (entry,) = to_entries(asked, answers, Consensus())  # skipped and unanswered queries say nothing
    expected = np.zeros((SIDE, SIDE), bool)
    expected[p.y : p.y + p.height, p.x : p.x + p.width] = True
    assert (entry.image_id, entry.round) == (query.image_id, "00")
    assert np.array_equal(entry.mask, expected)
    assert entry.asked.sum() == sum(p.width * p.height for p in query.proposals)


def test_the_share_of_experts_who_marked_becomes_a_soft_mask(tmp_path):
    asked = manifest(tmp_path, 1)
    ((key, query),) = asked.keys().items()
    p, *_ = query.proposals
    answers = [answer(key, {p.id}, query, "a"), answer(key, {p.id}, query, "b"), answer(key, set(), query, "c")]
    (soft,) = to_entries(asked, answers, Consensus(soft=True))
    (hard,) = to_entries(asked, answers, Consensus())
    (all_,) = to_entries(asked, answers, Consensus(rule="all"))
    assert soft.mask[p.y, p.x] == pytest.approx(2 / 3)
    assert (hard.mask[p.y, p.x], all_.mask.max()) == (1, 0)
    assert soft.mask.sum() == pytest.approx(2 / 3 * p.width * p.height)


def test_known_answers_follow_from_the_evidence(tmp_path):
    asked = manifest(tmp_path, 4)
    evidence = np.zeros((SIDE, SIDE), bool)
    evidence[:, : SIDE // 2] = True  # of the proposals, only the one in cell (7,7) is outside

    class Data:
        index = pd.DataFrame({"id": [q.image_id for q in asked.queries], "evidence": [0, 0, None, 0]})

        @staticmethod
        def evidence(image_id):
            return evidence

    known = known_answers(asked, Data, count=9, evidence_share=0.05)
    assert set(known) == {key for key, q in asked.keys().items() if q.image_id != "image-002"}
    assert all(truth.tolist() == [False, False, True] for truth in known.values())
    some = known_answers(asked, Data, count=2, evidence_share=0.05)
    assert len(some) == 2
    assert set(some) < set(known)
    assert known_answers(asked, Data, count=0, evidence_share=0.05) == {}


def test_cannot_judge_is_no_vote_and_nothing_to_disregard_is_a_vote(tmp_path, capsys):
    asked = manifest(tmp_path, 1)
    ((key, query),) = asked.keys().items()
    marks = answer(key, {query.proposals[1].id}, query)
    cannot = dataclasses.replace(marks, expert="b@x", annotation_id=2, result=[*marks.result, choice("Cannot judge")])
    nothing = dataclasses.replace(marks, expert="c@x", annotation_id=3, result=[choice("Nothing to disregard")])
    (entry,) = to_entries(asked, [marks, cannot], Consensus())
    assert entry.mask.sum() == CELL**2, "one of one who could judge"
    told = capsys.readouterr().out
    assert told == 'b@x on image-000: the answer has marks and the choice "Cannot judge": its marks are ignored\n'
    (entry,) = to_entries(asked, [marks, nothing], Consensus())
    assert not entry.mask.any(), "one of two is not more than half"
    assert capsys.readouterr().out == "", "a choice is no region that could not be used"
    (entry,) = to_entries(asked, [cannot], Consensus())
    assert not entry.mask.any()
    assert entry.asked.any(), "it has been shown, and need not be shown again"


def test_a_removed_outline_is_reported_and_marks_nothing(tmp_path, capsys):
    asked = manifest(tmp_path, 1)
    ((key, query),) = asked.keys().items()
    gone = query.proposals[1].id
    given = answer(key, set(), query)
    less = dataclasses.replace(given, result=[entry for entry in given.result if entry["id"] != gone])
    (entry,) = to_entries(asked, [less], Consensus())
    assert not entry.mask.any()
    assert entry.asked.sum() == 3 * CELL**2, "it has been shown, and need not be shown again"
    assert capsys.readouterr().out == "a@example.org on image-000: 1 of 3 outlines removed: no marks\n"


def test_evidence_judges_the_whole_image(tmp_path, capsys):
    asked = manifest(tmp_path, 2)
    (key, query), (other_key, other) = asked.keys().items()
    p = query.proposals[1]
    here = answer(key, {p.id}, query, label=EVIDENCE)
    evident, plain = to_entries(asked, [here, answer(other_key, {p.id}, other)], Consensus())
    evidence = np.zeros((SIDE, SIDE), bool)
    evidence[p.y : p.y + p.height, p.x : p.x + p.width] = True
    np.testing.assert_array_equal(evident.mask, ~evidence)
    assert (evident.kind, plain.kind) == ("evidence", "judged")
    assert evident.asked.all()
    assert not plain.asked.all()
    assert evident.judged
    assert plain.judged
    assert capsys.readouterr().out == ""


def test_a_minority_that_marks_evidence_leaves_the_rest_of_the_image_open(tmp_path):
    asked = manifest(tmp_path, 1)
    ((key, query),) = asked.keys().items()
    first, second, third = (p.id for p in query.proposals)
    here = answer(key, {second}, query, "a", label=EVIDENCE)  # and so against the first and the third
    others = [answer(key, {first}, query, "b"), answer(key, {first, third}, query, "c")]
    (entry,) = to_entries(asked, [here, *others], Consensus())
    assert entry.kind == "judged"
    assert entry.mask.sum() == 2 * CELL**2, "all three say the first, two say the third, nobody else saw the rest"
    assert entry.asked.sum() == 3 * CELL**2


def test_a_cell_marked_both_ways_is_told_to_the_engineer(tmp_path, capsys):
    asked = manifest(tmp_path, 1)
    ((key, query),) = asked.keys().items()
    p = query.proposals[1]
    both = answer(key, {p.id}, query)
    both = dataclasses.replace(both, result=relabelled(both.result, {p.id}, EVIDENCE))
    (entry,) = to_entries(asked, [both], Consensus())
    assert capsys.readouterr().out == (
        f'a@example.org on image-000: region {p.id} is marked both "Disregard" and "The evidence is here": '
        "the evidence counts\n"
    )
    assert entry.mask[p.y, p.x] == 0
    assert entry.mask.sum() == SIDE**2 - CELL**2
