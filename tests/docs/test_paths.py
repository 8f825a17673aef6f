"""Every file of the project that a page, a docstring or a comment names is there."""

import re
import subprocess

import pytest
from fakes.checkout import ROOT

FOLDERS = "pipeline|labelstudio|benchmarks|tests|examples|params|deploy|docs"
NAMED = re.compile(rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]*\w)")
LEFT_OUT = ("CHANGELOG.md", "tests/", "docs/extend/")  # they name earlier files, files of tests, and toys
KINDS = (".md", ".py", ".yaml", ".yml", ".toml", ".cff", ".sh", "Makefile")


def files():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [name for name in listed if name.endswith(KINDS) and not name.startswith(LEFT_OUT)]


@pytest.mark.parametrize("name", files())
def test_every_file_that_is_named_is_there(name):
    path = ROOT / name
    if not path.exists():
        pytest.skip("it is being removed")
    text = path.read_text(encoding="utf-8")
    missing = {
        found
        for found in NAMED.findall(text)
        if not (ROOT / found).exists() and not (path.parent / found).exists() and "<" not in found
    }
    assert not missing
