"""prepare: decode and resize every image of a data set once, for all later stages."""

from __future__ import annotations

from pipeline.config import load
from pipeline.data import own_csv
from pipeline.errors import ConfigError
from pipeline.paths import originals_file, prepared_dir
from pipeline.sources import preparing


def main(dataset: str) -> None:
    """Prepare one data set of params.yaml, and record the original of each prepared image."""
    config = load()
    if dataset not in config.datasets:
        raise ConfigError(
            f"params.yaml has no data set {dataset!r}. Fix: choose one of {', '.join(config.datasets)}, or add it "
            "under `datasets`."
        )
    manifest, originals = preparing.prepare(dataset, config.datasets[dataset], prepared_dir(dataset))
    originals_file(dataset).parent.mkdir(parents=True, exist_ok=True)
    own_csv.write(originals_file(dataset), originals)
    for split, counts in manifest["counts"].items():
        print(f"{dataset}, {split}: " + ", ".join(f"{count} {label}" for label, count in counts.items()))
