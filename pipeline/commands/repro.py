"""`dvc repro` with a Label Studio where experts need one, and a summary of the result.

By hand: `dvc --wait-for-lock repro`, then `lookaway server stop`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from labelstudio.server import local
from pipeline.commands import last_screen, progress
from pipeline.commands.server import print_passwords
from pipeline.config import Config, load
from pipeline.errors import DataError, listed
from pipeline.paths import step_dir


def repro() -> None:
    """Run everything that is out of date with params.yaml, and print what it means."""
    config = load()
    _check_roots(config)
    is_ours = local.status() is None
    try:
        if config.annotate.expert == "human":
            _show_links(config)
        elif _has_open_rounds(config):
            local.start_early()  # it takes half a minute, while the baseline trains
        mend_dvc()
        progress.begin(config)
        done = subprocess.run(["dvc", "--wait-for-lock", "repro"], check=False)
    finally:
        if is_ours:
            local.stop()
    if done.returncode:
        sys.exit(done.returncode)
    last_screen.show(config)


def mend_dvc(folder: Path = Path(".dvc")) -> None:
    """Put aside what a full disk or a kill leaves half-written of DVC's own files; each would stop every `dvc repro`.

    On a full disk, DVC makes the folder of an entry of its run cache, and cannot write the entry: "join() argument must
    be str, bytes, or os.PathLike object, not 'NoneType'". DVC writes in place. So a kill may cut off its note of its
    locks, "Unable to read RWLock-file", and dvc.lock, "validation failed" (DVC 3.67). Without dvc.lock, DVC finds in
    its run cache what is done.
    """
    for entry in (folder / "cache" / "runs").glob("*/*"):
        with contextlib.suppress(OSError):  # it is not empty
            entry.rmdir()
    for path, is_whole in ((folder / "tmp" / "rwlock", _is_json), (folder.parent / "dvc.lock", _is_lock_file)):
        if path.exists() and not is_whole(path):
            time.sleep(1)  # another DVC may be writing it
            if path.exists() and not is_whole(path):
                aside = path.with_name(f"{path.name}.damaged")
                print(f"{path} is damaged, perhaps by a kill: it is {aside} now, and DVC makes a new one", flush=True)
                path.replace(aside)


def _is_json(path: Path) -> bool:
    with contextlib.suppress(ValueError):
        json.loads(path.read_text(encoding="utf-8"))
        return True
    return False


def _is_lock_file(path: Path) -> bool:
    with contextlib.suppress(YAMLError, ValueError, TypeError, KeyError, AttributeError):
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        stages = document["stages"].values()
        files = [file for stage in stages for name in ("deps", "outs") for file in stage.get(name, [])]
        return "schema" in document and all(stage["cmd"] for stage in stages) and all(file["path"] for file in files)
    return False


def _check_roots(config: Config) -> None:
    """Raise DataError naming the data sets whose files are missing; DVC would name the path alone."""
    missing = [
        f"datasets.{name}.root: {one.root}" for name, one in config.datasets.items() if not Path(one.root).exists()
    ]
    if missing:
        raise DataError(
            f"{len(missing)} data sets have no files. Fix: put them there, or correct these settings in params.yaml:\n"
            f"{listed(missing)}"
        )


def _show_links(config: Config) -> None:
    """Print where people answer; each page exists from now on, and says how long its experts wait."""
    from pipeline.annotation import asking, notices, projects  # here, because only people need them

    client = asking.connect(config.annotate).client
    print("\nExperts answer at these links, which work from now on:", flush=True)
    for scenario in config.hitl.scenarios:
        title = projects.title_for_people(scenario, config)
        project = projects.ensure(client, title, config.annotate)
        notices.begins(client, project)
        print(f"{scenario}: {project.url}", flush=True)
    if local.status() == client.url:
        print_passwords(local.start())
    print("You may interrupt at any time: the same command resumes.\n", flush=True)


def _has_open_rounds(config: Config) -> bool:
    steps = [step_dir(scenario, entry.n) for scenario in config.hitl.scenarios for entry in config.hitl.rounds]
    return not all((step / "answers.json").exists() for step in steps)
