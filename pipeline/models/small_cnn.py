"""A small convolutional network for 28 x 28 pixels; its name in timm is ``lookaway_cnn``."""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

# timm looks up a network's normalisation under this name.
default_cfgs = generate_default_cfgs(
    {"lookaway_cnn": {"mean": (0.5,) * 3, "std": (0.5,) * 3, "classifier": "classifier", "input_size": (3, 28, 28)}}
)


class SmallCNN(nn.Module):
    """Two convolutions with pooling, and two linear layers: (B, 3, 28, 28) in, (B, classes) out."""

    def __init__(self, num_classes: int = 10, **_: Any) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(32 * 7 * 7, 128), nn.ReLU()),
        )
        self.classifier = nn.Linear(128, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        return self.classifier(self.features(x))

    def get_classifier(self) -> nn.Module:
        """Return the head, which ``classifier.build`` draws anew for other classes."""
        return self.classifier


@register_model
def lookaway_cnn(pretrained: bool = False, **settings: Any) -> Any:
    """Return the network for ``timm.create_model("lookaway_cnn")``; there are no pretrained weights."""
    return build_model_with_cfg(SmallCNN, "lookaway_cnn", pretrained, **settings)
