"""Proposals → regions → masks: the labels of regions and their meaning."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest
from fakes.regions import EXAMPLES, box, boxes, query, rectangle, region, submitted
from hypothesis import given

from labelstudio.exchange import geometry, regions
from labelstudio.exchange.records import AnnotationError, Proposal


@given(boxes())
def test_a_proposal_comes_back_as_exactly_its_pixels(numbers):
    width, height, *rectangle = numbers
    proposal = Proposal("p", *rectangle, 0.3)
    shown = regions.to_result(query(width, height, proposal))
    marked = regions.relabelled(shown, {"p"}, regions.DISREGARD)
    mask, unused = regions.mask(marked, width, height)
    np.testing.assert_array_equal(mask, box(*numbers))
    np.testing.assert_array_equal(geometry.pixels(proposal, width, height), mask)
    assert unused == []
    assert not regions.mask(shown, width, height)[0].any(), "an unmarked proposal is not in the mask"
    np.testing.assert_array_equal(regions.mask(shown, width, height, label=regions.LOOKS)[0], mask)


def test_owners_tell_which_proposal_a_pixel_is_of():
    triangle = Proposal("t", 4, 0, 4, 4, 0.1, ((4.0, 0.0), (8.0, 0.0), (4.0, 4.0)))
    owners = geometry.owners(query(8, 4, Proposal("r", 0, 0, 2, 4, 0.2), triangle))
    assert owners.tolist() == [
        [0, 0, -1, -1, 1, 1, 1, -1],
        [0, 0, -1, -1, 1, 1, -1, -1],
        [0, 0, -1, -1, 1, -1, -1, -1],
        [0, 0, -1, -1, -1, -1, -1, -1],
    ]


@pytest.mark.parametrize(("shape", "value"), EXAMPLES)
def test_old_answers_of_one_entry_and_new_ones_of_two_are_the_same_mask(shape, value):
    old = region(shape, value)
    mask, unused = regions.mask([old], 10, 10)
    assert mask.any()
    assert unused == []
    new = submitted(shape, value, regions.DISREGARD)
    for entries in (new, new[::-1]):
        assert regions.mask(entries, 10, 10)[1] == []
        np.testing.assert_array_equal(regions.mask(entries, 10, 10)[0], mask)
    assert not regions.mask(submitted(shape, value, regions.LOOKS), 10, 10)[0].any()


def test_a_relabelled_prediction_is_what_the_page_submits():
    shown = regions.to_result(query(10, 10, Proposal("p", 0, 0, 5, 5, 0.1), Proposal("q", 5, 5, 5, 5, 0.1)))
    answer = regions.relabelled(shown, {"q"}, regions.DISREGARD)
    assert [(e["id"], e["type"], e["origin"], e["value"].get("labels")) for e in answer] == [
        ("p", "rectangle", "prediction", None),
        ("p", "labels", "prediction", [regions.LOOKS]),
        ("q", "rectangle", "prediction-changed", None),
        ("q", "labels", "prediction-changed", [regions.DISREGARD, regions.LOOKS]),
    ]
    assert [{**e, "origin": None} for e in answer[:2]] == [{**e, "origin": None} for e in shown[:2]]


def test_marked_names_proposals_only():
    shown = regions.to_result(query(10, 10, Proposal("p", 0, 0, 5, 5, 0.1), Proposal("q", 5, 5, 5, 5, 0.1)))
    own = submitted("rectangle", EXAMPLES[0][1], regions.DISREGARD, id="own")
    assert regions.marked(regions.relabelled(shown, {"q"}, regions.DISREGARD) + own) == {"q"}
    old = [{**rectangle(0, 0, 1, 1), "id": "p", "origin": "prediction-changed"}, {**own[0], "type": "rectanglelabels"}]
    assert regions.marked(old) == {"p"}


def test_a_region_beyond_its_picture_is_never_shown():
    far, own = Proposal("far", 0, 0, 5, 5, 0.1, ((0.0, 0.0), (10.5, 0.0), (0.0, 5.0))), Proposal("p", 0, 0, 10, 10, 0.1)
    for asked in (query(10, 10, own, far), dataclasses.replace(query(10, 10, own), earlier=(far,))):
        with pytest.raises(AnnotationError, match="region far of image i reaches beyond"):
            regions.to_result(asked)
    assert regions.to_result(query(10, 10, own))


def test_the_regions_fit_the_labelling_interface():
    from labelstudio.client.projects import INTERFACE

    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface(INTERFACE)
    triangle = Proposal("t", 0, 0, 97, 31, 0.3, ((0.0, 0.0), (97.0, 0.5), (3.5, 31.0)))
    asked = query(97, 31, Proposal("p", 0, 0, 97, 31, 1.0), Proposal("q", 3, 7, 11, 13, 0.1, prefilled=True), triangle)
    result = regions.to_result(dataclasses.replace(asked, earlier=(triangle,)))
    assert interface.validate_prediction({"result": result, "score": 0.5}, return_errors=True) == []
    labels = interface.get_control(regions.LABELS).labels
    assert list(labels) == list(regions.ORDER), "the first label colours a region"
    assert set(interface.get_control(regions.EARLIER).labels) == {regions.BEFORE}
    assert {interface.get_control(shape).tag.lower() for shape in geometry.SHAPES} == set(geometry.SHAPES)
    assert interface.get_object(regions.IMAGE).tag == "Image"


def test_every_key_is_chosen_by_us():
    """Label Studio gives a label without a key the next digit, be it visible or not."""
    from labelstudio.client.projects import INTERFACE

    keys = [tag.get("hotkey") for tag in ElementTree.fromstring(INTERFACE).iter() if tag.tag in ("Label", "Choice")]
    assert len(keys) == len(set(keys)) == 7
    assert all(keys)
