"""An official checkpoint becomes a package by a mechanical mapping; anything else is refused in words."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest
from test_full_disk import full_after

torch = pytest.importorskip("torch", reason="conversion needs torch")

from sparse4d_ros import cli  # noqa: E402
from sparse4d_ros.engine.package import ModelPackage  # noqa: E402
from sparse4d_ros.engine.torch_backend import load_network  # noqa: E402
from sparse4d_ros.model.checkpoint import official_key, sizes_of_official  # noqa: E402
from sparse4d_ros.model.config import BackboneConfig, ModelConfig  # noqa: E402
from sparse4d_ros.model.detector import Sparse4D  # noqa: E402

SMALL = ModelConfig(num_anchors=30, num_temporal=20, embed_dims=32, num_groups=4, num_decoders=3,
                    num_learnable_points=2, backbone=BackboneConfig(depth=18))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small network under official names, in an official checkpoint's wrapping."""
    torch.manual_seed(3)
    network = Sparse4D(SMALL)
    state = {official_key(key): value for key, value in network.state_dict().items()}
    state["head.instance_bank.anchor_handler.fix_scale"] = torch.ones(1, 3)
    path = tmp_path_factory.mktemp("official") / "small.pth"
    torch.save({"state_dict": state, "meta": {"epoch": 1}}, path)
    return path, network, state


def test_sizes_are_read_off_the_shapes(checkpoint):
    assert sizes_of_official(checkpoint[2]) == SMALL


def test_a_checkpoint_becomes_a_package_with_the_same_numbers(checkpoint, tmp_path, capsys):
    path, network, _ = checkpoint
    assert cli.main(["convert", str(path), str(tmp_path / "package")]) == 0
    package = ModelPackage.load(tmp_path / "package")
    assert package.model == SMALL and package.model.border == "drop" and package.model.swap_yaw_on_projection
    converted = load_network(package).state_dict()
    for key, value in network.state_dict().items():
        assert torch.equal(converted[key], value), key
    assert "next: sparse4d export" in capsys.readouterr().out


def test_missing_and_unexpected_entries_are_listed(checkpoint, tmp_path, capsys):
    path, _, state = checkpoint
    broken = dict(state)
    del broken["head.fc_before.weight"]
    broken["head.extra"] = torch.zeros(1)
    torch.save({"state_dict": broken}, tmp_path / "broken.pth")
    assert cli.main(["convert", str(tmp_path / "broken.pth"), str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert "missing: head.fc_before.weight" in printed.out and "unexpected: head.extra" in printed.out
    assert "does not fit: 1 entries missing" in printed.err
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*")), "nothing may be left half-written"


def test_a_full_disk_is_named_and_leaves_nothing(checkpoint, tmp_path, capsys):
    with full_after(10_000):
        assert cli.main(["convert", str(checkpoint[0]), str(tmp_path / "out")]) == 2
    assert f"{tmp_path / 'out'} was not written: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_wrong_files_are_refused_with_a_sentence(checkpoint, tmp_path, capsys):
    other = tmp_path / "resnet.pth"
    torch.save({"state_dict": {"fc.weight": torch.zeros(3, 3)}}, other)
    text = tmp_path / "notes.pth"
    text.write_text("hello, no checkpoint")
    code = tmp_path / "code.pth"
    torch.save({"state_dict": argparse.Namespace(x=1)}, code)
    for path, words in ((other, "not a Sparse4D v3 checkpoint"), (text, "it is damaged, or something else"),
                        (code, "holds a Python object, argparse.Namespace, beside tensors"),
                        (tmp_path / "absent.pth", "there is no checkpoint")):
        assert cli.main(["convert", str(path), str(tmp_path / "out")]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    assert cli.main(["convert", str(checkpoint[0]), str(tmp_path / "out")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_every_published_depth_has_official_names():
    for depth in (50, 101):
        config = replace(ModelConfig(), backbone=BackboneConfig(depth=depth), num_anchors=9, num_temporal=6)
        with torch.device("meta"):
            state = Sparse4D(config).state_dict()
        names = {official_key(key): value for key, value in state.items()}
        assert len(names) == len(state)
        assert sizes_of_official(names) == config
