"""Change params.yaml for the user: comments and order stay, and no change of the user's own is lost."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.choices import Expert
from pipeline.errors import ConfigError

PARAMS = Path("params.yaml")
GENERATED = "# Written by `make paper` from params/paper.yaml. The next `make paper` overwrites it: edit that file.\n"
OLD_GENERATED = "# Written by `make paper` from params/paper.yaml, and written anew by the next one: edit that file.\n"

_yaml = YAML()
_yaml.preserve_quotes = True
_yaml.width = 120


def read(path: Path = PARAMS) -> Any:
    """Return the document with its comments."""
    return _yaml.load(path)


def set_expert(expert: Expert) -> None:
    """Set `annotate.expert` and nothing else."""
    document = read()
    if document["annotate"]["expert"] != expert:
        document["annotate"]["expert"] = expert
        _yaml.dump(document, PARAMS)
        print(f"params.yaml: annotate.expert is now {expert}")


def replace(document: Any) -> None:
    """Write a generated document; raises ConfigError if a change that is not in Git would be lost."""
    if not _is_generated() and not _is_committed():
        raise ConfigError("params.yaml has changes that are not in Git. Fix: commit or undo them, and run this again")
    with PARAMS.open("w", encoding="utf-8") as file:
        file.write(GENERATED)
        _yaml.dump(document, file)


def restore_committed() -> None:
    """Replace a generated params.yaml with the committed file; a file that a person wrote stays."""
    if _is_generated():
        subprocess.run(["git", "checkout", "--quiet", "--", str(PARAMS)], check=True)
        print("params.yaml is again as it is in Git")


def _is_generated() -> bool:
    return PARAMS.read_text(encoding="utf-8").startswith((GENERATED, OLD_GENERATED))


def _is_committed() -> bool:
    return subprocess.run(["git", "diff", "--quiet", "HEAD", "--", str(PARAMS)], check=False).returncode == 0
