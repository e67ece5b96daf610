"""Deformable aggregation: read image features where an anchor's 3-D key points fall, and weigh them.

Two ways to read the same numbers:

* *visible*: only points inside a picture are read, as gathered rows. In a six-camera rig about one
  camera in five sees a point, so this is what training and CPUs use.
* *grid*: ``grid_sample`` for every camera; static shapes, for TensorRT and other compilers.
"""

from __future__ import annotations

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
    matrix = projection[:, :, None, None, :3]
    pixels = (matrix[..., :3] @ points[:, None, ..., None]).squeeze(-1) + matrix[..., 3]
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


def sample_visible(maps: list[Tensor], points: Tensor, weights: Tensor, border: str) -> Tensor:
    """The same sums as :func:`sample_grid`, touching only the rows that are seen."""
    batch, cameras, count, num_points = points.shape[:4]
    groups, num_levels = weights.shape[-1], len(maps)
    channels = maps[0].shape[2]
    with torch.no_grad():
        if border == "drop":
            seen = inside(points)
        else:  # half a cell of the coarsest level beyond the border still interpolates against zeros
            cell = points.new_tensor([1.0 / maps[-1].shape[4], 1.0 / maps[-1].shape[3]])
            seen = ((points > -cell) & (points < 1 + cell)).all(-1)
        index = seen.flatten().nonzero().squeeze(1)
    point_index = index % num_points
    anchor_index = index // num_points % count
    camera_index = index // (num_points * count) % cameras
    batch_index = index // (num_points * count * cameras)
    xy = points.flatten(0, 3).index_select(0, index)
    slot = (batch_index * count + anchor_index) * cameras + camera_index
    # [M, L, G]: the weights of this point on every level
    rows_of_weights = weights.permute(0, 1, 2, 4, 3, 5).reshape(-1, num_levels, groups)
    weight = rows_of_weights.index_select(0, slot * num_points + point_index)
    total = 0.0
    for level, x in enumerate(maps):
        height, width = x.shape[-2:]
        rows = x.permute(0, 1, 3, 4, 2).reshape(-1, channels)
        first = (batch_index * cameras + camera_index) * (height * width)
        column, row = (xy[:, 0] * width - 0.5), (xy[:, 1] * height - 0.5)
        left, top = column.floor(), row.floor()
        right_share, bottom_share = column - left, row - top
        mixed = 0.0
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            x_index, y_index = left.long() + dx, top.long() + dy
            valid = (x_index >= 0) & (x_index < width) & (y_index >= 0) & (y_index < height)
            share = (right_share if dx else 1 - right_share) * (bottom_share if dy else 1 - bottom_share)
            where = first + y_index.clamp(0, height - 1) * width + x_index.clamp(0, width - 1)
            mixed = mixed + rows.index_select(0, where) * (share * valid)[:, None]
        total = total + mixed.unflatten(1, (groups, -1)) * weight[:, level, :, None]
    out = total.new_zeros(batch * count, channels)
    return out.index_add(0, batch_index * count + anchor_index, total.flatten(1)).view(batch, count, channels)


class DeformableAggregation(nn.Module):
    """Key points, sampling weights that know the camera, the weighted reading and its projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.shape = (config.num_levels, config.num_points, config.num_groups)
        self.border = config.border
        self.dropout = config.sampling_dropout
        self.reading = "visible"
        self.kps_generator = KeyPoints(dims, config.num_learnable_points)
        self.camera_encoder = nn.Sequential(
            nn.Linear(12, dims), nn.ReLU(), nn.LayerNorm(dims),
            nn.Linear(dims, dims), nn.ReLU(), nn.LayerNorm(dims),
        )
        self.weights_fc = nn.Linear(dims, config.num_levels * config.num_points * config.num_groups)
        self.output_proj = nn.Linear(dims, dims)
        nn.init.zeros_(self.weights_fc.bias)

    def weigh(self, features: Tensor, embedding: Tensor, projection: Tensor, camera_valid: Tensor | None) -> Tensor:
        """Sampling weights ``[bs, n, C, L, K, G]``, summing to one over cameras, levels and points per group.

        ``camera_valid [bs, C]`` bool takes missing cameras out of the softmax, so that the others
        keep the whole mass (a black picture would not do that).
        """
        camera = self.camera_encoder(projection[:, :, :3].flatten(2))
        # The layer is linear: anchor and camera parts are computed once each, not once per pair.
        logits = (
            self.weights_fc(features + embedding)[:, :, None] + F.linear(camera, self.weights_fc.weight)[:, None]
        )
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

    def read(self, maps: list[Tensor], points: Tensor, weights: Tensor) -> Tensor:
        """Weighted sums ``[bs, n, E]``; see the functions above for shapes."""
        sample = sample_grid if self.reading == "grid" else sample_visible
        return sample(maps, points, weights, self.border)

    def forward(
        self, features: Tensor, anchors: Tensor, embedding: Tensor, maps: list[Tensor],
        projection: Tensor, image_wh: Tensor, camera_valid: Tensor | None = None,
    ) -> Tensor:
        """``[bs, n, 2E]``: what the pictures say, beside the feature that asked."""
        key_points = self.kps_generator(anchors, features)
        weights = self.weigh(features, embedding, projection, camera_valid)
        points = project_points(key_points, projection, image_wh)
        return torch.cat([self.output_proj(self.read(maps, points, weights)), features], dim=-1)
