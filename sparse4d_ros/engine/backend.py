"""What every backend offers: run the network once, with the bank as an opaque value that goes in and out."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from sparse4d_ros.engine.preprocess import NetworkInputs
from sparse4d_ros.model.config import ModelConfig


class NetworkOutput(NamedTuple):
    """Last decoder's rows of one frame, on the host."""

    anchors: np.ndarray    #: ``[N, 11]``
    classes: np.ndarray    #: ``[N, classes]`` logits
    quality: np.ndarray | None  #: ``[N, 2]`` logits: centerness, yawness; None from a model without them
    kept_rows: np.ndarray  #: ``[Nt]`` rows that the bank kept, in its order
    depth: np.ndarray | None = None  #: ``[C, h, w]`` metres at the finest level, where asked for


class HostBank(NamedTuple):
    """A bank's content on the host, the same for every backend."""

    feature: np.ndarray      #: ``[1, Nt, E]`` float32
    anchor: np.ndarray       #: ``[1, Nt, 11]`` float32
    confidence: np.ndarray   #: ``[1, Nt]`` float32
    has_history: np.ndarray  #: ``[1]`` bool

    @classmethod
    def empty(cls, model: ModelConfig) -> HostBank:
        """A bank before its first frame."""
        count = model.num_temporal
        return cls(np.zeros((1, count, model.embed_dims), np.float32), np.zeros((1, count, 11), np.float32),
                   np.zeros((1, count), np.float32), np.zeros(1, bool))


class Backend(Protocol):
    """Who computes the network. The bank's content stays where the backend likes it (host or device)."""

    name: str
    device: str

    def empty_bank(self) -> Any:
        """A bank before its first frame."""

    def run(
        self, inputs: NetworkInputs, bank: Any, dt_s: float, now_from_previous: np.ndarray,
    ) -> tuple[NetworkOutput, Any]:
        """One frame; the bank given is not changed."""

    def features(self, bank: Any) -> np.ndarray:
        """Instance features ``[Nt, E]`` of a bank, on the host."""

    def confidence(self, bank: Any) -> np.ndarray:
        """Confidences ``[Nt]`` of a bank, on the host."""

    def forget(self, bank: Any, slots: np.ndarray) -> Any:
        """A bank whose ``slots`` (bool ``[Nt]``) have lost their confidence."""

    def bank_to_host(self, bank: Any) -> HostBank:
        """A copy of a bank's content."""

    def bank_from_host(self, bank: HostBank) -> Any:
        """A bank with this content, where the backend likes it."""

    def close(self) -> None:
        """Release memory and threads."""
