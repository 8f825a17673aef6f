"""docs/method.md names functions and modules that exist."""

import importlib
import re

import pytest
from fakes.checkout import ROOT

PAGE = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`((?:pipeline|labelstudio)\.[\w.]+)`", PAGE)))


def test_the_page_names_functions():
    rows = re.findall(r"^\| .* \| (.*) \|$", PAGE, flags=re.MULTILINE)[1:]
    assert len(rows) > 10
    assert all("`" in row for row in rows)
    assert len(NAMES) > 20


@pytest.mark.parametrize("name", NAMES)
def test_a_named_function_or_module_exists(name):
    parent, _, last = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(parent), last)
    except AttributeError:
        found = importlib.import_module(name)
    assert found.__doc__ or name.isupper() or last.isupper()
