#!/usr/bin/env python3
"""Measure what the embedded models show: quality against steps on captions that were not trained
on.

    benchmarks/embedded_quality.py --work build/bench -o benchmarks/results/embedded_quality.json

Each point has the same 512 captions and seeds; finished points are kept in --work and not done
again.
"""

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torchmetrics.image.kid import KernelInceptionDistance
from tqdm import tqdm

from calibration.schema import Schema, frozen
from solver.inputs import write_atomic, write_json
from testbed.config import ModelConfig
from testbed.embedded.scenes import CLASSES, Caption, captions, render
from testbed.engines.stock import to_uint8
from testbed.environment import environment
from testbed.metrics.clip import Clip
from testbed.metrics.distances import frechet
from testbed.models.pipelines import open_pipeline
from testbed.runs.store import png

CONVERGED = 96
GRID = (1, 2, 4, 8, 16, 24, 32, CONVERGED)
GUIDANCE = 3.0
BATCH = 32

Interval = tuple[float, float]  # a mean, and the half-width of its 95 % interval
Features = NDArray[np.float32]


@frozen
class Point(Schema):
    """What images of ``steps`` steps are worth."""

    steps: int
    frechet: float
    kernel: float
    clip_score: Interval
    error: Interval


@frozen
class Curve(Schema):
    """The points of one model, of the weights ``revision``."""

    revision: str
    points: tuple[Point, ...]

    def at(self, steps: int) -> Point:
        """The point of that many steps."""
        return next(point for point in self.points if point.steps == steps)


@frozen
class Real(Schema):
    """The same of real scenes of the same captions."""

    frechet: float
    kernel: float
    clip_score: Interval


@frozen
class Bar(Schema):
    """A goal that the models were trained for."""

    what: str
    value: float
    bar: str
    reached: bool


def sample_captions(count: int) -> list[Caption]:
    """``count`` held-out captions, the classes in turn; a class that runs out starts again (with
    other seeds).
    """
    pools = {name: captions(name, "held-out") for name in CLASSES}
    return [pools[CLASSES[i % 3]][i // 3 % len(pools[CLASSES[i % 3]])] for i in range(count)]


def generate(
    pipeline: DiffusionPipeline, chosen: Sequence[Caption], steps: int
) -> NDArray[np.uint8]:
    """Images (count, 64, 64, 3); the seed of image i is i."""
    images = []
    for start in range(0, len(chosen), BATCH):
        part = chosen[start : start + BATCH]
        made = pipeline(
            [caption.text for caption in part],
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(start + i) for i in range(len(part))],
            output_type="np",
        ).images
        images.append(to_uint8(made))
    return np.concatenate(images)


def interval(values: ArrayLike) -> Interval:
    """Mean and half-width of its 95 % interval."""
    values = np.asarray(values)
    return float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))


def retrieval(clip: Clip, count: int = 1024, among: int = 32) -> float:
    """Share of real held-out scenes whose own caption scores best among ``among`` different
    captions.
    """
    chosen = sample_captions(count)
    images = clip.images([render(c, f"retrieval/{i}") for i, c in enumerate(chosen)])
    texts = {c.text: i for i, c in enumerate(dict.fromkeys(chosen))}
    features = clip.texts(list(texts))
    rng, right = np.random.default_rng(0), 0
    for image, caption in zip(images, chosen):
        own = texts[caption.text]
        others = rng.choice([i for i in range(len(texts)) if i != own], among - 1, replace=False)
        pick = features[[own, *others]]
        right += int(np.argmax(pick @ image / np.linalg.norm(pick, axis=1)) == 0)
    return right / count


def kernel_distance(features: Features, reference: Features) -> float:
    """Kernel distance (KID), unbiased at any n: torchmetrics' mean over 20 subsets."""
    size = min(len(features), len(reference), 1000)
    extracted = torch.nn.Identity()  # torchmetrics works on features that were extracted before
    extracted.num_features = features.shape[1]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that features are kept in memory, where they are already
        torch.manual_seed(0)  # torchmetrics draws its subsets from the global generator
        metric = KernelInceptionDistance(extracted, subset_size=size, subsets=20)
        metric.update(torch.from_numpy(reference), real=True)
        metric.update(torch.from_numpy(features), real=False)
        return float(metric.compute()[0])


@dataclass(frozen=True)
class Measure:
    """What images of the captions ``chosen`` are held against: the features of their texts, and of
    the ``reference``.
    """

    clip: Clip
    chosen: list[Caption]
    texts: Features
    reference: Features
    work: Path

    def clip_score(self, features: Features) -> Interval:
        """The CLIP score of the chosen captions' images."""
        cosine = (
            (features * self.texts).sum(1)
            / np.linalg.norm(features, axis=1)
            / np.linalg.norm(self.texts, axis=1)
        )
        return interval(np.maximum(0, 100 * cosine))

    def curve(self, name: str, device: torch.device) -> Curve:
        """The points of the embedded model ``name``, and a sheet of its images of 32 steps."""
        pipeline, revision = open_pipeline(ModelConfig(f"embedded:{name}"), device)

        def images_at(steps: int) -> NDArray[np.uint8]:
            path = self.work / f"{name}-{revision}-{steps}-{len(self.chosen)}.npy"
            if not path.exists():
                self.work.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(".part.npy")
                np.save(part, generate(pipeline, self.chosen, steps))
                part.replace(path)
            return np.load(path)

        converged = images_at(CONVERGED) / 255.0
        shift = np.roll(np.arange(len(self.chosen)), 3)  # another image of the same class
        unit = np.sqrt(((converged - converged[shift]) ** 2).mean((1, 2, 3))).mean()
        points = []
        for steps in tqdm(GRID, desc=name):
            made = images_at(steps)
            features = self.clip.images(made)
            apart = np.sqrt(((made / 255.0 - converged) ** 2).mean((1, 2, 3))) / unit
            points.append(
                Point(
                    steps=steps,
                    frechet=frechet(features, self.reference),
                    kernel=kernel_distance(features, self.reference),
                    clip_score=self.clip_score(features),
                    error=interval(apart),
                )
            )
        sheet(self.work / f"{name}-32-steps.png", images_at(32))
        return Curve(revision, tuple(points))


def sheet(path: Path, images: NDArray[np.uint8]) -> None:
    """Five rows of twelve images, twice their size."""
    grid = (
        images[:60].reshape(5, 12, 64, 64, 3).transpose(0, 2, 1, 3, 4).reshape(5 * 64, 12 * 64, 3)
    )
    write_atomic(path, png(np.asarray(Image.fromarray(grid).resize((12 * 128, 5 * 128), 0))))


def bars(real: Real, curves: dict[str, Curve], retrieved: float) -> list[Bar]:
    """The goals that the models were trained for, each with what was measured."""
    edge, light = curves["edge"], curves["light"]
    best = {name: min(point.frechet for point in curve.points) for name, curve in curves.items()}
    scores = edge.at(32).clip_score, light.at(32).clip_score
    gap = scores[0][0] - scores[1][0] - np.hypot(scores[0][1], scores[1][1])
    table = [
        ("edge, Fréchet at 1 step over its best", edge.at(1).frechet / best["edge"], ">= 5"),
        ("light, Fréchet at 1 step over its best", light.at(1).frechet / best["light"], ">= 3"),
        (
            "excess over real-against-real at the best, edge over light",
            (best["edge"] - real.frechet) / (best["light"] - real.frechet),
            "<= 0.6",
        ),
        ("CLIP score at 32 steps, edge over light beyond the interval", gap, "> 0"),
        ("CLIP retrieval of the right caption among 32", retrieved, ">= 0.95"),
        (
            "edge, error at 24 steps over error at 8",
            edge.at(24).error[0] / edge.at(8).error[0],
            "<= 0.75",
        ),
    ]
    compare = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b}
    return [
        Bar(what, float(value), bar, bool(compare[bar.split()[0]](value, float(bar.split()[1]))))
        for what, value, bar in table
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for finished points")
    parser.add_argument("-o", "--output", type=Path, help="JSON result")
    parser.add_argument("--models", nargs="+", default=["edge", "light"])
    parser.add_argument("--count", type=int, default=512, help="images a point")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clip = Clip("embedded:clip", device)
    chosen = sample_captions(args.count)
    texts = [caption.text for caption in chosen]
    reference = clip.images(
        [render(c, f"reference/{i}") for i, c in enumerate(sample_captions(2048))]
    )
    measure = Measure(clip, chosen, clip.texts(texts), reference, args.work)
    features = clip.images([render(c, f"real/{i}") for i, c in enumerate(chosen)])
    retrieved = retrieval(clip)
    real = Real(
        frechet(features, reference),
        kernel_distance(features, reference),
        measure.clip_score(features),
    )
    print(f"real scenes: {real}, retrieval {retrieved:.3f}", flush=True)
    result: dict[str, Any] = {
        "images_a_point": args.count,
        "guidance": GUIDANCE,
        "converged_steps": CONVERGED,
        "environment": environment(device),
        "retrieval_top1_of_32": retrieved,
        "real": real.to_dict(),
    }
    curves = {}
    for name in args.models:
        curves[name] = measure.curve(name, device)
        result[name] = curves[name].to_dict()
        print(f"{name}: steps, Fréchet, kernel, CLIP score, error")
        for point in curves[name].points:
            score, error = point.clip_score, point.error
            print(
                f"{point.steps:6} {point.frechet:9.3f} {point.kernel:9.4f} "
                f"{score[0]:7.2f} ± {score[1]:.2f} {error[0]:8.4f} ± {error[1]:.4f}",
                flush=True,
            )
    if {"edge", "light"} <= set(curves):
        reached = bars(real, curves, retrieved)
        result["bars"] = [bar.to_dict() for bar in reached]
        for bar in reached:
            state = "reached" if bar.reached else "MISSED "
            print(f"{state}  {bar.what}: {bar.value:.3g} (bar {bar.bar})")
    if args.output:
        write_json(args.output, result)
    print("first 12 captions of the sheets:", "; ".join(texts[:12]))


if __name__ == "__main__":
    main()
