"""Deformable aggregation: read image features where an anchor's 3-D key points fall, and weigh them.

Two ways to read the same numbers:

* *visible*: only points inside a picture are read, as gathered rows. In a six-camera rig about one
  camera in five sees a point, so this is what training and CPUs use.
* *grid*: ``grid_sample`` for every camera; static shapes, for TensorRT and other compilers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse4d_ros.model.config import ModelConfig
from sparse4d_ros.model.keypoints import KeyPoints

_MIN_DEPTH = 1e-5


def project_points(points: Tensor, projection: Tensor, image_wh: Tensor) -> Tensor:
    """``points [bs, n, K, 3]``, ``projection [bs, C, 4, 4]``, ``image_wh [bs, C, 2]`` to ``[bs, C, n, K, 2]`` in 0..1.

    Points behind a camera are divided by the smallest depth and so land far outside the picture.
    """
    rows = points.flatten(1, 2)[:, None]  # one product a camera, not one a point
    pixels = (rows @ projection[:, :, :3, :3].mT + projection[:, :, None, :3, 3]).unflatten(2, points.shape[1:3])
    return pixels[..., :2] / pixels[..., 2:3].clamp(min=_MIN_DEPTH) / image_wh[:, :, None, None]


def inside(points: Tensor) -> Tensor:
    """Which points ``[..., 2]`` lie strictly inside the picture: the CUDA kernel's rule."""
    return ((points > 0) & (points < 1)).all(-1)


def sample_grid(maps: list[Tensor], points: Tensor, weights: Tensor, border: str) -> Tensor:
    """Weighted sums ``[bs, n, E]`` by ``grid_sample``.

    ``maps``: L of ``[bs, C, E, h, w]``; ``points [bs, C, n, K, 2]``; ``weights [bs, n, C, L, K, G]``.
    """
    batch, cameras, count, num_points = points.shape[:4]
    groups = weights.shape[-1]
    grid = (points * 2 - 1).flatten(0, 1)
    # A point far outside contributes nothing; bounding it keeps huge coordinates out of the interpolation.
    grid = grid.clamp(-1e4, 1e4)
    if border == "drop":
        weights = weights * inside(points).permute(0, 2, 1, 3)[:, :, :, None, :, None]
    total = 0.0
    for level, x in enumerate(maps):
        values = F.grid_sample(x.flatten(0, 1), grid, align_corners=False)
        values = values.view(batch, cameras, groups, -1, count, num_points)
        total = total + torch.einsum("bcgenk,bnckg->bnge", values, weights[:, :, :, level])
    return total.flatten(2)


class Features(NamedTuple):
    """Feature maps of one frame, and the same values as rows where points are to be gathered."""

    maps: list[Tensor]   #: L of ``[bs, C, E, h, w]``
    rows: Tensor | None  #: ``[sum over levels of bs * C * h * w, E]``, level-major; None for ``grid``

    @classmethod
    def of(cls, maps: list[Tensor], reading: str) -> Features:
        """Prepared once per frame for all decoders."""
        if reading == "grid":
            return cls(maps, None)
        return cls(maps, torch.cat([x.permute(0, 1, 3, 4, 2).reshape(-1, x.shape[2]) for x in maps]))


def _corners(xy: Tensor, picture: Tensor, size: tuple[int, int], first_row: int) -> tuple[Tensor, Tensor]:
    """Rows ``[M, 4]`` and bilinear shares ``[M, 4]`` of the cells around points ``xy [M, 2]`` in 0..1.

    ``picture [M]`` is the index of each point's map of ``size`` (height, width) among all of its level.
    """
    height, width = size
    column, row = xy[:, 0] * width - 0.5, xy[:, 1] * height - 0.5
    left, top = column.floor(), row.floor()
    x = torch.stack([left, left + 1], dim=1)
    y = torch.stack([top, top + 1], dim=1)
    share_x = torch.stack([left + 1 - column, column - left], dim=1) * ((x >= 0) & (x < width))
    share_y = torch.stack([top + 1 - row, row - top], dim=1) * ((y >= 0) & (y < height))
    x, y = x.clamp(0, width - 1).long(), y.clamp(0, height - 1).long()
    where = ((picture * height)[:, None] + y)[:, :, None] * width + x[:, None, :] + first_row
    return where.flatten(1), (share_y[:, :, None] * share_x[:, None, :]).flatten(1)


def sample_visible(features: Features, points: Tensor, weights: Tensor, border: str) -> Tensor:
    """The same sums as :func:`sample_grid`, touching only the rows that are seen."""
    batch, cameras, count, num_points = points.shape[:4]
    groups, channels = weights.shape[-1], features.rows.shape[1]
    sizes = [tuple(x.shape[-2:]) for x in features.maps]
    with torch.no_grad():
        if border == "drop":
            seen = inside(points)
        else:  # half a cell of the coarsest level beyond the border still interpolates against zeros
            cell = points.new_tensor([1.0 / sizes[-1][1], 1.0 / sizes[-1][0]])
            seen = ((points > -cell) & (points < 1 + cell)).all(-1)
        index = seen.flatten().nonzero().squeeze(1)
    point_index = index % num_points
    anchor_index = index // num_points % count
    picture = index // (num_points * count)
    camera_index, batch_index = picture % cameras, picture // cameras
    xy = points.flatten(0, 3).index_select(0, index)
    # [M, L, G]: the weights of this point on every level
    slot = ((batch_index * count + anchor_index) * cameras + camera_index) * num_points + point_index
    weight = weights.transpose(3, 4).flatten(0, 3).index_select(0, slot)
    where, shares, first_row = [], [], 0
    for height, width in sizes:
        level_where, level_shares = _corners(xy, picture, (height, width), first_row)
        where.append(level_where)
        shares.append(level_shares)
        first_row += batch * cameras * height * width
    share = torch.stack(shares, dim=1)[..., None] * weight[:, :, None]
    rows = features.rows.index_select(0, torch.cat(where, dim=1).flatten())
    rows = rows.view(-1, 4 * len(sizes), groups, channels // groups)
    mixed = (rows * share.flatten(1, 2)[..., None]).sum(dim=1).flatten(1)
    out = mixed.new_zeros(batch * count, channels)
    return out.index_add(0, batch_index * count + anchor_index, mixed).view(batch, count, channels)


class DeformableAggregation(nn.Module):
    """Key points, sampling weights that know the camera, the weighted reading and its projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.shape = (config.num_levels, config.num_points, config.num_groups)
        self.border = config.border
        self.dropout = config.sampling_dropout
        self.kps_generator = KeyPoints(dims, config.num_learnable_points)
        self.num_cameras = 1 if config.camera_embedding else config.num_cameras
        self.camera_encoder = nn.Sequential(
            nn.Linear(12, dims), nn.ReLU(), nn.LayerNorm(dims),
            nn.Linear(dims, dims), nn.ReLU(), nn.LayerNorm(dims),
        ) if config.camera_embedding else None
        self.weights_fc = nn.Linear(
            dims, self.num_cameras * config.num_levels * config.num_points * config.num_groups)
        self.output_proj = nn.Linear(dims, dims)
        nn.init.zeros_(self.weights_fc.bias)

    def weigh(self, features: Tensor, embedding: Tensor, projection: Tensor, camera_valid: Tensor | None) -> Tensor:
        """Sampling weights ``[bs, n, C, L, K, G]``, summing to one over cameras, levels and points per group.

        ``camera_valid [bs, C]`` bool takes missing cameras out of the softmax, so that the others
        keep the whole mass (a black picture would not do that).
        """
        logits = self.weights_fc(features + embedding).unflatten(-1, (self.num_cameras, -1))
        if self.camera_encoder is not None:
            # The layer is linear: anchor and camera parts are computed once each, not once per pair.
            camera = self.camera_encoder(projection[:, :, :3].flatten(2))
            logits = logits + F.linear(camera, self.weights_fc.weight)[:, None]
        if camera_valid is not None:
            logits = logits.masked_fill(~camera_valid[:, None, :, None], float("-inf"))
        groups = self.shape[2]
        flat = logits.unflatten(-1, (-1, groups)).flatten(2, 3).softmax(dim=2)
        weights = flat.unflatten(2, (logits.shape[2], *self.shape[:2]))
        if self.training and self.dropout > 0:
            # One fate for all groups of a sample, as in the reference.
            kept = torch.rand(weights.shape[:-1], device=weights.device)[..., None] > self.dropout
            weights = weights * kept / (1 - self.dropout)
        return weights

    def read(self, image_features: Features, points: Tensor, weights: Tensor) -> Tensor:
        """Weighted sums ``[bs, n, E]``; see the functions above for shapes."""
        if image_features.rows is None:
            return sample_grid(image_features.maps, points, weights, self.border)
        return sample_visible(image_features, points, weights, self.border)

    def forward(
        self, features: Tensor, anchors: Tensor, embedding: Tensor, image_features: Features,
        projection: Tensor, image_wh: Tensor, camera_valid: Tensor | None = None,
    ) -> Tensor:
        """``[bs, n, 2E]``: what the pictures say, beside the feature that asked."""
        key_points = self.kps_generator(anchors, features)
        weights = self.weigh(features, embedding, projection, camera_valid)
        points = project_points(key_points, projection, image_wh)
        return torch.cat([self.output_proj(self.read(image_features, points, weights)), features], dim=-1)
