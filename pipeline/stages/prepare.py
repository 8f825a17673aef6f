"""prepare: decode and resize every image of a data set once, for all later stages."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.progress import track

from pipeline import tracking
from pipeline.config import Config, ConfigError, load, prepared_dir
from pipeline.datasets import decoy_digits, isic2017, prepared
from pipeline.stages import run


def main(dataset: str) -> None:
    """Prepare one data set of params.yaml."""
    config = load()
    if dataset not in config.datasets:
        raise ConfigError(f"params.yaml has no data set {dataset!r}; it has {', '.join(config.datasets)}")
    write(config, dataset)
    tracking.create_database()  # once, here: creating it takes seconds, and two at a time would race


def write(config: Config, dataset: str) -> None:
    """Write the prepared data set."""
    settings = config.datasets[dataset]
    folder = prepared_dir(dataset)
    if settings.source == "decoy-digits":
        classes, count = decoy_digits.CLASSES, decoy_digits.COUNT
        items = decoy_digits.items(settings.size)
    else:
        if settings.root is None:
            raise ConfigError(f"datasets.{dataset}.root: missing; set it to the folder of the download")
        root = Path(settings.root)
        rows = isic2017.table(root)
        classes, count = isic2017.CLASSES, len(rows)
        items = isic2017.items(root, rows, settings.size)
    shown = track(items, f"preparing {dataset}", total=count, disable=not sys.stdout.isatty())
    prepared.write(folder, dataset, classes, count, settings.size, shown)
    print(f"{dataset}: {count} images of {settings.size} x {settings.size} pixels in {folder}")


if __name__ == "__main__":
    run(main, "dataset")
