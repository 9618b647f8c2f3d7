"""The calibration sweep as a list of tasks."""

from itertools import zip_longest

from calibration.checks import is_whole, need, table
from calibration.tasks import PLACES, Task
from solver.inputs import InputError

MODEL_FIELDS = ("model", "revision", "device", "dtype", "scheduler", "guidance")


def sweep(models, prompts, seeds, steps, converged_steps=120):
    """Tasks of a calibration sweep, in the order in which they should run.

    ``models``: per place (``local``, ``edge``) the model's fields (``model``, ``device``, ``dtype``, ``scheduler``,
    ``guidance``, optional ``revision``); ``prompts``: per prompt class a list of prompts; ``seeds``; ``steps``: the
    grid; ``converged_steps``: the steps of the reference image, more than the grid's largest.

    For each prompt and seed the converged task comes first, so that each grid image can be compared at
    once; then the grid. Places alternate task by task, classes prompt by prompt, and every second grid runs
    backwards: slow drift of the machine then falls on all of them alike, and an interrupted sweep is balanced.

    Raises :class:`InputError` for an empty list, a duplicate, or a value that is not allowed.
    """
    _models(models)
    if not isinstance(prompts, dict) or not prompts:
        raise InputError(f"prompts: found {prompts!r}; allowed: prompt classes, each with a list of at least one prompt")
    for name, texts in prompts.items():
        _distinct(f"prompts.{name}", texts, lambda text: isinstance(text, str) and text, "different non-empty prompts")
    _distinct("seeds", seeds, lambda seed: is_whole(seed) and seed >= 0, "different whole numbers of at least 0")
    _distinct("steps", steps, lambda count: is_whole(count) and count >= 1, "different whole numbers of at least 1")
    if not is_whole(converged_steps) or converged_steps <= max(steps):
        raise InputError(f"converged_steps: found {converged_steps!r}; allowed: a whole number above the grid's largest, {max(steps)}")

    tasks = []
    rounds = zip_longest(*([(name, text) for text in texts] for name, texts in prompts.items()))
    turns = [(name, text, seed) for group in rounds for name, text in filter(None, group) for seed in seeds]
    for turn, (prompt_class, prompt, seed) in enumerate(turns):
        grid = sorted(steps, reverse=turn % 2 == 1)
        for count in [converged_steps, *grid]:
            for place in models:
                purpose = "converged" if count == converged_steps else "sweep"
                what = {"prompt": prompt, "prompt_class": prompt_class, "seed": seed, "steps": count, "purpose": purpose}
                tasks.append(Task(place=place, **models[place], **what))
    return tasks


def _models(models):
    """Check the keys of ``models``; the values are checked by :class:`Task`."""
    if not isinstance(models, dict) or not models:
        raise InputError(f"models: found {models!r}; allowed: fields of a model under 'local', 'edge' or both")
    table("models", models, PLACES)
    for place, fields in models.items():
        table(f"models.{place}", fields, MODEL_FIELDS)
        need(f"models.{place}", fields, [name for name in MODEL_FIELDS if name != "revision"])


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
