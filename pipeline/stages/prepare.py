"""prepare: decode and resize every image of a data set once, for all later stages."""

from __future__ import annotations

import sys

import pandas as pd
from rich.progress import track

from pipeline.config import Config, Files, load
from pipeline.data import prepared
from pipeline.errors import ConfigError, listed
from pipeline.paths import originals_file, prepared_dir
from pipeline.sources import originals, registry, splits


def main(dataset: str) -> None:
    """Prepare one data set of params.yaml, and remember which original is which."""
    config = load()
    if dataset not in config.datasets:
        raise ConfigError(f"params.yaml has no data set {dataset!r}; it has {', '.join(config.datasets)}")
    classes, table = write_pictures(config, dataset)
    manifest = prepared.write_index(prepared_dir(dataset), dataset, classes, table)
    originals_file(dataset).parent.mkdir(parents=True, exist_ok=True)
    table[["id", "name", "group"]].to_csv(originals_file(dataset), index=False)
    for split, counts in manifest["counts"].items():
        print(f"{dataset}, {split}: " + ", ".join(f"{count} {label}" for label, count in counts.items()))


def write_pictures(config: Config, dataset: str) -> tuple[list[str], pd.DataFrame]:
    """Class names, and a row with an id and a split for each picture that is now in the array."""
    settings, out = config.datasets[dataset], prepared_dir(dataset)
    quiet = not sys.stdout.isatty()
    if not isinstance(settings, Files):
        classes, count, items = registry.drawn(settings)
        shown = track(items, f"drawing {dataset}", count, disable=quiet)
        table = prepared.write_arrays(out, count, settings.size, shown)
        return classes, table.assign(id=table["name"])
    source = registry.read(settings)
    print(f"{dataset}: decoding {len(source.rows)} images", flush=True)
    pictures = originals.items(source, settings.size, settings.fit)
    shown = track(pictures, f"preparing {dataset}", len(source.rows), disable=quiet)
    table = prepared.write_arrays(out, len(source.rows), settings.size, shown)
    _warn_of_contradictions(table)
    table = splits.settle(table, source.held_out, settings.split_seed, settings.duplicates)
    if left_out := len(source.rows) - len(table):
        print(f"warning: {left_out} pictures are copies of one in a split that is tested on, left out of theirs")
    return source.classes, table.assign(id=prepared.pseudonyms(table))


def _warn_of_contradictions(table: pd.DataFrame) -> None:
    found = [
        ", ".join(f"{row.name} ({row.label})" for row in rows[["name", "label"]].itertuples(index=False))
        for rows in prepared.copies(table)
        if rows["label"].nunique() > 1
    ]
    if found:
        print(f"warning: {len(found)} pictures occur with different labels; correct or remove them:\n{listed(found)}")
