"""What the training is: scenes by class, and each stage's length."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Stage:
    """Optimiser ``steps`` of ``batch`` images, and the peak learning rate."""

    steps: int
    batch: int
    learning_rate: float


@dataclass(frozen=True)
class Run:
    """One training: folder for checkpoints, folder for the finished models, seed, device."""

    work: Path
    out: Path
    seed: int
    device: torch.device


#: Training scenes by prompt class.
SCENES = {"object": 9_000, "scene": 15_000, "relation": 12_000}
STAGES = {
    "first_vae": Stage(2_200, 16, 2e-3),
    "vae": Stage(2_000, 16, 1.5e-3),
    "clip": Stage(700, 256, 1e-3),
    "edge": Stage(7_400, 32, 1e-3),
    "light": Stage(4_000, 32, 1.5e-3),
}
CAPTION_DROPOUT = 0.1  # trains the unconditional half of classifier-free guidance
EMA_DECAY = 0.999
CHECKPOINT_SECONDS = 60
