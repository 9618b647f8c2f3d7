"""The calibration sweep as a list of tasks; :mod:`calibration.sweep.adaptive` chooses smaller ones."""

import hashlib
from itertools import zip_longest

from calibration.checks import is_whole, need, table
from calibration.records.task import PLACES, Task
from solver.inputs import InputError

SEEDS = 1_000_000  # those of a sweep are below
NOISES = ("own", "shared")
MODEL_FIELDS = ("model", "device", "dtype", "scheduler", "guidance")  # and, if there is one,
OPTIONAL = ("revision", "negative_prompt")


def noise_seed(prompt, seed, noise="own"):
    """The seed of the noise that an image of ``prompt`` begins with: of ``shared`` noise ``seed``
    itself, else one drawn by both.

    One noise for all prompts makes their images err together (at few steps by a tenth and more),
    which no number of prompts averages out.
    """
    return (
        seed
        if noise == "shared"
        else int(hashlib.sha256(f"{seed}/{prompt}".encode()).hexdigest(), 16) % SEEDS
    )


def samples(prompts, seeds, noise):
    """{class: [(prompt, seed of its noise)]}, all prompts with the first of ``seeds``, then with
    the next.
    """
    return {
        name: [(text, noise_seed(text, seed, noise)) for seed in seeds for text in texts]
        for name, texts in prompts.items()
    }


def sweep(models, prompts, seeds, steps, converged_steps=120, noise="own"):
    """Tasks of a fixed sweep, every prompt with every seed and every step count, in the order in
    which they should run.

    ``models``: per place (``local``, ``edge``) the model's fields (``model``, ``device``,
    ``dtype``, ``scheduler``, ``guidance``, optional ``revision``, ``negative_prompt``);
    ``prompts``: per prompt class a list of prompts; ``seeds``; ``steps``: the grid;
    ``converged_steps``: the steps of the reference image, more than the grid's largest; ``noise``:
    see :func:`noise_seed`.

    Raises :class:`InputError` for an empty list, a duplicate, or a value that is not allowed.
    """
    check(models, prompts, seeds, steps, converged_steps)
    every = whole(models, steps, converged_steps)
    return in_turns(
        models,
        {
            name: [(*one, every) for one in some]
            for name, some in samples(prompts, seeds, noise).items()
        },
    )


def whole(models, steps, converged_steps):
    """All of ``steps`` and the converged image at every place, as :func:`in_turns` takes them for
    one prompt and seed.
    """
    return {
        place: {converged_steps: "converged", **dict.fromkeys(steps, "sweep")} for place in models
    }


def in_turns(models, wanted):
    """Tasks for ``wanted``: per prompt class a list of (prompt, seed, {place: {step count:
    purpose}}).

    For each prompt and seed the converged task comes first, so that each grid image can be compared
    at once; then the grid. Places alternate task by task, classes prompt by prompt, and every
    second grid runs backwards: slow drift of the machine then falls on all of them alike, and an
    interrupted sweep is balanced.
    """
    tasks = []
    rounds = zip_longest(*([(name, *one) for one in samples] for name, samples in wanted.items()))
    for turn, (prompt_class, prompt, seed, counts) in enumerate(
        one for group in rounds for one in group if one
    ):
        asked = {(count, purpose) for one in counts.values() for count, purpose in one.items()}
        grid = sorted(asked, reverse=turn % 2 == 1)
        for count, purpose in sorted(grid, key=lambda one: one[1] != "converged"):
            for place in models:
                if counts.get(place, {}).get(count) == purpose:
                    what = {
                        "prompt": prompt,
                        "prompt_class": prompt_class,
                        "seed": seed,
                        "steps": count,
                        "purpose": purpose,
                    }
                    tasks.append(Task(place=place, **models[place], **what))
    return tasks


def check(models, prompts, seeds, steps, converged_steps):
    """Raise :class:`InputError` for what cannot be swept; see :func:`sweep`."""
    _models(models)
    if not isinstance(prompts, dict) or not prompts:
        raise InputError(
            f"prompts: found {prompts!r}; allowed: prompt classes, each with a list of at least one prompt"
        )
    for name, texts in prompts.items():
        _distinct(
            f"prompts.{name}",
            texts,
            lambda text: isinstance(text, str) and text,
            "different non-empty prompts",
        )
    _distinct(
        "seeds",
        seeds,
        lambda seed: is_whole(seed) and 0 <= seed < SEEDS,
        f"different whole numbers from 0 to {SEEDS - 1}",
    )
    _distinct(
        "steps",
        steps,
        lambda count: is_whole(count) and count >= 1,
        "different whole numbers of at least 1",
    )
    if not is_whole(converged_steps) or converged_steps <= max(steps):
        raise InputError(
            f"converged_steps: found {converged_steps!r}; allowed: a whole number above the grid's largest, {max(steps)}"
        )


def _models(models):
    """Check the keys of ``models``; the values are checked by :class:`Task`."""
    if not isinstance(models, dict) or not models:
        raise InputError(
            f"models: found {models!r}; allowed: fields of a model under 'local', 'edge' or both"
        )
    table("models", models, PLACES)
    for place, fields in models.items():
        table(f"models.{place}", fields, MODEL_FIELDS + OPTIONAL)
        need(f"models.{place}", fields, MODEL_FIELDS)


def _distinct(where, values, good, allowed):
    """Raise unless ``values`` is a non-empty list of different good values."""
    if not isinstance(values, (list, tuple, range)) or not len(values):
        raise InputError(f"{where}: found {values!r}; allowed: a list of {allowed}, at least one")
    seen = set()
    for value in values:
        if not good(value):
            raise InputError(f"{where}: found {value!r}; allowed: {allowed}")
        if value in seen:
            raise InputError(f"{where}: found {value!r} twice; allowed: {allowed}")
        seen.add(value)
