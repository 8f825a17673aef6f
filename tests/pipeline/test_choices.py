"""Every call that takes one of several words refuses any other word, and names the nearest one."""

import io
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from fakes import small
from PIL import Image
from pydantic import ValidationError

from labelstudio.exchange import words
from pipeline import choices
from pipeline.arms.placebos import placebo
from pipeline.config import Explain, Penalty
from pipeline.evaluation import attention
from pipeline.feedback.masks import Entry
from pipeline.query.selection import overlaid
from pipeline.sources import decoding
from pipeline.sources.evidence import Evidence
from pipeline.sources.originals import items
from pipeline.sources.source import Originals
from pipeline.sources.splits import settle

PENALTY = Penalty(form="share", output="logits", weight=1.0)
SQUARE = np.zeros((4, 4))


def measure(**words):
    return attention.measure(None, images=small.images(1), areas={}, settings=Explain(), **words)


def picture():
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: placebo("random-masks", [], penalty=PENALTY, cell=4, seed=0), "placebo .* write 'random-mask'"),
        (lambda: measure(name="mark"), "kind of areas .* write 'marked'"),
        (lambda: measure(name="marked", methods=("gradcam",)), "explainer .* write 'grad-cam'"),
        (lambda: small.network(["a", "b"]).learn("heads"), "layers .* write 'head'"),
        (lambda: overlaid(np.zeros((4, 4, 3), np.uint8), SQUARE, "absolut"), "rank .* write 'absolute'"),
        (
            lambda: settle(pd.DataFrame(), pd.Series(), held_out=0.2, seed=0, duplicates="drops"),
            "duplicates .* write 'drop'",
        ),
        (lambda: Entry.of("00", "x", SQUARE, SQUARE > 0, "judge"), "kind of entry .* write 'judged'"),
        (lambda: next(items(Originals(["x"], []), 4, "cropped")), "fit .* write 'crop'"),
        (lambda: Evidence().read("x", picture(), (4, 4), size=4, fit="crops"), "fit .* write 'crop'"),
        (lambda: decoding.picture(picture(), 4, "cropp"), "fit .* write 'stretch' or 'crop'"),
    ],
)
def test_a_wrong_word_is_refused_with_the_nearest_word(call, message):
    with pytest.raises(ValueError, match=f"unknown .*{message}"):
        call()


def test_a_copy_of_settings_is_checked_as_the_settings_are():
    with pytest.raises(ValidationError, match="Input should be 'eq2'"):
        PENALTY.model_copy(update={"form": "eq-2"})
    with pytest.raises(ValidationError, match="forms"):
        PENALTY.model_copy(update={"forms": "eq2"})
    copy = PENALTY.model_copy(update={"form": "eq2"})
    assert (copy.form, copy.output, PENALTY.form) == ("eq2", "logits", "share")


@pytest.mark.parametrize("other", [words.Rule, words.Marks, decoding.Fit])
def test_the_packages_that_import_nothing_have_the_same_words(other):
    assert get_args(other) in [get_args(kind) for kind in (choices.Rule, choices.Marks, choices.Fit)]
