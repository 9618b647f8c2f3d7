#!/usr/bin/env python3
"""Measure what the embedded models show: quality against steps on captions that were not trained
on.

    benchmarks/embedded_quality.py --work build/bench -o benchmarks/results/embedded_quality.json

Each point has the same 512 captions and seeds; finished points are kept in --work and not done
again.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchmetrics.image.kid import KernelInceptionDistance
from tqdm import tqdm

from solver.inputs import write_atomic, write_json
from testbed.config import ModelConfig
from testbed.embedded.scenes import CLASSES, captions, render
from testbed.environment import environment
from testbed.metrics.clip import Clip
from testbed.metrics.distances import frechet
from testbed.models.pipelines import open_pipeline
from testbed.runs.store import png

CONVERGED = 96
GRID = (1, 2, 4, 8, 16, 24, 32, CONVERGED)
GUIDANCE = 3.0
BATCH = 32


def sample_captions(count):
    """``count`` held-out captions, the classes in turn; a class that runs out starts again (with
    other seeds).
    """
    pools = {name: captions(name, "held-out") for name in CLASSES}
    return [pools[CLASSES[i % 3]][i // 3 % len(pools[CLASSES[i % 3]])] for i in range(count)]


def generate(pipeline, chosen, steps):
    """uint8 images (count, 64, 64, 3); the seed of image i is i."""
    images = []
    for start in range(0, len(chosen), BATCH):
        part = chosen[start : start + BATCH]
        generators = [torch.Generator().manual_seed(start + i) for i in range(len(part))]
        out = pipeline(
            [c.text for c in part],
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=generators,
            output_type="np",
        ).images
        images.append((out * 255).round().clip(0, 255).astype(np.uint8))
    return np.concatenate(images)


def interval(values):
    """Mean and half-width of its 95 % interval."""
    values = np.asarray(values)
    return float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))


def retrieval(clip, count=1024, among=32):
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


class Identity(torch.nn.Module):
    """Lets torchmetrics work on features that were extracted before."""

    def __init__(self, width):
        super().__init__()
        self.num_features = width

    def forward(self, features):
        return features


def kernel_distance(features, reference):
    """Kernel distance (KID), unbiased at any n: torchmetrics' mean over 20 subsets."""
    size = min(len(features), len(reference), 1000)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that features are kept in memory, where they are already
        torch.manual_seed(0)  # torchmetrics draws its subsets from the global generator
        metric = KernelInceptionDistance(Identity(features.shape[1]), subset_size=size, subsets=20)
        metric.update(torch.from_numpy(reference), real=True)
        metric.update(torch.from_numpy(features), real=False)
        return float(metric.compute()[0])


def main():
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
    texts = [c.text for c in chosen]
    text_features = clip.texts(texts)
    reference = clip.images(
        [render(c, f"reference/{i}") for i, c in enumerate(sample_captions(2048))]
    )
    real = clip.images([render(c, f"real/{i}") for i, c in enumerate(chosen)])

    def scores(features):
        cosine = (
            (features * text_features).sum(1)
            / np.linalg.norm(features, axis=1)
            / np.linalg.norm(text_features, axis=1)
        )
        return np.maximum(0, 100 * cosine)

    result = {
        "images_a_point": args.count,
        "guidance": GUIDANCE,
        "converged_steps": CONVERGED,
        "environment": environment(device),
        "retrieval_top1_of_32": retrieval(clip),
        "real": {
            "frechet": frechet(real, reference),
            "kernel": kernel_distance(real, reference),
            "clip_score": interval(scores(real)),
        },
    }
    print(
        f"real scenes: {result['real']}, retrieval {result['retrieval_top1_of_32']:.3f}", flush=True
    )
    for name in args.models:
        pipeline, revision = open_pipeline(ModelConfig(f"embedded:{name}"), device)

        def images_at(steps):
            path = args.work / f"{name}-{revision}-{steps}-{args.count}.npy"
            if not path.exists():
                args.work.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(".part.npy")
                np.save(part, generate(pipeline, chosen, steps))
                part.replace(path)
            return np.load(path)

        points = []
        converged = images_at(CONVERGED) / 255.0
        shift = np.roll(np.arange(args.count), 3)  # another image of the same class
        unit = np.sqrt(((converged - converged[shift]) ** 2).mean((1, 2, 3))).mean()
        for steps in tqdm(GRID, desc=name):
            images = images_at(steps)
            features = clip.images(images)
            apart = np.sqrt(((images / 255.0 - converged) ** 2).mean((1, 2, 3))) / unit
            points.append(
                {
                    "steps": steps,
                    "frechet": frechet(features, reference),
                    "kernel": kernel_distance(features, reference),
                    "clip_score": interval(scores(features)),
                    "error": interval(apart),
                }
            )
        result[name] = {"revision": revision, "points": points}
        picks = (
            images_at(32)[:60]
            .reshape(5, 12, 64, 64, 3)
            .transpose(0, 2, 1, 3, 4)
            .reshape(5 * 64, 12 * 64, 3)
        )
        write_atomic(
            args.work / f"{name}-32-steps.png",
            png(np.asarray(Image.fromarray(picks).resize((12 * 128, 5 * 128), 0))),
        )
        print(f"{name}: steps, Fréchet, kernel, CLIP score, error")
        for p in points:
            print(
                f"{p['steps']:6} {p['frechet']:9.3f} {p['kernel']:9.4f} {p['clip_score'][0]:7.2f} ± {p['clip_score'][1]:.2f} {p['error'][0]:8.4f} ± {p['error'][1]:.4f}",
                flush=True,
            )
    if {"edge", "light"} <= set(result):
        result["bars"] = bars(result)
        for bar in result["bars"]:
            print(
                f"{'reached' if bar['reached'] else 'MISSED '}  {bar['what']}: {bar['value']:.3g} (bar {bar['bar']})"
            )
    if args.output:
        write_json(args.output, result)
    print("first 12 captions of the sheets:", "; ".join(texts[:12]))


def bars(result):
    """The goals that the models were trained for, each with what was measured."""
    real = result["real"]["frechet"]
    frechet = {
        name: {p["steps"]: p["frechet"] for p in result[name]["points"]}
        for name in ("edge", "light")
    }
    best = {name: min(curve.values()) for name, curve in frechet.items()}
    error = {p["steps"]: p["error"][0] for p in result["edge"]["points"]}
    score = {
        name: {p["steps"]: p["clip_score"] for p in result[name]["points"]}
        for name in ("edge", "light")
    }
    gap = (
        score["edge"][32][0]
        - score["light"][32][0]
        - np.hypot(score["edge"][32][1], score["light"][32][1])
    )
    table = [
        ("edge, Fréchet at 1 step over its best", frechet["edge"][1] / best["edge"], ">= 5"),
        ("light, Fréchet at 1 step over its best", frechet["light"][1] / best["light"], ">= 3"),
        (
            "excess over real-against-real at the best, edge over light",
            (best["edge"] - real) / (best["light"] - real),
            "<= 0.6",
        ),
        ("CLIP score at 32 steps, edge over light beyond the interval", gap, "> 0"),
        ("CLIP retrieval of the right caption among 32", result["retrieval_top1_of_32"], ">= 0.95"),
        ("edge, error at 24 steps over error at 8", error[24] / error[8], "<= 0.75"),
    ]
    compare = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b}
    return [
        {
            "what": what,
            "value": float(value),
            "bar": bar,
            "reached": bool(compare[bar.split()[0]](value, float(bar.split()[1]))),
        }
        for what, value, bar in table
    ]


if __name__ == "__main__":
    main()
