"""Installing shows one line, and everything that pip said where it fails. A small program stands for pip."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions

import pytest
from fakes.checkout import ROOT
from packaging.specifiers import SpecifierSet

PIP = """
import pathlib, sys
print({lines!r})
print(sys.argv[1:])
calls = pathlib.Path("calls")
calls.write_text(calls.read_text() + "." if calls.exists() else ".")
sys.exit({statuses}[len(calls.read_text()) - 1])
"""


@pytest.fixture
def install(tmp_path):
    """Run the program with a pip that prints these lines and ends with these statuses; return its result."""

    def run(lines, *statuses):
        (tmp_path / "pip.py").write_text(PIP.format(lines=lines, statuses=statuses))
        return subprocess.run(
            [sys.executable, ROOT / "deploy" / "install.py", ".[dev]"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        )  # fmt: skip

    return run


def test_pip_is_quiet_where_it_succeeds(install):
    done = install("Collecting numpy\n" * 1000, 0)
    first, last = done.stdout.splitlines()
    assert first == "installing .[dev], three to five minutes the first time"
    assert last.startswith("installed in ")
    assert (done.returncode, done.stderr) == (0, "")


def test_all_that_pip_said_is_shown_where_it_fails(install):
    done = install("Collecting numpy\nERROR: no matching distribution", 2, 3)
    assert done.returncode == 3
    assert "Collecting numpy\nERROR: no matching distribution" in done.stderr
    assert "'-c', 'constraints.txt', '-e', '.[dev]'" in done.stderr
    assert "error: pip could not install .[dev]. Fix: see pip's last lines above" in done.stderr


def test_a_registry_that_fails_for_a_moment_is_got_over(install):
    done = install("ERROR: ResolutionImpossible", 1, 0)
    assert done.stdout.splitlines()[1] == "pip failed; trying once more"
    assert (done.returncode, done.stderr) == (0, "")


def test_every_pinned_version_takes_the_oldest_python_that_is_promised():
    promised = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = f"{promised.removeprefix('>=')}.0"
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    installed = [one for one in distributions() if pinned.get(one.name.lower().replace("_", "-")) == one.version]
    assert len(installed) > 200
    refused = [one.name for one in installed if oldest not in SpecifierSet(one.metadata.get("Requires-Python") or "")]
    assert not refused, f"not on Python {oldest}"
    assert f"older than {promised.removeprefix('>=')}." in (ROOT / "Makefile").read_text()
