"""backbone: fetch pretrained weights from their one source, so that all later stages read a file."""

from __future__ import annotations

from pipeline.config import load
from pipeline.errors import ConfigError
from pipeline.models import classifier
from pipeline.paths import backbone_file


def main(backbone: str) -> None:
    """Write the weights of one backbone of params.yaml."""
    config = load()
    if backbone not in config.backbones:
        raise ConfigError(f"params.yaml has no backbone {backbone!r}; it has {', '.join(config.backbones)}")
    settings = config.backbones[backbone]
    classifier.write(classifier.pretrained(backbone, settings, config.seed), backbone_file(backbone))
    print(f"{backbone}: {settings.architecture} from `{settings.weights}` in {backbone_file(backbone)}")
