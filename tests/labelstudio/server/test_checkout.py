"""State that must outlive DVC's copies of a checkout is kept in the checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fakes.checkout import ROOT

from labelstudio.exchange.records import AnnotationError
from labelstudio.server import checkout, local

COPY = Path(".dvc", "tmp", "exps", "standalone", "tmpabc")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in (checkout.HOME, "DVC_ROOT", "DVC_EXP_NAME", "LABEL_STUDIO_URL"):
        monkeypatch.delenv(name, raising=False)
    found = tmp_path / "checkout"
    (found / COPY / "sub").mkdir(parents=True)
    return found


def test_in_a_checkout_it_is_this_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert checkout.home() == Path()
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.setenv("DVC_EXP_NAME", "in-the-workspace")
    assert checkout.home() == Path()
    checkout.require()


@pytest.mark.parametrize("below", [".", "sub", str(COPY)])
def test_in_a_copy_it_is_the_checkout_with_its_settings_and_server(folder, monkeypatch, below):
    (folder / ".env").write_text("LABEL_STUDIO_URL=http://elsewhere\n")
    here = folder / COPY / below
    here.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(here)
    assert checkout.home() == folder.resolve()
    assert local.default_dir() == folder.resolve() / ".labelstudio"
    assert local.settings()["LABEL_STUDIO_URL"] == "http://elsewhere"


def test_copies_in_another_place_are_known_by_what_dvc_says(folder, tmp_path, monkeypatch):
    elsewhere = tmp_path / "scratch" / "exps" / "tmpabc"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("DVC_EXP_NAME", "x")
    monkeypatch.setenv("DVC_ROOT", str(folder))
    assert checkout.home() == folder


@pytest.mark.parametrize("root", [None, "", "/nowhere"])
def test_people_are_refused_where_the_checkout_is_not_known(folder, monkeypatch, root):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_EXP_NAME", "x")
    if root is not None:
        monkeypatch.setenv("DVC_ROOT", root)
    with pytest.raises(AnnotationError, match=r"DVC deletes this copy.*Fix: set `LOOKAWAY_HOME`"):
        checkout.require()
    monkeypatch.setenv(checkout.HOME, str(folder.parent))
    checkout.require()
    assert checkout.home() == folder.parent


def test_a_named_folder_that_is_none_is_an_error(folder, monkeypatch):
    monkeypatch.setenv(checkout.HOME, str(folder / "misspelt"))
    with pytest.raises(AnnotationError, match=r"`LOOKAWAY_HOME` is .*misspelt.*Fix: correct or unset it"):
        checkout.home()


@pytest.mark.slow
def test_dvcs_own_copies_find_their_checkout(folder, monkeypatch):
    """With the real `dvc exp run --temp`, which decides where its copies are."""
    folder = folder.parent / "fresh"
    folder.mkdir()
    command = "python -c 'from labelstudio.server import checkout; print(checkout.home().resolve())' > home.txt"
    (folder / "dvc.yaml").write_text(
        f"stages:\n  home:\n    cmd: {command}\n    outs:\n    - home.txt:\n        cache: false\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}

    def run(*arguments: str) -> str:
        done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    run("git", "add", ".")
    run("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", "start")
    run("dvc", "exp", "run", "--temp", "--name", "copied")
    (experiment,) = run("git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/copied").split()
    assert run("git", "show", f"{experiment}:home.txt").strip() == str(folder.resolve())
