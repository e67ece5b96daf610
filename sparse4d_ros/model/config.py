"""Every size and habit of the network, as one validated record that a model package stores."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass

from sparse4d_ros.errors import UserError, shown

#: Blocks per stage of the ResNets by depth; 18 and 34 are made of basic blocks, the rest of bottlenecks.
RESNET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
#: EfficientNet-lite0 (Tan & Le 2019, table 1) by stage, at strides 4, 8, 16, 32; each row is of blocks alike:
#: kernel, stride of the first one, expansion, output channels, count. (The first row is at stride 2, as is the stem.)
EFFICIENTNET_LITE0 = (
    ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2)),
    ((5, 2, 6, 40, 2),),
    ((3, 2, 6, 80, 3), (5, 1, 6, 112, 3)),
    ((5, 2, 6, 192, 4), (3, 1, 6, 320, 1)),
)
#: No size of a network reaches this.
_TOO_LARGE = 1 << 31


@dataclass(frozen=True)
class BackboneConfig:
    """A ResNet: either a published ``depth``, or own ``widths`` and ``blocks`` of basic blocks (depth 0).

    Or an EfficientNet-lite0, to which the other fields say nothing; it is built up to the coarsest stride in use.
    """

    #: "resnet" or "efficientnet_lite0".
    kind: str = "resnet"
    depth: int = 50
    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = ()
    stem_width: int = 64

    @property
    def bottleneck(self) -> bool:
        """Whether stages are made of bottleneck blocks (expansion 4)."""
        return self.depth >= 50

    @property
    def stage_blocks(self) -> tuple[int, ...]:
        """Number of blocks in each stage."""
        return self.blocks if self.depth == 0 else RESNET_BLOCKS[self.depth]

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of each stage's output."""
        if self.kind == "efficientnet_lite0":
            return tuple(rows[-1][3] for rows in EFFICIENTNET_LITE0)
        return tuple(width * (4 if self.bottleneck else 1) for width in self.widths)


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of Sparse4D v3; the defaults are the published R50 256x704 model."""

    num_classes: int = 10
    num_anchors: int = 900
    num_temporal: int = 600
    embed_dims: int = 256
    num_groups: int = 8
    num_decoders: int = 6
    num_learnable_points: int = 6
    #: Strides of the feature levels; each stage of the backbone halves the resolution from stride 4 on.
    strides: tuple[int, ...] = (4, 8, 16, 32)
    backbone: BackboneConfig = BackboneConfig()
    confidence_decay: float = 0.6
    #: Seconds between frames that the velocity refinement assumes when there is no history.
    default_interval_s: float = 0.5
    #: History older than this is no history.
    max_interval_s: float = 2.0
    #: Habit of official checkpoints: a propagated anchor holds its cosine in the sine's column and
    #: the other way round (the reference's order quirk, which its weights were trained with).
    swap_yaw_on_projection: bool = True
    #: What a sample outside the picture contributes. "drop": nothing unless 0 < u, v < 1 (the CUDA
    #: kernel, with which official weights were trained); "zeros": interpolated against zeros (grid_sample).
    border: str = "drop"
    #: What distinguishes v3, as the published code can leave it out; for ablations (docs/training.md).
    #: Feature and position side by side in attention (decoupled); otherwise added, at half the width.
    decoupled_attention: bool = True
    #: Centerness and yawness beside the classes; otherwise objects are ranked by their class alone.
    quality_estimation: bool = True
    #: Sampling weights follow from each camera's matrix; otherwise from its place among ``num_cameras``.
    camera_embedding: bool = True
    #: Read without ``camera_embedding`` only; with it any number of cameras will do.
    num_cameras: int = 6
    #: Training only: dropout in attention and feed-forward layers, and on the sampling weights.
    dropout: float = 0.1
    sampling_dropout: float = 0.15

    def __post_init__(self) -> None:
        for name in ("num_classes", "num_anchors", "num_temporal", "embed_dims", "num_groups", "num_decoders",
                     "num_cameras"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise UserError(f"model.{name} must be a whole number of at least 1, not {shown(getattr(self, name))}")
        if self.num_learnable_points < 0:
            raise UserError("model.num_learnable_points must not be negative")
        if self.num_temporal > self.num_anchors:
            raise UserError(f"model.num_temporal ({self.num_temporal}) exceeds model.num_anchors ({self.num_anchors})")
        if self.embed_dims % 8 or self.embed_dims % self.num_groups:
            raise UserError(f"model.embed_dims ({self.embed_dims}) must be a multiple of 8 and of num_groups")
        if self.border not in ("drop", "zeros"):
            raise UserError(f"model.border must be 'drop' or 'zeros', not {shown(self.border)}")
        if self.backbone.kind not in ("resnet", "efficientnet_lite0"):
            raise UserError("model.backbone.kind must be 'resnet' or 'efficientnet_lite0', not "
                            f"{shown(self.backbone.kind)}")
        if self.backbone.kind != "resnet" and self.backbone != BackboneConfig(kind=self.backbone.kind):
            raise UserError("model.backbone.depth, widths, blocks and stem_width are those of a resnet: leave them out "
                            f"with {self.backbone.kind}")
        if self.backbone.depth not in (0, *RESNET_BLOCKS):
            raise UserError(f"model.backbone.depth must be 0 (own widths) or one of {sorted(RESNET_BLOCKS)}")
        if len(self.backbone.stage_blocks) != len(self.backbone.widths):
            raise UserError("model.backbone.blocks and model.backbone.widths differ in length")
        possible = tuple(4 * 2 ** stage for stage in range(len(self.backbone.out_channels)))
        if not self.strides or not set(self.strides) <= set(possible) or \
                list(self.strides) != sorted(set(self.strides)):
            raise UserError(f"model.strides must be ascending and among {list(possible)}, not {list(self.strides)}")

    def check_cameras(self, count: int) -> None:
        """``UserError`` if the sampling weights are for another number of cameras."""
        if not self.camera_embedding and self.num_cameras != count:
            raise UserError(f"model.num_cameras is {self.num_cameras}, but there are {count} cameras: without "
                            "model.camera_embedding each has sampling weights of its own")

    @property
    def num_levels(self) -> int:
        """Number of feature levels."""
        return len(self.strides)

    @property
    def num_points(self) -> int:
        """Key points per anchor: 7 fixed and the learnable ones."""
        return 7 + self.num_learnable_points

    @classmethod
    def from_dict(cls, values: object) -> ModelConfig:
        """From the ``model`` section of a YAML file; ``UserError`` names an unknown or wrong field."""
        return _build(cls, values, "model")

    def to_dict(self) -> dict:
        """Plain lists and numbers, for YAML."""
        out = dataclasses.asdict(self)
        out["strides"] = list(self.strides)
        out["backbone"]["widths"] = list(self.backbone.widths)
        out["backbone"]["blocks"] = list(self.backbone.blocks)
        return out


def _build(cls: type, values: object, where: str):
    if not isinstance(values, dict):
        raise UserError(f"{where} must be a mapping, not {shown(values)}")
    known = {f.name: f for f in dataclasses.fields(cls)}
    for name in values:
        if name not in known:
            raise UserError(f"{where}.{name if isinstance(name, str) else shown(name)} is not a known field; known are "
                            f"{', '.join(sorted(known))}")
    checked = {}
    for name, value in values.items():
        kind = known[name].type
        if kind == "BackboneConfig":
            value = _build(BackboneConfig, value, f"{where}.{name}")
        elif kind == "tuple[int, ...]":
            if not isinstance(value, (list, tuple)) or not all(
                    type(v) is int and 0 < v < _TOO_LARGE for v in value):
                raise UserError(f"{where}.{name} must be a list of whole numbers above 0, not {shown(value)}")
            value = tuple(value)
        elif kind == "int" and not (type(value) is int and abs(value) < _TOO_LARGE) \
                or kind == "bool" and type(value) is not bool or kind == "str" and not isinstance(value, str):
            raise UserError(f"{where}.{name} must be of type {kind}, not {shown(value)}")
        elif kind == "float":
            if type(value) not in (int, float) or not 0 <= value <= sys.float_info.max:
                raise UserError(f"{where}.{name} must be a number of at least 0, not {shown(value)}")
            value = float(value)
        checked[name] = value
    return cls(**checked)
