"""The summary of an arm's history."""

import pandas as pd
import pytest

from pipeline.arms import results
from pipeline.errors import DamagedFileError


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


def test_a_missing_history_says_what_to_do(tmp_path):
    with pytest.raises(DamagedFileError, match="dvc repro"):
        results.history(tmp_path)
    cut_off = "step,epoch,val_loss,test_loss\nstart,1,0.5,0.5\n00,2,0.4\n"
    for content in ("epoch,val_loss\n1,0.5\n", "step,val_loss\n00,\n", "step,val_loss\n", cut_off):
        (tmp_path / "history.csv").write_text(content)
        with pytest.raises(DamagedFileError, match=r"history\.csv \(it lacks the steps or the losses\)"):
            results.history(tmp_path)


def test_a_loss_that_is_no_number_and_an_arm_without_an_epoch_are_damage(tmp_path):
    (tmp_path / "history.csv").write_text("step,val_loss\nstart,0.5\n00,0.4x\n")
    with pytest.raises(DamagedFileError, match=r"cannot read .*history\.csv \(could not convert"):
        results.history(tmp_path)
    with pytest.raises(DamagedFileError, match="the history of hitl has no epoch of its own"):
        results.summary(history(0.6).iloc[:1], "hitl")
