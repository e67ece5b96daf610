"""One frame of training: the network with its training-only parts, and the sum of its losses."""

from __future__ import annotations

from enum import Enum

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sparse4d_ros.data.drive_cache import LABEL_STRIDE
from sparse4d_ros.model.bank import intervals
from sparse4d_ros.model.detector import Sparse4D
from sparse4d_ros.training import warmup
from sparse4d_ros.training.assignment import dimension_weights
from sparse4d_ros.training.auxiliary import SemanticHead, depth_loss
from sparse4d_ros.training.config import RunConfig, TrainingConfig
from sparse4d_ros.training.denoising import Copies, DenoisingRows, make_denoising
from sparse4d_ros.training.losses import DetectionLoss
from sparse4d_ros.training.memory import Memory
from sparse4d_ros.training.perspective import PerspectiveHead
from sparse4d_ros.training.streams import Batch
from sparse4d_ros.training.targets import Targets


class Phase(Enum):
    """What a step trains."""

    IMAGE = "image branch"
    DECODERS = "image branch and two decoders"
    ALL = "everything"

    @classmethod
    def of(cls, step: int, config: TrainingConfig) -> Phase:
        """The phase of a step."""
        if step < config.image_steps:
            return cls.IMAGE
        return cls.DECODERS if step < config.image_steps + config.decoder_steps else cls.ALL


class TrainingNetwork(nn.Module):
    """The model and what only training needs."""

    def __init__(self, config: RunConfig, class_names: tuple[str, ...]) -> None:
        super().__init__()
        self.config, self.class_names = config.training, class_names
        self.model = Sparse4D(config.model)
        initialise(self.model)
        self.semantics = None
        if self.config.losses.semantics > 0:
            self.semantics = SemanticHead(config.model.embed_dims, config.model.num_levels, config.model.num_classes)
        self.perspective = None
        if self.config.losses.perspective > 0:
            self.perspective = PerspectiveHead(config.model.embed_dims, config.model.num_levels,
                                               config.model.num_groups)
        self._detection = DetectionLoss(self.config.losses, self.config.matching, class_names)

    def forward(self, batch: Batch, memory: Memory, random: np.random.Generator, phase: Phase = Phase.ALL,
                progress: float = 1.0) -> tuple[dict[str, torch.Tensor], Memory]:
        """Weighted losses by name and the next memory, cut from the graph.

        ``batch`` lies on the host: what needs its numbers there is made while the device is at the pictures.
        ``random`` draws the denoising noise. Rows whose clip begins lose their history. Before the
        phase ALL the memory stays as it is. ``progress`` is the share of the phase that is over.
        """
        device, host = memory.owned.device, batch.targets
        batch = batch.to(device)
        images = batch.normalised()
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.bfloat16):
            maps = checkpoint(self.model.extract, images, use_reentrant=False) \
                if self.config.gradient_checkpointing else self.model.extract(images)
        noisy = self._noisy(host, random) if phase is Phase.ALL else None
        maps = [level.float() for level in maps]
        result = self._image_losses(maps, batch)
        if phase is Phase.IMAGE:
            return result, memory
        share = self.config.losses.decoder_gradient
        if share != 1.0:
            maps = [share * level + (1.0 - share) * level.detach() for level in maps]
        if phase is Phase.DECODERS:
            return self._warmup_losses(maps, batch, host, random, progress) | result, memory
        losses, memory = self._decoder_losses(maps, batch, memory.continued(batch.continues),
                                              noisy.to(device) if noisy else None, random)
        return losses | result, memory

    def _warmup_losses(self, maps: list[torch.Tensor], batch: Batch, host: Targets, random: np.random.Generator,
                       progress: float) -> dict[str, torch.Tensor]:
        head, half_angle = self.model.head, warmup.sector(progress)
        seen = host.valid & warmup.within(host.anchors, half_angle)
        boxes = warmup.queries(host, seen, head.anchor.detach().cpu(), random).to(head.anchor.device)
        weights = dimension_weights(self.config.losses, batch.targets, self.class_names)
        targets = warmup.nearest_targets(boxes, batch.targets, weights, half_angle)
        return self._detection(*warmup.decode(head, maps, batch, boxes), targets)

    def _noisy(self, targets: Targets, random: np.random.Generator) -> DenoisingRows | None:
        weights = dimension_weights(self.config.losses, targets, self.class_names)
        return make_denoising(targets, weights, self.model.config.num_anchors, self.config.matching.dimension_weights,
                              self.config.denoising, random)

    def _decoder_losses(self, maps: list[torch.Tensor], batch: Batch, memory: Memory, noisy: DenoisingRows | None,
                        random: np.random.Generator) -> tuple[dict[str, torch.Tensor], Memory]:
        losses = self.config.losses
        weights = dimension_weights(losses, batch.targets, self.class_names)
        queries = self.model.config.num_anchors
        recent, _ = intervals(batch.dt, memory.bank.has_history, self.model.config)
        if noisy and memory.copies:
            noisy = noisy.with_carried(memory.copies, recent, batch.targets, weights)
        out = self.model.head(maps, batch.projection, batch.image_wh, batch.camera_valid, memory.bank, batch.dt,
                              batch.now_from_previous, noisy.queries if noisy else None)
        found = [None if x[0] is None else torch.stack(x) for x in (out.classes, out.anchors, out.quality)]
        own = [None if x is None else x[:, :, :queries] for x in found]
        wanted, rows = self._detection.matched(own[0], own[1], batch.targets,
                                             memory.owns(batch.targets) & recent[:, None, None])
        result = self._detection(*own, wanted)
        copies = None
        if noisy:
            extra = self._detection(*(None if x is None else x[:, :, queries:] for x in found), noisy.targets)
            if self.config.denoising.temporal_groups:
                copies = Copies.after(out, noisy, batch.targets, self.config.denoising, random)
            result |= {f"denoising_{name}": losses.denoising * value for name, value in extra.items()}
        return result, memory.after(out.bank, out.kept_rows, rows[-1], batch.targets, copies)

    def _image_losses(self, maps: list[torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
        losses, result = self.config.losses, {}
        if losses.depth > 0:
            predicted = self.model.depth_branch(maps, batch.focal)
            result["depth"] = losses.depth * depth_loss(predicted, batch.depth, losses.max_depth_m)
        if self.semantics is not None:
            result["semantics"] = losses.semantics * self.semantics.loss(
                maps, batch.semantics, losses.focal_alpha, losses.focal_gamma)
        if self.perspective is not None:
            result["perspective"] = losses.perspective * self.perspective.loss(
                maps, batch.targets, batch.depth, batch.semantics, batch.projection, batch.focal, LABEL_STRIDE)
        return result


@torch.no_grad()
def initialise(model: Sparse4D) -> None:
    """Initial weights of the head: the reference's Xavier for every matrix outside the refinements, but

    * ``fix_scale`` keeps its pattern (that the reference overwrites it is a known mistake);
    * layers that take raw metres, metres per second or projection matrices begin at their inputs' scale.
      With Xavier they would see directions only: a ReLU and a LayerNorm of large inputs forget the
      length, and the biases take thousands of steps to grow to tens of metres;
    * ``output_proj`` is larger, as a point is seen by one or two of six cameras, which share the weights' mass.
    """
    for name, parameter in model.head.named_parameters():
        if parameter.dim() > 1 and parameter.requires_grad and "refinement" not in name and name != "anchor":
            nn.init.xavier_uniform_(parameter)
    _spread(model.head.anchor_encoder.pos_fc[0], torch.tensor([12.0, 12.0, 2.0]), bias=2.0)
    _spread(model.head.anchor_encoder.vel_fc[0], torch.tensor(4.0), bias=1.0)
    for decoder in model.head.decoders:
        if model.config.camera_embedding:
            _spread(decoder.deformable.camera_encoder[0], torch.tensor(300.0), bias=1.0)
        decoder.deformable.output_proj.weight.mul_(3.0)


def _spread(layer: nn.Linear, scale: torch.Tensor, bias: float) -> None:
    """Random hyperplanes whose kinks spread over inputs of the given scale."""
    layer.weight.normal_().div_(scale)
    layer.bias.uniform_(-bias, bias)


def parameter_groups(network: TrainingNetwork, backbone_factor: float) -> list[dict]:
    """Two groups for the optimiser; ``factor`` multiplies the scheduled rate."""
    backbone = {id(p) for p in network.model.image_parameters()}
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if id(p) in backbone], "factor": backbone_factor},
        {"params": [p for p in trained if id(p) not in backbone], "factor": 1.0},
    ]
