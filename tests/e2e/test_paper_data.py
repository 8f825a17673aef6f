"""The paper's protocol, shortened, on some of the real images: ISIC 2017, and fundus photographs in APTOS's layout."""

import json
import shutil
import subprocess

import pandas as pd
import pytest
import yaml
from e2e.project import AUTHOR, ROOT, copy_of_the_project, environment_for

pytestmark = pytest.mark.labelstudio
SHARED = ROOT.parent / "shared" / "data"
NAMES = ["isic2017-10pct", "aptos2019-10pct"]


def shortened(protocol):
    """A small network, one epoch and one round of four queries, at 64 pixels; everything else as the paper has it."""
    protocol["datasets"].pop("nci")
    protocol["scenarios"] = {name: protocol["scenarios"][name] for name in NAMES}
    protocol["backbones"] = {"efficientnet-lite0": {"architecture": "test_efficientnet", "weights": "random"}}
    for dataset in protocol["datasets"].values():
        dataset["size"] = 64
    for scenario in protocol["scenarios"].values():
        scenario["init"] = "data/backbones/efficientnet-lite0.pt"
        scenario["train"]["baseline_epochs"] = 1
        scenario["query"]["cell"] = 8
    protocol["datasets"]["aptos2019"]["masks"] = "evidence_masks"
    protocol["hitl"] |= {"scenarios": NAMES, "placebos": [], "last": "00"}
    protocol["hitl"]["rounds"] = [{"n": "00", "after": "start", "queries": 4, "epochs": 1}]
    return protocol


def copy_some(source, target, tables, *, every):
    """Copy one of so many rows of these tables, and the files that are named after the images in them."""
    target.mkdir(parents=True)
    ids = set()
    for path in source.glob(tables):
        table = pd.read_csv(path, dtype=str).iloc[::every]
        table.to_csv(target / path.name, index=False)
        ids.update(table.iloc[:, 0])
    for path in source.glob("*/*.*"):
        if path.stem.removesuffix("_segmentation") in ids:
            (target / path.parent.name).mkdir(exist_ok=True)
            shutil.copy(path, target / path.parent.name)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real images in ../shared/data")
def test_both_public_data_sets_run_the_protocol_through_label_studio(tmp_path, real_label_studio):
    copy_of_the_project(tmp_path)
    protocol = shortened(yaml.safe_load((ROOT / "params" / "paper.yaml").read_text()))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(protocol, sort_keys=False))
    raw = tmp_path / "data" / "raw"
    copy_some(SHARED / "isic2017", raw / "isic2017", "ISIC-2017_*_Part3_GroundTruth.csv", every=5)
    copy_some(SHARED / "idrid-in-aptos2019-layout", raw / "aptos2019", "train.csv", every=2)
    for command in (["git", "init", "-q"], ["git", "add", "params.yaml"], ["git", *AUTHOR, "commit", "-qm", "start"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(
        ["dvc", "--wait-for-lock", "repro"],
        cwd=tmp_path, env=environment_for(real_label_studio), capture_output=True, text=True, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "isic2017: decoding 490 images" in done.stdout
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert list(metrics) == NAMES
    for scenario in NAMES:
        assert list(metrics[scenario]) == ["baseline", "automated", "hitl"]
        for arm in metrics[scenario].values():
            assert {"min_loss", "test_balanced_accuracy", "test_auc", "test_ece", "val_accuracy"} <= set(arm)
        answers = json.loads((tmp_path / "runs" / scenario / "00" / "answers.json").read_text())
        assert len(answers) == 4
    assert "test_kappa" in metrics["aptos2019-10pct"]["hitl"]
    assert "test_recall_melanoma" in metrics["isic2017-10pct"]["hitl"]
    table = (tmp_path / "report" / "table.md").read_text()
    assert "| isic2017-10pct (40, 2) | hitl |" in table
    assert "| Kappa |" in table
