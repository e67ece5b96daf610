"""The training loop: batches in, weights out, resumable at any moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.errors import UserError
from sparse4d_ros.model.checkpoint import read_backbone
from sparse4d_ros.training.anchors import initial_anchors
from sparse4d_ros.training.config import RunConfig
from sparse4d_ros.training.drive_folder import DriveFolder
from sparse4d_ros.training.feed import Feed
from sparse4d_ros.training.memory import Memory
from sparse4d_ros.training.parallel import Group
from sparse4d_ros.training.schedule import averaged, rate_factor
from sparse4d_ros.training.step import Phase, TrainingNetwork, parameter_groups
from sparse4d_ros.training.streams import MEAN, STD, Batch
from sparse4d_ros.training.warmup import finish

#: Steps in a row without a finite gradient after which a run is given up.
_MAX_SKIPPED = 20


class Trainer:
    """Network, optimiser, average, data position and memory of one run."""

    def __init__(self, config: RunConfig, drives: DriveFolder, group: Group) -> None:
        """Raises ``UserError`` if the batch does not divide among the processes of the group, a drive
        lacks label maps that a loss needs, or the model is for another number of cameras."""
        training = config.training
        rows, left = divmod(training.streams.batch_size, group.size)
        if left:
            raise UserError(f"training.streams.batch_size ({training.streams.batch_size}) must be a multiple of the "
                            f"number of processes ({group.size})")
        drives.require(training.losses.maps)
        config.model.check_cameras(len(drives.camera_names))
        torch.manual_seed(training.seed)  # the same first weights in every process
        self.config, self.device, self.group = config, group.device, group
        self.feed = Feed(drives, training, rows, [training.seed, group.rank], pin=self.device.type == "cuda")
        self.network = TrainingNetwork(config, NUSCENES_CLASSES)
        anchors = initial_anchors(drives, config.model.num_anchors, training.streams, training.seed)
        with torch.no_grad():
            self.network.model.head.anchor.copy_(torch.from_numpy(anchors))
        self.network.to(self.device).train()
        self.network.model.use_channels_last()
        self.average = averaged(self.network.model, training.optimizer.ema_decay)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.network, training.optimizer.backbone_factor),
            lr=training.optimizer.learning_rate, weight_decay=training.optimizer.weight_decay, fused=True)
        self.memories = [Memory.empty(config.model, rows, self.device) for _ in range(max(1, training.streams.workers))]
        self.random = np.random.default_rng([training.seed, group.rank, 1])
        torch.manual_seed(training.seed + group.rank)  # from here on (dropout) every process has its own
        self.step, self.elapsed_s, self.skipped = 0, 0.0, 0

    def begin_from(self, weights: dict[str, torch.Tensor]) -> None:
        """Start with another model's weights (a ``state_dict`` of the model) instead of random ones.

        Raises ``UserError`` naming what does not fit.
        """
        own = self.network.model.state_dict()
        for name, value in own.items():
            if name not in weights or weights[name].shape != value.shape:
                found = list(weights[name].shape) if name in weights else "missing"
                raise UserError(f"the weights to begin with do not fit the model: {name} is {found}, "
                                f"the configuration needs {list(value.shape)}")
        self.network.model.load_state_dict(weights)
        self.average.module.load_state_dict(weights)

    def begin_backbone_from(self, path: Path) -> None:
        """Start with the published weights of a backbone; ``UserError`` as :func:`read_backbone`."""
        weights = read_backbone(path, self.network.model.backbone)
        for model in (self.network.model, self.average.module):
            model.backbone.load_state_dict(weights)

    def take_image_phase(self, state: dict[str, Any]) -> None:
        """Go on from another run's state at the end of its image phase; decoders stay as they are.

        The runs may differ in all that the image phase does not see. Raises ``UserError`` if the state
        is of another step, or of another number of processes.
        """
        if state["step"] != self.config.training.image_steps:
            raise UserError(f"the image phase to go on from ended at step {state['step']}, this run's ends at "
                            f"{self.config.training.image_steps}")
        numbers = {name: number for number, name in enumerate(state["parameters"])}
        optimizer = self.optimizer.state_dict()
        moments = state["optimizer"]["state"]
        optimizer["state"] = {number: moments[numbers[name]] for number, name in enumerate(self._parameters())
                              if not _in_decoders(name) and numbers[name] in moments}
        own = {"network": self.network.state_dict(), "average": self.average.state_dict()}
        for part, tensors in own.items():
            tensors |= {name: value for name, value in state[part].items() if not _in_decoders(name)}
        self.load_state_dict(state | own | {"optimizer": optimizer})

    def _parameters(self) -> list[str]:
        """Names of the trained parameters in the order of the optimizer's state."""
        names = {id(parameter): name for name, parameter in self.network.named_parameters()}
        return [names[id(parameter)] for group in self.optimizer.param_groups for parameter in group["params"]]

    def _phase(self) -> tuple[Phase, float]:
        """The phase of the coming step and the share of the decoders' warm-up that is over, which it ends."""
        training = self.config.training
        done = self.step - training.image_steps
        if training.decoder_steps and done == training.decoder_steps:
            finish(self.network.model.head)
        return Phase.of(self.step, training), min(done / max(training.decoder_steps, 1), 1.0)

    def train_step(self, batch: Batch, fraction: float) -> dict[str, float]:
        """One optimiser step; the losses, the gradient's norm and the rate by name.

        A step whose gradient is not finite changes nothing and forgets the history, which may be
        what broke it. Raises ``UserError`` when that happens again and again.
        """
        config = self.config.training.optimizer
        rate = config.learning_rate * rate_factor(self.step, fraction, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        phase, progress = self._phase()
        losses, memory = self.network(batch, self.memories[batch.stream], self.random, phase, progress)
        total = sum(losses.values())
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.group.average(self.network)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.max_gradient_norm)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.average.update_parameters(self.network.model)
            self.memories[batch.stream], self.skipped = memory, 0
        else:
            self.skipped += 1
            self.memories[batch.stream] = Memory.empty(self.config.model, len(batch.dt), self.device)
            if self.skipped >= _MAX_SKIPPED:
                raise UserError(f"training diverged at step {self.step}: {_MAX_SKIPPED} steps in a row without a "
                                "finite gradient; lower training.optimizer.learning_rate or max_gradient_norm")
        self.step += 1
        return {"rate": rate, "gradient": float(norm), "total": float(total.detach()),
                **{name: float(value.detach()) for name, value in losses.items()}}

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on as if nothing had happened; all processes call it, the leading one gets it."""
        own = {
            "memories": self.memories, "feed": self.feed.state_dict(),
            "random": self.random.bit_generator.state, "torch_random": torch.get_rng_state(),
        }
        if self.device.type == "cuda":  # dropout draws there
            own["cuda_random"] = torch.cuda.get_rng_state(self.device)
        return {
            "network": self.network.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(), "parameters": self._parameters(),
            "processes": self.group.gather(own),
            "step": self.step, "elapsed_s": self.elapsed_s, "skipped": self.skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state of :meth:`state_dict`; configuration and number of processes must be the same.

        Raises ``UserError`` for another number of processes, or a checkpoint of version 0.1.
        """
        if len(state["processes"]) != self.group.size:
            raise UserError(f"the checkpoint is of a run with {len(state['processes'])} processes, "
                            f"this one has {self.group.size}")
        own = state["processes"][self.group.rank]
        if "feed" not in own:
            raise UserError("the checkpoint is of version 0.1, which kept other things: begin a run anew, or "
                            "from its weights (`sparse4d pack`, then --begin-from)")
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, moments in self.optimizer.state.items():  # the fused step needs equal layouts
            for name in ("exp_avg", "exp_avg_sq"):
                moments[name] = torch.empty_like(parameter).copy_(moments[name])
        self.step, self.elapsed_s, self.skipped = state["step"], state["elapsed_s"], state["skipped"]
        self.memories = [memory.to(self.device) for memory in own["memories"]]
        self.feed.load_state_dict(own["feed"])
        self.random.bit_generator.state = own["random"]
        torch.set_rng_state(own["torch_random"])
        if self.device.type == "cuda" and "cuda_random" in own:
            torch.cuda.set_rng_state(own["cuda_random"], self.device)

    def weights(self) -> dict[str, Any]:
        """The averaged model with all that its use needs."""
        training = self.config.training
        drives = self.feed.drives
        return {
            "model": self.config.model.to_dict(), "classes": list(NUSCENES_CLASSES),
            "cameras": list(drives.camera_names),
            "input_width": training.input_width, "input_height": training.input_height,
            "mean": list(MEAN), "std": list(STD), "intervals_s": list(training.streams.intervals_s),
            "step": self.step, "state_dict": self.average.module.state_dict(),
        }


def _in_decoders(name: str) -> bool:
    """Whether a tensor of a network or of its average is the decoders', which the image phase does not train."""
    return name.startswith(("model.head.", "module.head."))
