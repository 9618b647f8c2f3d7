"""Split generation: one model makes an image's first steps and the other the rest, in one schedule.

    python -m benchmarks.images.splits --prompts 100 --totals 4 8 16 32 --out splits.json

Both orders, beside each model alone with as many steps as each part has: where stopping after the
first part is better than going on with the other model, the split is dominated. The models must
share their latents and their schedule, as fingerprints of VAE and scheduler tell. Each option has
the same captions and seeds, so that differences are paired. ``local`` and ``edge`` are the embedded
models unless others are named; nothing is sent over a network here.
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray

from benchmarks.images.embedded_quality import (
    CONVERGED,
    GUIDANCE,
    Mean,
    apart,
    interval,
    sample_captions,
)
from calibration.records.split import SHARES, Split
from calibration.schema import Schema, frozen
from calibration.statistics import t_critical
from solver.inputs import write_json
from solver.problem import PLACES
from testbed.config import ModelConfig
from testbed.embedded.scenes import CLASSES, Caption
from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Request
from testbed.engines.split import check_pipelines
from testbed.engines.split import generate as split_images
from testbed.environment import environment
from testbed.metering.meters import NoMeter
from testbed.metrics.clip import Clip
from testbed.models.pipelines import open_pipeline, pick_device
from testbed.runs.store import Pixels

BATCH = 32
_LEVEL = 0.05  # of all comparisons together


@frozen
class Option(Schema):
    """``first`` makes ``before`` steps of ``total``, the other place the rest."""

    first: str
    before: int
    total: int

    def steps(self, place: str) -> int:
        """Steps that a place makes."""
        return self.before if place == self.first else self.total - self.before

    @property
    def second(self) -> str:
        """Who goes on."""
        return PLACES[PLACES[0] == self.first]

    @property
    def name(self) -> str:
        """E.g. ``edge 8, local 8``; of one model alone ``edge 16``."""
        parts = [(self.first, self.before), (self.second, self.total - self.before)]
        return ", ".join(f"{place} {steps}" for place, steps in parts if steps)


@frozen
class Point(Schema):
    """An option's images: means, each with half its 95 % interval.

    ``score``: CLIP score, 0 to 100, of all and of each prompt class; ``error``: distance to the
    edge's converged image, in units of that between converged images of different captions.
    ``dominated_by``: options that take no more steps at either place, with a better score beyond
    chance; ``gain``: how much better the first of them is.
    """

    option: Option
    score: Mean
    classes: dict[str, Mean]
    error: Mean
    dominated_by: tuple[str, ...]
    gain: float | None


def options(totals: Sequence[int]) -> list[Option]:
    """Each total split both ways, and each model alone with every count of steps that occurs."""
    counts = sorted(
        {max(1, min(t - 1, round(t * part))) for t in totals for part in SHARES if t > 1}
    )
    splits = [
        Option(first, before, total)
        for total in totals
        for before in sorted({max(1, min(total - 1, round(total * part))) for part in SHARES})
        for first in PLACES
        if total > 1
    ]
    alone = [Option(place, n, n) for place in PLACES for n in sorted({*counts, *totals})]
    return alone + splits


def generate(
    models: dict[str, DiffusionPipeline],
    option: Option,
    chosen: Sequence[Caption],
    guidance: float,
) -> Iterator[tuple[Pixels, dict[str, float]]]:
    """The images of each batch of ``chosen``, and the seconds of each place's iterations. The seed
    of image i is i.
    """
    threads = dict.fromkeys(PLACES, torch.get_num_threads())
    for start in range(0, len(chosen), BATCH):
        requests = [
            Request(caption.text, seed, option.total, guidance)
            for seed, caption in enumerate(chosen[start : start + BATCH], start)
        ]
        if option.before == option.total:
            engine = BatchedEngine(models[option.first], len(requests))
            done = sorted(engine.run(requests), key=lambda finished: finished.index)
            images, times = np.stack([finished.image for finished in done]), done[0].tick_times
        else:
            split = Split(option.first, option.steps("edge"))
            asked = dict.fromkeys(PLACES, requests)
            made, _ = split_images(models, split, asked, threads, NoMeter())
            images, times = made.images, made.step_times
        seconds = dict.fromkeys(PLACES, 0.0)
        for tick, spent in enumerate(times):
            seconds[option.first if tick < option.before else option.second] += spent
        yield images, seconds


def dominance(
    option: Option, scores: dict[Option, NDArray[np.float64]]
) -> list[tuple[float, Option]]:
    """The (gain, option) of those that need no more steps at either place and score better, the
    best first. Pairs are of the same captions; the level holds for all comparisons together.
    """
    cheaper = [
        other
        for other in scores
        if other != option and all(other.steps(p) <= option.steps(p) for p in PLACES)
    ]
    better = []
    for other in cheaper:
        gain = scores[other] - scores[option]
        limit = t_critical(len(gain) - 1, 1 - _LEVEL / max(1, len(cheaper) * len(scores)))
        if gain.mean() > limit * gain.std(ddof=1) / len(gain) ** 0.5:
            better.append((float(gain.mean()), other))
    return sorted(better, key=lambda pair: -pair[0])


def measure(
    models: dict[str, DiffusionPipeline],
    clip: Clip,
    chosen: Sequence[Caption],
    totals: Sequence[int],
) -> tuple[list[Point], dict[str, float]]:
    """All options' points, and the mean seconds of an image's step at each place, in a batch."""
    kinds = np.array([CLASSES[i % len(CLASSES)] for i in range(len(chosen))])
    texts = _unit(clip.texts([caption.text for caption in chosen]))
    reference = Option("edge", max(CONVERGED, *totals), max(CONVERGED, *totals))
    scores: dict[Option, NDArray[np.float64]] = {}
    errors: dict[Option, NDArray[np.float64]] = {}
    spent, made = dict.fromkeys(PLACES, 0.0), dict.fromkeys(PLACES, 0)
    for option in [reference, *options(totals)]:
        batches = list(generate(models, option, chosen, GUIDANCE))
        images = np.concatenate([pixels for pixels, _ in batches])
        if option == reference:
            converged = images / 255.0
            unit = apart(converged, np.roll(converged, len(CLASSES), axis=0)).mean()
        for place, (_, seconds) in itertools.product(PLACES, batches):
            spent[place] += seconds[place]
        for place in PLACES:
            made[place] += len(chosen) * option.steps(place)
        cosine = (_unit(clip.images(images)) * texts).sum(1)
        scores[option] = np.maximum(0.0, 100.0 * cosine)
        errors[option] = apart(images / 255.0, converged) / unit
        print(f"{option.name:20} score {scores[option].mean():.2f}", flush=True)
    points = []
    for option in scores:
        better = dominance(option, scores)
        points.append(
            Point(
                option,
                interval(scores[option]),
                {name: interval(scores[option][kinds == name]) for name in CLASSES},
                interval(errors[option]),
                tuple(other.name for _, other in better),
                better[0][0] if better else None,
            )
        )
    return points, {place: spent[place] / max(1, made[place]) for place in PLACES}


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--local", default="embedded:light")
    parser.add_argument("--edge", default="embedded:edge")
    parser.add_argument("--prompts", type=int, default=100, help="of each prompt class")
    parser.add_argument("--totals", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="JSON result")
    args = parser.parse_args()
    if args.prompts < 2 or min(args.totals) < 1:
        parser.error("allowed: --prompts of at least 2, --totals of at least 1")
    device = pick_device(args.device)
    models = {
        place: open_pipeline(ModelConfig(getattr(args, place)), device)[0] for place in PLACES
    }
    shared = check_pipelines(models, args.totals)
    chosen = sample_captions(args.prompts * len(CLASSES))
    points, seconds = measure(models, Clip("embedded:clip", device), chosen, args.totals)
    for point in points:
        if point.dominated_by:
            print(f"dominated: {point.option.name}: by {', '.join(point.dominated_by)}")
    result = {
        "models": {place: getattr(args, place) for place in PLACES},
        "shared": shared.to_dict(),
        "prompts_per_class": args.prompts,
        "guidance": GUIDANCE,
        "seconds_per_step": {"basis": f"measured, in batches of {BATCH}", **seconds},
        "points": [point.to_dict() for point in points],
        "environment": environment(device),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if args.out:
        write_json(args.out, result)


if __name__ == "__main__":
    main()
