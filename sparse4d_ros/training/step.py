"""One frame of training: the network with its training-only parts, and the sum of its losses."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from sparse4d_ros.model.bank import Bank
from sparse4d_ros.model.detector import Sparse4D
from sparse4d_ros.training.assignment import dimension_weights
from sparse4d_ros.training.auxiliary import SemanticHead, depth_loss
from sparse4d_ros.training.config import RunConfig
from sparse4d_ros.training.denoising import make_denoising
from sparse4d_ros.training.losses import DetectionLoss
from sparse4d_ros.training.streams import Batch


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
        self._detection = DetectionLoss(self.config.losses, self.config.matching, class_names)

    def forward(self, batch: Batch, bank: Bank, random: np.random.Generator) -> tuple[dict[str, torch.Tensor], Bank]:
        """Weighted losses by name and the next bank, cut from the graph.

        ``random`` draws the denoising noise. Rows whose clip begins lose their history.
        """
        losses = self.config.losses
        bank = bank._replace(has_history=bank.has_history & batch.continues)
        weights = dimension_weights(losses, batch.targets, self.class_names)
        queries = self.model.config.num_anchors
        noisy = make_denoising(batch.targets, weights, queries, self.config.matching.dimension_weights,
                               self.config.denoising, random)
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            maps = self.model.extract(batch.images)
        maps = [level.float() for level in maps]
        out = self.model.head(maps, batch.projection, batch.image_wh, batch.camera_valid, bank, batch.dt,
                              batch.now_from_previous, noisy.queries if noisy else None)
        classes, anchors, quality = (torch.stack(x) for x in (out.classes, out.anchors, out.quality))

        own = classes[:, :, :queries], anchors[:, :, :queries], quality[:, :, :queries]
        result = self._detection(*own, self._detection.matched(own[0], own[1], batch.targets))
        if noisy:
            extra = self._detection(classes[:, :, queries:], anchors[:, :, queries:], quality[:, :, queries:],
                                    noisy.targets)
            result |= {f"denoising_{name}": losses.denoising * value for name, value in extra.items()}
        if losses.depth > 0:
            predicted = self.model.depth_branch(maps, batch.focal)
            result["depth"] = losses.depth * depth_loss(predicted, batch.depth, losses.max_depth_m)
        if self.semantics is not None:
            result["semantics"] = losses.semantics * self.semantics.loss(
                maps, batch.semantics, losses.focal_alpha, losses.focal_gamma)
        return result, out.bank.detach()


def initialise(model: Sparse4D) -> None:
    """The reference's initial weights of the head: Xavier for every matrix outside the refinements.

    Not for ``fix_scale``: that the reference overwrites its key-point pattern is a known mistake.
    """
    for name, parameter in model.head.named_parameters():
        if parameter.dim() > 1 and parameter.requires_grad and "refinement" not in name and name != "anchor":
            nn.init.xavier_uniform_(parameter)


def parameter_groups(network: TrainingNetwork, backbone_factor: float) -> list[dict]:
    """Two groups for the optimiser; ``factor`` multiplies the scheduled rate."""
    backbone = {id(p) for p in network.model.image_parameters()}
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if id(p) in backbone], "factor": backbone_factor},
        {"params": [p for p in trained if id(p) not in backbone], "factor": 1.0},
    ]
