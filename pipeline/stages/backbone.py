"""backbone: fetch pretrained weights from their one source, so that all later stages read a file."""

from __future__ import annotations

from pipeline.config import load
from pipeline.errors import ConfigError
from pipeline.models import backbones, files
from pipeline.paths import backbone_file


def main(backbone: str) -> None:
    """Write the weights of one backbone of params.yaml."""
    config = load()
    if backbone not in config.backbones:
        raise ConfigError(
            f"params.yaml has no backbone {backbone!r}. Fix: choose one of {', '.join(config.backbones)}, or add it "
            "under `backbones`."
        )
    settings = config.backbones[backbone]
    files.write(backbones.pretrained(backbone, settings, config.seed), backbone_file(backbone))
    print(f"{backbone}: wrote {settings.architecture} from `weights: {settings.weights}` to {backbone_file(backbone)}")
