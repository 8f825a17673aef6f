"""Files from elsewhere run no code: states, weights, masks and pictures load without unpickling."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.checkout import ROOT

from pipeline.config import Backbone, load
from pipeline.errors import PipelineError
from pipeline.feedback import masks
from pipeline.models import backbones, files
from pipeline.training import states

SOURCES = [path for name in ("pipeline", "labelstudio", "benchmarks") for path in sorted((ROOT / name).rglob("*.py"))]


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def bare(bomb: Bomb, path: Path) -> None:
    path.write_bytes(pickle.dumps(bomb))


def in_torchs_archive(bomb: Bomb, path: Path) -> None:
    torch.save({"weights": bomb, "architecture": bomb}, path)


def in_a_list_of_arrays(bomb: Bomb, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, packed=np.array([bomb], dtype=object), end=np.array([1]))


def in_an_array(bomb: Bomb, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([bomb], dtype=object))


def cut_off(bomb: Bomb, path: Path) -> None:
    in_a_list_of_arrays(bomb, path)
    path.write_bytes(path.read_bytes()[:-30])


def settings():
    config = load()
    return config.scenario(config.hitl.scenarios[0])


LOADERS = {
    "a state": lambda path: states.restore(path, settings().train),
    "a checkpoint": files.read,
    "masks": masks.read,
    "weights": lambda path: backbones.pretrained(
        "mine", Backbone(architecture="test_efficientnet", weights="file", file=str(path)), seed=0
    ),
}


@pytest.mark.parametrize("form", [bare, in_torchs_archive, in_a_list_of_arrays, in_an_array, cut_off])
@pytest.mark.parametrize("loader", LOADERS)
def test_no_file_runs_code_when_it_is_loaded(tmp_path, loader, form):
    folder, path = tmp_path / "exploded", tmp_path / "file"
    form(Bomb(folder), path)
    with pytest.raises(PipelineError, match="Fix: "):
        LOADERS[loader](path)
    assert not folder.exists()


def test_the_bomb_works(tmp_path):
    """The test above is worth something only if unpickling would make the folder."""
    bare(Bomb(tmp_path / "exploded"), tmp_path / "file")
    pickle.loads((tmp_path / "file").read_bytes())
    assert (tmp_path / "exploded").exists()
    in_torchs_archive(Bomb(tmp_path / "other"), tmp_path / "file")
    assert zipfile.is_zipfile(tmp_path / "file")


@pytest.mark.parametrize(
    "unsafe", [r"\bpickle\b", r"allow_pickle=True", r"weights_only=False", r"\bjoblib\b", r"yaml\.(unsafe_)?load\(",
               r"(?<![\w.])(eval|exec)\(", r"shell=True", r"verify=False"],
)  # fmt: skip
def test_no_module_uses_what_runs_code_from_data(unsafe):
    found = [str(path) for path in SOURCES if re.search(unsafe, path.read_text(encoding="utf-8"))]
    allowed = {"yaml\\.(unsafe_)?load\\(": {"params_file.py"}}.get(unsafe, set())  # ruamel's round trip, which is safe
    assert {Path(path).name for path in found} <= allowed, found


def test_torch_loads_weights_only():
    calls = [call for path in SOURCES for call in re.findall(r"torch\.load\([^\n]*", path.read_text(encoding="utf-8"))]
    assert len(calls) >= 3
    assert all("weights_only=True" in call for call in calls), calls
