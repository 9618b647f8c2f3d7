"""The training set: captioned scenes, drawn once."""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from embedded_training.settings import SCENES, Run
from testbed.embedded.models import LATENT_SIZE
from testbed.embedded.scenes import CLASSES, captions, render


@dataclass(frozen=True)
class Scenes:
    """``images`` uint8 (n, 3, height, width); ``masks`` (n, cells, cells), the share of each latent
    cell that an object covers; their captions.
    """

    images: torch.Tensor
    masks: torch.Tensor
    texts: list[str]


def _draw(
    job: tuple[str, int, int],
) -> tuple[NDArray[np.uint8], NDArray[np.float16], str]:
    prompt_class, index, seed = job
    pool = captions(prompt_class, "train")
    caption = pool[index % len(pool)]
    scene = np.asarray(render(caption, seed))
    ground = np.asarray(render(caption, seed, objects=False))
    covered = (scene != ground).any(-1)
    mask = covered.reshape(LATENT_SIZE, 8, LATENT_SIZE, 8).mean((1, 3))
    return scene, mask.astype(np.float16), caption.text


def draw_scenes(run: Run) -> Scenes:
    """Render the training set once, into ``scenes.npz``."""
    path = run.work / "scenes.npz"
    if not path.exists():
        jobs = [(name, i, run.seed + i) for name in CLASSES for i in range(SCENES[name])]
        with ProcessPoolExecutor() as pool:
            drawn = list(tqdm(pool.map(_draw, jobs, chunksize=256), total=len(jobs), desc="scenes"))
        images, masks, texts = zip(*drawn)
        part = path.with_suffix(".part.npz")
        np.savez(part, images=np.stack(images), masks=np.stack(masks), texts=np.array(texts))
        os.replace(part, path)
    data = np.load(path)
    return Scenes(
        torch.from_numpy(data["images"]).permute(0, 3, 1, 2),
        torch.from_numpy(data["masks"]).float(),
        data["texts"].tolist(),
    )
