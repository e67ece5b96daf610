"""What is remembered of each bank slot beside the network's state: track id, hits, age."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparse4d_ros.engine.identity import NO_ID


class Tracks(NamedTuple):
    """One entry per bank slot, or per row of a frame."""

    ids: np.ndarray               #: int64, -1 for instances that were never given out
    hits: np.ndarray              #: int64, frames in which it was given out
    frames_since_hit: np.ndarray  #: int64
    first_hit_ns: np.ndarray      #: int64, stamp of the first hit
    frames: np.ndarray            #: int64, frames the instance has lived in the bank

    @classmethod
    def none(cls, count: int) -> Tracks:
        """``count`` entries without a past."""
        return cls(np.full(count, NO_ID, np.int64), *(np.zeros(count, np.int64) for _ in range(4)))

    def rows(self, num_rows: int, continues: bool) -> Tracks:
        """Entries of a frame's rows: the bank's first, where the rows continue it, then fresh ones."""
        fresh = Tracks.none(num_rows)
        if continues:
            for row_values, slot_values in zip(fresh, self, strict=True):
                row_values[:len(slot_values)] = slot_values
        fresh.frames[:] += 1
        return fresh

    def take(self, index: np.ndarray) -> Tracks:
        """The entries at an index or mask."""
        return Tracks(*(values[index] for values in self))

    def observe(self, seen: np.ndarray, ids: np.ndarray, stamp_ns: int) -> Tracks:
        """After a frame in which the rows of the mask ``seen`` were given out under ``ids``."""
        return Tracks(
            ids, self.hits + seen, np.where(seen, 0, self.frames_since_hit + 1),
            np.where(seen & (self.hits == 0), stamp_ns, self.first_hit_ns), self.frames,
        )

    def forget(self, mask: np.ndarray) -> Tracks:
        """The same entries, those of the mask without a past."""
        blank = Tracks.none(len(mask))
        return Tracks(*(np.where(mask, new, old) for new, old in zip(blank, self, strict=True)))
