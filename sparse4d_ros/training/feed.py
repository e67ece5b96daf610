"""Batches for the trainer, made by itself or ahead of it by other processes.

A GPU is to take batches faster than one process reads, warps and stacks pictures. So each worker plays streams of
its own, and the trainer takes a batch from each in turn: a batch says whose it is, as the memory that goes with it
is that of the batch before it of the same worker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from sparse4d_ros.errors import UserError
from sparse4d_ros.training.config import TrainingConfig
from sparse4d_ros.training.drive_folder import DriveFolder
from sparse4d_ros.training.streams import Batch, Streams

#: Batches that each worker has ready.
_AHEAD = 3


class Feed:
    """Endless iterator over batches; with ``training.streams.workers`` from so many processes, in a fixed order.

    Raises ``UserError`` for a drive that cannot be trained on, as :class:`Streams` does.
    """

    def __init__(self, drives: DriveFolder, config: TrainingConfig, rows: int, seed: list[int], pin: bool = False
                 ) -> None:
        """``rows`` sequences a batch. ``pin`` lays batches where a GPU fetches them faster."""
        self.drives, self._pin = drives, pin
        settings = dataclasses.replace(config.streams, batch_size=rows)
        size = (config.input_width, config.input_height)
        self.workers = settings.workers
        seeds = [[*seed, 2 + worker] for worker in range(self.workers)] or [seed]
        self._streams = [Streams(drives, size, settings, config.augmentation, own) for own in seeds]
        self._states = [streams.state_dict() for streams in self._streams]
        self._next = 0
        self._batches: Iterator[tuple[Batch | UserError, dict]] | None = None

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> Batch:
        if self._batches is None:
            self._batches = iter(self._start())
        batch, self._states[self._next] = next(self._batches)
        if isinstance(batch, UserError):
            raise batch
        batch = batch._replace(stream=self._next)
        self._next = (self._next + 1) % len(self._streams)
        return batch

    def _start(self) -> Iterable[tuple[Batch | UserError, dict]]:
        # Workers give their batches in turn, from the first on: that is the one whose turn it is.
        source = _Source(self._streams[self._next:] + self._streams[:self._next])
        if not self.workers:
            return source
        # With a generator of its own the loader leaves alone the one that a resumed run's dropout goes on with.
        return DataLoader(source, batch_size=None, num_workers=self.workers, prefetch_factor=_AHEAD,
                          pin_memory=self._pin, collate_fn=_as_it_is, generator=torch.Generator())

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the coming batches; what workers made ahead is made again."""
        return {"next": self._next, "streams": list(self._states)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        self._next, self._states = state["next"], list(state["streams"])
        for streams, own in zip(self._streams, self._states, strict=True):
            streams.load_state_dict(own)
        self._batches = None


class _Source(IterableDataset):
    """Batches of one of the streams, each with the state after it: of the worker's, in a worker."""

    def __init__(self, streams: list[Streams]) -> None:
        self._streams = streams

    def __iter__(self) -> Iterator[tuple[Batch | UserError, dict]]:
        worker = get_worker_info()
        streams = self._streams[worker.id if worker else 0]
        while True:
            try:
                batch = next(streams)
            except UserError as error:  # of a worker the loader would make a page of it
                yield error, {}
                return
            yield batch, streams.state_dict()


def _as_it_is(value: tuple[Batch | UserError, dict]) -> tuple[Batch | UserError, dict]:
    return value
