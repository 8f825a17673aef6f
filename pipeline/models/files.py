"""State files: tensors and settings on disk. The same content is the same bytes."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import DamagedFileError


def write(document: dict[str, Any], path: Path) -> None:
    """Store tensors and settings; a kill leaves the old file or the new one, never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()  # torch would write a file's name into the archive, and a buffer has no name
    torch.save(document, buffer)
    half = path.with_suffix(".half")
    half.write_bytes(buffer.getvalue())
    os.replace(half, path)


def read(path: Path) -> dict[str, Any]:
    """Load a file of ``write`` onto the CPU; raise DamagedFileError if the file is missing or damaged."""
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise DamagedFileError(f"{path} is missing. Fix: run `dvc repro` to write it again.") from None
    except Exception as error:  # torch raises OSError, EOFError, RuntimeError and UnpicklingError for damaged files
        raise DamagedFileError(
            f"{path} is damaged and cannot be loaded. Fix: run `dvc repro` to write it again."
        ) from error
