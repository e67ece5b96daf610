"""What a training row carries from frame to frame: the bank, and which object each instance answers for.

New queries are detected afresh in every frame, so an untrained bank has nothing to add and loses
every object to them: the assignment teaches it to stay silent, and ids change from frame to frame.
Training from nothing does not find its way out of that within hours. Hence an instance that was
matched to an object keeps it by a bonus in the assignment (``matching.continuity``), as track
queries do by force (MOTR, Zeng et al. 2022); the reference's assignment is the bonus of zero.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from sparse4d_ros.model.bank import Bank
from sparse4d_ros.model.config import ModelConfig
from sparse4d_ros.training.denoising import Copies
from sparse4d_ros.training.targets import NOBODY, Targets


class Memory(NamedTuple):
    """State between two frames of a batch."""

    bank: Bank
    #: ``[bs, Nt]`` int64 instance number of the object that a bank slot answers for, or NOBODY.
    owned: torch.Tensor
    #: Denoising rows that go on, None if there are none.
    copies: Copies | None = None

    @classmethod
    def empty(cls, config: ModelConfig, batch_size: int, device: torch.device | str = "cpu") -> Memory:
        """Memory before the first frame."""
        owned = torch.full((batch_size, config.num_temporal), NOBODY, dtype=torch.int64, device=device)
        return cls(Bank.empty(config, batch_size, device), owned)

    def continued(self, continues: torch.Tensor) -> Memory:
        """The same memory, empty in the rows whose clip begins (``continues [bs]`` False)."""
        bank = self.bank._replace(has_history=self.bank.has_history & continues)
        return Memory(bank, torch.where(bank.has_history[:, None], self.owned, NOBODY), self.copies)

    def to(self, device: torch.device) -> Memory:
        """The same memory on a device."""
        copies = Copies(*(tensor.to(device) for tensor in self.copies)) if self.copies else None
        return Memory(Bank(*(tensor.to(device) for tensor in self.bank)), self.owned.to(device), copies)

    def owns(self, targets: Targets) -> torch.Tensor:
        """``[bs, Nt, g]`` bool: which slot answered for which of the frame's objects."""
        return (self.owned[:, :, None] == targets.instances[:, None]) & targets.valid[:, None]

    def after(self, bank: Bank, kept_rows: torch.Tensor, rows: torch.Tensor, targets: Targets,
              copies: Copies | None = None) -> Memory:
        """Memory for the next frame.

        ``rows [bs, n]`` are the objects matched to the rows of this frame (-1: none) and ``kept_rows
        [bs, Nt]`` those that ``bank`` kept. An object that is out of sight now remains its slot's.
        """
        matched = torch.where(rows >= 0, targets.instances.gather(1, rows.clamp(min=0)), NOBODY)
        hidden = ~self.owns(targets).any(2)
        width = self.owned.shape[1]
        kept = torch.where((matched[:, :width] == NOBODY) & hidden, self.owned, matched[:, :width])
        owned = torch.cat([kept, matched[:, width:]], dim=1)
        return Memory(bank.detach(), owned.gather(1, kept_rows), copies)
