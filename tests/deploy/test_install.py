"""Installing shows one line, and everything that pip said where it fails. A small program stands for pip."""

import os
import subprocess
import sys

import pytest
from fakes.checkout import ROOT


@pytest.fixture
def install(tmp_path):
    """Run the program with a pip that prints these lines and ends with this status; return its result."""

    def run(lines, status):
        (tmp_path / "pip.py").write_text(f"import sys\nprint({lines!r})\nprint(sys.argv[1:])\nsys.exit({status})\n")
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
    done = install("Collecting numpy\nERROR: no matching distribution", 3)
    assert done.returncode == 3
    assert "Collecting numpy\nERROR: no matching distribution" in done.stderr
    assert "'-c', 'constraints.txt', '-e', '.[dev]'" in done.stderr
    assert "error: pip could not install .[dev]. Fix: see pip's last lines above" in done.stderr
