"""Loading of parity cases and the network that a case's ``meta`` describes."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network needs torch (pip install 'sparse4d_ros[train]')")

from sparse4d_ros.model.checkpoint import official_key  # noqa: E402
from sparse4d_ros.model.config import BackboneConfig, ModelConfig  # noqa: E402
from sparse4d_ros.model.detector import Sparse4D  # noqa: E402
from sparse4d_ros.model.head import Sparse4DHead  # noqa: E402

HERE = Path(__file__).resolve().parent
SHIPPED = HERE / "data" / "parity"
FULL = Path(os.environ.get("PARITY_DIR", HERE.parent.parent / "shared" / "parity"))


def _load_module(name: str):
    spec = importlib.util.spec_from_file_location(name, SHIPPED / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rule = _load_module("weights_rule")
compare = _load_module("compare")


def files(pattern: str) -> list:
    """Cases by glob, from PARITY_DIR and from the shipped subset; one skipped entry where there is none."""
    found = {}
    for folder in (FULL, SHIPPED):
        for path in sorted(folder.glob(pattern)) if folder.is_dir() else []:
            found.setdefault(path.name, path)
    if not found:
        reason = f"no parity case {pattern} in {FULL} (set PARITY_DIR)"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id=f"{pattern}-absent")]
    return [pytest.param(path, id=path.stem) for path in found.values()]


def load(path: Path) -> tuple[dict, dict]:
    """Arrays and ``meta`` of one case."""
    with np.load(path) as data:
        return {key: data[key] for key in data.files if key != "meta"}, json.loads(str(data["meta"]))


def config_of(meta: dict) -> ModelConfig:
    """Our configuration for the sizes of a case."""
    case = meta.get("config", {})
    depth = case.get("depth", 50)
    levels = case.get("num_levels", 4)
    return ModelConfig(
        num_classes=case.get("num_classes", 10), num_anchors=case.get("num_anchor", 900),
        num_temporal=case.get("num_temp", 600), embed_dims=case.get("embed_dims", 256),
        num_groups=case.get("num_groups", 8), num_decoders=case.get("num_decoder", 6),
        num_learnable_points=case.get("num_learnable", 6),
        strides=tuple(4 * 2 ** level for level in range(levels)),
        backbone=BackboneConfig(depth=depth, widths=tuple(64 * 2 ** s for s in range(max(4, levels)))[:4])
        if levels <= 4 else BackboneConfig(depth=0, widths=(8,) * levels, blocks=(1,) * levels, stem_width=8),
        border="drop" if case.get("use_daf") else "zeros",
        dropout=0.0, sampling_dropout=0.0,
    )


def fill(module: torch.nn.Module, official_prefix: str, salt: str) -> torch.nn.Module:
    """Rule-made weights for a part of the network, by the names it has in official checkpoints.

    ``official_prefix`` is our prefix of the part within the whole network ("" for all of it).
    """
    state = {
        key: torch.from_numpy(np.ascontiguousarray(
            rule.tensor(official_key(official_prefix + key), tuple(value.shape), salt)))
        for key, value in module.state_dict().items()
    }
    module.load_state_dict(state)
    return module.eval()


def build(meta: dict, reading: str) -> torch.nn.Module:
    """The network of a case with rule-made weights; the image branch only where the case has images."""
    model = Sparse4D(config_of(meta)) if meta.get("image_hw") else HeadOnly(config_of(meta))
    fill(model, "", meta.get("salt", ""))
    model.head.reading = reading
    return model


class HeadOnly(torch.nn.Module):
    """A network for cases that begin at the feature maps."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.head = Sparse4DHead(config)


def tensor(array: np.ndarray) -> torch.Tensor:
    """A case's array as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(array))


def assert_close(actual, expected: np.ndarray, name: str) -> None:
    """Within 1e-5, or 1e-4 where magnitudes exceed 10."""
    actual = actual.detach().numpy() if isinstance(actual, torch.Tensor) else np.asarray(actual)
    assert actual.shape == expected.shape, f"{name}: shape {actual.shape}, not {expected.shape}"
    tolerance = np.where(np.abs(expected) > 10.0, 1e-4, 1e-5)
    excess = np.abs(actual.astype(np.float64) - expected) - tolerance
    assert (excess <= 0).all(), f"{name}: off by up to {np.abs(actual - expected).max():.2e}"
