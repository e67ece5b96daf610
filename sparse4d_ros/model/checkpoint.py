"""Weights that others published: their files, and their names of our parameters, one to one and by rule."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sparse4d_ros.errors import UserError
from sparse4d_ros.model.config import ModelConfig

#: The official head is one flat list of layers; a decoder's parts sit at these places in it.
_FIRST_DECODER = {"deformable": 0, "feed_forward": 1, "norm": 2, "refinement": 3}
_LATER_DECODER = {
    "temporal_attention": 0, "self_attention": 1, "attention_norm": 2,
    "deformable": 3, "feed_forward": 4, "norm": 5, "refinement": 6,
}
#: Entries of official checkpoints that no computation reads.
UNUSED_OFFICIAL_KEYS = ("head.instance_bank.anchor_handler.fix_scale",)
#: Missing or misshapen entries that a sentence names.
_NAMED = 5


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state_dict in a PyTorch file (or .safetensors), read without running pickled code.

    Raises ``UserError`` for a file that is absent, not a checkpoint, or holds other objects.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        content = load_file(path) if path.suffix == ".safetensors" \
            else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler fails in many ways on what is none of its files
        code = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it holds a Python object, {code[1]}, beside tensors; save its state_dict alone" if code else \
            "it is damaged, or something else"
        raise UserError(f"{path} is not a PyTorch checkpoint that can be read safely: {reason}") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} holds no state_dict of tensors")
    return {key.removeprefix("module."): value for key, value in state.items()}


def read_backbone(path: Path, backbone: nn.Module) -> dict[str, Tensor]:
    """A backbone's state_dict out of a file of a classifier (ResNet or EfficientNet-lite0) or an official checkpoint.

    Left out are parts that the backbone does not have: the classifier, stages beyond its last, the official head.
    BatchNorm counters may be missing. Raises ``UserError`` naming what is missing, misshapen or too much.
    """
    content = read_checkpoint(path)
    prefix = "img_backbone." if any(key.startswith("img_backbone.") for key in content) else ""
    found = {_backbone_key(key.removeprefix(prefix)): value for key, value in content.items() if key.startswith(prefix)}
    own, parts = backbone.state_dict(), dict(backbone.named_children())
    problems = [f"{key} is missing" for key in own if key not in found and not key.endswith("num_batches_tracked")]
    problems += [f"{key} has shape {list(found[key].shape)}, the model needs {list(value.shape)}"
                 for key, value in own.items() if key in found and found[key].shape != value.shape]
    # All that a shallow network needs is in a deeper one too.
    problems += [f"the model has no {key}" for key in found if key not in own and key.partition(".")[0] in parts]
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise UserError(f"{path} does not fit model.backbone: {'; '.join(problems[:_NAMED])}{more}")
    return {key: found.get(key, value) for key, value in own.items()}


def _backbone_key(key: str) -> str:
    """Our name in the backbone for a published one: ``_blocks.3._bn1`` of EfficientNets is ``block3.bn1``."""
    return re.sub(r"^blocks\.", "block", re.sub(r"(^|\.)_", r"\1", key))


def official_key(key: str) -> str:
    """The official checkpoint's name for one of our state_dict keys."""
    key = re.sub(r"^backbone\.", "img_backbone.", key)
    key = re.sub(r"^neck\.(lateral_convs|fpn_convs)\.(\d+)\.", r"img_neck.\1.\2.conv.", key)
    key = re.sub(r"^head\.(anchor|instance_feature)$", r"head.instance_bank.\1", key)
    match = re.match(r"^head\.decoders\.(\d+)\.(\w+)\.(.*)$", key)
    if match is None:
        return key
    decoder, part, rest = int(match[1]), match[2], match[3]
    layer = _FIRST_DECODER[part] if decoder == 0 else 4 + 7 * (decoder - 1) + _LATER_DECODER[part]
    if part.endswith("_attention"):
        rest = f"attn.{rest}"
    if part == "feed_forward":
        rest = re.sub(r"^fc1\.", "layers.0.0.", re.sub(r"^fc2\.", "layers.1.", rest))
    return f"head.layers.{layer}.{rest}"


def from_official(
    official: dict[str, Tensor], own: dict[str, Tensor],
) -> tuple[dict[str, Tensor], list[str], list[str], list[str]]:
    """Our state_dict out of an official one: (state, missing, unexpected, wrong shapes as sentences).

    ``own`` is the freshly built network's state_dict, which says what is needed. Training-only
    entries (depth branch) may be missing; BatchNorm counters are not needed at all.
    """
    state, missing, wrong = {}, [], []
    used = set(UNUSED_OFFICIAL_KEYS)
    for key, value in own.items():
        name = official_key(key)
        used.add(name)
        if name not in official:
            if not key.startswith("depth_branch.") and not key.endswith("num_batches_tracked"):
                missing.append(name)
            state[key] = value
        elif tuple(official[name].shape) != tuple(value.shape):
            wrong.append(f"{name} has shape {list(official[name].shape)}, the model needs {list(value.shape)}")
        else:
            state[key] = official[name]
    unexpected = sorted(set(official) - used)
    return state, missing, unexpected, wrong


def sizes_of_official(official: dict[str, Tensor]) -> ModelConfig:
    """The sizes of the network that an official state_dict belongs to, read off its shapes.

    Raises ``KeyError`` naming the first entry that is not there.
    """
    from sparse4d_ros.model.config import RESNET_BLOCKS, BackboneConfig

    anchors, dims = official["head.instance_bank.instance_feature"].shape
    levels = sum(re.fullmatch(r"img_neck\.lateral_convs\.\d+\.conv\.weight", key) is not None for key in official)
    layers = {int(m[1]) for key in official if (m := re.match(r"head\.layers\.(\d+)\.", key))}
    points = 7 + official["head.layers.0.kps_generator.learnable_fc.weight"].shape[0] // 3
    blocks = tuple(
        len({m[1] for key in official if (m := re.match(rf"img_backbone\.layer{stage}\.(\d+)\.", key))})
        for stage in (1, 2, 3, 4)
    )
    bottleneck = "img_backbone.layer1.0.conv3.weight" in official
    depths = [d for d, counts in RESNET_BLOCKS.items() if counts == blocks and (d >= 50) == bottleneck]
    if not depths:
        raise KeyError(f"img_backbone.layer1-4 with the blocks of a known ResNet (found {list(blocks)})")
    attention = official.get("head.layers.4.attn.in_proj_weight")
    camera_embedding = any(".camera_encoder." in key for key in official)
    cameras = 1 if camera_embedding else ModelConfig.num_cameras
    return ModelConfig(
        num_classes=official["head.layers.3.cls_layers.6.weight"].shape[0],
        num_anchors=anchors,
        num_temporal=max(1, anchors * 2 // 3),
        embed_dims=dims,
        num_groups=official["head.layers.0.weights_fc.weight"].shape[0] // (levels * points * cameras),
        num_decoders=1 + (len(layers) - 4) // 7,
        num_learnable_points=points - 7,
        strides=(4, 8, 16, 32)[:levels],
        backbone=BackboneConfig(depth=depths[0]),
        decoupled_attention=attention is None or attention.shape[1] == 2 * dims,
        quality_estimation=any(".quality_layers." in key for key in official),
        camera_embedding=camera_embedding,
    )
