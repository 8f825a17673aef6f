"""Findings from a public-style table to the comparison: each stage in turn, in one process, with a Label Studio."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from e2e.project import SCENARIO, tiny
from fakes import findings
from fakes.checkout import ROOT
from fakes.label_studio import FakeLabelStudio

from labelstudio.exchange.records import Manifest
from pipeline.feedback import masks
from pipeline.paths import PAGE, REPORT, annotated_dir, card_file, predictions_file, step_dir
from pipeline.stages import (
    annotate,
    automated,
    backbone,
    baseline,
    compare,
    evaluate,
    hitl_train,
    placebo,
    prepare,
    query_export,
    review,
    screen,
)
from pipeline.tracking import registered, store

pytestmark = pytest.mark.slow
NAMES = findings.FINDINGS
METRICS, TABLE = REPORT / "metrics.json", REPORT / "table.md"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which a scenario of two findings went through all stages, what the server has, and what was said."""
    folder = tmp_path_factory.mktemp("findings")
    findings.write_images(folder / "raw", count=60)
    params = tiny(yaml.safe_load((ROOT / "params.yaml").read_text()))
    params["datasets"] = {"shapes": findings.settings(folder / "raw")}
    scenario = params["scenarios"][SCENARIO]
    scenario |= {"dataset": "shapes", "fraction": 1.0}
    scenario["penalty"] |= {"form": "eq2", "output": "predicted"}
    scenario["train"] |= {"class_balance": "loss", "baseline_epochs": 3}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch, FakeLabelStudio() as label_studio:
        patch.chdir(folder)
        for name, value in {
            "LABEL_STUDIO_URL": label_studio.url,
            "LABEL_STUDIO_API_KEY": label_studio.api_key,
            "LABEL_STUDIO_EXPERT_API_KEY": label_studio.expert_api_key,
        }.items():
            patch.setenv(name, value)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        prepare.main("shapes")
        screen.main("shapes")
        backbone.main("efficientnet-lite0")
        baseline.main(SCENARIO)
        for entry in params["hitl"]["rounds"]:
            query_export.main(SCENARIO, entry["n"], entry["after"], str(entry["queries"]))
            annotate.main(SCENARIO, entry["n"])
            hitl_train.main(SCENARIO, entry["n"], entry["after"], entry["epochs"])
            review.main(SCENARIO, entry["n"], entry["after"])
        automated.main(SCENARIO)
        placebo.main(SCENARIO, "random-mask")
        evaluate.main(SCENARIO)
        compare.main()
        yield label_studio


def manifests():
    return {n: Manifest.read(step_dir(SCENARIO, n) / "queries.json") for n in ("00", "01")}


def test_each_query_is_about_a_finding_and_each_image_is_asked_once(finished):
    queries = [query for manifest in manifests().values() for query in manifest.queries]
    assert len({query.image_id for query in queries}) == len(queries) == 8
    assert {query.finding for query in queries} <= set(NAMES)
    for query in queries:
        assert abs(query.probabilities[query.finding] - 0.5) == min(abs(p - 0.5) for p in query.probabilities.values())


def test_the_page_of_experts_names_the_finding(finished):
    about = {key: query.finding for manifest in manifests().values() for key, query in manifest.keys().items()}
    asked = {task["data"]["key"]: task["data"] for task in finished.tasks.values() if task["data"]["key"] in about}
    assert set(asked) == set(about)
    for key, data in asked.items():
        assert data["prediction"].startswith(f"is {about[key]} there? p = 0.")
        assert data["label"].split(" is ")[0] == about[key]
    (project,) = [about for about in finished.projects.values() if ", effect" not in about["title"]]
    assert "one finding" in project["expert_instruction"]


def test_marks_keep_their_finding_and_reach_training(finished):
    entries = masks.read(step_dir(SCENARIO, "01") / "masks.npz")
    about = {query.image_id: query.finding for manifest in manifests().values() for query in manifest.queries}
    assert masks.findings(entries) == about
    history = pd.read_csv(step_dir(SCENARIO, "01") / "history.csv", dtype={"step": str})
    assert (history.loc[history["step"] == "01", "penalty"] > 0).all()
    placebo = masks.read(step_dir(SCENARIO, "random-mask") / "masks.npz")
    assert masks.findings(placebo) == about


def test_each_finding_and_their_means_are_reported(finished):
    metrics = json.loads(METRICS.read_text())[SCENARIO]
    table, page, card = TABLE.read_text(), PAGE.read_text(), card_file(SCENARIO).read_text()
    for arm, scores in metrics.items():
        for metric in ("recall", "precision", "auc", "average_precision"):
            each = [scores[f"test_{metric}_{name}"] for name in NAMES]
            assert scores[f"test_{metric}"] == pytest.approx(sum(each) / 2)
        assert f"| {SCENARIO} | {arm} | disk | {100 * scores['test_recall_disk']:.1f} [" in table
        assert f"| {SCENARIO} | {arm} | mean | {100 * scores['test_recall']:.1f} |" in table
    assert "Each finding on test" in page
    assert "an image counts as right if all of its findings are" in page
    assert "| Findings, each there or not | disk, bar |" in card
    assert "4 networks that tell findings on images" in card
    images = pd.read_csv("data/prepared/shapes/index.csv")["split"].value_counts()
    assert f"| train | {images['train']} |" in card
    rows = pd.read_csv(predictions_file(SCENARIO), keep_default_na=False)
    for arm in metrics:
        predicted = [[name for name in NAMES if row[f"{name}: {arm}"] > 0.5] for _, row in rows.iterrows()]
        assert ["|".join(names) for names in predicted] == rows[f"{arm}.prediction"].tolist()


def test_the_annotated_set_says_which_finding_an_answer_is_about(finished):
    about = {query.image_id: query.finding for manifest in manifests().values() for query in manifest.queries}
    lines = json.loads((annotated_dir(SCENARIO) / "answers.json").read_text())
    assert {line["image"]: line["finding"] for line in lines} == about
    described = json.loads((annotated_dir(SCENARIO) / "croissant.json").read_text())
    assert "answer/finding" in {field["@id"] for field in described["recordSet"][0]["field"]}


def test_mlflow_has_each_finding_and_serves_all(finished):
    import mlflow

    client = store.client()
    (run,) = client.search_runs([store.experiment(client)], "tags.arm = 'hitl'")
    scores = json.loads(METRICS.read_text())[SCENARIO]["hitl"]
    assert run.data.metrics["final/test_auc_disk"] == scores["test_auc_disk"]
    assert run.data.metrics["final/test_auc"] == scores["test_auc"]
    model = mlflow.pyfunc.load_model(f"models:/{registered.name(store.name(), SCENARIO)}@hitl")
    rows = pd.read_csv("data/originals/shapes.csv").merge(
        pd.read_csv(predictions_file(SCENARIO), keep_default_na=False), left_on="id", right_on="image"
    )
    (answer,) = model.predict(pd.DataFrame({"image": [Path("raw", rows["name"][0]).read_bytes()]}))
    assert answer["prediction"] == rows["hitl.prediction"][0]
    assert answer["probabilities"] == pytest.approx({name: rows[f"{name}: hitl"][0] for name in NAMES}, abs=1e-4)
