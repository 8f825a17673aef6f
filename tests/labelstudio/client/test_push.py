"""The plan of a push: pure comparisons of a round's queries with a project's tasks."""

from __future__ import annotations

import dataclasses

import pytest
from fakes.queries import manifest, proposal

from labelstudio.client.push import Plan, plan
from labelstudio.exchange.records import Manifest
from labelstudio.exchange.tasks import Task


@pytest.fixture
def asked(tmp_path):
    return manifest(tmp_path, 3)


def task(number: int, key: str, *, answered: bool = False, regions: bool = True, **more) -> Task:
    annotations = [{"completed_by": 7, "was_cancelled": False}] if answered else []
    predictions = [{"id": number}] if regions else []
    more = {"round": "00"} | more
    return Task(id=number, key=key, image_id=key, predictions=predictions, annotations=annotations, **more)


def complete(asked: Manifest) -> list[Task]:
    return [task(number, key) for number, key in enumerate(asked.keys(), start=1)]


def other_regions(asked: Manifest) -> Manifest:
    queries = [dataclasses.replace(query, proposals=(proposal(2, 2),)) for query in asked.queries]
    return dataclasses.replace(asked, queries=tuple(queries))


def test_an_empty_project_misses_all_queries(asked):
    todo = plan(asked, [])
    assert todo == Plan(missing=asked.keys())
    assert todo


def test_a_complete_project_needs_nothing(asked):
    todo = plan(asked, complete(asked))
    assert todo == Plan()
    assert not todo


def test_a_task_without_regions_is_bare_unless_it_was_answered(asked):
    first, second, third = asked.keys()
    listed = [task(1, first, regions=False), task(2, second, regions=False, answered=True), task(3, third)]
    assert plan(asked, listed) == Plan(bare={first: listed[0]})


def test_old_queries_of_the_same_round_are_withdrawn_and_answered_ones_stay(asked):
    before = complete(asked)
    before[0] = task(1, before[0].key, answered=True)
    now = other_regions(asked)
    todo = plan(now, before)
    assert todo.missing == now.keys()
    assert todo.withdraw == {2: before[1], 3: before[2]}
    assert todo.show == {}


def test_another_rounds_tasks_are_left_alone(asked):
    others = [task(9, "another key", round="01")]
    assert plan(asked, [*complete(asked), *others]) == Plan()


def test_a_withdrawn_query_that_is_asked_again_is_shown_again(asked):
    listed = complete(asked)
    listed[1] = task(2, listed[1].key, withdrawn=True)
    assert plan(asked, listed) == Plan(show={2: listed[1]})


def test_a_withdrawn_task_is_not_withdrawn_twice(asked):
    now = other_regions(asked)
    before = [task(9, next(iter(asked.keys())), withdrawn=True)]
    assert plan(now, [*complete(now), *before]) == Plan()


@pytest.mark.parametrize("answered", [None, 1, 9])
def test_of_two_tasks_of_one_query_one_stays(asked, answered):
    first = next(iter(asked.keys()))
    listed = complete(asked)
    listed[0] = task(1, first, answered=answered == 1)
    double = task(9, first, answered=answered == 9)
    todo = plan(asked, [*listed, double])
    assert todo == Plan(withdraw={1: listed[0]} if answered == 9 else {9: double})


def test_of_two_tasks_of_one_query_both_stay_if_both_have_answers(asked):
    first = next(iter(asked.keys()))
    listed = complete(asked)
    listed[0] = task(1, first, answered=True)
    assert plan(asked, [*listed, task(9, first, answered=True)]) == Plan()


def test_a_skip_is_no_answer(asked):
    now = other_regions(asked)
    skipped = task(9, next(iter(asked.keys())))
    skipped.annotations.append({"completed_by": 7, "was_cancelled": True})
    assert plan(now, [*complete(now), skipped]) == Plan(withdraw={9: skipped})


def test_what_a_plan_repeats_is_counted(asked):
    done = plan(asked, [])
    (first, *_) = asked.keys()
    assert plan(asked, []).repeated(done) == 3
    assert plan(asked, complete(asked)).repeated(done) == 0
    bare = plan(asked, [task(1, first, regions=False), *complete(asked)[1:]])
    assert bare.repeated(done) == 0, "regions are missing, which is another change"
    assert bare.repeated(bare) == 1
