"""The training loop around the trainer: when to stop, to save, to score and to talk."""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sparse4d_ros.training import checkpoint
from sparse4d_ros.training.curves import Table
from sparse4d_ros.training.drive_folder import DriveFolder
from sparse4d_ros.training.schedule import progress
from sparse4d_ros.training.trainer import Trainer
from sparse4d_ros.training.validation import validate


def train(trainer: Trainer, output: Path, content: dict[str, Any], budget_s: float | None,
          validation: DriveFolder | None, resumed: bool, until: int) -> bool:
    """Train to the end, or to the step ``until``, with files in ``output``; False if it was interrupted.

    ``content`` is the configuration as a mapping, stored in the checkpoint. SIGINT and SIGTERM end
    the run after the current step, with a checkpoint. All processes of a group run this; they agree
    on the time after every step, since the rate and the end hang on it.
    """
    training = trainer.config.training
    stop = _StopSignals()
    clock = time.monotonic() - trainer.elapsed_s
    saved = validated = trainer.elapsed_s
    stopped = False
    fraction = progress(trainer.step, training.steps, trainer.elapsed_s, budget_s)
    files = _Files(trainer, output, content, validation, resumed, fraction) if trainer.group.leads else None
    while fraction < 1.0 and trainer.step < until and not stopped:
        values = trainer.train_step(next(trainer.feed), fraction)
        trainer.elapsed_s, asked = trainer.group.maximum([time.monotonic() - clock, float(stop.asked)])
        stopped = asked > 0
        fraction = progress(trainer.step, training.steps, trainer.elapsed_s, budget_s)
        if files:
            files.log(values, fraction)
        if trainer.elapsed_s - saved > 60 * training.checkpoint_minutes:
            saved = trainer.elapsed_s
            _save(trainer, files)
        if files and trainer.elapsed_s - validated > 60 * training.validation_minutes:
            validated = trainer.elapsed_s
            files.score()
    _save(trainer, files)
    if files:
        if not stopped:
            files.score()
        files.bar.close()
    stop.restore()
    return not stopped


def _save(trainer: Trainer, files: _Files | None) -> None:
    state = trainer.state_dict()  # gathers from all processes
    if files:
        files.save(state)


class _Files:
    """What the leading process writes: checkpoint, weights, tables and the progress bar."""

    def __init__(self, trainer: Trainer, output: Path, content: dict[str, Any], validation: DriveFolder | None,
                 resumed: bool, fraction: float) -> None:
        self.trainer, self.output, self.content = trainer, output, content
        self.validation = validation
        self.losses = Table(output / "losses.csv", trainer.step if resumed else None)
        self.scores = Table(output / "validation.csv", trainer.step if resumed else None)
        # By progress, not by steps: with a time budget nobody knows the number of steps.
        self.bar = tqdm(total=1.0, initial=fraction, dynamic_ncols=True, mininterval=5.0,
                        bar_format="{percentage:5.1f}%|{bar}| {elapsed}<{remaining}{postfix}")
        self._sums: dict[str, float] = defaultdict(float)
        self._count = 0

    def log(self, values: dict[str, float], fraction: float) -> None:
        """Add a step to the means, and write them when it is time."""
        trainer = self.trainer
        self._count += 1
        for name, value in values.items():
            self._sums[name] += value
        if trainer.step % trainer.config.training.log_steps == 0:
            means = {name: value / self._count for name, value in self._sums.items()}
            self.losses.append({"step": trainer.step, "elapsed_s": trainer.elapsed_s, **means})
            self.bar.set_postfix_str(f"step {trainer.step}, loss {means['total']:.2f}", refresh=False)
            self._sums.clear()
            self._count = 0
        self.bar.update(fraction - self.bar.n)

    def save(self, state: dict[str, Any]) -> None:
        """Checkpoint and weights."""
        checkpoint.save(self.output / checkpoint.CHECKPOINT, {"config": self.content, **state})
        checkpoint.save(self.output / checkpoint.WEIGHTS, self.trainer.weights())

    def score(self) -> None:
        """Validation scores of the averaged weights, if there are drives for it."""
        trainer = self.trainer
        if self.validation is None or trainer.config.training.validation_minutes <= 0:
            return
        result = validate(trainer.average.module, self.validation, trainer.config, trainer.device)
        self.scores.append({"step": trainer.step, "elapsed_s": trainer.elapsed_s, **result})
        self.bar.write("  ".join(f"{name} {value:.3f}" for name, value in result.items()))


class _StopSignals:
    """SIGINT and SIGTERM as a question to the loop."""

    def __init__(self) -> None:
        self.asked = False
        self._previous = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True

    def restore(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
