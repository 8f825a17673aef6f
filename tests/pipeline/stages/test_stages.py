"""What the stages decide: what is asked again, what an answer becomes, what is said about the result."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from fakes.queries import CELL, SIDE, manifest
from PIL import Image, ImageColor

from labelstudio.exchange.records import Answer, Manifest, write_answers
from labelstudio.exchange.regions import BEFORE, DISREGARD, mask, pixels, relabelled, to_result
from pipeline.annotation.projects import project_title
from pipeline.arms import results
from pipeline.commands import params_file
from pipeline.config import Augment, Backbone, Consensus, Explain, QuerySettings, Train, load
from pipeline.data.loading import Images
from pipeline.errors import ConfigError
from pipeline.evaluation import figures, predictions
from pipeline.evaluation.predictions import Outcomes
from pipeline.feedback import masks
from pipeline.models import classifier
from pipeline.query.proposals import outlined
from pipeline.report import tables
from pipeline.report.tables import Result
from pipeline.stages import annotate, evaluate, hitl_train, query_export
from pipeline.training import trainer
from pipeline.training.metrics import classification

SETTINGS = Train(
    baseline_epochs=1,
    learning_rate=0.001,
    batch_size=4,
    batchnorm="moving",
    augment=Augment(flip=False, rotate_degrees=0.0, crop=0.0, brightness=0.0),
)
QUERY = QuerySettings(strategy="entropy", cell=8, proposals=5)


def answer(key, marked, query, expert="a@example.org", number=1, **changes):
    result = relabelled(to_result(query), marked, DISREGARD)
    given = Answer(key, query.image_id, expert, number, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 5.0, False, 1)
    return dataclasses.replace(given, result=result, **changes)


@pytest.fixture
def pool():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    return Images([f"image-{n}" for n in range(6)], pixels, torch.arange(6) % 2)


@pytest.fixture
def state():
    backbone = classifier.pretrained("x", Backbone(architecture="tf_efficientnet_lite0", weights="random"), seed=0)
    torch.manual_seed(0)
    return trainer.begin(classifier.build(backbone, ["no", "yes"]), SETTINGS)


def test_queries_are_the_least_certain_images_with_their_most_salient_cells(tmp_path, state, pool):
    (tmp_path / "images").mkdir()
    found = query_export.choose(state, pool, {}, 4, QUERY, seed=0, folder=tmp_path)
    uncertainty = trainer.logits(state, pool.pixels).softmax(1).max(1).values  # two classes: same order
    expected = [pool.ids[int(i)] for i in uncertainty.argsort()[:4]]
    assert [query.image_id for query in found] == expected
    assert [query.entropy for query in found] == sorted((query.entropy for query in found), reverse=True)
    for query in found:
        assert len(query.proposals) == 5
        assert (tmp_path / query.image).is_file()
        assert Image.open(tmp_path / query.heat).size == (query_export.HEAT_SIDE,) * 2
        assert sum(query.probabilities.values()) == pytest.approx(1, abs=1e-3)


def test_the_saliency_is_red_where_it_is_and_the_picture_grey_elsewhere():
    saliency = np.zeros((64, 64), np.float32)
    saliency[:16, :16] = -1.0
    picture = np.full((64, 64, 3), 100, np.uint8)
    shown = query_export.overlaid(picture, saliency, "absolute").astype(int)
    red = shown[..., 0] - shown[..., 1]
    assert red[20, 20] > 80
    assert not red[80:, 80:].any()
    assert not query_export.overlaid(picture, saliency, "signed").astype(int).std()
    assert not query_export.overlaid(picture, 0 * saliency, "absolute").astype(int).std()


def test_the_strategy_and_the_explained_class_can_be_set(tmp_path, state, pool):
    (tmp_path / "images").mkdir()

    def asked(seed=0, **settings):
        return query_export.choose(state, pool, {}, 6, QUERY.model_copy(update=settings), seed, tmp_path)

    assert [q.image_id for q in asked(1, strategy="random")] != [q.image_id for q in asked(2, strategy="random")]
    assert asked(1, strategy="random") == asked(1, strategy="random")
    mistakes = [q.label != q.prediction for q in asked(strategy="confident-mistakes")]
    assert mistakes == sorted(mistakes, reverse=True)
    true = {q.image_id: q.proposals for q in asked(explain=Explain(target="true"))}
    for name in state.model.classes:
        for q in asked(explain=Explain(target=name)):
            assert (q.proposals == true[q.image_id]) == (q.label == name)
    with pytest.raises(ConfigError, match="no class 'maybe'; choose predicted, true, or one of no, yes"):
        asked(explain=Explain(target="maybe"))


WAYS = {
    "method": [{}, *({"method": m} for m in ("integrated-gradients", "input-x-gradient", "grad-cam"))],
    "reference": [{}, {"blur_sigma": 0.05, "blur_reach": 3.0}, *({"reference": r} for r in ("white", "black", "mean"))],
}


@pytest.mark.parametrize("varied", WAYS)
def test_every_way_to_explain_proposes_something_else(tmp_path, state, pool, varied):
    (tmp_path / "images").mkdir()
    settings = [QUERY.model_copy(update={"explain": Explain(**way)}) for way in WAYS[varied]]
    found = [query_export.choose(state, pool, {}, 1, one, seed=0, folder=tmp_path)[0].proposals for one in settings]
    assert len(set(found)) == len(settings)


def test_an_answered_image_comes_back_only_with_new_cells(tmp_path, state, pool):
    (tmp_path / "images").mkdir()
    first = query_export.choose(state, pool, {}, 2, QUERY, seed=0, folder=tmp_path)
    asked = {}
    for position, query in enumerate(first):
        shown = np.zeros((32, 32), bool)
        for p in query.proposals[3 * position :]:  # all cells of the first image; two of the second
            shown[p.y : p.y + p.height, p.x : p.x + p.width] = True
        asked[query.image_id] = shown
    second = query_export.choose(state, pool, asked, 2, QUERY, seed=0, folder=tmp_path)
    assert first[0].image_id not in [query.image_id for query in second]
    assert second[0].image_id == first[1].image_id
    assert second[0].proposals == first[1].proposals[:3]
    p = first[1].proposals[2]
    asked[first[1].image_id][p.y : p.y + p.height, p.x : p.x + p.width] = True  # less than half is new now
    third = query_export.choose(state, pool, asked, 2, QUERY, seed=0, folder=tmp_path)
    assert not {query.image_id for query in third} & set(asked)
    everything = {image_id: np.ones((32, 32), bool) for image_id in pool.ids}
    assert query_export.choose(state, pool, everything, 2, QUERY, seed=0, folder=tmp_path) == []


@pytest.mark.parametrize("kind", ["blobs", "superpixels"])
def test_polygons_are_asked_about_once_and_come_back_as_masks(tmp_path, state, pool, kind):
    (tmp_path / "images").mkdir()
    settings = QUERY.model_copy(update={"regions": kind})
    found = query_export.choose(state, pool, {}, 2, settings, seed=0, folder=tmp_path)
    assert found == query_export.choose(state, pool, {}, 2, settings, seed=0, folder=tmp_path)
    asked = Manifest("digits", "00", tuple(found))
    answers = [answer(key, {query.proposals[0].id}, query) for key, query in asked.keys().items()]
    entries = hitl_train.to_entries(asked, answers, Consensus())
    for query, entry in zip(found, entries, strict=True):
        assert all(p.points for p in query.proposals)
        np.testing.assert_array_equal(entry.mask, pixels(query.proposals[0], 32, 32))
        np.testing.assert_array_equal(entry.asked, sum(pixels(p, 32, 32) for p in query.proposals) > 0)
    seen = {entry.image_id: entry.asked for entry in entries}
    again = query_export.choose(state, pool, seen, 6, settings, seed=0, folder=tmp_path)
    assert not {(q.image_id, p.id) for q in found for p in q.proposals} & {
        (q.image_id, p.id) for q in again for p in q.proposals
    }
    figures.save(figures.queries(asked, tmp_path, entries), tmp_path / "round.png")


def test_an_image_asked_again_shows_what_was_disregarded_before(tmp_path):
    area = np.zeros((SIDE, SIDE), bool)
    area[:12, :24], area[60:72, 12:24], area[63:69, 15:21] = True, True, False  # the second part has a hole
    (query,) = manifest(tmp_path, 1).queries
    again = dataclasses.replace(query, earlier=outlined(area))
    shown = [pixels(p, SIDE, SIDE) for p in again.earlier]
    np.testing.assert_array_equal(shown[0], area & (np.arange(SIDE) < 30)[:, None])
    assert [part.sum() for part in shown] == [12 * 24, 12 * 12]
    asked = Manifest("digits", "01", (again,))
    asked.write(tmp_path / "queries.json")
    assert Manifest.read(tmp_path / "queries.json") == asked
    assert again.key("digits") == query.key("digits")  # it is the same question
    assert outlined(np.zeros((SIDE, SIDE), bool)) == ()

    p = query.proposals[0]
    given = answer(again.key("digits"), {p.id}, again)
    earlier = [entry for entry in given.result if entry.get("readonly")]
    assert {entry["id"] for entry in earlier} == {part.id for part in again.earlier}
    assert {label for entry in earlier for label in entry["value"].get("labels", [])} == {BEFORE}
    marked, unused = mask(given.result, SIDE, SIDE)
    np.testing.assert_array_equal(marked, pixels(p, SIDE, SIDE))  # shown, but nobody's answer to this question
    assert unused == []
    theirs = [{name: value for name, value in entry.items() if name != "readonly"} for entry in earlier]
    _, unused = mask(theirs, SIDE, SIDE)
    assert all("is for what was disregarded in an earlier round" in reason for reason in unused)
    assert len(unused) == 2  # an expert who drew with that label is told so


def test_answers_become_masks_and_remember_what_was_shown(tmp_path):
    asked = manifest(tmp_path, 3)
    (key, query), (skipped_key, skipped_query), _ = asked.keys().items()
    p = query.proposals[1]
    answers = [answer(key, {p.id}, query), answer(skipped_key, {p.id}, skipped_query, skipped=True)]
    (entry,) = hitl_train.to_entries(asked, answers, Consensus())  # skipped and unanswered queries say nothing
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
    (soft,) = hitl_train.to_entries(asked, answers, Consensus(soft=True))
    (hard,) = hitl_train.to_entries(asked, answers, Consensus())
    (all_,) = hitl_train.to_entries(asked, answers, Consensus(rule="all"))
    assert soft.mask[p.y, p.x] == pytest.approx(2 / 3)
    assert (hard.mask[p.y, p.x], all_.mask.max()) == (1, 0)
    assert soft.mask.sum() == pytest.approx(2 / 3 * p.width * p.height)


def test_known_queries_are_those_with_evidence_and_their_truth_is_what_a_perfect_expert_says(tmp_path):
    asked = manifest(tmp_path, 4)
    evidence = np.zeros((SIDE, SIDE), bool)
    evidence[:, : SIDE // 2] = True  # of the proposals, only the one in cell (7,7) is outside

    class Data:
        index = pd.DataFrame({"id": [q.image_id for q in asked.queries], "evidence": [0, 0, None, 0]})

        @staticmethod
        def evidence(image_id):
            return evidence

    known = hitl_train.gold(asked, Data, 9, 0.05)
    assert set(known) == {key for key, q in asked.keys().items() if q.image_id != "image-002"}
    assert all(truth.tolist() == [False, False, True] for truth in known.values())
    some = hitl_train.gold(asked, Data, 2, 0.05)
    assert len(some) == 2
    assert set(some) < set(known)
    assert hitl_train.gold(asked, Data, 0, 0.05) == {}


def test_the_server_has_the_last_word_and_the_archive_fills_in(tmp_path, capsys):
    asked = manifest(tmp_path, 2)
    (key, query), (lost_key, lost_query) = asked.keys().items()
    old, lost = answer(key, set(), query), answer(lost_key, set(), lost_query, number=2)
    new = answer(key, {query.proposals[0].id}, query, updated_at="2026-01-02T00:00:00Z")
    assert annotate.merge([old, lost], [new]) == [new, lost]
    assert "has changed the answer" in capsys.readouterr().out
    assert annotate.merge([], [new]) == [new]
    colleague = answer(key, set(), query, "b@example.org", number=3)
    assert annotate.merge([colleague], [new]) == [new, colleague]  # who answered alone is not lost to who came later


def test_an_answer_changed_after_it_was_used_is_told_of_and_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(annotate, "step_dir", lambda scenario, round: tmp_path / round)
    asked, given = {}, {}
    for number, round in enumerate(["00", "01"]):
        (tmp_path / round).mkdir()
        asked[round] = manifest(tmp_path / round, 2, round, first=2 * number)
        asked[round].write(tmp_path / round / "queries.json")
        given[round] = [answer(key, set(), query) for key, query in asked[round].keys().items()]
        write_answers(tmp_path / round / "answers.json", given[round])
    rounds, used = ["00", "01"], given["00"] + given["01"]
    assert annotate.overtaken("digits", rounds, used) == []

    _, (key, query) = asked["01"].keys().items()
    changed = answer(key, {query.proposals[0].id}, query, updated_at="2026-01-02T00:00:00Z")
    added = dataclasses.replace(given["01"][0], expert="late@x", annotation_id=9)
    elsewhere = dataclasses.replace(added, key="a question that is not asked any more")
    (line,) = annotate.overtaken("digits", rounds, [*used[:3], changed, added, elsewhere])
    assert line.startswith("round 01: ")
    assert f"{changed.expert} on {query.image_id} (submitted untouched, now marked)" in line
    assert "late@x on image-002 (not there, now submitted untouched)" in line
    assert line.endswith("`dvc repro --force --single-item annotate@digits-round1`, then `dvc repro`")
    assert annotate.overtaken("digits", ["00"], [*used[:3], changed]) == []


def test_who_cannot_judge_takes_no_part_and_nothing_is_a_vote(tmp_path, capsys):
    asked = manifest(tmp_path, 1)
    ((key, query),) = asked.keys().items()
    marks = answer(key, {query.proposals[1].id}, query)
    cannot = dataclasses.replace(marks, expert="b@x", annotation_id=2, result=[*marks.result, choice("Cannot judge")])
    nothing = dataclasses.replace(marks, expert="c@x", annotation_id=3, result=[choice("Nothing to disregard")])
    (entry,) = hitl_train.to_entries(asked, [marks, cannot], Consensus())
    assert entry.mask.sum() == CELL**2, "one of one who could judge"
    told = capsys.readouterr().out
    assert told == 'b@x on image-000: says "Cannot judge" and marks regions: the marks are not used\n'
    (entry,) = hitl_train.to_entries(asked, [marks, nothing], Consensus())
    assert not entry.mask.any(), "one of two is not more than half"
    assert capsys.readouterr().out == "", "a choice is no region that could not be used"
    (entry,) = hitl_train.to_entries(asked, [cannot], Consensus())
    assert not entry.mask.any()
    assert entry.asked.any(), "it has been shown, and need not be shown again"


def test_who_removes_outlines_is_told_of_and_marks_nothing_there(tmp_path, capsys):
    asked = manifest(tmp_path, 1)
    ((key, query),) = asked.keys().items()
    gone = query.proposals[1].id
    given = answer(key, set(), query)
    less = dataclasses.replace(given, result=[entry for entry in given.result if entry["id"] != gone])
    (entry,) = hitl_train.to_entries(asked, [less], Consensus())
    assert not entry.mask.any()
    assert entry.asked.sum() == 3 * CELL**2, "it has been shown, and need not be shown again"
    assert capsys.readouterr().out == "a@example.org on image-000: 1 of 3 outlines removed: no marks\n"


def choice(value: str) -> dict:
    return {
        "id": "x",
        "type": "choices",
        "from_name": "verdict",
        "to_name": "image",
        "origin": "manual",
        "value": {"choices": [value]},
    }


def test_people_never_meet_a_machines_answers():
    config = load()
    human = config.model_copy(update={"annotate": config.annotate.model_copy(update={"expert": "human"})})
    scenario = config.hitl.scenarios[0]
    titles = {project_title(scenario, c, "data") for c in (config, human, config.model_copy(update={"seed": 1}))}
    assert len(titles) == 3
    assert all(len(project_title("x" * 24, c, "data")) <= 50 for c in (config, human))


def history(shifted, loss=0.1):
    rows = [("start", 1, 0.9, 0.8), ("00", 2, loss, 0.7), ("00", 3, loss + 0.1, shifted)]
    columns = ["step", "epoch", "val_loss", "test-shifted_accuracy"]
    return pd.DataFrame(rows, columns=columns).assign(val_accuracy=0.9, test_accuracy=0.9, test_loss=[0.5, 0.3, 0.4])


def test_a_summary_is_of_the_arms_own_epochs_and_selects_nothing():
    own = results.summary(history(0.6), "hitl")
    assert own["min_loss"] == pytest.approx(0.1)
    assert own["test_loss"] == 0.4  # the last epoch …
    assert own["selected_test_loss"] == own["min_test_loss"] == 0.3  # … and the one with the lowest val loss
    assert own["test-shifted_accuracy"] == 0.6
    assert results.summary(history(0.6), "baseline")["min_loss"] == 0.9


def outcomes(right, of=100, loss=0.4):
    """A network that is right on the first so many images of a split."""
    return Outcomes(np.arange(of) < right, np.linspace(loss - 0.1, loss + 0.1, of))


def result(shifted):
    """What a scenario came to; ``shifted``: each arm's number of right answers, of 100, on test-shifted."""
    return Result(
        size="260, 10",
        answers=80,
        numbers={arm: results.summary(history(count / 100), arm) for arm, count in shifted.items()},
        outcomes={
            arm: {"val": outcomes(90), "test": outcomes(90), "test-shifted": outcomes(count)}
            for arm, count in shifted.items()
        },
    )


def test_the_meaning_is_worked_out_from_the_numbers():
    first, automated, placebo = tables.meaning("digits", result({"automated": 50, "random-mask": 60, "hitl": 80}))
    assert "loses 40.0 points" in first
    assert "with 80 answers from experts it loses 10.0, which closes 75% of that gap; random-mask closes 25%" in first
    assert automated.startswith("hitl against automated: accuracy +30.0 [+2")
    assert "points (higher, McNemar p < 0.001), loss 0.00 [0.00, 0.00], no difference shown" in automated
    assert placebo.startswith("hitl against random-mask: accuracy +20.0 [")
    *_, placebo = tables.meaning("digits", result({"automated": 50, "random-mask": 79, "hitl": 80}))
    assert "(no difference shown, McNemar p 1.000)" in placebo
    (only,) = tables.meaning("digits", result({"automated": 90, "hitl": 85}))
    assert "too small a shortcut to be corrected" in only


def test_without_a_shifted_split_the_meaning_compares_accuracy_and_loss():
    found = result({"automated": 50, "hitl": 50})
    for by_split in found.outcomes.values():
        del by_split["test-shifted"]
    found.outcomes["hitl"]["test"] = outcomes(88, loss=0.3)
    first, against = tables.meaning("isic", found)
    assert first == "isic: with 80 answers from experts, on the test images:"
    assert "accuracy -2.0 [" in against
    assert "loss -0.10 [-0.10, -0.10], lower" in against


def test_the_tables_have_a_row_an_arm_and_intervals():
    found = result({"automated": 50, "hitl": 80})
    for numbers in found.numbers.values():
        numbers.update({"test_balanced_accuracy": 0.85, "test_recall_a": 0.9, "test_recall_b": 0.75})
    table = "".join(map(tables.markdown, tables.tables({"digits": found})))
    wilson = "90.0 [82.6, 94.5]"
    assert f"| digits (260, 10) | hitl | {wilson} | 0.10 | {wilson} | 0.40 [0.39, 0.41] | 90.0 | 0.30 | 80.0 [" in table
    same = "0.0 [0.0, 0.0], no difference shown | 1.000 | 0.00 [0.00, 0.00], no difference shown"
    assert f"| digits (260, 10) | hitl | {same} | +30.0 [" in table
    assert "| Balanced accuracy | Worst class's recall |\n" in table  # nothing is said of what nobody measured
    assert "| digits (260, 10) | hitl | 85.0 | 75.0 |" in table
    assert "not that of training" in table


def test_predictions_are_written_once_and_read_by_arm_and_split(tmp_path, state, pool):
    state.model.classes = classes = ["01", "none"]
    splits = {"train": pool, "val": pool, "test": pool}
    read = evaluate.readings(state, splits)
    said = [predictions.images(splits, classes), predictions.of(read, "hitl", splits, classes)]
    predictions.write(tmp_path / "x.csv", pd.concat(said, axis=1))
    found = predictions.read(tmp_path / "x.csv")["hitl"]
    assert list(found) == ["val", "test"]
    scores = dict(classification(trainer.logits(state, pool.pixels), pool.labels))
    assert found["test"].right.mean() == scores["accuracy"]
    assert found["test"].loss.mean() == pytest.approx(scores["loss"], rel=1e-5)
    with pytest.raises(ConfigError, match="dvc repro"):
        predictions.read(tmp_path / "y.csv")


def test_a_missing_history_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="dvc repro"):
        results.history(tmp_path)


def test_choosing_an_expert_changes_that_line_of_params_only(tmp_path, monkeypatch):
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    before = (tmp_path / "params.yaml").read_text().splitlines()
    params_file.set_expert("simulated")
    assert (tmp_path / "params.yaml").read_text().splitlines() == before
    params_file.set_expert("human")
    assert load().annotate.expert == "human"
    params_file.set_expert("simulated")
    after = (tmp_path / "params.yaml").read_text()
    assert load().model_dump() == load(tmp_path / "params.yaml").model_dump()
    assert all(line.split("#")[-1].strip() in after for line in before if "#" in line)  # comments stay


def test_a_picture_of_many_queries_is_not_too_large_for_mlflow(tmp_path):
    some = manifest(tmp_path, 1)
    asked = dataclasses.replace(some, queries=some.queries * 2 * figures.MOST)
    assert figures.queries(asked, tmp_path, []).height <= 16_383, "WebP, in which MLflow keeps a copy, ends there"


def test_a_round_that_found_nothing_to_ask_about_has_its_picture(tmp_path):
    figures.save(figures.queries(Manifest("digits", "03", ()), tmp_path, []), tmp_path / "asked.png")
    assert Image.open(tmp_path / "asked.png").convert("L").getextrema()[0] == 0, "its head is written there"


def test_a_picture_of_queries_crosses_out_what_was_marked(tmp_path):
    asked = manifest(tmp_path, 2)
    query = asked.queries[0]
    mask = np.zeros((SIDE, SIDE), bool)
    p = query.proposals[0]
    mask[p.y : p.y + p.height, p.x : p.x + p.width] = True
    drawn = {}
    for name, entries in (("marked", [masks.Entry.of("00", query.image_id, mask, mask)]), ("unmarked", [])):
        figures.save(figures.queries(asked, tmp_path, entries), tmp_path / f"{name}.png")
        drawn[name] = (tmp_path / f"{name}.png").read_bytes()
    red = ImageColor.getrgb(figures.MARKED)
    area = round(figures.SIDE**2 * p.width * p.height / SIDE**2)
    crossed, plain = (int((np.asarray(Image.open(tmp_path / f"{n}.png")) == red).all(axis=2).sum()) for n in drawn)
    assert 0.2 * area < crossed < area
    assert plain == 0
    figures.save(figures.queries(asked, tmp_path, []), tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == drawn["unmarked"]
