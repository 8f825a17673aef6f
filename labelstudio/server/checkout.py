"""The checkout that the user sees, where the settings, the local Label Studio and the answers are.

`dvc exp run --temp` and DVC's queue run stages in copies of the checkout, and delete the copies afterwards. So answers
are never kept in the current folder, but here.
"""

from __future__ import annotations

import os
from pathlib import Path

from labelstudio.exchange.records import AnnotationError

HOME = "LOOKAWAY_HOME"
COPIES = (".dvc", "tmp", "exps")  # DVC's copies of a checkout are below this folder


def home() -> Path:
    """Return the folder of the checkout; "." in the checkout itself, and in a copy of an unknown checkout."""
    return find() or Path()


def require() -> None:
    """Raise AnnotationError in a copy of an unknown checkout, where people's answers would be deleted."""
    if find() is None:
        raise AnnotationError(
            f"people cannot answer in {Path.cwd()}: DVC deletes this copy of a checkout after the experiment, with all "
            f"answers, and the checkout cannot be found. Fix: set `{HOME}` to the folder of the checkout."
        )


def find() -> Path | None:
    """Return the folder of the checkout, "." in the checkout itself; None in a copy of an unknown checkout.

    ``LOOKAWAY_HOME`` in the environment names another folder.
    """
    if named := os.environ.get(HOME):
        if not Path(named).is_dir():
            raise AnnotationError(f"`{HOME}` is {named!r}, which is not a folder. Fix: correct or unset it.")
        return Path(named)
    here = Path.cwd().resolve()
    for folder in (*reversed(here.parents), here):
        if folder.parts[-3:] == COPIES:
            return folder.parents[2]
    if "DVC_EXP_NAME" not in os.environ:
        return Path()
    # In an experiment, DVC names the user's checkout here, also where its folder of copies is somewhere else.
    root = os.environ.get("DVC_ROOT", "")
    if not root or not Path(root).is_dir():
        return None
    return Path() if here.is_relative_to(Path(root).resolve()) else Path(root)
