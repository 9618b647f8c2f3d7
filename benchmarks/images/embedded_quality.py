"""Measure the embedded models' quality against steps on captions that were not trained on.

    python -m benchmarks.images.embedded_quality --work build/quality -o embedded_quality.json

Each point has the same 512 captions and seeds. Finished points are kept in ``--work`` and not made
again. The result is ``results/embedded_quality.json``.
"""

import argparse
import warnings
from collections.abc import Callable, Sequence
from functools import partial
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
from testbed.metrics.extractor import Features
from testbed.models.pipelines import open_pipeline
from testbed.runs.store import Pixels, png

CONVERGED = 96
GRID = (1, 2, 4, 8, 16, 24, 32, CONVERGED)
GUIDANCE = 3.0
BATCH = 32

#: A mean and half its 95 % interval.
Mean = tuple[float, float]


@frozen
class Real(Schema):
    """Real held-out scenes: their distances to other real scenes, and their CLIP score."""

    frechet: float
    kernel: float
    clip_score: Mean


@frozen
class Point(Real):
    """A model's images with ``steps`` steps; ``error``: their distance to the converged ones, in
    units of the distance between converged images of different captions.
    """

    steps: int
    error: Mean


@frozen
class Curve(Schema):
    """The points of one model."""

    revision: str
    points: tuple[Point, ...]

    def at(self, steps: int) -> Point:
        """The point at a step count."""
        return next(point for point in self.points if point.steps == steps)

    @property
    def best(self) -> float:
        """The least Fréchet distance."""
        return min(point.frechet for point in self.points)


@frozen
class Goal(Schema):
    """``what`` the models were trained for, its ``bar``, and the ``value`` measured."""

    what: str
    value: float
    bar: str
    reached: bool


class Scorer:
    """Measures images of the captions ``chosen``, all of which score against one reference."""

    def __init__(self, clip: Clip, chosen: Sequence[Caption]) -> None:
        self._clip, self._texts = clip, clip.texts([caption.text for caption in chosen])
        self._reference = clip.images(
            [render(caption, f"reference/{i}") for i, caption in enumerate(sample_captions(2048))]
        )

    def measure(self, images: Sequence[Pixels | Image.Image] | Pixels) -> Real:
        """Their distances to the reference, and their CLIP score."""
        features = self._clip.images(images)
        cosine = (
            (features * self._texts).sum(1)
            / np.linalg.norm(features, axis=1)
            / np.linalg.norm(self._texts, axis=1)
        )
        return Real(
            frechet=frechet(features, self._reference),
            kernel=kernel_distance(features, self._reference),
            clip_score=interval(np.maximum(0, 100 * cosine)),
        )


def sample_captions(count: int) -> list[Caption]:
    """``count`` held-out captions, the classes in turn; a class that runs out starts again."""
    pools = {name: captions(name, "held-out") for name in CLASSES}
    return [pools[CLASSES[i % 3]][i // 3 % len(pools[CLASSES[i % 3]])] for i in range(count)]


def generate(pipeline: DiffusionPipeline, chosen: Sequence[Caption], steps: int) -> Pixels:
    """Images (count, 64, 64, 3); the seed of image i is i."""
    images = []
    for start in range(0, len(chosen), BATCH):
        part = chosen[start : start + BATCH]
        generators = [torch.Generator().manual_seed(start + i) for i in range(len(part))]
        out = pipeline(
            [caption.text for caption in part],
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=generators,
            output_type="np",
        ).images
        images.append(to_uint8(out))
    return np.concatenate(images)


def kept_images(
    prefix: Path, pipeline: DiffusionPipeline, chosen: Sequence[Caption], steps: int
) -> Pixels:
    """:func:`generate`, once; kept in a file whose path begins with ``prefix``."""
    path = prefix.with_name(f"{prefix.name}-{steps}-{len(chosen)}.npy")
    if not path.exists():
        part = path.with_suffix(".part.npy")
        np.save(part, generate(pipeline, chosen, steps))
        part.replace(path)
    return np.load(path)


def interval(values: ArrayLike) -> Mean:
    """The mean, and half its 95 % interval."""
    values = np.asarray(values)
    return float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))


def retrieval(clip: Clip, count: int = 1024, among: int = 32) -> float:
    """The share of real held-out scenes whose own caption scores best among ``among`` different
    captions.
    """
    chosen = sample_captions(count)
    images = clip.images([render(caption, f"retrieval/{i}") for i, caption in enumerate(chosen)])
    texts = {caption.text: i for i, caption in enumerate(dict.fromkeys(chosen))}
    features = clip.texts(list(texts))
    rng, right = np.random.default_rng(0), 0
    for image, caption in zip(images, chosen):
        own = texts[caption.text]
        others = rng.choice([i for i in range(len(texts)) if i != own], among - 1, replace=False)
        pick = features[[own, *others]]
        right += int(np.argmax(pick @ image / np.linalg.norm(pick, axis=1)) == 0)
    return right / count


class Identity(torch.nn.Identity):
    """Lets torchmetrics work on features that were extracted before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width


def kernel_distance(features: Features, reference: Features) -> float:
    """Kernel distance (KID), unbiased at any n: torchmetrics' mean over 20 subsets."""
    size = min(len(features), len(reference), 1000)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that features are kept in memory, where they are already
        torch.manual_seed(0)  # torchmetrics draws its subsets from the global generator
        metric = KernelInceptionDistance(Identity(features.shape[1]), subset_size=size, subsets=20)
        metric.update(torch.from_numpy(reference), real=True)
        metric.update(torch.from_numpy(features), real=False)
        return float(metric.compute()[0])


def curve(name: str, revision: str, images_at: Callable[[int], Pixels], scorer: Scorer) -> Curve:
    """The points of the model ``name``; ``images_at``: its images with so many steps."""
    points, converged = [], images_at(CONVERGED) / 255.0
    other = np.roll(np.arange(len(converged)), 3)  # another image of the same class
    unit = apart(converged, converged[other]).mean()
    for steps in tqdm(GRID, desc=name):
        images = images_at(steps)
        measured = scorer.measure(images)
        error = interval(apart(images / 255.0, converged) / unit)
        points.append(Point(**measured.to_dict(), steps=steps, error=error))
    return Curve(revision, tuple(points))


def apart(images: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """The root mean square difference of each image and the other one, shape (count,)."""
    return np.sqrt(((images - others) ** 2).mean((1, 2, 3)))


def sheet(images: Pixels) -> bytes:
    """A PNG of the first 60 images, five rows of twelve, enlarged twice."""
    rows = images[:60].reshape(5, 12, 64, 64, 3).transpose(0, 2, 1, 3, 4)
    picture = Image.fromarray(rows.reshape(5 * 64, 12 * 64, 3))
    return png(np.asarray(picture.resize((12 * 128, 5 * 128), 0)))


def goals(real: Real, edge: Curve, light: Curve, retrieved: float) -> list[Goal]:
    """The goals that the models were trained for, each with what was measured."""
    scores = edge.at(32).clip_score, light.at(32).clip_score
    table = [
        ("edge, Fréchet at 1 step over its best", edge.at(1).frechet / edge.best, ">= 5"),
        ("light, Fréchet at 1 step over its best", light.at(1).frechet / light.best, ">= 3"),
        (
            "excess over real-against-real at the best, edge over light",
            (edge.best - real.frechet) / (light.best - real.frechet),
            "<= 0.6",
        ),
        (
            "CLIP score at 32 steps, edge over light beyond the interval",
            scores[0][0] - scores[1][0] - float(np.hypot(scores[0][1], scores[1][1])),
            "> 0",
        ),
        ("CLIP retrieval of the right caption among 32", retrieved, ">= 0.95"),
        (
            "edge, error at 24 steps over error at 8",
            edge.at(24).error[0] / edge.at(8).error[0],
            "<= 0.75",
        ),
    ]
    compare = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater}
    return [
        Goal(what, value, bar, bool(compare[bar.split()[0]](value, float(bar.split()[1]))))
        for what, value, bar in table
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for finished points")
    parser.add_argument("-o", "--out", type=Path, help="JSON result")
    parser.add_argument("--models", nargs="+", default=["edge", "light"])
    parser.add_argument("--count", type=int, default=512, help="images a point")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clip, chosen = Clip("embedded:clip", device), sample_captions(args.count)
    scorer = Scorer(clip, chosen)
    real = scorer.measure([render(caption, f"real/{i}") for i, caption in enumerate(chosen)])
    retrieved = retrieval(clip)
    print(f"real scenes: {real.to_dict()}, retrieval {retrieved:.3f}", flush=True)
    curves: dict[str, Curve] = {}
    for name in args.models:
        pipeline, revision = open_pipeline(ModelConfig(f"embedded:{name}"), device)

        images_at = partial(kept_images, args.work / f"{name}-{revision}", pipeline, chosen)
        curves[name] = curve(name, revision, images_at, scorer)
        write_atomic(args.work / f"{name}-32-steps.png", sheet(images_at(32)))
        print(f"{name}: steps, Fréchet, kernel, CLIP score, error")
        for point in curves[name].points:
            print(
                f"{point.steps:6} {point.frechet:9.3f} {point.kernel:9.4f} "
                f"{point.clip_score[0]:7.2f} ± {point.clip_score[1]:.2f} "
                f"{point.error[0]:8.4f} ± {point.error[1]:.4f}",
                flush=True,
            )
    result: dict[str, Any] = {
        "images_a_point": args.count,
        "guidance": GUIDANCE,
        "converged_steps": CONVERGED,
        "environment": environment(device),
        "retrieval_top1_of_32": retrieved,
        "real": real.to_dict(),
        **{name: measured.to_dict() for name, measured in curves.items()},
    }
    if {"edge", "light"} <= set(curves):
        reached = goals(real, curves["edge"], curves["light"], retrieved)
        result["bars"] = [goal.to_dict() for goal in reached]
        for goal in reached:
            said = "reached" if goal.reached else "MISSED "
            print(f"{said}  {goal.what}: {goal.value:.3g} (bar {goal.bar})")
    if args.out:
        write_json(args.out, result)
    print("first captions of the sheets:", "; ".join(caption.text for caption in chosen[:12]))


if __name__ == "__main__":
    main()
