"""The training loop: batches in, weights out, resumable at any moment."""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.errors import UserError
from sparse4d_ros.model.bank import Bank
from sparse4d_ros.training import checkpoint
from sparse4d_ros.training.anchors import initial_anchors
from sparse4d_ros.training.config import RunConfig
from sparse4d_ros.training.curves import Table
from sparse4d_ros.training.schedule import averaged, progress, rate_factor
from sparse4d_ros.training.step import TrainingNetwork, parameter_groups
from sparse4d_ros.training.streams import MEAN, STD, Batch, DriveFolder, Streams
from sparse4d_ros.training.validation import validate

#: Steps in a row without a finite gradient after which a run is given up.
_MAX_SKIPPED = 20


class Trainer:
    """Network, optimiser, average, data position and bank of one run."""

    def __init__(self, config: RunConfig, drives: DriveFolder, device: torch.device) -> None:
        training = config.training
        torch.manual_seed(training.seed)
        self.config, self.device = config, device
        self.streams = Streams(drives, (training.input_width, training.input_height), training.streams,
                               training.augmentation, training.seed)
        self.network = TrainingNetwork(config, NUSCENES_CLASSES)
        anchors = initial_anchors(drives, config.model.num_anchors, training.streams.radius_m,
                                  training.streams.min_visibility, training.seed)
        with torch.no_grad():
            self.network.model.head.anchor.copy_(torch.from_numpy(anchors))
        self.network.to(device).train()
        self.average = averaged(self.network.model, training.optimizer.ema_decay)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.network, training.optimizer.backbone_factor),
            lr=training.optimizer.learning_rate, weight_decay=training.optimizer.weight_decay)
        self.bank = Bank.empty(config.model, training.streams.batch_size, device)
        self.random = np.random.default_rng([training.seed, 1])
        self.step, self.elapsed_s, self.skipped = 0, 0.0, 0

    def train_step(self, batch: Batch, fraction: float) -> dict[str, float]:
        """One optimiser step; the losses, the gradient's norm and the rate by name.

        A step whose gradient is not finite changes nothing and forgets the history, which may be
        what broke it. Raises ``UserError`` when that happens again and again.
        """
        config = self.config.training.optimizer
        rate = config.learning_rate * rate_factor(self.step, fraction, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        losses, bank = self.network(batch.to(self.device), self.bank, self.random)
        total = sum(losses.values())
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.max_gradient_norm)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.average.update_parameters(self.network.model)
            self.bank, self.skipped = bank, 0
        else:
            self.skipped += 1
            self.bank = Bank.empty(self.config.model, len(batch.dt), self.device)
            if self.skipped >= _MAX_SKIPPED:
                raise UserError(f"training diverged at step {self.step}: {_MAX_SKIPPED} steps in a row without a "
                                "finite gradient; lower training.optimizer.learning_rate or max_gradient_norm")
        self.step += 1
        return {"rate": rate, "gradient": float(norm), "total": float(total),
                **{name: float(value.detach()) for name, value in losses.items()}}

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on as if nothing had happened."""
        return {
            "network": self.network.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(), "bank": tuple(self.bank), "streams": self.streams.state_dict(),
            "random": self.random.bit_generator.state, "torch_random": torch.get_rng_state(),
            "step": self.step, "elapsed_s": self.elapsed_s, "skipped": self.skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state of :meth:`state_dict`; the configuration must be the same."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.bank = Bank(*(tensor.to(self.device) for tensor in state["bank"]))
        self.streams.load_state_dict(state["streams"])
        self.random.bit_generator.state = state["random"]
        torch.set_rng_state(state["torch_random"])
        self.step, self.elapsed_s, self.skipped = state["step"], state["elapsed_s"], state["skipped"]

    def weights(self) -> dict[str, Any]:
        """The averaged model with all that its use needs."""
        training = self.config.training
        drives = self.streams.drives
        return {
            "model": self.config.model.to_dict(), "classes": list(NUSCENES_CLASSES),
            "cameras": list(drives[drives.names()[0]].camera_names),
            "input_width": training.input_width, "input_height": training.input_height,
            "mean": list(MEAN), "std": list(STD), "intervals_s": list(training.streams.intervals_s),
            "step": self.step, "state_dict": self.average.module.state_dict(),
        }


def train(trainer: Trainer, output: Path, content: dict[str, Any], budget_s: float | None,
          validation: DriveFolder | None, resumed: bool) -> bool:
    """Train to the end and write checkpoints, weights and tables to ``output``; False if it was interrupted.

    ``content`` is the configuration as a mapping, stored in the checkpoint. SIGINT and SIGTERM end
    the run after the current step, with a checkpoint.
    """
    training = trainer.config.training
    losses = Table(output / "losses.csv", trainer.step if resumed else None)
    scores = Table(output / "validation.csv", trainer.step if resumed else None)
    stop = _StopSignals()
    bar = tqdm(total=training.steps, initial=trainer.step, unit="step", dynamic_ncols=True, mininterval=5.0)
    sums: dict[str, float] = defaultdict(float)
    count = 0
    clock = time.monotonic() - trainer.elapsed_s
    saved = validated = trainer.elapsed_s

    def save() -> None:
        checkpoint.save(output / checkpoint.CHECKPOINT, {"config": content, **trainer.state_dict()})
        checkpoint.save(output / checkpoint.WEIGHTS, trainer.weights())

    def score() -> None:
        if validation is not None and training.validation_minutes > 0:
            result = validate(trainer.average.module, validation, trainer.config, trainer.device)
            scores.append({"step": trainer.step, "elapsed_s": trainer.elapsed_s, **result})
            bar.write("  ".join(f"{name} {value:.3f}" for name, value in result.items()))

    fraction = progress(trainer.step, training.steps, trainer.elapsed_s, budget_s)
    while fraction < 1.0 and not stop.asked:
        values = trainer.train_step(next(trainer.streams), fraction)
        trainer.elapsed_s = time.monotonic() - clock
        fraction = progress(trainer.step, training.steps, trainer.elapsed_s, budget_s)
        count += 1
        for name, value in values.items():
            sums[name] += value
        if trainer.step % training.log_steps == 0:
            means = {name: value / count for name, value in sums.items()}
            losses.append({"step": trainer.step, "elapsed_s": trainer.elapsed_s, **means})
            left = trainer.elapsed_s / fraction - trainer.elapsed_s
            bar.set_postfix_str(f"loss {means['total']:.2f}, {left / 60:.0f} min left", refresh=False)
            sums.clear()
            count = 0
        bar.update()
        if trainer.elapsed_s - saved > 60 * training.checkpoint_minutes:
            save()
            saved = trainer.elapsed_s
        if trainer.elapsed_s - validated > 60 * training.validation_minutes:
            score()
            validated = trainer.elapsed_s
    save()
    if not stop.asked:
        score()
    bar.close()
    stop.restore()
    return not stop.asked


class _StopSignals:
    """SIGINT and SIGTERM as a question to the loop."""

    def __init__(self) -> None:
        self.asked = False
        self._previous = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True

    def restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
