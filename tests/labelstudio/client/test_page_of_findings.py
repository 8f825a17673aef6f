"""The labelling page of a query about one finding, in a real browser: a person reads which finding it is."""

from __future__ import annotations

import dataclasses

import pytest
from fakes.labelling_page import open_as, shows
from fakes.queries import manifest

from labelstudio.client.backend import LabelStudio

pytestmark = [pytest.mark.labelstudio, pytest.mark.browser]

ABOUT = {
    "finding": "seborrheic_keratosis",
    "label": "seborrheic_keratosis is not there; also melanoma, nodule",
    "prediction": "is seborrheic_keratosis there? p = 0.47",
    "probabilities": {"melanoma": 0.91, "seborrheic_keratosis": 0.47, "nodule": 0.02},
}


def test_the_page_says_which_finding_it_is_about(page, real_label_studio, tmp_path):
    admin = LabelStudio(real_label_studio.url, real_label_studio.api_key)
    asked = manifest(tmp_path, 1)
    asked = dataclasses.replace(asked, queries=(dataclasses.replace(asked.queries[0], **ABOUT),))
    project = admin.ensure_project("findings")
    admin.push(project, asked, tmp_path)
    open_as(page, real_label_studio.expert, project)
    shows(page, "1 of 1")
    for text in ("Model says: is seborrheic_keratosis there? p = 0.47", f"Truth: {ABOUT['label']}"):
        box = page.locator(f"text={text}").first.bounding_box()
        assert box["x"] + box["width"] <= page.viewport_size["width"], "nothing of it is cut off"
