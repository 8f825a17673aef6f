"""Proposals are the most salient regions, do not overlap, and survive drawing and disk."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from labelstudio.exchange import geometry, regions
from labelstudio.exchange.records import Manifest, Proposal, Query
from pipeline.query.proposals import _outline, propose

KINDS = ["grid", "blobs", "superpixels"]


def grid(saliency, cell, count, asked=None, rank="absolute"):
    return propose(
        saliency, np.zeros((*saliency.shape, 3), np.uint8), kind="grid", rank=rank, cell=cell, count=count, asked=asked
    )


def query(size, proposals):
    return Query("i", "i.png", "d", size, size, "8", "3", {"8": 1.0}, 0.5, proposals)


def test_grid_proposes_the_most_salient_cells_in_order():
    rng = np.random.default_rng(0)
    saliency = rng.normal(size=(48, 48))
    cells = {(r, c): np.abs(saliency[r * 8 : r * 8 + 8, c * 8 : c * 8 + 8]).sum() for r in range(6) for c in range(6)}
    expected = sorted(cells, key=lambda cell: -cells[cell])[:10]
    proposals = grid(saliency, 8, 10)
    assert [(p.y // 8, p.x // 8) for p in proposals] == expected
    assert [p.id for p in proposals] == [f"cell-{r}-{c}" for r, c in expected]
    assert all((p.width, p.height) == (8, 8) for p in proposals)
    assert proposals[0].score == pytest.approx(cells[expected[0]] / np.abs(saliency).sum(), abs=1e-4)


def test_the_published_ranking_is_not_the_most_salient_cells():
    # The reference code compares argsort's output with k as if it held ranks.
    saliency = np.random.default_rng(0).random((64, 64))
    totals = saliency.reshape(8, 8, 8, 8).sum(axis=(1, 3)).ravel()
    published = set(np.flatnonzero(np.argsort(totals) >= 54).tolist())
    ours = {p.y // 8 * 8 + p.x // 8 for p in grid(saliency, 8, 10)}
    assert ours == set(np.argsort(totals)[-10:].tolist())
    assert ours != published


def test_cells_that_experts_judged_are_not_proposed_again():
    saliency = np.random.default_rng(0).random((32, 32))
    first = grid(saliency, 8, 4)
    asked = np.zeros((32, 32), bool)
    for p in first[:3]:
        asked[p.y : p.y + 8, p.x : p.x + 8] = True
    assert grid(saliency, 8, 4, asked) == first[3:]
    assert grid(saliency, 8, 4, np.ones((32, 32), bool)) == ()


def test_a_share_of_the_cells_is_drawn_from_all_others_alike():
    rng = np.random.default_rng(0)
    saliency, asked = rng.random((32, 32)), np.zeros((32, 32), bool)
    asked[:8] = True
    best = {p.id for p in grid(saliency, 8, 3, asked)}
    times = Counter()
    for seed in range(300):
        picture = np.full((32, 32, 3), seed % 5, np.uint8)
        found = propose(
            saliency, picture, kind="grid", rank="absolute", cell=8, count=6, asked=asked, at_random=3, seed=seed
        )
        assert best <= {p.id for p in found}, "the most salient ones stay"
        drawn = {p.id for p in found} - best
        assert len(drawn) == 3
        times.update(drawn)
    assert not any(name.startswith("cell-0-") for name in times), "experts have judged these"
    others = 16 - 4 - len(best)
    assert len(times) >= others
    assert max(times.values()) < 2 * min(times.values())


def test_cells_without_saliency_are_not_proposed():
    saliency = np.zeros((16, 16))
    saliency[0, 0] = -3.0
    assert [p.id for p in grid(saliency, 8, 4)] == ["cell-0-0"]
    assert grid(np.zeros((16, 16)), 8, 4) == ()


def test_signed_saliency_ranks_by_evidence_for_the_class():
    saliency = np.zeros((16, 16))
    saliency[0, 0], saliency[9, 9], saliency[9, 0] = -5.0, 3.0, 1.0
    assert [(p.id, p.score) for p in grid(saliency, 8, 4)] == [
        ("cell-0-0", 0.5556),
        ("cell-1-1", 0.3333),
        ("cell-1-0", 0.1111),
    ]
    assert [(p.id, p.score) for p in grid(saliency, 8, 4, rank="signed")] == [("cell-1-1", 0.75), ("cell-1-0", 0.25)]


def test_a_blob_covers_salient_pixels():
    saliency = np.zeros((64, 64))
    saliency[10:20, 30:42] = 1.0
    saliency[50:55, 5:10] = -1.0
    saliency[:, 63] = 0.001
    first, second = propose(saliency, np.zeros((64, 64, 3), np.uint8), kind="blobs", rank="absolute", cell=8, count=2)
    for blob, rows, columns in [(first, slice(10, 20), slice(30, 42)), (second, slice(50, 55), slice(5, 10))]:
        area = geometry.pixels(blob, 64, 64)
        assert area[rows, columns].mean() > 0.5
        assert np.abs(saliency[area]).sum() / area.sum() > 0.7


def test_a_superpixel_keeps_to_the_pictures_edges():
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 27:] = 255
    saliency = np.zeros((64, 64))
    saliency[20:30, 20:30] = 1.0
    for proposal in propose(saliency, picture, kind="superpixels", rank="absolute", cell=16, count=4):
        bright = picture[geometry.pixels(proposal, 64, 64), 0].mean() / 255
        assert not 0.1 < bright < 0.9


@st.composite
def explained(draw):
    """Arguments of ``propose``."""
    cell = draw(st.sampled_from([4, 6, 8, 12]))
    size = cell * draw(st.integers(2, 48 // cell))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    smooth = draw(st.sampled_from([0, 1, 3]))
    saliency = ndimage.gaussian_filter(rng.normal(size=(size, size)), smooth).astype(np.float32)
    saliency[rng.random((size, size)) < draw(st.sampled_from([0, 0.9, 1]))] = 0
    noise = rng.normal(size=(size, size, 3))
    picture = np.clip(128 + 300 * ndimage.gaussian_filter(noise, (3, 3, 0)), 0, 255).astype(np.uint8)
    asked = draw(st.sampled_from([None, 0.0, 0.5]))
    if asked is not None:
        asked = ndimage.gaussian_filter(rng.random((size, size)), 2) < asked
    rank = draw(st.sampled_from(["absolute", "signed"]))
    return saliency, picture, rank, cell, draw(st.integers(1, 12)), asked


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(explained())
def test_proposals_are_ranked_apart_and_the_same_again(kind, arguments):
    saliency, picture, rank, cell, count, asked = arguments
    size = len(saliency)
    proposals = propose(saliency, picture, kind=kind, rank=rank, cell=cell, count=count, asked=asked)
    assert (
        propose(saliency.copy(), picture.copy(), kind=kind, rank=rank, cell=cell, count=count, asked=asked) == proposals
    )
    assert len(proposals) <= count
    assert len({p.id for p in proposals}) == len(proposals)
    scores = [p.score for p in proposals]
    assert scores == sorted(scores, reverse=True)

    areas = [geometry.pixels(p, size, size) for p in proposals]
    assert sum(areas, np.zeros((size, size), int)).max() <= 1, "no two of them overlap"
    weight = np.abs(saliency) if rank == "absolute" else np.maximum(saliency, 0)
    for p, area in zip(proposals, areas, strict=True):
        assert p.score == pytest.approx(weight[area].sum() / weight.sum(), abs=6e-5)
        assert all(type(number) is int for number in (p.x, p.y, p.width, p.height)), "JSON would not take others"
        across, down = zip(*p.corners(), strict=True)
        assert 0 <= p.x <= min(across) <= max(across) <= p.x + p.width <= size
        assert 0 <= p.y <= min(down) <= max(down) <= p.y + p.height <= size
        assert area.any()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(explained(), st.data())
def test_every_pixel_of_an_answers_mask_has_one_owner(kind, arguments, data):
    saliency, picture, rank, cell, count, asked = arguments
    proposals = propose(saliency, picture, kind=kind, rank=rank, cell=cell, count=count, asked=asked)
    size = len(saliency)
    question = query(size, proposals)
    marked = {p.id for p in proposals if data.draw(st.booleans())}
    answer = regions.relabelled(regions.to_result(question), marked, regions.DISREGARD)
    mask, unused = regions.mask(answer, size, size)
    assert unused == []
    owners = geometry.owners(question)
    assert {proposals[owner].id for owner in np.unique(owners[mask])} == marked
    assert (owners[mask] >= 0).all()
    for position, p in enumerate(proposals):
        np.testing.assert_array_equal(owners == position, geometry.pixels(p, size, size))
        assert mask[owners == position].all() == (p.id in marked)


def test_no_region_that_experts_judged_is_proposed_again():
    rng = np.random.default_rng(3)
    saliency = ndimage.gaussian_filter(rng.normal(size=(64, 64)), 3)
    picture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for kind in KINDS:
        asked = np.zeros((64, 64), bool)
        first = propose(saliency, picture, kind=kind, rank="absolute", cell=16, count=6)
        for p in first:
            asked |= geometry.pixels(p, 64, 64)
        for p in propose(saliency, picture, kind=kind, rank="absolute", cell=16, count=6, asked=asked):
            assert asked[geometry.pixels(p, 64, 64)].mean() < 0.5, kind


@st.composite
def masks(draw):
    size = draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return ndimage.gaussian_filter(rng.random((size, size)), draw(st.sampled_from([0, 0.7, 2]))) > 0.5


@given(masks(), st.sampled_from([0.0, 1.0, 3.0]))
def test_an_outline_gives_back_its_pixels_and_a_coarse_one_stays_near(mask, tolerance):
    points = _outline(mask, tolerance)
    if len(points) < 3:
        assert tolerance > 0 or not mask.any()
        return
    parts, _ = ndimage.label(mask)
    largest = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    whole = ndimage.binary_fill_holes(largest, np.ones((3, 3)))
    drawn = geometry.pixels(Proposal("p", 0, 0, *mask.shape, 0.1, points), *mask.shape)
    if tolerance == 0:
        np.testing.assert_array_equal(drawn, whole)
    else:
        assert (ndimage.distance_transform_edt(~whole)[drawn] <= tolerance + 0.5).all()


def test_polygons_survive_the_disk(tmp_path):
    saliency = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(64, 64)), 3)
    proposals = propose(saliency, np.zeros((64, 64, 3), np.uint8), kind="blobs", rank="absolute", cell=16, count=6)
    asked = Manifest("digits", "00", (query(64, proposals),))
    asked.write(tmp_path / "queries.json")
    assert Manifest.read(tmp_path / "queries.json") == asked
