"""Dense supervision of the image features with the objects' boxes (ours; the idea is BEVFormer v2's).

Every cell that shows an object learns to say where in the picture that object's centre is, how far
away, how large, and which way it faces seen from the camera. The decoders would have to teach the
features all that through a few hundred sampled points; from nothing that takes them very
long, while one linear layer per level, used in training only, does it directly.

Which object a cell shows follows from the depth and class maps: its surface point lies in the box.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import nn

from sparse4d_ros.model.depth import REFERENCE_FOCAL
from sparse4d_ros.training.targets import Targets

#: Values per cell: centre offset (2), log depth, log sizes (3), sine and cosine of the heading.
OUTPUTS = 8
#: Pixels that count as one unit of the centre offset.
_OFFSET_UNIT = 64.0
#: At most so many cells of a batch are supervised.
_MAX_CELLS = 2000


class ObjectCells(NamedTuple):
    """Cells of the label maps that show an object, and which one."""

    frame: torch.Tensor   #: ``[m]`` row of the batch
    camera: torch.Tensor  #: ``[m]``
    line: torch.Tensor    #: ``[m]`` row of the label map
    column: torch.Tensor  #: ``[m]``
    object: torch.Tensor  #: ``[m]`` column of the targets


def object_cells(targets: Targets, depth: torch.Tensor, semantics: torch.Tensor, projection: torch.Tensor,
                 stride: int) -> ObjectCells:
    """Cells whose surface point lies in the box of a target of the cell's class.

    ``depth`` and ``semantics`` are ``[bs, C, h, w]`` with one value per ``stride`` pixels,
    ``projection [bs, C, 4, 4]`` takes model points to pixels.
    """
    shown = (semantics < 255) & torch.isfinite(depth) & (depth > 0)
    cells = shown.nonzero()
    if len(cells) > _MAX_CELLS:
        # By squared depth: a near and a far object of one size then have the same number of cells.
        cells = cells[torch.multinomial(depth[tuple(cells.unbind(1))].square(), _MAX_CELLS)]
    frame, camera, line, column = cells.unbind(1)
    z = depth[frame, camera, line, column]
    pixel = torch.stack([(column + 0.5) * stride * z, (line + 0.5) * stride * z, z, torch.ones_like(z)], dim=-1)
    back = torch.linalg.inv(projection.double())[frame, camera]
    point = (back @ pixel.double()[..., None])[:, :3, 0].float()

    boxes = targets.anchors[frame]  # [m, g, 11]
    offset = point[:, None] - boxes[..., :3]
    sin, cos = boxes[..., 6], boxes[..., 7]
    local = torch.stack([cos * offset[..., 0] + sin * offset[..., 1], cos * offset[..., 1] - sin * offset[..., 0],
                         offset[..., 2]], dim=-1)
    # A tolerance, since depth is that of the cell's middle and bodies bulge out of boxes a little.
    reach = (local.abs() / (0.5 * boxes[..., 3:6].exp() + 0.2)).amax(-1)
    same = targets.classes[frame] == semantics[frame, camera, line, column].long()[:, None]
    nearest, number = torch.where(same, reach, torch.inf).min(dim=1)
    found = nearest < 1.1
    return ObjectCells(frame[found], camera[found], line[found], column[found], number[found])


def cell_targets(cells: ObjectCells, targets: Targets, projection: torch.Tensor, focal: torch.Tensor,
                 pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What each cell should say, ``[m, 8]``, and whether it can be said (centre before the camera), ``[m]``.

    ``pixels [m, 2]`` are the middles of the cells, ``focal [bs, C]`` is in pixels.
    """
    box = targets.anchors[cells.frame, cells.object]
    matrix = projection[cells.frame, cells.camera]
    image = (matrix[:, :3, :3] @ box[:, :3, None]).squeeze(-1) + matrix[:, :3, 3]
    z = image[:, 2].clamp(min=0.5)
    offset = (image[:, :2] / z[:, None] - pixels) / _OFFSET_UNIT
    log_depth = (z * REFERENCE_FOCAL / focal[cells.frame, cells.camera]).log()
    eye = torch.linalg.inv(projection.double())[cells.frame, cells.camera, :2, 3].float()
    ray = functional.normalize(box[:, :2] - eye, dim=-1)
    sin, cos = box[:, 6], box[:, 7]
    heading = torch.stack([sin * ray[:, 0] - cos * ray[:, 1], cos * ray[:, 0] + sin * ray[:, 1]], dim=-1)
    return torch.cat([offset, log_depth[:, None], box[:, 3:6], heading], dim=-1), image[:, 2] > 0.5


class PerspectiveHead(nn.Module):
    """A linear layer per feature level from a cell's feature to the object it shows."""

    def __init__(self, embed_dims: int, num_levels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(embed_dims, OUTPUTS) for _ in range(num_levels))

    def loss(self, maps: list[torch.Tensor], targets: Targets, depth: torch.Tensor, semantics: torch.Tensor,
             projection: torch.Tensor, focal: torch.Tensor, stride: int) -> torch.Tensor:
        """L1, summed over the eight values, mean over cells and levels; ``maps`` are ``[bs, C, E, h, w]``."""
        cells = object_cells(targets, depth, semantics, projection, stride)
        height, width = depth.shape[-2:]
        cameras = depth.shape[1]
        total = depth.new_zeros(())
        for layer, level in zip(self.layers, maps, strict=True):
            lines, columns = level.shape[-2:]
            line, column = cells.line * lines // height, cells.column * columns // width
            cell_width, cell_height = width * stride / columns, height * stride / lines
            pixels = torch.stack([(column + 0.5) * cell_width, (line + 0.5) * cell_height], dim=-1)
            wanted, valid = cell_targets(cells, targets, projection, focal, pixels)
            rows = level.permute(0, 1, 3, 4, 2).reshape(-1, level.shape[2])
            index = ((cells.frame * cameras + cells.camera) * lines + line) * columns + column
            difference = (layer(rows.index_select(0, index)) - wanted).abs() * valid[:, None]
            # A far-off centre (a bus beside the camera) must not outweigh everything else.
            total = total + difference.clamp(max=5.0).sum() / valid.sum().clamp(min=1)
        return total / len(self.layers)
