"""Split generation: one model makes an image's first steps and the other the rest, in one schedule.

    python -m benchmarks.images.splits --prompts 100 --totals 4 8 12 16 --out splits.json

Both orders, beside each model alone with as many steps as each part has: where stopping after the
first part is better than going on with the other model, the split is dominated. The models must
share their latents and their schedule, as fingerprints of VAE and scheduler tell. Each option has
the same captions and seeds, so that differences are paired. What a split gains is predicted from
half of the captions and executed for the others. ``local`` and ``edge`` are the embedded models
unless others are named; nothing is sent over a network here.

The first steps are made once for all splits that share them. Finished batches are kept in
``--work``: the same command goes on from there, and so does one for more prompts.
"""

import argparse
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import DiffusionPipeline

from benchmarks.images.embedded_quality import GUIDANCE, apart, interval, sample_captions
from benchmarks.images.split_gains import (
    Option,
    Point,
    Scores,
    coverage,
    dominance,
    gains,
    options,
)
from calibration.schema import Schema, frozen
from solver.inputs import write_json
from solver.problem import PLACES
from testbed.config import ModelConfig
from testbed.embedded.scenes import CLASSES, Caption
from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Finished, Log, Request, all_made
from testbed.engines.running import Running
from testbed.engines.split import check_pipelines
from testbed.environment import environment
from testbed.metrics.clip import Clip
from testbed.models.pipelines import open_pipeline, pick_device
from testbed.runs.folder import RunFolder
from testbed.runs.store import Pixels

PROMPTS = 10  # of each class in a batch
_CONVERGED = 2  # times the most steps: those of the image that errors are distances to


@frozen
class Batch(Schema):
    """What a batch of captions came to, as ``asked``; values by option, one a caption.

    ``scores``: CLIP score, 0 to 100; ``distances`` to the edge's converged image; ``apart``: those
    of converged images of different captions of a class. ``seconds``: by place, the mean of an
    image's step.
    """

    asked: dict[str, Any]
    scores: dict[str, tuple[float, ...]]
    distances: dict[str, tuple[float, ...]]
    apart: tuple[float, ...]
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Images:
    """Images of an ``option``, and the calls of the denoiser at the ``place`` that made the last
    steps, or all of them: size and seconds.
    """

    option: Option
    pixels: Pixels
    place: str
    calls: Sequence[tuple[int, float]]


def generate(
    models: Mapping[str, DiffusionPipeline],
    requests: Sequence[Request],
    befores: Collection[int] = (),
    places: Sequence[str] = PLACES,
) -> Iterator[Images]:
    """Images of ``requests``, which all have as many steps, by each of the ``places`` alone; and,
    begun there, with the other place's model after each number ``befores`` of steps.
    """
    total = requests[0].steps
    for first in places:
        (second,) = set(PLACES) - {first}
        engine = BatchedEngine(models[first], len(requests))
        for index, request in enumerate(requests):
            engine.add(index, request)
        handed_over: dict[int, list[Running]] = {}
        finished: list[Finished] = []
        while engine.present:
            if (made := total - engine.present[0].remaining) in befores:
                handed_over[made] = [
                    replace(running, state=running.state.copy(), log=Log())
                    for running in engine.present
                ]
            finished += all_made(engine.advance())
        yield _images(Option(first, total, total), finished, first, engine)
        for made, begun in handed_over.items():
            other, finished = BatchedEngine(models[second], len(requests)), []
            other.take_over(begun, requests)
            while other.present:
                finished += all_made(other.advance())
            yield _images(Option(first, made, total), finished, second, other)


def _images(
    option: Option, finished: Sequence[Finished], place: str, engine: BatchedEngine
) -> Images:
    pixels = [image.image for image in sorted(finished, key=lambda image: image.index)]
    return Images(option, np.stack(pixels), place, engine.log.tick)


def measure(
    models: Mapping[str, DiffusionPipeline],
    clip: Clip,
    chosen: Sequence[Caption],
    start: int,
    totals: Sequence[int],
    asked: dict[str, Any],
) -> Batch:
    """All options' scores and distances of the captions ``chosen``, whose seeds begin at ``start``;
    the classes come in turn.
    """

    def requests(steps: int) -> list[Request]:
        return [Request(each.text, start + i, steps, GUIDANCE) for i, each in enumerate(chosen)]

    (target,) = generate(models, requests(_CONVERGED * max(totals)), places=["edge"])
    converged = target.pixels / 255.0
    texts = _unit(clip.texts([caption.text for caption in chosen]))
    scores, distances = {}, {}
    calls: dict[str, list[tuple[int, float]]] = {place: [] for place in PLACES}
    wanted = options(totals)
    for steps in sorted({option.total for option in wanted}):
        befores = {option.before for option in wanted if option.before < option.total == steps}
        for made in generate(models, requests(steps), befores):
            calls[made.place] += made.calls
            cosine = (_unit(clip.images(made.pixels)) * texts).sum(1)
            scores[made.option.name] = tuple(np.maximum(0.0, 100.0 * cosine).tolist())
            far = apart(made.pixels / 255.0, converged)
            distances[made.option.name] = tuple(far.tolist())
    others = apart(converged, np.roll(converged, len(CLASSES), axis=0))
    others = others[others > 0]  # the only one of its class in a batch is not another one
    seconds = {
        place: sum(spent for _, spent in of) / sum(size for size, _ in of)
        for place, of in calls.items()
    }
    return Batch(asked, scores, distances, tuple(others.tolist()), seconds)


def joined(batches: Sequence[Batch], totals: Sequence[int]) -> tuple[Scores, Scores]:
    """By option: the scores of all captions, and their errors: distances in units of those between
    converged images of different captions.
    """
    unit = np.mean([each for batch in batches for each in batch.apart])
    wanted = options(totals)
    scores = {o: np.concatenate([batch.scores[o.name] for batch in batches]) for o in wanted}
    far = {o: np.concatenate([batch.distances[o.name] for batch in batches]) for o in wanted}
    return scores, {option: values / unit for option, values in far.items()}


def points(scores: Scores, errors: Scores, kinds: Sequence[str]) -> list[Point]:
    """Each option's means; ``kinds``: the captions' classes."""
    of_class = {name: np.array(kinds) == name for name in CLASSES}
    summed = []
    for option, values in scores.items():
        better = dominance(option, scores)
        summed.append(
            Point(
                option,
                interval(values),
                {name: interval(values[own]) for name, own in of_class.items()},
                interval(errors[option]),
                tuple(other.name for _, other in better),
                better[0][0] if better else None,
            )
        )
    return summed


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--local", default="embedded:light")
    parser.add_argument("--edge", default="embedded:edge")
    parser.add_argument("--prompts", type=int, default=100, help="of each prompt class")
    parser.add_argument("--totals", type=int, nargs="+", default=[4, 8, 12, 16])
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--work", type=Path, default=Path("build/splits"), help="folder of finished batches"
    )
    parser.add_argument("--out", type=Path, help="JSON result")
    args = parser.parse_args()
    if args.prompts < 4 or min(args.totals) < 2:
        parser.error("allowed: --prompts of at least 4, --totals of at least 2")
    device = pick_device(args.device)
    opened = {place: open_pipeline(ModelConfig(getattr(args, place)), device) for place in PLACES}
    models = {place: pipeline for place, (pipeline, _) in opened.items()}
    shared = check_pipelines(models, args.totals)
    clip, chosen = Clip("embedded:clip", device), sample_captions(args.prompts * len(CLASSES))
    args.work.mkdir(parents=True, exist_ok=True)
    folder, batches = RunFolder(args.work), []
    for start in range(0, len(chosen), PROMPTS * len(CLASSES)):
        part = chosen[start : start + PROMPTS * len(CLASSES)]
        asked = {
            "models": {place: revision for place, (_, revision) in opened.items()},
            "totals": args.totals,
            "captions": [caption.text for caption in part],
            "guidance": GUIDANCE,
        }
        make = partial(measure, models, clip, part, start, args.totals, asked)
        batches.append(folder.once(f"{start}.json", Batch, asked, make))
        print(f"{start + len(part)} of {len(chosen)} captions", flush=True)
    scores, errors = joined(batches, args.totals)
    kinds = [CLASSES[i % len(CLASSES)] for i in range(len(chosen))]
    measured = points(scores, errors, kinds)
    texts = [caption.text for caption in chosen]
    gained = gains(scores, texts, kinds)
    for point in measured:
        if point.dominated_by:
            print(f"dominated: {point.option.name}: by {', '.join(point.dominated_by)}")
    print(f"{sum(gain.held for gain in gained)} of {len(gained)} intervals hold the executed gain")
    result = {
        "models": {place: getattr(args, place) for place in PLACES},
        "shared": shared.to_dict(),
        "prompts_per_class": args.prompts,
        "guidance": GUIDANCE,
        "seconds_per_step": {
            "basis": f"measured, in batches of {PROMPTS * len(CLASSES)}",
            **{place: float(np.mean([b.seconds[place] for b in batches])) for place in PLACES},
        },
        "points": [point.to_dict() for point in measured],
        "gains": [gain.to_dict() for gain in gained],
        "held_over_random_halves": coverage(scores, texts, kinds),
        "environment": environment(device),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if args.out:
        write_json(args.out, result)


if __name__ == "__main__":
    main()
