"""What every backend offers: run the network once, with the bank as an opaque value that goes in and out."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from sparse4d_ros.engine.preprocess import NetworkInputs


class NetworkOutput(NamedTuple):
    """Last decoder's rows of one frame, on the host."""

    anchors: np.ndarray    #: ``[N, 11]``
    classes: np.ndarray    #: ``[N, classes]`` logits
    quality: np.ndarray    #: ``[N, 2]`` logits: centerness, yawness
    kept_rows: np.ndarray  #: ``[Nt]`` rows that the bank kept, in its order
    depth: np.ndarray | None = None  #: ``[C, h, w]`` metres at the finest level, where asked for


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

    def close(self) -> None:
        """Release memory and threads."""
