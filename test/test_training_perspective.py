"""Perspective supervision: cells find their object, and what they should say leads back to its box."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import training_drives  # noqa: E402

from sparse4d_ros.boxes import NUSCENES_CLASSES  # noqa: E402
from sparse4d_ros.data.drive_cache import LABEL_STRIDE  # noqa: E402
from sparse4d_ros.errors import UserError  # noqa: E402
from sparse4d_ros.training.config import AugmentationConfig, StreamConfig, config_from_dict  # noqa: E402
from sparse4d_ros.training.drive_folder import DriveFolder  # noqa: E402
from sparse4d_ros.training.perspective import (  # noqa: E402
    PerspectiveHead,
    cell_targets,
    cells_beside,
    direct_values,
    object_cells,
    seen_heading,
)
from sparse4d_ros.training.streams import Streams  # noqa: E402


@pytest.fixture(scope="module", params=[None, AugmentationConfig(flip_probability=1.0)])
def batch(request, tmp_path_factory):
    folder = training_drives.write(tmp_path_factory.mktemp("drives"), drives=2, count=4, size=(352, 128))
    streams = Streams(DriveFolder(folder, NUSCENES_CLASSES), (352, 128), StreamConfig(batch_size=2), request.param, 0)
    return next(streams)


def cells_of(batch):
    return object_cells(batch.targets, batch.depth, batch.semantics, batch.projection, LABEL_STRIDE)


def middles(cells):
    return torch.stack([(cells.column + 0.5) * LABEL_STRIDE, (cells.line + 0.5) * LABEL_STRIDE], dim=-1)


def test_cells_belong_to_an_object_of_their_class_and_depth(batch):
    cells = cells_of(batch)
    assert len(cells.frame) > 100
    label = batch.semantics[cells.frame, cells.camera, cells.line, cells.column].long()
    assert torch.equal(label, batch.targets.classes[cells.frame, cells.object])
    depth = batch.depth[cells.frame, cells.camera, cells.line, cells.column]
    matrix = batch.projection[cells.frame, cells.camera]
    centre = batch.targets.anchors[cells.frame, cells.object, :3]
    centre_depth = (matrix[:, 2, :3] * centre).sum(-1) + matrix[:, 2, 3]
    assert (depth - centre_depth).abs().max() < 4.5  # half a truck's diagonal


def test_the_targets_lead_back_to_the_box(batch):
    cells = cells_of(batch)
    wanted, valid = cell_targets(cells, batch.targets, batch.projection, batch.focal, middles(cells),
                                 seen_heading(cells, batch.targets, batch.projection))
    cells = type(cells)(*(field[valid] for field in cells))
    wanted, box = wanted[valid].double().numpy(), batch.targets.anchors[cells.frame, cells.object].numpy()
    pixel = middles(cells).numpy() + 64.0 * wanted[:, :2]
    z = np.exp(wanted[:, 2]) * batch.focal[cells.frame, cells.camera].numpy() / 100.0
    back = np.linalg.inv(batch.projection[cells.frame, cells.camera].double().numpy())
    image = np.stack([pixel[:, 0] * z, pixel[:, 1] * z, z, np.ones_like(z)], axis=-1)
    centre = np.einsum("nij,nj->ni", back, image)[:, :3]
    assert np.abs(centre - box[:, :3]).max() < 0.02
    assert np.array_equal(wanted[:, 3:6], box[:, 3:6])
    ray = np.arctan2(*(centre - back[:, :3, 3]).T[[1, 0]])
    yaw = np.arctan2(wanted[:, 6], wanted[:, 7]) + ray
    difference = yaw - np.arctan2(box[:, 6], box[:, 7])
    assert np.abs(np.sin(difference / 2)).max() < 1e-3


def test_cells_of_other_surfaces_belong_to_nothing(batch):
    beyond = batch.depth + 15.0  # the points now lie behind the objects
    assert len(object_cells(batch.targets, beyond, batch.semantics, batch.projection, LABEL_STRIDE).frame) == 0


def test_the_head_learns_from_features_that_know_nothing_but_their_place(batch):
    torch.manual_seed(0)
    head = PerspectiveHead(16, 2, 2)
    maps = [torch.randn(2, 6, 16, 32, 88, requires_grad=True), torch.randn(2, 6, 16, 16, 44, requires_grad=True)]
    arguments = batch.targets, batch.depth, batch.semantics, batch.projection, batch.focal, LABEL_STRIDE
    optimizer = torch.optim.Adam([*head.parameters(), *maps], lr=0.1)
    first = head.loss(maps, *arguments)
    for _ in range(60):
        loss = head.loss(maps, *arguments)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first.item()


def test_cells_beside_lie_on_free_background_near_their_object(batch):
    torch.manual_seed(0)
    cells = cells_beside(batch.targets, batch.depth, batch.semantics, batch.projection, batch.focal, LABEL_STRIDE)
    assert len(cells.frame) > 50
    assert (batch.semantics[cells.frame, cells.camera, cells.line, cells.column] == 255).all()
    values, valid = direct_values(cells, batch.targets, batch.projection, batch.focal, middles(cells))
    assert valid.all()
    cell_m = 0.5 * LABEL_STRIDE * (20 + 10 * values[:, 1]) / batch.focal[cells.frame, cells.camera]
    assert (values[:, 0].abs() <= 2.5 + cell_m + 1e-3).all()


def test_direct_values_are_metres_in_the_cameras_axes(batch):
    cells = cells_of(batch)
    values, _ = direct_values(cells, batch.targets, batch.projection, batch.focal, middles(cells))
    matrix = batch.projection[cells.frame, cells.camera].double().numpy()
    box = batch.targets.anchors[cells.frame, cells.object].double().numpy()
    z = np.einsum("nj,nj->n", matrix[:, 2, :3], box[:, :3]) + matrix[:, 2, 3]
    assert np.abs(20 + 10 * values[:, 1].numpy() - z).max() < 1e-3
    # The point of the cell's ray at the centre's depth, and the centre, differ sideways by the first value.
    pixel = middles(cells).numpy()
    ray = np.stack([pixel[:, 0] * z, pixel[:, 1] * z, z, np.ones_like(z)], axis=-1)
    point = np.einsum("nij,nj->ni", np.linalg.inv(matrix), ray)[:, :3]
    projected = np.einsum("nij,nj->ni", matrix[:, :2, :3], box[:, :3] - point)[:, 0]
    focal = batch.focal[cells.frame, cells.camera].numpy()
    sideways = projected / focal  # same depth: pixels times depth over focal length
    near = np.abs(sideways) < 6
    assert near.sum() > 100
    assert np.abs(values[near, 0].numpy() - sideways[near]).max() < 1e-2


def test_features_that_say_what_they_should_cost_nothing_but_the_layer(batch):
    cells = cells_of(batch)
    values, _ = direct_values(cells, batch.targets, batch.projection, batch.focal, middles(cells))
    head = PerspectiveHead(16, 1, 2)
    arguments = batch.targets, batch.depth, batch.semantics, batch.projection, batch.focal, LABEL_STRIDE
    level = torch.zeros(2, 6, 16, 32, 88)
    costs = []
    with torch.no_grad():
        head.layers[0].weight.zero_()
        for channels, said in (([], values), ([0, 1, 2, 8, 9, 10], torch.cat([values, values], dim=1)),
                               ([11, 12], seen_heading(cells, batch.targets, batch.projection))):
            for channel, column in zip(channels, said.T, strict=False):
                level[cells.frame, cells.camera, channel, cells.line, cells.column] = column
            torch.manual_seed(1)
            costs.append(head.loss([level], *arguments))
    silent, placed, turned = costs
    assert silent - placed > 1.0 and placed - turned > 0.5


def test_the_heading_against_the_ray_is_what_stays_when_camera_and_object_turn_together(batch):
    cells = cells_of(batch)
    seen = seen_heading(cells, batch.targets, batch.projection)
    assert torch.allclose(seen.norm(dim=-1), torch.ones(len(seen)), atol=1e-4)
    turn = torch.eye(4)
    turn[:2, :2] = torch.tensor([[0.6, -0.8], [0.8, 0.6]])  # the model frame, turned
    anchors = batch.targets.anchors.clone()
    anchors[..., :2] = anchors[..., :2] @ turn[:2, :2].T
    cos_sin = anchors[..., [7, 6]] @ turn[:2, :2].T
    anchors[..., 6], anchors[..., 7] = cos_sin[..., 1], cos_sin[..., 0]
    turned = seen_heading(cells, batch.targets._replace(anchors=anchors), batch.projection @ turn.T)
    assert torch.allclose(turned, seen, atol=1e-3)


def test_channel_groups_too_narrow_for_the_values_are_refused():
    content = {"model": {"embed_dims": 32, "num_groups": 8}, "training": {"losses": {"perspective": 1.0}}}
    with pytest.raises(UserError, match="losses.perspective needs five channels in each group"):
        config_from_dict(content, "file")
