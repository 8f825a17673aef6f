"""A person follows the printed link: it works before the first round, in a round, between rounds and afterwards.

The stages that train are stand-ins, which wait for the test. Everything else is as in `make demo EXPERT=human`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from e2e.project import environment_for
from fakes.checkout import ROOT
from fakes.labelling_page import COUNTING, click_cell, log_in, press, shows, submit
from fakes.queries import manifest
from PIL import Image

from pipeline.paths import step_dir

pytestmark = [pytest.mark.labelstudio, pytest.mark.browser]

SCENARIO = "by-hand"
STAGES = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from pipeline.data import prepared

prepared.read = lambda folder: SimpleNamespace(digest="digits")
name, *arguments = sys.argv[1:]
if name == "annotate":
    from pipeline.commands.stage import app
    app([name, *arguments])
elif name == "compare":
    from pipeline.annotation.projects import show_all_effects
    from pipeline.config import load
    show_all_effects(load())
    Path("report/table.md").write_text("by-hand: with 6 answers from experts, on the test images:\\n")
    Path("report/metrics.json").write_text('{"by-hand": {"hitl": {"test_accuracy": 0.5}}}')
else:  # a stage that trains until the test lets it end
    while not Path(f"{name} may end").exists():
        time.sleep(0.1)
    Path(name).touch()
"""
EFFECT = [{"image_id": "image-000", "picture": "000.png", "before": 0.5, "after": 0.125}]


@pytest.fixture
def project(tmp_path):
    """A DVC project whose one round has six queries."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    (scenario,) = params["scenarios"].values()
    params["scenarios"] = {SCENARIO: scenario}
    params["hitl"] |= {"scenarios": [SCENARIO], "last": "00"}
    params["hitl"]["rounds"] = [{"n": "00", "after": "start", "queries": 6, "epochs": 1}]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    step = step_dir(SCENARIO, "00")
    (tmp_path / step).mkdir(parents=True)
    asked = manifest(tmp_path / step, 6)
    type(asked)(SCENARIO, "00", asked.queries).write(tmp_path / step / "queries.json")
    (tmp_path / "report").mkdir()
    annotate = f"python stages.py annotate --scenario {SCENARIO} --round 00"
    stages = {
        "baseline": {"cmd": "python stages.py baseline", "outs": ["baseline"]},
        "annotate": {"cmd": annotate, "deps": ["baseline"], "outs": [f"{step}/answers.json"]},
        "train": {"cmd": "python stages.py train", "deps": [f"{step}/answers.json"], "outs": ["train"]},
        "compare": {"cmd": "python stages.py compare", "deps": ["train"], "outs": ["report/table.md"]},
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (tmp_path / "stages.py").write_text(STAGES)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


class Demo:
    """`make demo EXPERT=human`, in a process group of its own, as at a terminal."""

    def __init__(self, folder, environment):
        self.output = folder / "output"
        command = [sys.executable, "-m", "pipeline", "demo", "--expert", "human"]
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip

    def says(self, pattern: str) -> re.Match[str]:
        """Wait until the command has printed this."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.output.read_text()):
                return found
            assert self.process.poll() is None, self.output.read_text()
            time.sleep(0.1)
        raise AssertionError(f"{pattern!r} is not in {self.output.read_text()}")

    def interrupt(self) -> int:
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(60)

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)


@pytest.fixture
def demo(project, real_label_studio):
    """Start the command; what still runs at the test's end is killed."""
    started = []
    environment = environment_for(real_label_studio) | {"PYTHONPATH": str(ROOT)}

    def start() -> Demo:
        started.append(Demo(project, environment))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_a_person_answers_from_the_link_on(page, demo, project, real_label_studio):
    page.add_init_script(COUNTING)
    first = demo()
    link = first.says(rf"{SCENARIO}: (http\S+)")[1]
    page.goto(link)
    log_in(page, real_label_studio.expert)
    page.wait_for_selector("text=There is nothing to answer yet.")

    (project / "baseline may end").touch()
    first.says("0/6 answered")
    page.reload()
    page.wait_for_selector("text=must not matter")
    assert not page.locator("text=There is nothing to answer yet.").is_visible()
    page.click("button[aria-label='Close modal']")
    page.wait_for_selector("text=must not matter", state="hidden")
    shows(page, "1 of 6")
    click_cell(page, 3, 4)
    press(page, "2", "Escape")
    submit(page)
    assert page.evaluate("window.hands.clicks") <= 3, "from the link to the first answer"
    for number in range(2, 6):
        shows(page, f"{number} of 6")
        submit(page)

    first.says("5/6 answered")
    assert first.interrupt() != 0
    assert "the same command resumes" in first.output.read_text()
    again = demo()
    assert again.says(rf"{SCENARIO}: (http\S+)")[1] == link
    again.says("5/6 answered")
    shows(page, "6 of 6")
    submit(page)
    again.says("Running stage 'train'")
    page.reload()
    page.wait_for_selector("text=Round 00 has its answers: thank you.")

    step = project / step_dir(SCENARIO, "00")
    Image.new("RGB", (96, 48)).save(step / "000.png")
    (step / "effect.json").write_text(json.dumps(EFFECT))
    (project / "train may end").touch()
    assert again.process.wait(120) == 0, again.output.read_text()
    assert "by-hand: with 6 answers" in again.output.read_text()
    page.reload()
    page.wait_for_selector("text=There is nothing to answer now.")
    assert page.locator("text=50% of its attention lay on what must not matter; afterwards, 12%").first.is_visible()
    answers = json.loads((step / "answers.json").read_text())
    assert len({answer["key"] for answer in answers}) == len(answers) == 6
