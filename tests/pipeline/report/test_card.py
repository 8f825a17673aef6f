"""The model card: its numbers are those of the files, and its limits follow from them."""

import numpy as np
import pytest
from fakes.data_set import prepare_data_set

from pipeline.config import External, Folder, load
from pipeline.evaluation.groups import Group
from pipeline.evaluation.predictions import Outcomes
from pipeline.feedback import masks
from pipeline.paths import card_file, prepared_dir, step_dir
from pipeline.report import card
from pipeline.report.annotated import Numbers
from pipeline.report.comparison import Result
from pipeline.stages import screen

SCENARIO = "decoy-digits-20pct"
SCORES = {"min_loss": 0.1, "selected_test_accuracy": 0.9, "selected_test_loss": 0.2}


def outcomes(right):
    return Outcomes(np.arange(100) < right, np.linspace(0.1, 0.3, 100))


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the card of the shipped scenario with other settings, and returns its text."""
    loaded = load()
    monkeypatch.chdir(tmp_path)
    prepare_data_set(prepared_dir("decoy-digits"))
    screen.main("decoy-digits")
    mask = np.ones((16, 16), np.float32)
    entries = [masks.Entry.of("03", f"i{n}", mask, mask > 0, kind=k) for n, k in enumerate(("judged", "spread"))]
    masks.write(step_dir(SCENARIO, "03") / "masks.npz", entries)

    def write(numbers=Numbers(7, 2, 9, 5, 0.25), arms=("automated", "hitl"), external=(), grouped=False, **annotate):  # noqa: B008
        settings = loaded.scenario(SCENARIO).model_copy(update={"external": list(external)})
        datasets = loaded.datasets | {"ph2": Folder(source="folder", root="x", size=64)}
        updates = {
            "datasets": datasets,
            "scenarios": {SCENARIO: settings},
            "annotate": loaded.annotate.model_copy(update=annotate),
        }
        config = loaded.model_copy(update=updates)
        found = {arm: {"val": outcomes(90), "test": outcomes(60 if arm == "hitl" else 30)} for arm in arms}
        for one in external:
            for arm in arms:
                found[arm][f"external-{one.dataset}"] = outcomes(50)
        by_group = {"device": {"test": [Group("A", outcomes(60).right, {"a": outcomes(60).right})]}} if grouped else {}
        result = Result(images=11, classes=2, answers=7, scores=dict.fromkeys(arms, SCORES), outcomes=found,
            groups=dict.fromkeys(arms, by_group),
        )  # fmt: skip
        card.write(config, SCENARIO, result, numbers)
        return card_file(SCENARIO).read_text()

    return write


def test_the_card_has_data_splits_arms_intervals_and_what_was_disregarded(write):
    text = write()
    assert text == write()
    assert text.startswith(f"# Model card: {SCENARIO}\n")
    assert "4 networks that classify images, one for each arm: baseline, automated, random-mask, hitl." in text
    assert "| Classes | a, b |" in text
    assert "| Network | tf_efficientnet_lite0, weights: package |" in text
    assert "11 of its 20 training images were used." in " ".join(text.split())
    assert "| train | 20 | 10 | 10 |" in text
    assert "| val | 2 | 1 | 1 |" in text
    assert "hitl | 90.0 [82.6, 94.5] |" in text
    assert "| 7 | 2, simulated | 9 | 5 | 25% |" in text
    assert "A small model spread these marks to 1 other images." in text
    assert "{" not in text
    assert "\n\n\n" not in text


def test_the_limits_follow_from_the_numbers(write):
    text = write()
    for limit in (
        "no network here is a medical device", "this is one seed", "No external test set",
        "Few images to measure on: 1 of a in val, 1 of a in test.",
        "no attributes, such as site", "a patient may be in several splits", "The answers are simulated",
        "Accuracy of hitl against automated on test: higher.",
    ):  # fmt: skip
        assert limit in text, limit
    people = write(expert="human", external=[External(dataset="ph2")])
    assert "| 7 | 2 | 9 | 5 | 25% |" in people
    assert "simulated" not in people
    assert "No external test set" not in people
    assert "| external-ph2 | 100 | | |" in people
    assert "The external test set ph2" in people
    assert "on external-ph2: no difference shown." in people


def test_the_card_names_what_predicts_the_class_by_itself(write):
    assert "Readings that predict the class by themselves: none." in write()


def test_the_card_names_the_lowest_groups(write):
    text = write(grouped=True)
    assert (
        "Lowest accuracy of the groups by device, test (%): automated 60.0 [50.2, 69.1], device A; hitl 60.0 [" in text
    )
    assert (
        "Lowest recall of the groups by device, test (%): automated 60.0 [50.2, 69.1], a, device A; hitl 60.0 [" in text
    )
    assert "groups by device" not in write()
