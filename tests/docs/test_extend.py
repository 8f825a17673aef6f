"""The pages that extend the code work as they stand: their changes apply to a copy, and their tests pass there."""

import os
import re
import shutil

import pytest
from docs.english import MARKDOWN
from fakes import warm_python
from fakes.checkout import ROOT

pytestmark = pytest.mark.slow

PAGES = sorted((ROOT / "docs" / "extend").glob("*.md"))


def fences(page):
    """Language, file and content of each fence with a title."""
    for token in MARKDOWN.parse(page.read_text(encoding="utf-8")):
        if token.type == "fence" and (found := re.fullmatch(r'(\w+) title="(.+)"', token.info)):
            yield found[1], found[2], token.content


def apply(change, path):
    """Apply a diff without line numbers; its old text must be there exactly once."""
    lines = change.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name} does not hold these lines once:\n{old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def run(folder, *command):
    done = warm_python.run("-m", *command, cwd=folder, code=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_extension_has_a_page():
    expected = {"data-set", "explainer", "form-of-feedback", "placebo", "query-strategy"}
    assert {page.stem for page in PAGES} == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_changes_of_a_page_work_as_it_says(page, tmp_path):
    for package in ("pipeline", "labelstudio"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    changed, tests = set(), set()
    for language, name, content in fences(page):
        path = tmp_path / name
        if language == "diff":
            apply(content, path)
        else:
            assert not (ROOT / name).exists(), f"{name} exists already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        (tests if name.startswith("tests/") else changed).add(name)
    assert tests
    run(tmp_path, "ruff", "check", *changed, *tests)
    run(tmp_path, "ruff", "format", "--check", *changed, *tests)
    run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, *tests)
