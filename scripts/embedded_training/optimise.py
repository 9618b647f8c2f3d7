"""One stage's optimisation: averaged weights, checkpoints, and going on from the last one."""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from embedded_training.settings import CHECKPOINT_SECONDS, EMA_DECAY, STAGES, Run, Stage
from testbed.environment import cpu_name

Modules = dict[str, torch.nn.Module]
#: The loss of one step, which draws from a generator of its own.
Loss = Callable[[torch.Generator], torch.Tensor]

_WARM_UP = 200  # steps


class _Checkpoint:
    """Parameters, their averages, the optimiser and the progress of a stage, in a file."""

    def __init__(self, path: Path, modules: Modules, stage: Stage, device: torch.device) -> None:
        self.path = path
        self.params = [p for module in modules.values() for p in module.parameters()]
        self.optimiser = torch.optim.AdamW(
            self.params, lr=stage.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.average = [p.detach().clone() for p in self.params]
        self.state: dict[str, Any] = {"step": 0, "seconds": 0.0, "loss": None}
        if path.exists():
            saved = torch.load(path, map_location=device)
            self.state = saved["state"]
            self.optimiser.load_state_dict(saved["optimiser"])
            for p, value in zip(self.params, saved["params"]):
                p.data.copy_(value)
            self.average = [value.clone() for value in saved["average"]]

    def save(self) -> None:
        """Replace the file by what there is now."""
        part = self.path.with_suffix(".part")
        values = {
            "state": self.state,
            "optimiser": self.optimiser.state_dict(),
            "params": [p.detach() for p in self.params],
            "average": self.average,
        }
        torch.save(values, part)
        os.replace(part, self.path)

    def step(self, value: torch.Tensor, learning_rate: float) -> None:
        """One step of the optimiser down the loss ``value``, and of the average."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        step = self.state["step"]
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.params], 1 - decay)


def fit(name: str, modules: Modules, loss: Loss, run: Run) -> Modules:
    """Minimise ``loss`` over ``modules``; returns the averaged (EMA) modules.

    Each step draws from a generator seeded by its own number, so that a resumed run repeats an
    undisturbed one.
    """
    stage = STAGES[name]
    checkpoint = _Checkpoint(run.work / f"{name}.pt", modules, stage, run.device)
    state = checkpoint.state
    steps, started, saved_at = stage.steps, time.monotonic() - state["seconds"], time.monotonic()
    bar = tqdm(total=steps, initial=state["step"], desc=name, mininterval=10)
    while state["step"] < steps:
        step = state["step"]
        warm = min(1.0, (step + 1) / _WARM_UP)
        rate = stage.learning_rate * warm * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        value = loss(torch.Generator().manual_seed(run.seed * 1_000_003 + step))
        checkpoint.step(value, rate)
        last = state["loss"]
        smooth = value.item() if last is None else 0.99 * last + 0.01 * value.item()
        state = {"step": step + 1, "seconds": time.monotonic() - started, "loss": smooth}
        checkpoint.state = state
        bar.update()
        bar.set_postfix(loss=f"{smooth:.5f}", refresh=False)
        if time.monotonic() - saved_at > CHECKPOINT_SECONDS or state["step"] == steps:
            checkpoint.save()
            saved_at = time.monotonic()
    bar.close()
    for p, value in zip(checkpoint.params, checkpoint.average):
        p.data.copy_(value)
    images = state["step"] * stage.batch
    print(
        f"{name}: {state['step']} steps, {images} images, {state['seconds'] / 60:.1f} min, "
        f"final loss {state['loss']:.5f}",
        flush=True,
    )
    (run.work / f"{name}.json").write_text(
        json.dumps({**state, "images": images, "machine": machine(run.device)})
    )
    for module in modules.values():
        module.eval().requires_grad_(False)
    return modules


def machine(device: torch.device) -> str:
    """Name of what trained the models, for the model card."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{cpu_name()}, {torch.get_num_threads()} thread(s)"


def pixels(batch: torch.Tensor) -> torch.Tensor:
    """uint8 images to floats in [-1, 1]."""
    return batch.float() / 127.5 - 1
