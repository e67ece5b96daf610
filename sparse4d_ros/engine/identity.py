"""Who is who: ids follow the bank's slots from frame to frame (Sparse4D v3; spec section 11.4).

There is no association step: an instance that the bank carries keeps its number, every other row
that is eligible gets the next one. Numbers are never given twice.
"""

from __future__ import annotations

import numpy as np

NO_ID = -1


def assign_ids(
    bank_ids: np.ndarray | None, num_rows: int, next_id: int, eligible: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    """Ids ``[num_rows]`` int64 of a frame's rows and the next free id.

    ``bank_ids [Nt]`` are those of rows 0..Nt-1, or None where the rows continue nothing.
    Rows without an id get the next one in row order where ``eligible [num_rows]`` (None: everywhere).
    """
    ids = np.full(num_rows, NO_ID, dtype=np.int64)
    if bank_ids is not None:
        ids[:len(bank_ids)] = bank_ids
    new = ids < 0
    if eligible is not None:
        new &= eligible
    count = int(new.sum())
    ids[new] = np.arange(next_id, next_id + count)
    return ids, next_id + count
