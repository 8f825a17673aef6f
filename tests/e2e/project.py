"""A copy of the project in a folder of its own, and the environment in which its stages run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from fakes import warm_python
from fakes.checkout import ROOT

AUTHOR = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
FOLDERS = ("pipeline", "labelstudio", ".dvc")
FILES = (".dvcignore", ".gitignore", "Makefile", "constraints.txt", "dvc.yaml", "params.yaml")
SCENARIO = "decoy-digits-10pct"  # of a tiny project
SAID: list[str] = []  # by all runs of `dvc repro`


def copy_of_the_project(folder: Path) -> None:
    """Everything that `dvc repro` reads, as a user would have it after cloning."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    for name in listed:
        if (name.split("/")[0] in FOLDERS or name in FILES) and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def path() -> str:
    """Return a PATH with this environment's programs, and with a `python` that starts stages soon."""
    return os.pathsep.join([str(warm_python.folder()), str(Path(sys.executable).parent), os.environ["PATH"]])


def environment() -> dict[str, str]:
    """Return the tests' environment, with nothing of the machine's own settings."""
    ours = ("LABEL_STUDIO", "MLFLOW", "DVC", "AWS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # An installed copy of the project, or the folder that pytest runs in, must not be imported instead.
    return {**kept, "PATH": path(), "PYTHONPATH": ""}


def environment_for(label_studio) -> dict[str, str]:
    """Return the tests' environment, with this Label Studio."""
    return environment() | {
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.api_key,
        "LABEL_STUDIO_EXPERT_API_KEY": label_studio.expert_api_key,
    }


def tiny_project(folder: Path) -> None:
    """A checkout of its own, with settings that take little time."""
    copy_of_the_project(folder)
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(tiny(yaml.safe_load(path.read_text())), sort_keys=False))
    for command in (["git", "init", "-q"], ["git", "add", "."], ["git", *AUTHOR, "commit", "-qm", "start"]):
        subprocess.run(command, cwd=folder, check=True)


def tiny(params):
    """The shipped params, made small: 48 pixels, a small network, random weights, two rounds of four queries."""
    params["datasets"]["decoy-digits"]["size"] = 48
    params["backbones"]["efficientnet-lite0"] = {"architecture": "test_efficientnet", "weights": "random"}
    settings = next(iter(params["scenarios"].values()))
    settings |= {"fraction": 0.1, "query": {"strategy": "entropy", "cell": 6, "proposals": 6}}
    settings["train"] |= {"baseline_epochs": 1}
    params["scenarios"] = {SCENARIO: settings}
    rounds = [("00", "start", 1), ("01", "00", 1)]
    params["hitl"] = {
        "scenarios": [SCENARIO],
        "placebos": ["random-mask"],
        "last": "01",
        "rounds": [{"n": n, "after": after, "queries": 4, "epochs": e} for n, after, e in rounds],
    }
    return params


def repro(project, environment, *arguments, check=True):
    done = subprocess.run(
        ["dvc", "--wait-for-lock", "repro", *arguments],
        cwd=project, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    output = done.stdout + done.stderr
    SAID.append(output)
    assert not check or done.returncode == 0, output
    return output


def ran(output):
    return re.findall(r"Running stage '([^']+)'", output)
