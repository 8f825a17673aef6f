"""From a source to the prepared form of its data set: images decoded, splits settled, patients' names removed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.progress import track

from pipeline.config import Dataset, Files
from pipeline.data import labels, prepared
from pipeline.data.prepared import Item
from pipeline.errors import listed
from pipeline.sources import originals, registry, splits
from pipeline.sources.decoding import WHITE
from pipeline.sources.source import Generated, Originals


def prepare(name: str, settings: Dataset, folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Write the prepared form of a data set into ``folder``.

    Returns the manifest, and a table of the originals with the columns id, name and group. This table tells file names
    and patients. Raises DataError on wrong or missing files; no manifest is written then.
    """
    source = registry.read(settings)
    white: int | None = None
    if isinstance(source, Generated):
        items = _with_progress(source.items, f"drawing {name}", source.count)
        table = prepared.write_arrays(folder, count=source.count, size=settings.size, items=items)
        table = table.assign(id=table["name"])
    else:
        assert isinstance(settings, Files)
        white = originals.white(source, settings.white)
        table = _prepare_files(folder, name=name, settings=settings, source=source, white=white)
        white = None if white == WHITE else white
    findings = isinstance(source, Originals) and source.findings
    manifest = prepared.write_index(
        folder, name=name, classes=source.classes, table=table, white=white, findings=findings
    )
    return manifest, table[["id", "name", "group"]]


def _prepare_files(folder: Path, *, name: str, settings: Files, source: Originals, white: int) -> pd.DataFrame:
    """Write the arrays; return a row with an id and a split for each image that is kept."""
    count = len(source.rows)
    print(f"{name}: decoding {count} images", flush=True)
    read = originals.items(
        source,
        settings.size,
        settings.fit,
        white=white,
        mask_values=settings.mask_values,
        window=settings.window.model_dump() if settings.window else None,
    )
    items = _with_progress(read, f"preparing {name}", count)
    table = prepared.write_arrays(folder, count=count, size=settings.size, items=items)
    _warn_of_contradictions(table)
    strata = labels.strata(table["label"], findings=source.findings)
    table = splits.settle(
        table, strata, held_out=source.held_out, seed=settings.split_seed, duplicates=settings.duplicates
    )
    if left_out := count - len(table):
        print(f"warning: {left_out} images are copies of val or test images, left out")
    return table.assign(id=prepared.pseudonyms(table))


def _with_progress(items: Iterable[Item], text: str, count: int) -> Iterable[Item]:
    return track(items, text, count, disable=not sys.stdout.isatty())


def _warn_of_contradictions(table: pd.DataFrame) -> None:
    found = [
        ", ".join(
            f"{row.name} ({row.label or 'no finding'})" for row in rows[["name", "label"]].itertuples(index=False)
        )
        for rows in prepared.copies(table)
        if rows["label"].nunique() > 1
    ]
    if found:
        print(f"warning: {len(found)} images occur with different labels; correct or remove them:\n{listed(found)}")
