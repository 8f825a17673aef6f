"""A copy of the project in a folder of its own, and the environment in which its stages run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
AUTHOR = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
FOLDERS = ("pipeline", "labelstudio", ".dvc")
FILES = (".dvcignore", "constraints.txt", "dvc.yaml", "params.yaml")


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


def environment_for(label_studio) -> dict[str, str]:
    """The tests' environment, with this Label Studio and nothing of the machine's own settings."""
    settings = {
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.api_key,
        "LABEL_STUDIO_EXPERT_API_KEY": label_studio.expert_api_key,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # An installed copy of the project, or the folder that pytest runs in, must not be imported instead.
        "PYTHONPATH": "",
    }
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LABEL_STUDIO", "MLFLOW", "DVC"))}
    return {**kept, **settings}
