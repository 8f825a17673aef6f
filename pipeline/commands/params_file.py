"""Writing params.yaml for the user: comments and order stay, and nobody's own changes are lost."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML

from pipeline.errors import ConfigError

PARAMS = Path("params.yaml")
GENERATED = "# Written by `make paper` from params/paper.yaml, and written anew by the next one: edit that file.\n"

_yaml = YAML()
_yaml.preserve_quotes = True
_yaml.width = 120


def read(path: Path = PARAMS) -> Any:
    """The document with its comments."""
    return _yaml.load(path)


def plain(path: Path) -> dict[str, Any]:
    """The document with its anchors resolved, as a tree of its own that may be changed."""
    document: dict[str, Any] = json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8"))))
    return document


def set_expert(expert: str) -> None:
    """Set `annotate.expert`, if it is another one."""
    document = read()
    if document["annotate"]["expert"] != expert:
        document["annotate"]["expert"] = expert
        _yaml.dump(document, PARAMS)
        print(f"params.yaml: annotate.expert is now {expert}")


def replace(document: Any) -> None:
    """Write a generated document; raises ConfigError if that would lose changes that are not in Git."""
    if not _is_generated() and not _is_committed():
        raise ConfigError("params.yaml has changes that are not in Git; commit them, or undo them, and run this again")
    with PARAMS.open("w", encoding="utf-8") as file:
        file.write(GENERATED)
        _yaml.dump(document, file)


def restore_committed() -> None:
    """Take back a generated params.yaml; one that a person wrote stays."""
    if _is_generated():
        subprocess.run(["git", "checkout", "--quiet", "--", str(PARAMS)], check=True)
        print("params.yaml is again as it is in Git")


def _is_generated() -> bool:
    return PARAMS.read_text(encoding="utf-8").startswith(GENERATED)


def _is_committed() -> bool:
    return subprocess.run(["git", "diff", "--quiet", "HEAD", "--", str(PARAMS)], check=False).returncode == 0
