"""A made-up testbed for the tests: it answers tasks with records drawn from curves that are known
exactly.
"""

import random
from functools import cache

import numpy as np

from calibration.profiles.build import build
from calibration.profiles.profile import MetricDefinition, Metrics
from calibration.records.record import Measured, Record
from calibration.records.scale import Scales
from calibration.records.split import HandOver, Split
from calibration.records.task import ModelSpec
from calibration.sweep.grid import split_tasks, sweep

GRID = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
CLASSES = ("object", "scene", "relation")
HARDER = {"object": 1.0, "scene": 0.8, "relation": 0.6}
SCALES = Scales.of(error_unit=0.4, utility_floor=60.0, utility_ceiling=90.0)
METRICS = Metrics(MetricDefinition("relative distance"), MetricDefinition("rescaled CLIP score"))
MODELS = {
    place: ModelSpec(
        model=model, device="cpu", dtype="float32", scheduler="DDIMScheduler", guidance=3.0
    )
    for place, model in (("local", "light"), ("edge", "heavy"))
}
STEP_TIME = {"local": 0.010, "edge": 0.024}  # s
OVERHEAD = {"local": 0.020, "edge": 0.035}  # s
DECODE = 0.01  # s, a part of it
LATENTS = 1024  # bytes


def true_time(place, steps):
    return OVERHEAD[place] + STEP_TIME[place] * steps


def true_error(place, prompt_class, steps):
    ease = HARDER[prompt_class]
    return np.exp(-0.14 * ease * steps) + 0.03 if place == "edge" else 1.1 * steps ** (-0.75 * ease)


def true_utility(place, prompt_class, steps):
    top = (0.9 if place == "edge" else 0.7) * HARDER[prompt_class]
    return top * (1 - np.exp(-0.25 * steps))


def true_split(task):
    """Seconds at each place, error and utility of a split image: the more steps at the edge, the
    more like the edge's with as many in all, and better where the edge begins.
    """
    parts = task.split.parts(task.steps)
    seconds = {place: true_time(place, steps) for place, steps in parts.items()}
    seconds[task.split.first] -= DECODE
    missing = parts["local"] / task.steps * (1 if task.split.first == "edge" else 2)
    error = true_error("edge", task.prompt_class, task.steps) * (1 + 0.5 * missing)
    utility = true_utility("edge", task.prompt_class, task.steps) * (1 - 0.3 * missing)
    return seconds, error, utility


@cache
def tasks(classes, prompts, seeds, steps):
    """Those of a sweep, which many worlds are asked."""
    texts = {name: [f"{name} {index}" for index in range(prompts)] for name in classes}
    return sweep(MODELS, texts, list(seeds), list(steps))


class World:
    """Answers tasks. ``watts``: what its meter reads (None: no meter); ``slower``: a factor on all
    times; ``noise`` on everything.
    """

    def __init__(self, seed=0, watts=None, slower=1.0, noise=1.0):
        self.draw = np.random.default_rng(seed)
        self.seed, self.watts, self.slower, self.noise = seed, watts, slower, noise

    def record(self, task):
        place, steps = task.place, task.steps
        # a prompt is harder or easier at every step count alike
        prompt = random.Random(f"{self.seed}/{task.prompt}")
        harder, liked = prompt.gauss(0, 0.15 * self.noise), prompt.gauss(0, 0.05 * self.noise)
        slow, hard, good, hot = self.noise * self.draw.standard_normal(4)
        time = self.slower * true_time(place, steps) * np.exp(0.03 * slow)
        error = true_error(place, task.prompt_class, steps)
        utility = true_utility(place, task.prompt_class, steps)
        handover = None
        if task.split:
            seconds, error, utility = true_split(task)
            local, edge = (
                float(self.slower * seconds[place] * np.exp(0.03 * slow))
                for place in ("local", "edge")
            )
            time, handover = local + edge, HandOver(local, edge, LATENTS)
        error = error * (1 + harder + 0.1 * hard)
        utility = utility + liked + 0.04 * good
        measured = Measured(
            text_time=0.005,
            step_times=(self.slower * STEP_TIME[place],) * steps,
            decode_time=DECODE,
            time=float(time),
            energy_j=None if self.watts is None else float(self.watts * time * (1 + 0.02 * hot)),
            meter=None if self.watts is None else "replay",
            clip_score=float(60 + 30 * utility),
            distance=0.0 if task.purpose == "converged" else float(0.4 * max(0.0, error)),
            handover=handover,
        )
        return Record(task.id, task, measured, {"machine": "made up"}, f"images/{task.id}.png")

    def calibrate(self, classes=CLASSES, prompts=12, seeds=(0,), steps=GRID):
        asked = tasks(tuple(classes), prompts, tuple(seeds), tuple(steps))
        return [self.record(task) for task in asked]

    def calibrate_splits(self, totals, classes=CLASSES, prompts=12):
        texts = {name: [f"{name} {index}" for index in range(prompts)] for name in classes}
        return [self.record(task) for task in split_tasks(MODELS, texts, [0], totals)]

    def execute(self, scenario, allocation, images=2, splits=None):
        """``allocation``: a :class:`solver.Allocation`; ``splits``: those of its problem."""
        names, shared = allocation.places or ("local", "edge"), splits or {}
        edge_steps = allocation.edge_steps or allocation.steps
        of_user = [
            Split(shared[names[a]].first, edge_steps[n]) if names[a] in shared else None
            for n, a in enumerate(allocation.offload)
        ]
        return [
            self.record(
                MODELS[("local", "edge")[min(offload, 1)]].task(
                    place=("local", "edge")[min(offload, 1)],
                    prompt=f"request of {user.user}",
                    prompt_class=user.prompt_class,
                    user=user.user,
                    purpose="user",
                    seed=seed,
                    steps=int(steps),
                    split=of_user[user.user],
                    local_model=MODELS["local"] if of_user[user.user] else None,
                )
            )
            for user, offload, steps in zip(
                scenario.users, allocation.offload, allocation.steps, strict=True
            )
            for seed in range(images)
        ]


def profiles(records, classes=CLASSES, **change):
    """Profiles of the world's ``records``; ``change``: other arguments of :func:`build`."""
    given = {"scales": scales(classes), "distances": {}, "metrics": METRICS, "environment": {}}
    return build(records, **{**given, **change})


def scales(classes=CLASSES):
    return {(place, name): SCALES for place in MODELS for name in classes}


def record(
    place="edge",
    prompt="a red ball",
    prompt_class="object",
    seed=0,
    steps=8,
    purpose="sweep",
    user=None,
    environment=None,
    **measured,
):
    """A record of one's own numbers; what is not given of ``measured`` is made up."""
    task = made(place, prompt, prompt_class, seed, steps, purpose, user)
    times = {"text_time": 0.0, "step_times": (), "decode_time": 0.0, "time": 1.0, "energy_j": None}
    return Record(task.id, task, Measured(**{**times, **measured}), environment or {})


@cache
def made(place, prompt, prompt_class, seed, steps, purpose, user):
    """A task; with its id it is dearer than the rest of a record."""
    return MODELS[place].task(
        place=place,
        prompt=prompt,
        prompt_class=prompt_class,
        seed=seed,
        steps=steps,
        purpose=purpose,
        user=user,
    )
