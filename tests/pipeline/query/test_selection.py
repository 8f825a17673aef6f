"""A round asks about the least certain images, about new regions alone, and writes the experts' pictures."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import small
from fakes.queries import SIDE, answer, manifest
from PIL import Image

from labelstudio.exchange.geometry import pixels
from labelstudio.exchange.records import Manifest
from labelstudio.exchange.regions import BEFORE, mask
from pipeline.config import Consensus, Explain, FeedbackSettings, QuerySettings
from pipeline.errors import ConfigError
from pipeline.evaluation import figures
from pipeline.feedback import masks, spreading
from pipeline.feedback.answers import to_entries
from pipeline.query.proposals import outlined
from pipeline.query.selection import HEAT_SIDE, choose, overlaid, select
from pipeline.training import inference, states

QUERY = QuerySettings(strategy="entropy", cell=8, proposals=5)


@pytest.fixture
def pool():
    return small.images(6)


@pytest.fixture
def state():
    return states.begin(small.network(["no", "yes"], "tf_efficientnet_lite0"), small.TRAIN)


def test_queries_are_the_least_certain_images_with_their_most_salient_cells(tmp_path, state, pool):
    (tmp_path / "images").mkdir()
    found = choose(state, pool, asked={}, count=4, settings=QUERY, seed=0, folder=tmp_path)
    uncertainty = inference.logits(state, pool.pixels).softmax(1).max(1).values  # two classes: same order
    expected = [pool.ids[int(i)] for i in uncertainty.argsort()[:4]]
    assert [query.image_id for query in found] == expected
    assert [query.entropy for query in found] == sorted((query.entropy for query in found), reverse=True)
    for query in found:
        assert len(query.proposals) == 5
        assert (tmp_path / query.image).is_file()
        assert Image.open(tmp_path / query.heat).size == (HEAT_SIDE,) * 2
        assert sum(query.probabilities.values()) == pytest.approx(1, abs=1e-3)


def test_a_round_asks_about_one_copy_of_a_picture_and_no_round_asks_again(tmp_path, state, pool):
    (tmp_path / "images").mkdir()
    pool.pixels[4], pool.pixels[5] = pool.pixels[0], pool.pixels[0]
    found = choose(state, pool, asked={}, count=6, settings=QUERY, seed=0, folder=tmp_path)
    assert len({query.digest for query in found}) == len(found) == 4
    Manifest("x", "00", tuple(found)).write(tmp_path / "queries.json")
    judged = {query.image_id: np.ones((small.SIZE, small.SIZE), bool) for query in found}
    assert choose(state, pool, asked=judged, count=6, settings=QUERY, seed=0, folder=tmp_path) == []


def test_salient_pixels_are_red_and_all_others_grey():
    saliency = np.zeros((64, 64), np.float32)
    saliency[:16, :16] = -1.0
    picture = np.full((64, 64, 3), 100, np.uint8)
    shown = overlaid(picture, saliency, "absolute").astype(int)
    red = shown[..., 0] - shown[..., 1]
    assert red[20, 20] > 80
    assert not red[80:, 80:].any()
    assert not overlaid(picture, saliency, "signed").astype(int).std()
    assert not overlaid(picture, 0 * saliency, "absolute").astype(int).std()


def test_the_strategy_and_the_explained_class_can_be_set(tmp_path, state, pool):
    (tmp_path / "images").mkdir()

    def asked(seed=0, **settings):
        return choose(
            state, pool, asked={}, count=6, settings=QUERY.model_copy(update=settings), seed=seed, folder=tmp_path
        )

    assert [q.image_id for q in asked(1, strategy="random")] != [q.image_id for q in asked(2, strategy="random")]
    assert asked(1, strategy="random") == asked(1, strategy="random")
    mistakes = [q.label != q.prediction for q in asked(strategy="confident-mistakes")]
    assert mistakes == sorted(mistakes, reverse=True)
    true = {q.image_id: q.proposals for q in asked(explain=Explain(target="true"))}
    for name in state.model.classes:
        for q in asked(explain=Explain(target=name)):
            assert (q.proposals == true[q.image_id]) == (q.label == name)
    with pytest.raises(ConfigError, match=r"no such class\. Fix: choose `predicted`, `true`, or one of no, yes"):
        asked(explain=Explain(target="maybe"))


def test_spread_entropy_asks_where_the_spreader_is_unsure_too(tmp_path, state, monkeypatch, capsys):
    """The left half was marked on half of the images, in the lower rows only: a cell's place tells the mark."""
    monkeypatch.setattr(spreading.classifier, "initial", lambda init, classes, size, **_: small.network(classes))
    pool = small.images(24)
    left = np.zeros((32, 32), bool)
    left[:, :16] = True
    entries = [masks.Entry.of("00", image_id, left, left | ~left) for image_id in pool.ids[:12]]
    settings = small.scenario(FeedbackSettings())
    settings = settings.model_copy(update={"query": QUERY.model_copy(update={"strategy": "spread-entropy"})})

    def asked(entries, settings=settings):
        found = select(
            state, pool, entries=entries, scenario="s", round="01", count=8, settings=settings, seed=0, folder=tmp_path
        )
        return [query.image_id for query in found.queries]

    plain = settings.model_copy(update={"query": QUERY})
    assert asked([]) == asked([], plain)
    out = capsys.readouterr().out
    assert out == "s, round 01: `spread-entropy` is entropy here: no spreader yet (no answers)\n"
    assert asked(entries[:3]) == asked(entries[:3], plain)
    assert "only 3 images have" in capsys.readouterr().out
    known = asked(entries)
    assert capsys.readouterr().out == ""
    assert known == asked(entries)
    assert known != asked(entries, plain)
    doubt = spreading.from_answers(entries, pool, settings, state.model.classes).doubt(pool)
    by_entropy = asked(entries, plain)
    mean = [np.mean([doubt[pool.ids.index(image_id)] for image_id in ids]) for ids in (known, by_entropy)]
    assert mean[0] > mean[1]


WAYS = {
    "method": [{}, *({"method": m} for m in ("integrated-gradients", "input-x-gradient", "grad-cam"))],
    "reference": [{}, {"blur_sigma": 0.05, "blur_reach": 3.0}, *({"reference": r} for r in ("white", "black", "mean"))],
}


@pytest.mark.parametrize("varied", WAYS)
def test_every_setting_of_the_explainer_changes_the_proposals(tmp_path, state, pool, varied):
    (tmp_path / "images").mkdir()
    settings = [QUERY.model_copy(update={"explain": Explain(**way)}) for way in WAYS[varied]]
    found = [
        choose(state, pool, asked={}, count=1, settings=one, seed=0, folder=tmp_path)[0].proposals for one in settings
    ]
    assert len(set(found)) == len(settings)


def test_an_answered_image_returns_only_with_new_cells(tmp_path, state, pool):
    (tmp_path / "images").mkdir()
    first = choose(state, pool, asked={}, count=2, settings=QUERY, seed=0, folder=tmp_path)
    asked = {}
    for position, query in enumerate(first):
        shown = np.zeros((32, 32), bool)
        for p in query.proposals[3 * position :]:  # all cells of the first image; two of the second
            shown[p.y : p.y + p.height, p.x : p.x + p.width] = True
        asked[query.image_id] = shown
    second = choose(state, pool, asked=asked, count=2, settings=QUERY, seed=0, folder=tmp_path)
    assert first[0].image_id not in [query.image_id for query in second]
    assert second[0].image_id == first[1].image_id
    assert second[0].proposals == first[1].proposals[:3]
    p = first[1].proposals[2]
    asked[first[1].image_id][p.y : p.y + p.height, p.x : p.x + p.width] = True  # less than half is new now
    third = choose(state, pool, asked=asked, count=2, settings=QUERY, seed=0, folder=tmp_path)
    assert not {query.image_id for query in third} & set(asked)
    everything = {image_id: np.ones((32, 32), bool) for image_id in pool.ids}
    assert choose(state, pool, asked=everything, count=2, settings=QUERY, seed=0, folder=tmp_path) == []


@pytest.mark.parametrize("kind", ["blobs", "superpixels"])
def test_polygons_are_shown_once_and_become_masks(tmp_path, state, pool, kind):
    (tmp_path / "images").mkdir()
    settings = QUERY.model_copy(update={"regions": kind})
    found = choose(state, pool, asked={}, count=2, settings=settings, seed=0, folder=tmp_path)
    assert found == choose(state, pool, asked={}, count=2, settings=settings, seed=0, folder=tmp_path)
    asked = Manifest("digits", "00", tuple(found))
    answers = [answer(key, {query.proposals[0].id}, query) for key, query in asked.keys().items()]
    entries = to_entries(asked, answers, Consensus())
    for query, entry in zip(found, entries, strict=True):
        assert all(p.points for p in query.proposals)
        np.testing.assert_array_equal(entry.mask, pixels(query.proposals[0], 32, 32))
        np.testing.assert_array_equal(entry.asked, sum(pixels(p, 32, 32) for p in query.proposals) > 0)
    seen = {entry.image_id: entry.asked for entry in entries}
    again = choose(state, pool, asked=seen, count=6, settings=settings, seed=0, folder=tmp_path)
    assert not {(q.image_id, p.id) for q in found for p in q.proposals} & {
        (q.image_id, p.id) for q in again for p in q.proposals
    }
    figures.save(figures.queries(asked, tmp_path, entries), tmp_path / "round.png")


def test_a_repeated_image_shows_the_marks_of_earlier_rounds(tmp_path):
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
    assert again.key("digits") == query.key("digits")  # the key ignores marks of earlier rounds
    assert outlined(np.zeros((SIDE, SIDE), bool)) == ()

    p = query.proposals[0]
    given = answer(again.key("digits"), {p.id}, again)
    earlier = [entry for entry in given.result if entry.get("readonly")]
    assert {entry["id"] for entry in earlier} == {part.id for part in again.earlier}
    assert {label for entry in earlier for label in entry["value"].get("labels", [])} == {BEFORE}
    marked, unused = mask(given.result, SIDE, SIDE)
    np.testing.assert_array_equal(marked, pixels(p, SIDE, SIDE))  # earlier marks are no answer to this query
    assert unused == []
    theirs = [{name: value for name, value in entry.items() if name != "readonly"} for entry in earlier]
    _, unused = mask(theirs, SIDE, SIDE)
    assert all("is reserved for marks of earlier rounds" in reason for reason in unused)
    assert len(unused) == 2  # an expert drew with that label


def test_proposals_that_are_mostly_believed_not_to_matter_come_marked(tmp_path, state, pool, monkeypatch):
    half = np.arange(32)[None, :].repeat(32, axis=0) < 12  # one column of cells, and half of the next
    entries = []

    def spreader(given, images, settings, classes):
        entries.append(given)
        return SimpleNamespace(believed=lambda images, ids: dict.fromkeys(ids[:2], half))

    monkeypatch.setattr(spreading, "from_answers", spreader)

    def asked(**changes):
        query = QuerySettings(strategy="entropy", cell=8, proposals=16, **changes)
        settings = SimpleNamespace(query=query, feedback=FeedbackSettings(spread={}))
        return select(
            state, pool, entries=[], scenario="x", round="01", count=3, settings=settings, seed=0, folder=tmp_path
        )

    plain, filled = asked(), asked(prefill=True)
    assert len(entries) == 1, "without the setting, nothing is learned"
    assert list(filled.keys()) == list(plain.keys())
    marked = [[p.x == 0 for p in query.proposals] for query in filled.queries[:2]]
    assert [[p.prefilled for p in query.proposals] for query in filled.queries] == [*marked, [False] * 16]
    plain.write(tmp_path / "plain.json")
    assert "prefilled" not in (tmp_path / "plain.json").read_text()
