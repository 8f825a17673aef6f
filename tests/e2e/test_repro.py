"""The whole loop, `dvc repro`, against a real Label Studio, with tiny settings, and killed on the way.

Its answers are spread, its images become counterexamples, and its last layer is fitted anew.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter

import numpy as np
import pytest
import requests
import yaml
from e2e.project import SAID, SCENARIO, environment_for, ran, repro, tiny_project
from fakes import killed

from labelstudio.client.backend import LabelStudio
from labelstudio.client.experts import SimulatedExpert
from labelstudio.server.process import free_port
from pipeline.arms import results
from pipeline.config import load
from pipeline.data import prepared
from pipeline.experiments.loop import Loop
from pipeline.feedback import masks
from pipeline.paths import prepared_dir
from pipeline.training import states

pytestmark = pytest.mark.labelstudio
QUERIES = (12, 4)  # the first round's are enough to learn from
ROUND = f"@{SCENARIO}-round0"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone of the project's files in a folder of its own, whose answers reach images that are no query."""
    folder = tmp_path_factory.mktemp("project")
    tiny_project(folder)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    scenario = params["scenarios"][SCENARIO]
    scenario["feedback"] = {"form": "counterexamples", "refit": {"draws": 2}, "spread": {"precision": 0.6}}
    scenario["query"]["random_share"] = 0.5
    params["hitl"]["rounds"][0]["queries"] = QUERIES[0]
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def environment(real_label_studio, personal_access_token):
    """With a personal access token; elsewhere the tests use legacy ones."""
    return environment_for(real_label_studio) | {"LABEL_STUDIO_API_KEY": personal_access_token}


@pytest.fixture(scope="module")
def finished(project, environment, real_label_studio):
    """The output of the first, whole run, which is killed while its expert answers and while it trains."""
    begun = start(project, environment)
    said = read_until(f"Running stage 'annotate{ROUND}'", begun)
    while not tasks_of(real_label_studio) and begun.poll() is None:
        time.sleep(0.02)
    kill(begun, project / "runs" / SCENARIO / "00" / "answers.json")
    begun = start(project, environment)
    said += read_until("in force", begun)
    kill(begun, project / "runs" / SCENARIO / "00" / "state.pt")
    assert "report/curves/" + SCENARIO + "/baseline.csv" in plots(project, environment), "long before `evaluate`"
    return said + repro(project, environment)


def start(project, environment, *arguments):
    """`dvc repro` in a process group of its own."""
    return subprocess.Popen(
        ["dvc", "--wait-for-lock", "repro", *arguments],
        cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def plots(project, environment):
    """The files of which DVC shows curves, with the epochs of each."""
    shown = subprocess.run(
        ["dvc", "plots", "show", "--json"], cwd=project, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    found = json.loads(shown.stdout)["data"]
    return {name: re.findall(r'"epoch": "?(\d+)', json.dumps(curves)) for name, curves in found.items()}


def read_until(words, process):
    """Return what a process says up to these words."""
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"it never said {words!r}:\n{said}")


def kill(process, output):
    """Kill a process group; the output must not be there yet."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()  # until its last process is gone, whose locks DVC would respect
    assert not output.exists(), "killed too late to show anything"


def tasks_of(label_studio):
    """The number of tasks on the server in projects of this scenario."""
    headers = {"Authorization": f"Token {label_studio.api_key}"}
    found = requests.get(f"{label_studio.url}/api/projects/?page_size=200", headers=headers, timeout=60).json()
    return sum(about["task_number"] for about in found["results"] if about["title"].startswith(SCENARIO))


@pytest.fixture(scope="module")
def report(project, finished):
    """The metrics of the first run."""
    return report_of(project)


def report_of(project):
    return (project / "report" / "metrics.json").read_bytes()


def trained(project):
    """All that the last round's training made."""
    folder = project / "runs" / SCENARIO / "01"
    return [(folder / name).read_bytes() for name in ("state.pt", "masks.npz", "history.csv")]


def answers(project):
    return [json.loads((project / "runs" / SCENARIO / n / "answers.json").read_text()) for n in ("00", "01")]


def tasks_on_server(project, environment):
    """The key of each task in the scenario's project that asks one of these rounds' queries."""
    client = LabelStudio(environment["LABEL_STUDIO_URL"], environment["LABEL_STUDIO_API_KEY"])
    manifests = [json.loads((project / "runs" / SCENARIO / n / "queries.json").read_text()) for n in ("00", "01")]
    keys = {query["key"] for manifest in manifests for query in manifest["queries"]}
    return [task.key for task in client.tasks(client.ensure_project(simulated_title(project)), keys)]


def simulated_title(project):
    """The project of the simulated expert, whose archive of answers has the same name."""
    (archive,) = (project / "answers").glob(f"{SCENARIO}_seed-0_simulated-*.jsonl")
    return archive.stem.replace("_", ", ").replace("seed-", "seed ").replace("simulated-", "simulated ")


def delete(label_studio, what):
    """Delete something on the server, as somebody in its data manager could."""
    headers = {"Authorization": f"Token {label_studio.api_key}"}
    requests.delete(f"{label_studio.url}/api/{what}/", headers=headers, timeout=60).raise_for_status()


def test_everything_ran_and_is_compared(project, environment, finished, report):
    stages = Counter(ran(finished))
    assert len(stages) == 4 + 4 * 2 + 2 + 1 + 1
    assert {stage for stage, count in stages.items() if count > 1} == {f"annotate{ROUND}", f"hitl-train{ROUND}"}
    metrics = json.loads((project / "report" / "metrics.json").read_text())[SCENARIO]
    assert list(metrics) == ["baseline", "automated", "random-mask", "hitl"]
    for arm in metrics.values():
        assert 0 <= arm["test-shifted_accuracy"] <= 1
        assert arm["min_loss"] > 0
    table = (project / "report" / "table.md").read_text()
    assert table.count(f"| {SCENARIO} (1") == 4 + 3 + 4 + 4  # a tenth of 1,347; four tables, one of differences
    assert f"{sum(QUERIES)} answers from experts" in table
    page = (project / "report" / "index.html").read_text()
    assert page.count('src="data:image/png;base64,') == page.count("src=") == 2 + 2  # two pictures, and one a round
    assert not re.search("https?:|<script|expert@", page), "it needs nothing else, and names nobody"
    for picture in ("curves", "explanations"):
        assert (project / "report" / picture / f"{SCENARIO}.png").stat().st_size > 10_000
    curves = {name: set(epochs) for name, epochs in plots(project, environment).items() if name.endswith(".csv")}
    assert curves == {
        f"report/curves/{SCENARIO}/{arm}.csv": set("1" if arm == "baseline" else "123") for arm in metrics
    }


def test_experiments_run_the_same_loop_to_the_same_weights(project, finished, tmp_path, monkeypatch, capsys):
    """In one process and without a server, and interrupted; both sides use as many threads."""
    monkeypatch.chdir(project)
    config = load()
    data = prepared.read(prepared_dir("decoy-digits"))
    loop = Loop(config, SCENARIO, data=data, folder=tmp_path, checkpoint_dir=tmp_path / "checkpoints")
    loop.baseline()
    killed.in_epoch(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        loop.arm("hitl")
    capsys.readouterr()
    outcomes = {"baseline": loop.baseline(), "hitl": loop.arm("hitl")}
    outcomes |= {arm: loop.arm(arm, outcomes["hitl"]) for arm in ("automated", "random-mask")}
    for arm, outcome in outcomes.items():
        stages = results.final_dir(config, SCENARIO, arm)
        states.save(outcome.state, tmp_path / "state.pt")
        assert (tmp_path / "state.pt").read_bytes() == (stages / "state.pt").read_bytes(), arm
        history = results.history(stages)
        own = history[(history["step"] == "start") == (arm == "baseline")]
        assert own["test_loss"].tolist() == pytest.approx(outcome.history["test_loss"].tolist(), rel=1e-12), arm
    assert "00: resuming after epoch 2" in capsys.readouterr().out
    assert [asked.answers for asked in outcomes["hitl"].rounds] == list(QUERIES)


def test_a_launcher_makes_one_arm_of_two_processes_and_no_stage_runs_again_for_it(
    project, finished, environment, tmp_path
):
    copy = tmp_path / "project"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("cache", "mlflow.db"))
    params = yaml.safe_load((copy / "params.yaml").read_text())
    params["compute"] = {"launcher": "torchrun --standalone --nproc-per-node 2"}
    (copy / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    status = subprocess.run(["dvc", "status"], cwd=copy, env=environment, capture_output=True, text=True, check=True)
    assert "params.yaml" not in status.stdout
    alone = results.history(copy / "runs" / SCENARIO / "automated")
    shutil.rmtree(copy / "runs" / SCENARIO / "automated")
    command = ["python", "-m", "pipeline", "stage", "automated", "--scenario", SCENARIO]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall("epoch 2, train loss", done.stdout)) == 1, "the second process is silent"
    together = results.history(copy / "runs" / SCENARIO / "automated")
    own = alone["step"] != "start"
    # Random weights magnify rounding: two slices in one process differ as much. Unit tests compare gradients.
    assert together["train_loss"][own].tolist() == pytest.approx(alone["train_loss"][own].tolist(), rel=0.1)
    assert together["train_loss"][own].tolist() != alone["train_loss"][own].tolist(), "two processes really took part"


def test_the_expert_answered_every_query_once_as_itself(project, finished, environment, real_label_studio):
    for round_answers, n in zip(answers(project), ("00", "01"), strict=True):
        queries = json.loads((project / "runs" / SCENARIO / n / "queries.json").read_text())["queries"]
        assert sorted(a["key"] for a in round_answers) == sorted(q["key"] for q in queries)
        assert {a["expert"] for a in round_answers} == {real_label_studio.expert["email"]}
    keys = tasks_on_server(project, environment)
    assert len(keys) == len(set(keys)) == sum(QUERIES)


def test_the_answers_reach_other_images(project, finished):
    entries = masks.read(project / "runs" / SCENARIO / "00" / "masks.npz")
    assert Counter(entry.kind for entry in entries)["spread"] > QUERIES[0]
    skill = json.loads((project / "runs" / SCENARIO / "00" / "spread" / "skill.json").read_text())
    assert skill["answers"] == QUERIES[0]
    assert (project / "runs" / SCENARIO / "00" / "spread" / "examples.png").stat().st_size > 10_000
    assert "last layer fitted" in finished


def test_the_second_run_does_nothing(project, finished, environment):
    assert list((project / "pipeline").rglob("__pycache__")), "bytecode must not count as a change"
    output = repro(project, environment)
    assert ran(output) == []
    assert "Data and pipelines are up to date" in output
    status = subprocess.run(["dvc", "status"], cwd=project, env=environment, capture_output=True, text=True, check=True)
    assert status.stdout == "Data and pipelines are up to date.\n"


def test_dvc_has_something_to_say(project, finished, environment):
    def dvc(*arguments):
        done = subprocess.run(["dvc", *arguments], cwd=project, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f"{SCENARIO}.hitl.test_accuracy" in dvc("metrics", "show")
    assert "report/plots" in dvc("plots", "show", "-o", "report/plots")
    page = (project / "report" / "plots" / "index.html").read_text()
    assert f"{SCENARIO}.png" in page


LOOK = """
import json, mlflow, re
mlflow.set_tracking_uri("sqlite:///mlflow.db")
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name("lookaway")

def files(run, folder=None):
    for found in client.list_artifacts(run.info.run_id, folder):
        if found.is_dir and found.path != "images":  # whose names tell the time
            yield from files(run, found.path)
        else:
            yield found.path

def slider(run):
    # what MLflow shows with a step slider, by its files' names: key and step
    paths = [found.path for found in client.list_artifacts(run.info.run_id, "images")]
    return sorted({re.match(r"images/([a-z]+)\\Wstep\\W([0-9]+)\\W", path).groups() for path in paths})

def of(run):
    own = ("mlflow.loggedImages", "mlflow.log-model.history")  # name the run itself
    history = client.get_metric_history(run.info.run_id, "val_accuracy")
    return {
        "name": run.info.run_name, "params": run.data.params, "metrics": run.data.metrics,
        "steps": [metric.step for metric in history], "files": sorted(files(run)), "slider": slider(run),
        "tags": {name: value for name, value in run.data.tags.items() if name not in own},
        "inputs": {one.dataset.name: [one.tags[0].value, one.dataset.profile] for one in run.inputs.dataset_inputs},
    }

(registered,) = client.search_registered_models()
model = mlflow.models.get_model_info(f"models:/{registered.name}@hitl")
print(json.dumps({
    "arms": {run.data.tags["arm"]: of(run) for run in client.search_runs([experiment.experiment_id])},
    "page": experiment.tags, "model": registered.name, "description": registered.description,
    "aliases": {alias: int(version) for alias, version in registered.aliases.items()},
    "signature": str(model.signature), "metadata": model.metadata, "flavors": sorted(model.flavors),
}))
"""


def look(project, environment):
    """Everything that MLflow shows."""
    done = subprocess.run(["python", "-c", LOOK], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_mlflow_has_one_run_an_arm_and_can_be_rebuilt(project, finished, environment):
    seen = look(project, environment)
    assert sorted(seen["arms"]) == ["automated", "baseline", "hitl", "random-mask"]
    hitl = seen["arms"]["hitl"]
    assert hitl["name"] == f"hitl, {SCENARIO}, seed 0"
    assert hitl["steps"] == [1, 2, 3]
    assert {"train_loss", "val_loss", "final/min_loss"} <= set(hitl["metrics"])
    assert hitl["params"]["feedback.form"] == "counterexamples"
    assert re.fullmatch("[0-9a-f]{40}", hitl["tags"]["mlflow.source.git.commit"])
    inputs = {name: (used_for, json.loads(profile)) for name, (used_for, profile) in hitl["inputs"].items()}
    assert inputs[f"{SCENARIO}, answers"] == ("feedback", {"answers": sum(QUERIES), "experts": 1})
    assert inputs[f"{SCENARIO}, train"][0] == "training"
    assert inputs["decoy-digits, test-shifted"][1]["images"] == 300
    assert {used_for for used_for, _ in seen["arms"]["automated"]["inputs"].values()} == {
        "training", "validation", "testing",
    }  # fmt: skip
    pictures = ["curves/" + SCENARIO + ".png", "explanations/00.png", "queries/00.png", "queries/01.png"]
    assert {*pictures, "index.html", "screening/decoy-digits.html"} <= set(hitl["files"])
    assert hitl["slider"] == [["explanations", "0"], ["queries", "0"], ["queries", "1"]]
    note = seen["page"]["mlflow.note.content"]
    assert f"| {SCENARIO} (1" in note
    assert "?viewStateShareKey=comparison&compareRunsMode=CHART" in note
    view = json.loads(seen["page"]["mlflow.sharedViewState.comparison"])
    charts = {chart.get("metricKey") for chart in view["compareRunCharts"]}
    assert {"val_accuracy", "test-shifted_loss"} <= charts & set(hitl["metrics"])
    columns = {column.removeprefix("metrics.").strip("`") for column in view["selectedColumns"]}
    assert {"final/min_loss", "final/test-shifted_accuracy"} <= columns & set(hitl["metrics"])
    assert sorted(seen["aliases"]) == sorted(seen["arms"])
    assert sorted(seen["aliases"].values()) == [1, 2, 3, 4]
    assert "'image': binary (required)" in seen["signature"]
    assert seen["metadata"] == {"classes": list("0123456789"), "size": 48, "fit": "stretch"}

    (project / "mlflow.db").unlink()
    shutil.rmtree(project / "mlruns")
    repro(project, environment, "--force", "--single-item", "compare")
    repro(project, environment, "--force", "--single-item", "compare")
    assert look(project, environment) == seen


ASK = """
import base64, io, json, sys, numpy as np
from pathlib import Path
from PIL import Image
from pipeline.config import load
from pipeline.data import prepared
from pipeline.sources.decoding import picture
from pipeline.training import inference, states
raw = []
for kind, size in (("JPEG", (300, 200)), ("PNG", (48, 48))):
    file = io.BytesIO()
    Image.fromarray(prepared.read(Path("data/prepared/decoy-digits")).images[0]).resize(size).save(file, kind)
    raw.append(file.getvalue())
scenario = sys.argv[1]
state = states.restore(Path(f"runs/{scenario}/01/state.pt"), load().scenario(scenario).train)
z = inference.logits(state, np.stack([picture(content, 48, "stretch") for content in raw]))
print(json.dumps([[base64.b64encode(content).decode() for content in raw], z.softmax(dim=1).tolist()]))
"""


def test_a_registered_model_answers_a_raw_image_as_its_network_does(project, finished, environment, tmp_path):
    done = subprocess.run(["python", "-c", ASK, SCENARIO], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    images, expected = json.loads(done.stdout.splitlines()[-1])
    port = free_port(None, preferred=15100)
    served = subprocess.Popen(
        ["mlflow", "models", "serve", "-m", f"models:/lookaway-{SCENARIO}@hitl", "--env-manager", "local",
         "--port", str(port)],
        cwd=tmp_path, env={**environment, "MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert any("Uvicorn running on" in line for line in served.stdout), "it does not start"

        def ask(images):
            body = json.dumps({"dataframe_records": [{"image": image} for image in images]}).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body)
            request.add_header("Content-Type", "application/json")
            return json.load(urllib.request.urlopen(request, timeout=60))["predictions"]

        def listens():
            with socket.socket() as there:
                return there.connect_ex(("127.0.0.1", port)) == 0

        for _ in range(120):  # it may say so a little early
            if listens():
                break
            time.sleep(0.5)

        answers = ask(images)
        for answer, probabilities in zip(answers, expected, strict=True):
            assert list(answer["probabilities"]) == list("0123456789")
            assert list(answer["probabilities"].values()) == pytest.approx(probabilities, abs=1e-5)
            assert answer["prediction"] == str(np.argmax(probabilities))
        assert ask(images[:1])[0]["prediction"] == answers[0]["prediction"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(["bm8gaW1hZ2U="])
        assert refused.value.code == 400
        assert "cannot be read as an image" in refused.value.read().decode()
    finally:
        os.killpg(served.pid, signal.SIGTERM)
        served.wait(timeout=30)


def test_a_changed_drawing_trains_nothing_again(project, finished, environment):
    drawing = project / "pipeline" / "evaluation" / "figures.py"
    original = drawing.read_text()
    drawing.write_text(original.replace("#d0021b", "#d0021c"))
    assert drawing.read_text() != original
    drawn = [*(f"review@{SCENARIO}-round{n}" for n in range(2)), f"evaluate@{SCENARIO}"]
    trained = [f"automated@{SCENARIO}", f"placebo@{SCENARIO}-random-mask"]
    assert sorted(ran(repro(project, environment, *trained, *drawn))) == sorted(drawn)
    drawing.write_text(original)
    repro(project, environment, *drawn)


def test_changing_one_rounds_queries_reruns_only_what_follows(project, finished, environment):
    path = project / "params.yaml"
    original = path.read_text()
    params = yaml.safe_load(original)
    params["hitl"]["rounds"][1]["queries"] = 5
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    before = answers(project)[0]
    stages = ran(repro(project, environment, f"hitl-train@{SCENARIO}-round1"))
    assert stages == [f"{name}@{SCENARIO}-round1" for name in ("query-export", "annotate", "hitl-train")]
    assert answers(project)[0] == before
    assert len(answers(project)[1]) == 5
    assert len(tasks_on_server(project, environment)) == QUERIES[0] + 5  # what was answered is not asked again
    path.write_text(original)


def test_reading_the_answers_otherwise_asks_nobody_again(project, finished, environment):
    path = project / "params.yaml"
    original = path.read_text()
    params = yaml.safe_load(original)
    params["consensus"] = {"rule": "any", "soft": False, "gold": 2}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    last = [f"{name}{ROUND}" for name in ("hitl-train", "review")]
    assert ran(repro(project, environment, last[-1])) == last
    crowd = json.loads((project / "runs" / SCENARIO / "00" / "crowd.json").read_text())
    assert (crowd["queries"], crowd["answered"]) == (QUERIES[0], QUERIES[0])
    ((expert, own),) = crowd["experts"].items()
    assert (expert, own["answers"], own["gold"], own["accuracy"]) == ("expert@localhost.local", QUERIES[0], 2, 1.0)
    effects = json.loads((project / "runs" / SCENARIO / "00" / "effect.json").read_text())
    pictures = {path.name for path in (project / "runs" / SCENARIO / "00" / "effect").iterdir()}
    assert pictures == {f"{one['image_id']}.png" for one in effects}
    path.write_text(original)


def test_people_are_waited_for_and_asked_once(project, report, environment, real_label_studio):
    repro(project, environment, f"hitl-train@{SCENARIO}-round1")  # with the params as they were at first
    path = project / "params.yaml"
    original = path.read_text()
    stage, most = f"annotate{ROUND}", QUERIES[0] - 1
    keys = [q["key"] for q in json.loads((project / "runs" / SCENARIO / "00" / "queries.json").read_text())["queries"]]
    person = LabelStudio(real_label_studio.url, real_label_studio.expert_api_key)
    path.write_text(original.replace("expert: simulated", "expert: human"))
    waiting = {**environment, "ANNOTATE_WAIT_S": "1"}

    output = repro(project, waiting, "--single-item", stage, check=False)
    assert f"error: 0/{QUERIES[0]} answered" in output
    assert "run `dvc repro` again" in output
    scenario = person.ensure_project(f"{SCENARIO}, seed 0")
    expert = SimulatedExpert(person, lambda image_id: np.zeros((48, 48), bool))
    assert expert.answer(scenario, keys[:most]) == most
    output = repro(project, waiting, "--single-item", stage, check=False)
    assert f"{most}/{QUERIES[0]} answered" in output
    assert expert.answer(scenario, keys) == 1
    repro(project, waiting, "--single-item", stage)
    assert sorted(a["key"] for a in answers(project)[0]) == sorted(keys)
    assert sorted(task.key for task in person.tasks(scenario, keys)) == sorted(keys)

    path.write_text(original)  # back to the simulated expert, whose answers were never touched
    repro(project, environment)
    assert report_of(project) == report, "after all that was killed and changed"


def test_a_lost_server_costs_no_answer(project, finished, environment, real_label_studio):
    client = LabelStudio(environment["LABEL_STUDIO_URL"], environment["LABEL_STUDIO_API_KEY"])
    lost = client.ensure_project(simulated_title(project))
    before = answers(project)[0]
    delete(real_label_studio, f"projects/{lost.id}")
    output = repro(project, environment, "--force", "--single-item", f"annotate{ROUND}")
    assert f"{QUERIES[0]} of {QUERIES[0]} queries were answered before" in output
    assert answers(project)[0] == before


BASELINE, EXPORT = f"baseline@{SCENARIO}", f"query-export@{SCENARIO}-round0"
MISTAKES = {
    "a misspelt setting": (BASELINE, lambda p: p["scenarios"][SCENARIO]["train"].update(epoch=3), "unknown setting"),
    "more queries than images": (
        EXPORT,
        lambda p: p["hitl"]["rounds"][0].update(queries=9999),
        "asks for 9999 queries",
    ),
    "an empty class": (BASELINE, lambda p: p["scenarios"][SCENARIO].update(fraction=0.001), "leaves no training image"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bad_params_end_with_a_message(project, finished, environment, mistake):
    stage, make, says = MISTAKES[mistake]
    path = project / "params.yaml"
    original = path.read_text()
    params = yaml.safe_load(original)
    make(params)
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    try:
        output = repro(project, environment, stage, check=False)
    finally:
        path.write_text(original)
    assert "error: " in output
    assert says in output
    assert "Traceback" not in output


def test_a_server_that_is_not_there_is_named(project, finished, environment):
    repro(project, environment, f"annotate{ROUND}")  # the mistakes above cost outputs
    output = repro(
        project, {**environment, "LABEL_STUDIO_URL": "http://127.0.0.1:9"},
        "--force", "--single-item", f"annotate{ROUND}", check=False,
    )  # fmt: skip
    assert "error: " in output
    assert "http://127.0.0.1:9" in output
    assert "Traceback" not in output


def test_no_secret_is_left_anywhere(project, finished, environment, real_label_studio):
    """Neither in what Git, DVC and MLflow have after all of the above, nor in what was said."""
    people = real_label_studio.admin, real_label_studio.expert
    secrets = [
        environment["LABEL_STUDIO_API_KEY"],
        *(person[s] for person in people for s in ("token", "password")),
    ]
    files = [path for path in project.rglob("*") if path.is_file()]
    where = {path.relative_to(project).parts[0] for path in files}
    assert {".dvc", "answers", "dvc.lock", "mlflow.db", "mlruns", "report", "runs"} <= where
    texts = [("what was said", "".join(SAID).encode()), *((path, path.read_bytes()) for path in files)]
    assert len(SAID) > 15
    for place, text in texts:
        assert not [secret for secret in secrets if secret.encode() in text], place
        assert not re.search(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}", text), f"{place}: an access token"
