"""Track ids for objects that come back after the bank lost them, by the likeness of their embeddings.

An option beside the bank's own ids (which need no association). A track that leaves the bank is
kept in a gallery for a while; a new object of the same class whose instance feature is like it and
which stands where the track could have moved gets the old id. One-to-one by the Hungarian method.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

#: How far a lost object may be from where its last velocity puts it: metres, and metres per second of absence.
_REACH_M, _REACH_M_PER_S = 2.0, 4.0


class Gallery(NamedTuple):
    """Tracks that were given out, as last seen; rows belong together."""

    ids: np.ndarray         #: ``[m]`` int64
    classes: np.ndarray     #: ``[m]`` int64
    features: np.ndarray    #: ``[m, E]`` float32
    positions: np.ndarray   #: ``[m, 2]`` float64 in the fixed frame
    velocities: np.ndarray  #: ``[m, 2]`` float64 in the fixed frame
    stamps_ns: np.ndarray   #: ``[m]`` int64
    hits: np.ndarray        #: ``[m]`` int64, as of :class:`Tracks`
    first_hit_ns: np.ndarray  #: ``[m]`` int64, as of :class:`Tracks`

    @classmethod
    def empty(cls, embed_dims: int) -> Gallery:
        """No tracks."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, embed_dims), np.float32),
                   np.zeros((0, 2)), np.zeros((0, 2)), *(np.zeros(0, np.int64) for _ in range(3)))

    def update(self, seen: Gallery, now_ns: int, max_lost_s: float) -> Gallery:
        """With the tracks ``seen`` now in place of their older entries, and without those lost for too long."""
        kept = ~np.isin(self.ids, seen.ids) & (now_ns - self.stamps_ns <= max_lost_s * 1e9)
        return Gallery(*(np.concatenate([old[kept], new]) for old, new in zip(self, seen, strict=True)))


def match(new: Gallery, lost: Gallery, min_similarity: float) -> list[tuple[int, int]]:
    """Pairs (row of ``new``, row of ``lost``) that are the same object."""
    if not len(new.ids) or not len(lost.ids):
        return []
    norms = [np.linalg.norm(g.features, axis=1, keepdims=True).clip(1e-9) for g in (new, lost)]
    similarity = (new.features / norms[0]) @ (lost.features / norms[1]).T
    absence_s = (new.stamps_ns[:, None] - lost.stamps_ns[None]) / 1e9
    expected = lost.positions[None] + lost.velocities[None] * absence_s[..., None]
    distance = np.linalg.norm(new.positions[:, None] - expected, axis=-1)
    possible = (
        (new.classes[:, None] == lost.classes[None])
        & (similarity >= min_similarity)
        & (distance <= _REACH_M + _REACH_M_PER_S * absence_s)
    )
    rows, columns = linear_sum_assignment(np.where(possible, -similarity, 10.0))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if possible[r, c]]
