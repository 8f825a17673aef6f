"""The loop in one process: shared results, and given masks. tests/e2e compares its weights with the stages' weights."""

from itertools import pairwise

import numpy as np
import pytest
from fakes import data_set

from pipeline.config import Config, FeedbackSettings
from pipeline.data import prepared
from pipeline.experiments import cells, loop, protocols
from pipeline.experiments.experiment import rounds
from pipeline.experiments.loop import Loop
from pipeline.models import files
from pipeline.models.backbones import pretrained

SCENARIO = "decoy-mnist"


@pytest.fixture
def feedback():
    """The scenario's section `feedback`."""
    return {}


@pytest.fixture
def new_loop(tmp_path, monkeypatch, feedback):
    """Return loops of one scenario on a small data set, all with the same folder of shared results."""
    monkeypatch.setattr(data_set, "SIZE", 28)  # of the small CNN's images, pixels
    numbers = {"train": range(20), "val": range(20, 24), "test": range(24, 28)}
    items = [data_set.item(n, "ab"[n % 2], split) for split, some in numbers.items() for n in some]
    data_set.prepare_items(tmp_path / "data", ["a", "b"], items)
    document = protocols.plain(protocols.EXPERIMENTS)
    document["hitl"] |= {"scenarios": [SCENARIO], **_rounds([1, 2])}
    document["scenarios"][SCENARIO] |= {"init": str(tmp_path / "cnn.pt"), "feedback": feedback}
    config = Config.model_validate(document)
    files.write(pretrained("cnn", config.backbones["cnn"], config.seed), tmp_path / "cnn.pt")
    data = prepared.read(tmp_path / "data")
    return lambda: Loop(config, SCENARIO, data=data, folder=tmp_path / "shared")


def _rounds(epochs):
    return {key.removeprefix("hitl."): value for key, value in rounds(4, epochs).items()}


def test_loops_share_the_arms_that_ask_no_expert(new_loop, monkeypatch):
    first = new_loop()
    trained = {"baseline": first.baseline(), "automated": first.arm("automated")}
    monkeypatch.setattr(loop, "train_baseline", None)
    monkeypatch.setattr(loop, "train_rounds", None)
    second = new_loop()
    for arm, outcome in {"baseline": second.baseline(), "automated": second.arm("automated")}.items():
        assert outcome.history.equals(trained[arm].history)
        ours, theirs = (one.state.model.state_dict() for one in (outcome, trained[arm]))
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert trained["automated"].history["step"].tolist() == ["00", "01", "01"]


def test_given_masks_cover_all_but_the_evidence(new_loop):
    one = new_loop()
    one.baseline()
    outcome = one.given(0.25)
    assert [entry.round for entry in outcome.entries] == ["00"] * 5, "a quarter of 20 images"
    for entry in outcome.entries:
        assert np.array_equal(entry.mask, ~one.data.evidence(entry.image_id))
    assert outcome.rounds == []
    assert outcome.history["penalty"].max() > 0


def test_exact_masks_leave_out_images_without_known_evidence(new_loop):
    one = new_loop()
    one.baseline()
    ids, known = one.images["train"].ids, one.data.known_evidence
    object.__setattr__(one.data, "known_evidence", lambda image_id: None if image_id == ids[0] else known(image_id))
    outcome = one.arm("exact-masks")
    assert sorted(entry.image_id for entry in outcome.entries) == sorted(ids[1:])


def test_masktune_trains_on_masks_of_every_image_and_asks_nobody(new_loop):
    one = new_loop()
    one.baseline()
    outcome = one.arm("masktune")
    assert outcome.rounds == []
    assert [entry.image_id for entry in outcome.entries] == one.images["train"].ids
    assert outcome.history["penalised_fraction"].iloc[0] > 0.5  # a flat saliency has no pixel above the limit
    ours, baseline = (o.state.model.network.classifier.weight.detach() for o in (outcome, one.baseline()))
    assert not np.array_equal(ours, baseline)


def test_an_arm_with_another_form_of_feedback_starts_from_the_same_baseline(new_loop, monkeypatch):
    one = new_loop()
    scenario = one.settings.model_copy(update={"feedback": FeedbackSettings(form="counterexamples")})
    config = one.config.model_copy(update={"scenarios": {**one.config.scenarios, SCENARIO: scenario}})
    object.__setattr__(one.data, "known_evidence", lambda _: np.zeros((28, 28), bool))  # experts mark all
    one.baseline()
    monkeypatch.setattr(loop, "train_baseline", None)
    found = cells.train_arms(one, ("hitl", "other"), given=None, forms={"other": one.with_settings(config)})
    assert list(found) == ["baseline", "hitl", "other"]
    assert found["hitl"].history["penalty"].max() > 0
    assert found["other"].history["penalty"].max() == 0
    ours, theirs = (found[arm].state.model.network.classifier.weight.detach() for arm in ("hitl", "other"))
    assert not np.array_equal(ours, theirs)


def test_splits_that_are_read_at_the_end_only_have_no_history(new_loop):
    one = new_loop()
    late = Loop(one.config, SCENARIO, data=one.data, folder=one.folder.with_name("late"), each_epoch=False)
    outcomes = {"early": one.baseline(), "late": late.baseline()}
    assert "test_loss" in outcomes["early"].history
    assert "test_loss" not in outcomes["late"].history
    results = {
        name: cells.arm_result(loop, "baseline", outcomes[name], disregarded=None, explainers=())["numbers"]
        for name, loop in (("early", one), ("late", late))
    }
    assert results["late"]["val_loss"] == results["early"]["val_loss"]
    for name in ("test_recall_a", "test_loss", "test_accuracy"):
        assert results["late"][name] == pytest.approx(results["early"][name], abs=1e-5)


def test_a_placebo_needs_the_arm_that_it_follows(new_loop):
    with pytest.raises(ValueError, match="the placebo 'random-mask' needs the outcome of `hitl`"):
        new_loop().arm("random-mask")


@pytest.mark.parametrize("feedback", [{"form": "counterexamples", "spread": {"precision": 0.8}}])
def test_spread_marks_reach_the_training_and_the_placebo(new_loop, monkeypatch, capsys):
    """Experts mark the left half, which a cell's place tells."""
    left = np.zeros((28, 28), bool)
    left[:, :14] = True
    one = new_loop()
    object.__setattr__(one.data, "known_evidence", lambda _: ~left)
    rounds = [entry.model_copy(update={"queries": 7}) for entry in one.config.hitl.rounds]
    hitl_settings = one.config.hitl.model_copy(update={"rounds": rounds})
    one.config = one.config.model_copy(update={"hitl": hitl_settings})
    one.baseline()
    hitl = one.arm("hitl")
    spread = [entry for entry in hitl.entries if entry.kind == "spread"]
    queried = {n: {e.image_id for e in hitl.entries if e.kind != "spread" and e.round <= n} for n in ("00", "01")}
    for n, ids in queried.items():
        assert len([entry for entry in spread if entry.round == n]) == 20 - len(ids)
    marked = np.mean([entry.mask for entry in spread], axis=0)
    assert marked[:, :12].mean() > marked[:, 16:].mean() + 0.5
    assert "13 of 20 images reached" in capsys.readouterr().out
    assert hitl.history["penalty"].tolist() == [0, 0, 0]
    fake = one.arm("random-mask", hitl)
    assert [e.mask.sum() for e in fake.entries] == pytest.approx([e.mask.sum() for e in hitl.entries], abs=16)
    ends = [outcome.state.model.network.classifier.weight for outcome in (hitl, fake, one.arm("automated"))]
    assert not any(np.array_equal(a.detach(), b.detach()) for a, b in pairwise(ends))


def test_the_second_round_may_ask_where_the_spreader_is_unsure(new_loop, capsys):
    one = new_loop()
    one.config = one.config.model_copy(update={"annotate": evidence_experts(one.config.annotate)})
    rounds = [entry.model_copy(update={"queries": 8}) for entry in one.config.hitl.rounds]
    one.config = one.config.model_copy(update={"hitl": one.config.hitl.model_copy(update={"rounds": rounds})})
    left = np.zeros((28, 28), bool)
    left[:, :14] = True
    object.__setattr__(one.data, "known_evidence", lambda _: ~left)
    one.baseline()
    asked = {}
    for strategy in ("entropy", "spread-entropy"):
        query = one.settings.query.model_copy(update={"strategy": strategy})
        one.settings = one.settings.model_copy(update={"query": query})
        entries = one.arm("hitl").entries
        assert {entry.kind for entry in entries} == {"evidence"}
        asked[strategy] = [(entry.round, entry.image_id) for entry in entries]
    assert asked["entropy"][:8] == asked["spread-entropy"][:8], "no spreader before the first answers"
    assert asked["entropy"][8:] != asked["spread-entropy"][8:]
    assert "round 00: `spread-entropy` is entropy here: no spreader yet (no answers)" in capsys.readouterr().out


@pytest.mark.parametrize("feedback", [{"form": "counterexamples", "spread": {"precision": 0.8}}])
def test_from_the_second_round_on_experts_correct_instead_of_marking(new_loop):
    """Experts mark the left half, which a cell's place tells; a pre-filled round changes no answer."""
    left = np.zeros((28, 28), bool)
    left[:, :14] = True
    one = new_loop()
    object.__setattr__(one.data, "known_evidence", lambda _: ~left)
    rounds = [entry.model_copy(update={"queries": 8}) for entry in one.config.hitl.rounds]
    one.config = one.config.model_copy(update={"hitl": one.config.hitl.model_copy(update={"rounds": rounds})})
    one.baseline()
    outcomes = {}
    for prefill in (False, True):
        query = one.settings.query.model_copy(update={"prefill": prefill})
        one.settings = one.settings.model_copy(update={"query": query})
        outcomes[prefill] = one.arm("hitl")
    filled, plain = ([cost.gestures for cost in outcomes[prefill].rounds] for prefill in (True, False))
    assert filled[0] == plain[0], "no spreader before the first answers"
    assert filled[1] < min(plain[1], 2.01), (filled, plain)
    assert outcomes[True].entries == outcomes[False].entries
    ends = [outcome.state.model.network.classifier.weight.detach() for outcome in outcomes.values()]
    assert np.array_equal(*ends)


def evidence_experts(settings):
    """The same experts, who draw an ellipse around the evidence."""
    return settings.model_copy(
        update={"crowd": [one.model_copy(update={"marks": "evidence"}) for one in settings.crowd]}
    )
