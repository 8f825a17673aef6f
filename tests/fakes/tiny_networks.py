"""timm's Swin and its ResNet with group norm, made tiny; importing this module registers them with timm."""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.swin_transformer import SwinTransformer

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
default_cfgs = generate_default_cfgs(
    {
        "tiny_swin": {
            **IMAGENET,
            "input_size": (3, 64, 64),
            "fixed_input_size": True,
            "first_conv": "patch_embed.proj",
            "classifier": "head.fc",
        },
        "tiny_resnet_gn": {**IMAGENET, "input_size": (3, 64, 64), "first_conv": "conv1", "classifier": "fc"},
    }
)


@register_model
def tiny_swin(pretrained: bool = False, **settings: Any) -> Any:
    """Return a Swin of four stages, with shifted windows in the first two."""
    size = {"img_size": 64, "patch_size": 2, "window_size": 4, "embed_dim": 16}
    depths = {"depths": (2, 2, 1, 1), "num_heads": (1, 2, 2, 4)}
    return build_model_with_cfg(SwinTransformer, "tiny_swin", pretrained, **{**size, **depths, **settings})


@register_model
def tiny_resnet_gn(pretrained: bool = False, **settings: Any) -> Any:
    """Return a ResNet of four blocks with group norm."""
    blocks = {"block": [BasicBlock, BasicBlock, Bottleneck, BasicBlock], "layers": (1, 1, 1, 1)}
    size = {"channels": (32, 64, 64, 64), "norm_layer": "groupnorm"}
    return build_model_with_cfg(ResNet, "tiny_resnet_gn", pretrained, **{**blocks, **size, **settings})
