"""What a training run is told: the sections of its YAML file, checked before anything is built.

Defaults are the values of the Sparse4D v3 reference where it has one; a file in ``config/`` names
only what it changes. Seconds, metres and radians; probabilities and fractions in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.errors import UserError
from sparse4d_ros.model.config import ModelConfig
from sparse4d_ros.training.sections import build_section
from sparse4d_ros.training.targets import SUPERVISED


def _check(correct: bool, sentence: str) -> None:
    if not correct:
        raise UserError(f"training.{sentence}")


def _check_dimensions(weights: tuple[float, ...], name: str) -> None:
    _check(len(weights) == SUPERVISED, f"{name} must have {SUPERVISED} entries (x y z, log sizes, sin cos, vx vy), "
                                       f"not {len(weights)}")


@dataclass(frozen=True)
class StreamConfig:
    """How drives become sequences of batches."""

    #: Sequences played side by side: one row of the batch each.
    batch_size: int = 4
    #: Time between two frames of a sequence, drawn anew for every frame from these.
    intervals_s: tuple[float, ...] = (0.5, 1.0)
    #: Frames of a drive that are played before the row moves on to another drive.
    clip_frames: int = 20
    #: Objects farther than this from the vehicle's origin are no targets.
    radius_m: float = 55.0
    #: Smaller radii for single classes: what is not evaluated far away need not be learned there.
    class_radius_m: dict[str, float] = field(default_factory=dict)
    #: Objects of which cameras see a smaller share are no targets.
    min_visibility: float = 0.05
    #: Processes that make batches ahead, each with ``batch_size`` sequences of its own; 0: the trainer makes them.
    workers: int = 0

    def __post_init__(self) -> None:
        _check(self.batch_size >= 1, "streams.batch_size must be at least 1")
        _check(self.clip_frames >= 1, "streams.clip_frames must be at least 1")
        _check(self.workers >= 0, "streams.workers must not be negative")
        _check(len(self.intervals_s) > 0 and min(self.intervals_s) > 0,
               "streams.intervals_s must hold at least one positive number")
        for name in self.class_radius_m:
            _check(name in NUSCENES_CLASSES,
                   f"streams.class_radius_m names the class {name!r}; known are {', '.join(NUSCENES_CLASSES)}")


@dataclass(frozen=True)
class AugmentationConfig:
    """Random changes of a scene, drawn once per clip (a sequence must not jump)."""

    flip_probability: float = 0.5
    #: Bird's-eye rotation of the model frame, drawn from plus or minus this.
    rotation_rad: float = 0.3925
    #: Image scale relative to the one that makes the image just cover the network's input.
    resize: tuple[float, float] = (0.91, 1.07)
    #: Random sideways shift of the crop, as a fraction of the input width.
    shift_fraction: float = 0.05
    #: Brightness shift and relative contrast and colour gain, plus or minus, in units of the pixel range.
    brightness: float = 0.1
    contrast: float = 0.2
    colour: float = 0.08
    #: Probability that a frame's pictures are seen through a grid of hidden squares, see ``grid_mask.py``.
    grid_mask: float = 0.7
    #: Probability that one random camera of a frame is missing.
    camera_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip_probability", "grid_mask", "camera_dropout"):
            _check(0 <= getattr(self, name) <= 1, f"augmentation.{name} must be a probability, 0 to 1")
        _check(0 < self.resize[0] <= self.resize[1], "augmentation.resize must be two positive numbers, ascending")


@dataclass(frozen=True)
class MatchingConfig:
    """Costs of the Hungarian assignment (reference; ``continuity`` is ours)."""

    class_weight: float = 2.0
    box_weight: float = 0.25
    #: Per dimension: x y z, log sizes, sin cos, vx vy.
    dimension_weights: tuple[float, ...] = (2.0, 2.0, 2.0, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0)
    #: How much cheaper an object is for the bank's instance that it was matched to last, see ``memory.py``.
    continuity: float = 0.0

    def __post_init__(self) -> None:
        _check_dimensions(self.dimension_weights, "matching.dimension_weights")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses (reference)."""

    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    classification: float = 2.0
    box: float = 0.25
    centerness: float = 1.0
    yawness: float = 1.0
    #: Per dimension: x y z, log sizes, sin cos, vx vy.
    dimension_weights: tuple[float, ...] = (2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    #: Further factors of the box dimensions for single classes: in the loss and in the matching.
    class_dimension_weights: dict[str, tuple[float, ...]] = field(
        default_factory=lambda: {"traffic_cone": (2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0)})
    #: Matches whose best class probability is lower do not enter the box and quality losses.
    min_class_probability: float = 0.05
    #: Classes whose front and back look alike: their heading may be off by half a turn.
    symmetric_classes: tuple[str, ...] = ("barrier",)
    #: Up to this error in m/s velocities cost its square / (2 beta) instead of itself; 0: as published. Most
    #: objects stand still, so where a network cannot tell who moves, its least absolute error is to say 0.
    velocity_beta: float = 0.0
    #: Factor on the gradient that the decoders send into the feature maps. While they are still
    #: searching it is mostly noise, and drowns the dense losses.
    decoder_gradient: float = 1.0
    #: Factor on all losses of the denoising rows.
    denoising: float = 1.0
    depth: float = 0.2
    max_depth_m: float = 60.0
    #: Weight of the training-only semantic head (ours, not in the paper); 0 builds none.
    semantics: float = 0.0
    #: Weight of the training-only perspective head (ours, see ``perspective.py``); 0 builds none.
    perspective: float = 0.0

    def __post_init__(self) -> None:
        _check_dimensions(self.dimension_weights, "losses.dimension_weights")
        _check(self.velocity_beta >= 0, "losses.velocity_beta must not be negative")
        for name, weights in self.class_dimension_weights.items():
            _check_dimensions(weights, f"losses.class_dimension_weights: {name}")
        for name in (*self.class_dimension_weights, *self.symmetric_classes):
            _check(name in NUSCENES_CLASSES, f"losses name the class {name!r}; known are {', '.join(NUSCENES_CLASSES)}")

    @property
    def maps(self) -> dict[str, str]:
        """Label maps that the drives must have, each with a setting that needs it."""
        needs = {"depth": ("depth", "perspective"), "semantics": ("semantics", "perspective")}
        asking = {needed: [name for name in losses if getattr(self, name) > 0] for needed, losses in needs.items()}
        return {needed: f"training.losses.{names[0]}" for needed, names in asking.items() if names}


@dataclass(frozen=True)
class DenoisingConfig:
    """Noisy copies of the ground truth as extra queries; 0 groups switch it off."""

    groups: int = 5
    #: So many of the groups (all at most), drawn anew in every frame, go on to the next as instances do.
    temporal_groups: int = 3
    max_objects: int = 32
    #: Scale of the noise per dimension: x y z, log sizes, sin cos, vx vy.
    noise_scale: tuple[float, ...] = (2.0, 2.0, 2.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)
    #: Positive copies get noise in ±positive, negative copies in ±(positive..negative), times the scale.
    positive: float = 1.0
    negative: float = 2.0

    def __post_init__(self) -> None:
        _check_dimensions(self.noise_scale, "denoising.noise_scale")
        _check(self.groups >= 0 and self.temporal_groups >= 0,
               "denoising.groups and temporal_groups must not be negative")
        _check(0 <= self.positive <= self.negative, "denoising.positive and negative must be ascending, from 0")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up, then cosine."""

    learning_rate: float = 6e-4
    #: Factor on the rate of the backbone's weights.
    backbone_factor: float = 0.5
    weight_decay: float = 1e-3
    warmup_steps: int = 500
    warmup_start: float = 1.0 / 3.0
    #: Rate at the end relative to the start.
    final_factor: float = 1e-3
    max_gradient_norm: float = 25.0
    ema_decay: float = 0.999


@dataclass(frozen=True)
class TrainingConfig:
    """The ``training`` section."""

    #: Size of the network's pictures in pixels.
    input_width: int = 704
    input_height: int = 256
    steps: int = 10_000
    #: First steps that train the image branch alone, by its dense losses, which is quick; needs such losses.
    image_steps: int = 0
    #: Steps after those that teach two decoders to refine, without attention (see ``warmup.py``).
    decoder_steps: int = 0
    seed: int = 0
    #: File with published weights that the backbone begins with, see ``read_backbone`` in ``model/checkpoint.py``.
    backbone_weights: str = ""
    #: bfloat16 for backbone and neck, float32 for the head.
    bfloat16: bool = False
    #: Compute the image branch again on the way back instead of keeping its activations: half the memory, a third
    #: more time. Its batch norms then count every batch twice in their running statistics.
    gradient_checkpointing: bool = False
    checkpoint_minutes: float = 5.0
    #: Steps between two rows of the loss table.
    log_steps: int = 20
    #: Frames of the validation drives that are scored, and how often; 0 minutes switch it off.
    validation_minutes: float = 10.0
    validation_frames: int = 40
    streams: StreamConfig = field(default_factory=StreamConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    denoising: DenoisingConfig = field(default_factory=DenoisingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        _check(self.image_steps == 0 or bool(self.losses.maps),
               "image_steps train by losses.depth, semantics or perspective; all three are 0")


@dataclass(frozen=True)
class RunConfig:
    """A whole training file."""

    model: ModelConfig
    training: TrainingConfig

    def __post_init__(self) -> None:
        _check(self.training.losses.perspective == 0 or self.model.embed_dims // self.model.num_groups >= 5,
               "losses.perspective needs five channels in each group: model.embed_dims / model.num_groups is "
               f"{self.model.embed_dims // self.model.num_groups}")


def read_yaml(path: str | Path) -> Any:
    """Content of a training file; ``UserError`` if it is missing, cannot be read or is no YAML."""
    path = Path(path)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"the training configuration {path} does not exist") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:  # a file that is no text, or a date that is none
        raise UserError(f"{path} is not valid YAML: {error}") from None


def config_from_dict(content: Any, where: str) -> RunConfig:
    """A run's configuration from the mapping of its file (or of a checkpoint).

    Raises ``UserError`` naming ``where`` and the key.
    """
    if not isinstance(content, dict) or set(content) != {"model", "training"}:
        raise UserError(f"{where} must have exactly the sections 'model' and 'training'")
    try:
        return RunConfig(
            model=ModelConfig.from_dict(content["model"]),
            training=build_section(TrainingConfig, content["training"], "training"),
        )
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
