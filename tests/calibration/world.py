"""A made-up testbed for the tests: it answers tasks with records drawn from curves that are known
exactly.
"""

import random

import numpy as np

from calibration.records.task import Task
from calibration.sweep.grid import sweep

GRID = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
CLASSES = ("object", "scene", "relation")
HARDER = {"object": 1.0, "scene": 0.8, "relation": 0.6}
UNITS = {"error_unit": 0.4, "utility_floor": 60.0, "utility_ceiling": 90.0}
MODEL = {"device": "cpu", "dtype": "float32", "scheduler": "DDIMScheduler", "guidance": 3.0}
MODELS = {"local": {"model": "light", **MODEL}, "edge": {"model": "heavy", **MODEL}}
STEP_TIME = {"local": 0.010, "edge": 0.024}  # s
OVERHEAD = {"local": 0.020, "edge": 0.035}  # s


def true_time(place, steps):
    return OVERHEAD[place] + STEP_TIME[place] * steps


def true_error(place, prompt_class, steps):
    ease = HARDER[prompt_class]
    return np.exp(-0.14 * ease * steps) + 0.03 if place == "edge" else 1.1 * steps ** (-0.75 * ease)


def true_utility(place, prompt_class, steps):
    top = (0.9 if place == "edge" else 0.7) * HARDER[prompt_class]
    return top * (1 - np.exp(-0.25 * steps))


class World:
    """Answers tasks. ``watts``: what its meter reads (None: no meter); ``slower``: a factor on all
    times; ``noise`` on everything.
    """

    def __init__(self, seed=0, watts=None, slower=1.0, noise=1.0):
        self.draw = np.random.default_rng(seed)
        self.seed, self.watts, self.slower, self.noise = seed, watts, slower, noise

    def record(self, task):
        place, steps = task.place, task.steps
        prompt = random.Random(
            f"{self.seed}/{task.prompt}"
        )  # a prompt is harder or easier at every step count alike
        harder, liked = prompt.gauss(0, 0.15 * self.noise), prompt.gauss(0, 0.05 * self.noise)
        one, two, three, four = self.noise * self.draw.standard_normal(4)
        time = self.slower * true_time(place, steps) * np.exp(0.03 * one)
        error = true_error(place, task.prompt_class, steps) * (1 + harder + 0.1 * two)
        utility = true_utility(place, task.prompt_class, steps) + liked + 0.04 * three
        return {
            "id": task.id,
            "asked": task.to_dict(),
            "measured": {
                "text_time": 0.005,
                "step_times": [self.slower * STEP_TIME[place]] * steps,
                "decode_time": 0.01,
                "time": float(time),
                "energy_j": None
                if self.watts is None
                else float(self.watts * time * (1 + 0.02 * four)),
                "meter": None if self.watts is None else "replay",
                "clip_score": float(60 + 30 * utility),
                "distance": 0.0 if task.purpose == "converged" else float(0.4 * max(0.0, error)),
            },
            "image": f"images/{task.id}.png",
            "environment": {"machine": "made up"},
        }

    def calibrate(self, classes=CLASSES, prompts=12, seeds=(0,), steps=GRID):
        texts = {name: [f"{name} {index}" for index in range(prompts)] for name in classes}
        return [self.record(task) for task in sweep(MODELS, texts, list(seeds), steps)]

    def execute(self, scenario, allocation, images=2):
        records = []
        for user, chosen in zip(
            scenario.users,
            zip(allocation["offload"], allocation["steps"], strict=True),
            strict=True,
        ):
            place = ("local", "edge")[chosen[0]]
            what = {
                "prompt": f"request of {user['user']}",
                "prompt_class": user["prompt_class"],
                "user": user["user"],
                "purpose": "user",
            }
            for seed in range(images):
                records.append(
                    self.record(
                        Task(place=place, **MODELS[place], **what, seed=seed, steps=chosen[1])
                    )
                )
        return records


def units(classes=CLASSES):
    return {(place, name): UNITS for place in MODELS for name in classes}
