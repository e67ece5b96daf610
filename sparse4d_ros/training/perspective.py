"""Dense supervision of the image features with the objects' boxes (ours; the idea is BEVFormer v2's).

Every cell that shows an object learns to say where in the picture that object's centre is, how far
away, how large, and which way it faces seen from the camera. The decoders would have to teach the
features all that through a few hundred sampled points; from nothing that takes them very
long, while one linear layer per level, used in training only, does it directly.

Which object a cell shows follows from the depth and class maps: its surface point lies in the box.

Three values must stand in the first channels of every channel group as they are: how many metres the
centre lies to the right of the cell's ray, how deep it is, and how many metres the object's foot lies
below the ray (on flat ground that says how much farther or nearer it is than an anchor on this ray,
and unlike depth it can be read off the picture around the cell). A decoder turns them
into metres in the vehicle's frame, by a rotation that depends on where the anchor is: over all
directions the mean correlation of what it sees with what it should do is zero, so it learns that
only if they are a large part of the features. Cells beside an object must tell them as well, since
key points of an anchor that is off the object fall there.

The heading has the same difficulty: seen from the camera it can be read off the picture, and in the vehicle's
frame it is turned by the direction of the ray. Its sine and cosine stand in the two channels behind those three,
in the second half of the groups.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import nn

from sparse4d_ros.data.drive_cache import NO_OBJECT
from sparse4d_ros.model.depth import REFERENCE_FOCAL
from sparse4d_ros.training.targets import Targets

#: Values per cell: centre offset (2), log depth, log sizes (3), sine and cosine of the heading.
OUTPUTS = 8
#: Pixels that count as one unit of the centre offset.
_OFFSET_UNIT = 64.0
#: Depth as a channel: (metres - offset) / unit, so that it varies by about one.
_DEPTH_OFFSET_M, _DEPTH_UNIT_M = 20.0, 10.0
#: Cells beside each object that are supervised, and how far aside and above or below they lie at most.
_BESIDE, _BESIDE_M, _ABOVE_M = 12, 2.5, 0.8
#: At most so many cells of each frame of a batch are supervised, in the mean.
_CELLS = 1000


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
    shown = (semantics != NO_OBJECT) & torch.isfinite(depth) & (depth > 0)
    cells = shown.nonzero()
    if len(cells) > (most := _CELLS * len(depth)):
        # By squared depth: a near and a far object of one size then have the same number of cells.
        cells = cells[torch.multinomial(depth[tuple(cells.unbind(1))].square(), most)]
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
                 pixels: torch.Tensor, heading: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What each cell should say, ``[m, 8]``, and whether it can be said (centre before the camera), ``[m]``.

    ``pixels [m, 2]`` are the middles of the cells, ``focal [bs, C]`` is in pixels, ``heading`` is :func:`seen_heading`.
    """
    box = targets.anchors[cells.frame, cells.object]
    matrix = projection[cells.frame, cells.camera]
    image = (matrix[:, :3, :3] @ box[:, :3, None]).squeeze(-1) + matrix[:, :3, 3]
    z = image[:, 2].clamp(min=0.5)
    offset = (image[:, :2] / z[:, None] - pixels) / _OFFSET_UNIT
    log_depth = (z * REFERENCE_FOCAL / focal[cells.frame, cells.camera]).log()
    return torch.cat([offset, log_depth[:, None], box[:, 3:6], heading], dim=-1), image[:, 2] > 0.5


def seen_heading(cells: ObjectCells, targets: Targets, projection: torch.Tensor) -> torch.Tensor:
    """Sine and cosine ``[m, 2]`` of the heading against the ray from the camera to the object, on the ground."""
    box = targets.anchors[cells.frame, cells.object]
    eye = torch.linalg.inv(projection.double())[cells.frame, cells.camera, :2, 3].float()
    ray = functional.normalize(box[:, :2] - eye, dim=-1)
    sin, cos = box[:, 6], box[:, 7]
    return torch.stack([sin * ray[:, 0] - cos * ray[:, 1], cos * ray[:, 0] + sin * ray[:, 1]], dim=-1)


def cells_beside(targets: Targets, depth: torch.Tensor, semantics: torch.Tensor, projection: torch.Tensor,
                 focal: torch.Tensor, stride: int) -> ObjectCells:
    """Random cells of the background just beside objects that a camera sees."""
    centre = targets.anchors[:, None, :, :3]  # [bs, 1, g, 3]
    image = centre @ projection[:, :, :3, :3].mT + projection[:, :, None, :3, 3]
    z = image[..., 2].clamp(min=0.5)  # [bs, C, g]
    height, width = depth.shape[-2:]
    shape = (*z.shape, _BESIDE)
    aside = (torch.rand(shape, device=z.device) * 2 - 1) * _BESIDE_M
    above = (torch.rand(shape, device=z.device) * 2 - 1) * _ABOVE_M
    scale = (focal[..., None] / z)[..., None]  # pixels per metre
    column = torch.floor(((image[..., 0] / z)[..., None] + aside * scale) / stride).long()
    line = torch.floor(((image[..., 1] / z)[..., None] + above * scale) / stride).long()
    inside = (column >= 0) & (column < width) & (line >= 0) & (line < height)
    inside &= ((image[..., 2] > 1.0) & targets.valid[:, None])[..., None]
    frame, camera, number, draw = inside.nonzero().unbind(1)
    line, column = line[frame, camera, number, draw], column[frame, camera, number, draw]
    # Nothing may stand before the place, and no object on it.
    free = (semantics[frame, camera, line, column] == NO_OBJECT)
    free &= depth[frame, camera, line, column] > z[frame, camera, number] - 1.0
    return ObjectCells(frame[free], camera[free], line[free], column[free], number[free])


def direct_values(cells: ObjectCells, targets: Targets, projection: torch.Tensor, focal: torch.Tensor,
                  pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values ``[m, 3]`` and their validity ``[m]``.

    Metres from the cell's ray to the right to the centre, the scaled depth, metres down to the foot.
    """
    matrix = projection[cells.frame, cells.camera]
    box = targets.anchors[cells.frame, cells.object]
    foot = torch.stack([box[:, 0], box[:, 1], box[:, 2] - 0.5 * box[:, 5].exp()], dim=-1)
    image, low = ((matrix[:, :3, :3] @ point[..., None]).squeeze(-1) + matrix[:, :3, 3] for point in (box[:, :3], foot))
    z, focal = image[:, 2].clamp(min=0.5), focal[cells.frame, cells.camera]
    aside = (image[:, 0] / z - pixels[:, 0]) * z / focal
    below = (low[:, 1] / low[:, 2].clamp(min=0.5) - pixels[:, 1]) * z / focal
    depth = (z - _DEPTH_OFFSET_M) / _DEPTH_UNIT_M
    values = torch.stack([aside.clamp(-6.0, 6.0), depth, below.clamp(-4.0, 4.0)], dim=-1)
    return values, image[:, 2] > 0.5


class PerspectiveHead(nn.Module):
    """A linear layer per feature level from a cell's feature to the object it shows."""

    def __init__(self, embed_dims: int, num_levels: int, num_groups: int) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.layers = nn.ModuleList(nn.Linear(embed_dims, OUTPUTS) for _ in range(num_levels))

    def loss(self, maps: list[torch.Tensor], targets: Targets, depth: torch.Tensor, semantics: torch.Tensor,
             projection: torch.Tensor, focal: torch.Tensor, stride: int) -> torch.Tensor:
        """L1, summed over the values, mean over cells and levels; ``maps`` are ``[bs, C, E, h, w]``."""
        own = object_cells(targets, depth, semantics, projection, stride)
        beside = cells_beside(targets, depth, semantics, projection, focal, stride)
        size = (depth.shape[-1] * stride, depth.shape[-2] * stride)
        headings = [seen_heading(cells, targets, projection) for cells in (own, beside)]  # the same on every level
        total = depth.new_zeros(())
        for layer, level in zip(self.layers, maps, strict=True):
            rows, pixels = _features_at(own, level, depth.shape[-2:], size)
            wanted, valid = cell_targets(own, targets, projection, focal, pixels, headings[0])
            difference = (layer(rows) - wanted).abs() * valid[:, None]
            # A far-off centre (a bus beside the camera) must not outweigh everything else.
            total = total + difference.clamp(max=5.0).sum() / valid.sum().clamp(min=1)
            for cells, heading in zip((own, beside), headings, strict=True):
                rows, pixels = _features_at(cells, level, depth.shape[-2:], size)
                wanted, valid = direct_values(cells, targets, projection, focal, pixels)
                channels = rows.unflatten(1, (self.num_groups, -1))  # [m, groups, E / groups]
                difference = (channels[..., :3] - wanted[:, None]).abs().mean(1).sum(-1)
                facing = (channels[:, self.num_groups // 2:, 3:5] - heading[:, None]).abs().mean(1).sum(-1)
                total = total + ((difference + facing) * valid).sum() / valid.sum().clamp(min=1)
        return total / len(self.layers)


def _features_at(cells: ObjectCells, level: torch.Tensor, label_size: tuple[int, int], image_size: tuple[int, int]
                 ) -> tuple[torch.Tensor, torch.Tensor]:
    """Features ``[m, E]`` of a level ``[bs, C, E, h, w]`` at the cells, and the middles of its cells in pixels."""
    cameras, _, lines, columns = level.shape[1:]
    line, column = cells.line * lines // label_size[0], cells.column * columns // label_size[1]
    pixels = torch.stack([(column + 0.5) * (image_size[0] / columns), (line + 0.5) * (image_size[1] / lines)], dim=-1)
    index = ((cells.frame * cameras + cells.camera) * lines + line) * columns + column
    return level.permute(0, 1, 3, 4, 2).reshape(-1, level.shape[2]).index_select(0, index), pixels
