"""The calibration sweep as a list of tasks.

:mod:`calibration.sweep.adaptive` chooses smaller sweeps.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, zip_longest
from typing import Any

from calibration.checks import is_whole, shown, table
from calibration.records.split import split_options
from calibration.records.task import ModelSpec, Task
from solver.inputs import InputError
from solver.problem import PLACES

SEEDS = 1_000_000  # those of a sweep are below
NOISES = ("own", "shared")

#: A prompt and the seed of the noise that its images begin with.
Draw = tuple[str, int]
#: The purpose of the image at each step count of a draw at a place.
Counts = Mapping[int, str]
#: By place: step counts, and the steps of converged images.
OwnSteps = Mapping[str, tuple[Sequence[int], int]]


def noise_seed(prompt: str, seed: int, noise: str = "own") -> int:
    """The seed of the noise that an image of ``prompt`` begins with.

    It is ``seed`` itself if ``noise`` is ``shared``, else a hash of both. With one noise for all
    prompts their images' errors are correlated (at few steps by a tenth and more), which no number
    of prompts averages out.
    """
    if noise == "shared":
        return seed
    return int(hashlib.sha256(f"{seed}/{prompt}".encode()).hexdigest(), 16) % SEEDS


def draws(
    prompts: Mapping[str, Sequence[str]], seeds: Sequence[int], noise: str
) -> dict[str, list[Draw]]:
    """The draws of each class: all prompts with the first of ``seeds``, then with the next."""
    return {
        name: [(text, noise_seed(text, seed, noise)) for seed in seeds for text in texts]
        for name, texts in prompts.items()
    }


def sweep(
    models: Mapping[str, ModelSpec],
    prompts: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    steps: Sequence[int],
    converged_steps: int = 120,
    noise: str = "own",
    timed: int | None = None,
    own: OwnSteps | None = None,
) -> list[Task]:
    """Tasks of a fixed sweep: every prompt with every seed and every step count, in the order in
    which they should run.

    ``models``: by place (``local``, ``edge``); ``prompts``: by prompt class; ``steps``: the grid;
    ``converged_steps``: the steps of the reference image, more than the grid's largest; ``noise``:
    see :func:`noise_seed`; ``timed``, ``own``: see :func:`grids`. Raises :class:`InputError` for an
    empty list, a duplicate, or a value that is not allowed.
    """
    check_sweep(models, prompts, seeds, steps, converged_steps)
    for of_place, converged in (own or {}).values():
        check_sweep(models, prompts, seeds, of_place, converged)
    wanted = {
        name: list(zip(of_class, grids(models, steps, converged_steps, prompts[name], timed, own)))
        for name, of_class in draws(prompts, seeds, noise).items()
    }
    return in_turns(models, wanted)


def grids(
    places: Mapping[str, object],
    steps: Sequence[int],
    converged_steps: int,
    prompts: Sequence[str],
    timed: int | None = None,
    own: OwnSteps | None = None,
) -> Iterator[dict[str, dict[int, str]]]:
    """All of ``steps`` and the converged image at every place, as :func:`in_turns` takes them, for
    each draw of a class with these ``prompts``.

    ``own``: places with steps and converged steps of their own. Its first ``timed`` prompts (None:
    all draws) are timed with the first seed, whatever prompts and seeds follow: a sweep that grows
    measures nothing twice.
    """
    for index in count():
        alone = timed is None or index < min(timed, len(prompts))
        purpose, of_place = "sweep" if alone else "untimed", own or {}
        yield {
            place: {converged: "converged", **dict.fromkeys(grid, purpose)}
            for place in places
            for grid, converged in [of_place.get(place, (steps, converged_steps))]
        }


def in_turns(
    models: Mapping[str, ModelSpec],
    wanted: Mapping[str, Sequence[tuple[Draw, Mapping[str, Counts]]]],
) -> list[Task]:
    """The tasks of ``wanted``: for each prompt class a list of (draw, {place: its counts}).

    For each draw the converged task comes first, so that each grid image can be compared at once;
    then the grid. Places alternate task by task, classes draw by draw, and every second grid runs
    backwards: slow drift of the machine then affects all of them alike, and an interrupted sweep is
    balanced.
    """
    tasks = []
    turns = zip_longest(
        *([(name, *entry) for entry in entries] for name, entries in wanted.items())
    )
    rows = [row for turn in turns for row in turn if row]
    for index, (prompt_class, (prompt, seed), counts) in enumerate(rows):
        asked = {pair for of_place in counts.values() for pair in of_place.items()}
        grid = sorted(asked, reverse=index % 2 == 1)
        for steps, purpose in sorted(grid, key=lambda pair: pair[1] != "converged"):
            for place, model in models.items():
                if counts.get(place, {}).get(steps) == purpose:
                    task = model.task(
                        place=place,
                        prompt=prompt,
                        prompt_class=prompt_class,
                        seed=seed,
                        steps=steps,
                        purpose=purpose,
                    )
                    tasks.append(task)
    return tasks


def split_tasks(
    models: Mapping[str, ModelSpec],
    prompts: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    totals: Sequence[int],
    noise: str = "own",
) -> list[Task]:
    """The split images of the draws of :func:`sweep`: each of ``totals`` steps, in all the ways of
    :func:`calibration.records.split.split_options`; ``models`` of both places.
    """
    return [
        models["edge"].task(
            place="edge",
            prompt=prompt,
            prompt_class=name,
            seed=seed,
            steps=steps,
            purpose="split",
            split=split,
            local_model=models["local"],
        )
        for name, of_class in draws(prompts, seeds, noise).items()
        for prompt, seed in of_class
        for steps in totals
        for split in split_options(steps)
    ]


def check_sweep(
    models: Mapping[str, ModelSpec],
    prompts: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    steps: Sequence[int],
    converged_steps: int,
) -> None:
    """Raise :class:`InputError` for what cannot be swept; see :func:`sweep`."""
    if not models:
        raise InputError("models: found none; allowed: a model for 'local', 'edge' or both")
    table("models", models, PLACES)
    if not prompts:
        raise InputError(
            "prompts: found none; allowed: prompt classes, each with at least one prompt"
        )
    for name, texts in prompts.items():
        _check_distinct(
            f"prompts.{name}",
            texts,
            lambda text: isinstance(text, str) and text != "",
            "different non-empty prompts",
        )
    _check_distinct(
        "seeds",
        seeds,
        lambda seed: is_whole(seed) and 0 <= seed < SEEDS,
        f"different whole numbers from 0 to {SEEDS - 1}",
    )
    _check_distinct(
        "steps",
        steps,
        lambda value: is_whole(value) and value >= 1,
        "different whole numbers of at least 1",
    )
    if not is_whole(converged_steps) or converged_steps <= max(steps):
        raise InputError(
            f"converged_steps: found {shown(converged_steps)}; "
            f"allowed: a whole number above the grid's largest, {max(steps)}"
        )


def _check_distinct(
    where: str, values: Sequence[Any], good: Callable[[Any], bool], allowed: str
) -> None:
    """Raise unless ``values`` are at least one, all different and ``good``."""
    if not isinstance(values, (list, tuple, range)) or not len(values):
        raise InputError(
            f"{where}: found {shown(values)}; allowed: a list of {allowed}, at least one"
        )
    seen = set()
    for value in values:
        if not good(value):
            raise InputError(f"{where}: found {shown(value)}; allowed: {allowed}")
        if value in seen:
            raise InputError(f"{where}: found {shown(value)} twice; allowed: {allowed}")
        seen.add(value)
