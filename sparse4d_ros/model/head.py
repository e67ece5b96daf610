"""The head: decoders that turn anchors and image features into objects, with memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparse4d_ros.model.aggregation import DeformableAggregation, Features
from sparse4d_ros.model.anchor_encoder import AnchorEncoder
from sparse4d_ros.model.attention import History, MultiheadAttention
from sparse4d_ros.model.bank import Bank, intervals, merge_history, project_anchors, store
from sparse4d_ros.model.config import ModelConfig
from sparse4d_ros.model.refinement import Refinement


class Carried(NamedTuple):
    """Denoising queries of the frame before that take the place of new ones after the first decoder."""

    feature: Tensor  #: ``[bs, M, E]``
    anchor: Tensor   #: ``[bs, M, 11]`` in the previous frame's coordinates
    rows: Tensor     #: ``[bs, M]`` bool, which of the M places they take


class Denoising(NamedTuple):
    """Extra queries of training: noised ground truth that must find its way back."""

    anchors: Tensor         #: ``[bs, M, 11]``
    attention_mask: Tensor  #: ``[N + M, N + M]`` bool, True where a query may NOT attend
    carried: Carried | None = None


class HeadOutput(NamedTuple):
    """Everything one frame gives. Lists have one entry per decoder; rows N.. are denoising rows."""

    anchors: list[Tensor]         #: ``[bs, N, 11]``
    classes: list[Tensor | None]  #: ``[bs, N, classes]`` logits; None where not computed
    quality: list[Tensor | None]  #: ``[bs, N, 2]`` logits: centerness, yawness; None where not computed
    bank: Bank                    #: the next frame's state
    kept_rows: Tensor             #: ``[bs, Nt]`` rows of this frame that the bank kept, in its order
    recent: Tensor                #: ``[bs]`` bool: rows 0..Nt-1 continue the bank's instances
    features: Tensor              #: ``[bs, N, E]`` after the last decoder


class FeedForward(nn.Module):
    """Asymmetric feed-forward layer ``2E -> 4E -> E``; its shortcut starts at the normalised input."""

    def __init__(self, embed_dims: int, dropout: float) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(2 * embed_dims)
        self.fc1 = nn.Linear(2 * embed_dims, 4 * embed_dims)
        self.fc2 = nn.Linear(4 * embed_dims, embed_dims)
        self.identity_fc = nn.Linear(2 * embed_dims, embed_dims)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pre_norm(x)
        return self.identity_fc(x) + self.dropout(self.fc2(self.dropout(torch.relu(self.fc1(x)))))


class Decoder(nn.Module):
    """One round: attend (all but the first decoder), look at the pictures, refine."""

    def __init__(self, config: ModelConfig, temporal: bool) -> None:
        super().__init__()
        dims = config.embed_dims
        if temporal:
            width = 2 * dims if config.decoupled_attention else dims
            self.temporal_attention = MultiheadAttention(width, config.num_groups, config.dropout)
            self.self_attention = MultiheadAttention(width, config.num_groups, config.dropout)
            self.attention_norm = nn.LayerNorm(dims)
        self.deformable = DeformableAggregation(config)
        self.feed_forward = FeedForward(dims, config.dropout)
        self.norm = nn.LayerNorm(dims)
        self.refinement = Refinement(dims, config.num_classes, config.quality_estimation)


class Sparse4DHead(nn.Module):
    """Learned anchors, ``num_decoders`` decoders and the step of the bank."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.config = config
        #: How image features are read: ``visible`` or ``grid``, see :mod:`sparse4d_ros.model.aggregation`.
        self.reading = "visible"
        self.anchor = nn.Parameter(torch.zeros(config.num_anchors, 11))
        self.instance_feature = nn.Parameter(torch.zeros(config.num_anchors, dims), requires_grad=False)
        self.anchor_encoder = AnchorEncoder(dims)
        decoupled = config.decoupled_attention
        self.fc_before = nn.Linear(dims, 2 * dims, bias=False) if decoupled else nn.Identity()
        self.fc_after = nn.Linear(2 * dims, dims, bias=False) if decoupled else nn.Identity()
        self.decoders = nn.ModuleList(Decoder(config, temporal=d > 0) for d in range(config.num_decoders))

    def _query(self, x: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Features with their positions, as attention asks and is asked, and what goes around it: ``[bs, n, W]``."""
        if self.config.decoupled_attention:
            query = torch.cat([x, embedding], dim=-1)
            return query, query
        return x + embedding, x

    def forward(
        self, maps: list[Tensor], projection: Tensor, image_wh: Tensor, camera_valid: Tensor | None,
        bank: Bank, dt: Tensor, now_from_previous: Tensor, denoising: Denoising | None = None,
    ) -> HeadOutput:
        """One frame; shapes as in :meth:`sparse4d_ros.model.detector.Sparse4D.forward`."""
        config = self.config
        batch, count = bank.feature.shape[0], config.num_anchors
        recent, interval = intervals(dt, bank.has_history, config)
        cached = project_anchors(bank.anchor, now_from_previous, dt, config.swap_yaw_on_projection)

        features = Features.of(maps, self.reading)
        x = self.instance_feature.expand(batch, -1, -1)
        anchors = self.anchor.expand(batch, -1, -1)
        self_allowed = None
        if denoising is not None:
            x = torch.cat([x, x.new_zeros(batch, denoising.anchors.shape[1], x.shape[-1])], dim=1)
            anchors = torch.cat([anchors, denoising.anchors], dim=1)
            self_allowed = ~denoising.attention_mask
        history = History(bank.has_history, x.shape[1], config.num_temporal, self_allowed)
        cached_value = self.fc_before(bank.feature)
        embedding = self.anchor_encoder(anchors)
        cached_embedding = self.anchor_encoder(cached)

        out_anchors, out_classes, out_quality = [], [], []
        for index, decoder in enumerate(self.decoders):
            if index > 0:
                query, shortcut = self._query(x, embedding)
                key = history.select(self._query(bank.feature, cached_embedding)[0], query)
                value = history.select(cached_value, shortcut)
                x = self.fc_after(decoder.temporal_attention(query, key, value, history.allowed, shortcut))
                query, shortcut = self._query(x, embedding)
                x = self.fc_after(decoder.self_attention(query, query, self.fc_before(x), self_allowed, shortcut))
                x = decoder.attention_norm(x)
            x = decoder.deformable(x, anchors, embedding, features, projection, image_wh, camera_valid)
            x = decoder.norm(decoder.feed_forward(x))
            score = self.training or index in (0, config.num_decoders - 1)
            anchors, classes, quality = decoder.refinement(x, anchors, embedding, interval, score)
            out_anchors.append(anchors)
            out_classes.append(classes)
            out_quality.append(quality)
            if index == 0:
                x_own, anchors_own = merge_history(
                    x[:, :count], anchors[:, :count], classes[:, :count], bank.feature, cached, recent)
                x_extra, anchors_extra = x[:, count:], anchors[:, count:]
                if denoising is not None and denoising.carried is not None:
                    carried = denoising.carried
                    moved = project_anchors(carried.anchor, now_from_previous, dt, config.swap_yaw_on_projection)
                    use = (carried.rows & recent[:, None])[..., None]
                    x_extra = torch.where(use, carried.feature, x_extra)
                    anchors_extra = torch.where(use, moved, anchors_extra)
                x = torch.cat([x_own, x_extra], dim=1)
                anchors = torch.cat([anchors_own, anchors_extra], dim=1)
            if index < config.num_decoders - 1:
                embedding = self.anchor_encoder(anchors)
            if index > 0:
                # From here on the keys' positions are those of the refined instances, their features stay cached.
                cached_embedding = embedding[:, :config.num_temporal]
        next_bank, kept_rows, _ = store(
            x[:, :count], anchors[:, :count], classes[:, :count], bank, config.confidence_decay)
        return HeadOutput(out_anchors, out_classes, out_quality, next_bank, kept_rows, recent, x)
