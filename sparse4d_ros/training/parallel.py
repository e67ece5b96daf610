"""Data-parallel training: several processes, each with its own rows of the batch, one set of weights.

Started by ``torchrun``, which sets RANK, WORLD_SIZE and the same of each machine; without it there is one process
and nothing here does anything. On shared CPU cores two processes of one thread beat one of two threads
by far: they wait for each other once a step instead of once an operation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as distributed
from torch import nn

from sparse4d_ros.errors import UserError


class Group:
    """The processes of a run."""

    def __init__(self, device: torch.device) -> None:
        """On GPUs ``self.device`` is one of its own for every process, whichever ``device`` names.

        Raises ``UserError`` if the machine has fewer GPUs than processes.
        """
        self.device = device
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.size > 1 and device.type == "cuda":
            processes, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
            if processes > gpus:
                raise UserError(f"{processes} processes need a GPU each, but this machine has {gpus}: lower "
                                "--nproc-per-node, or give --device cpu")
            self.device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(self.device)
        if self.size > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def average(self, network: nn.Module) -> None:
        """Average gradients and BatchNorm statistics, so that all processes hold the same network."""
        if self.size == 1:
            return
        parameters = [p for p in network.parameters() if p.requires_grad]
        for parameter in parameters:
            if parameter.grad is None:  # a loss may be absent in one process only
                parameter.grad = torch.zeros_like(parameter)
        tensors = [p.grad for p in parameters] + [b for b in network.buffers() if b.is_floating_point()]
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.size
        parts = flat.split([tensor.numel() for tensor in tensors])
        with torch.no_grad():
            torch._foreach_copy_(tensors, [part.view_as(t) for part, t in zip(parts, tensors, strict=True)])

    def maximum(self, values: Iterable[float]) -> list[float]:
        """Element-wise maximum over the processes: what all of them must agree on (time, a stop)."""
        values = list(values)
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        if distributed.get_backend() == "nccl":
            tensor = tensor.cuda()
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
        return tensor.tolist()

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            distributed.barrier()

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes by rank, in the leading process; an empty list in the others."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.leads else None
        distributed.gather_object(value, values)
        return values or []

    def close(self) -> None:
        """Leave the group."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()
