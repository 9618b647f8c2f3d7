"""A made-up run folder for the tests of the report, and its page as a browser would read it."""

import hashlib
import json
import math
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import solver
from calibration.costs.batch import fit_batching
from calibration.profiles import build as profile
from calibration.records.task import Task
from calibration.scenario.scenario import Scenario, to_problem
from calibration.sweep import grid as plan
from calibration.validation.validate import validate

GRID = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
CONVERGED = 120
HOSTILE = "<script>alert('hostile')</script> & \"a boat\""
PROMPTS = {
    "object": [
        "a big red ball in the middle",
        "a small blue star at the top",
        "a big pink ball on the left",
    ],
    "scene": ["a green tree on the beach in the evening", "a red car in the snow at noon", HOSTILE],
    "relation": [
        "a pink heart above a yellow house",
        "a red car left of a blue tree",
        "a green boat below a star",
    ],
}
MODELS = {
    place: {
        "model": model,
        "revision": None,
        "device": "cpu",
        "dtype": "float32",
        "scheduler": "DDIMScheduler",
        "guidance": 3.0,
    }
    for place, model in (("local", "embedded:light"), ("edge", "embedded:edge"))
}
UNITS = {"error_unit": 0.2, "utility_floor": 20.0, "utility_ceiling": 30.0}
OVERHEAD, STEP_TIME = {"local": 0.011, "edge": 0.041}, {"local": 0.0062, "edge": 0.0196}  # s
ENVIRONMENT = {
    "machine": "Some CPU @ 2.1 GHz",
    "python": "3.11.9",
    "torch": "2.13.0",
    "diffusers": "0.42.1",
    "threads": 2,
}


def error(place, kind, steps):
    """The true error of the made-up models: exponential with a floor, slower for harder classes."""
    decay = {"object": 3.0, "scene": 5.5, "relation": 9.0}[kind]
    return (0.02 if place == "edge" else 0.06) + 0.8 * math.exp(-steps / decay)


def utility(place, kind, steps):
    """The true utility: saturating, lower for harder classes and the light model."""
    ceiling = {"object": 0.94, "scene": 0.88, "relation": 0.8}[kind] - (
        0.0 if place == "edge" else 0.07
    )
    return ceiling - 0.7 * math.exp(-steps / 2.2)


def picture(path, task, rng):
    """A ball under a sky that sinks into noise the fewer the steps and the weaker the model."""
    colours = {
        "red": (214, 40, 40),
        "blue": (45, 95, 205),
        "green": (60, 160, 70),
        "pink": (245, 130, 180),
    }
    image = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    image = Image.blend(image, Image.new("RGB", (64, 64), (120, 190, 240)), 0.6)
    colour = next((value for name, value in colours.items() if name in task.prompt), (250, 214, 50))
    ImageDraw.Draw(image).ellipse((18, 20, 46, 48), fill=colour)
    noise = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.blend(
        image, noise, min(0.95, 0.05 * (task.place == "local") + 0.9 * math.exp(-task.steps / 4))
    ).save(path)


def execute(folder, tasks, rng):
    """Records and pictures of tasks, as the testbed writes them, from the made-up models."""
    records = []
    for task in tasks:
        picture(folder / "images" / f"{task.id}.png", task, rng)
        place, kind, steps = task.place, task.prompt_class, task.steps
        prompt = 1 + 0.1 * (
            int(hashlib.sha256(task.prompt.encode()).hexdigest(), 16) % 100 / 50 - 1
        )  # some prompts are harder
        text, decode, step = (
            0.4 * OVERHEAD[place],
            0.6 * OVERHEAD[place],
            STEP_TIME[place] * rng.normal(1, 0.03),
        )
        distance = (
            0.0
            if task.purpose == "converged"
            else 0.2 * error(place, kind, steps) * prompt * rng.normal(1, 0.05)
        )
        clip = 20 + 10 * utility(place, kind, steps) + 2 * (prompt - 1) + rng.normal(0, 0.2)
        measured = {
            "text_time": text,
            "step_times": [step] * steps,
            "decode_time": decode,
            "time": text + decode + steps * step,
        }
        measured |= {"energy_j": None, "meter": None, "clip_score": clip, "distance": distance}
        named = {"id": task.id, "image": f"images/{task.id}.png", "environment": ENVIRONMENT}
        records.append({**named, "asked": task.to_dict(), "measured": measured})
    (folder / "records.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    return records


def with_optional_parts(profiles):
    """The profiles with all that some have: metered energy, timed batches, the outcome of a sweep
    plan.
    """
    rng, ticks = np.random.default_rng(2), np.repeat([1, 2, 4, 8], 5)
    law = {
        "watts": 9.0,
        "dynamic": True,
        "coefficient": 0.6,
        "clock_range": 0.2,
        "n": 90,
        "tested": True,
        "reason": None,
    }
    for entry in profiles["profiles"]:
        time, watts = entry["time"], {"local": 8.0, "edge": 30.0}[entry["place"]]
        entry["energy"] = {
            "meter": "replay",
            "basis": "measured",
            "overhead_j": watts * time["overhead"],
            "step_j": watts * time["step_time"],
            "covariance": [[1e-6, 0.0], [0.0, 1e-8]],
            "freedom": 40,
            "r2": 0.999,
            "n": 90,
            "idle_watts": 3.5,
            "points": [
                {**point, "median": watts * point["median"] * rng.normal(1, 0.02)}
                for point in time["points"]
            ],
            "lack_of_fit": {"p": 0.4, "largest": -0.012, "at": 6, "affine": True},
            "clock_hz": {"low": 2.2e9, "median": 2.5e9, "high": 2.7e9},
            "paper": {"coefficient": 0.01, "frequency_ghz": 9.7},
            "constant_power": {
                "excess_j": 0.01,
                "low": -0.02,
                "high": 0.04,
                "p": 0.5,
                "holds": True,
            },
            "law": {**law, "exponent": 2.1, "low": 1.8, "high": 2.4, "cubic": False},
        }
        calls = ticks, (0.01 + 0.002 * ticks) * rng.normal(1, 0.01, len(ticks))
        entry["batching"] = fit_batching(calls, calls, calls)
    cells = [(entry["place"], entry["prompt_class"]) for entry in profiles["profiles"]]
    widths = [
        {
            "place": place,
            "prompt_class": kind,
            "quantity": "error",
            "parameter": "decay",
            "value": 0.2,
            "half_width": half,
            "reached": half is not None,
        }
        for (place, kind), half in zip(
            cells, [None, *np.linspace(0.04, 0.09, len(cells) - 1)], strict=True
        )
    ]
    rounds = [{"images": 100, "evaluations": 4000}, {"images": 170, "evaluations": 9000}]
    profiles["plan"] = {
        "target": 0.1,
        "rounds": rounds,
        "evaluations": 9000,
        "uniform_evaluations": 45000,
        "widths": widths,
    }
    return profiles


def make_run(run, users=30):
    """A complete run folder: records made up, everything else computed from them by the stages' own
    code.
    """
    rng = np.random.default_rng(1)
    config = {
        "schema": "run/1",
        **{
            place: {"model": one["model"], "revision": None, "guidance": 3.0}
            for place, one in MODELS.items()
        },
        "device": "auto",
        "sweep": {"steps": list(GRID), "seeds": [0]},
        "scenario": {"users": users},
    }
    sweep = execute(
        run / "calibration", plan.sweep(MODELS, PROMPTS, [0], list(GRID), CONVERGED), rng
    )
    cells = [(place, kind) for place in MODELS for kind in PROMPTS]
    frechet = {}
    for cell in cells:
        values = [(steps, 3 + 14 * error(*cell, steps) * rng.normal(1, 0.03)) for steps in GRID]
        frechet[cell] = [
            {"steps": s, "value": d if s > 1 else None, "n": 24, "low": 0.9 * d, "high": 1.15 * d}
            for s, d in values
        ]
    metrics = {
        "error": {
            "name": "relative distance to the converged sample",
            "converged_steps": CONVERGED,
        },
        "utility": {"name": "rescaled CLIP score", "model": "embedded:clip"},
        "frechet": {"extractor": "embedded:clip", "reference": "scenes", "reference_size": 512},
    }
    profiles = profile.build(sweep, dict.fromkeys(cells, UNITS), frechet, metrics, ENVIRONMENT)
    scenario = Scenario.from_dict(
        {"users": users, "edge_budget": 6 * users, "edge": {"max_steps": 24}}
    )
    problem = to_problem(profiles, scenario)
    methods = ("exact", "greedy", "uniform", "random", "all_local")
    solved = {method: solver.solve(solver.Problem.from_dict(problem), method) for method in methods}
    tasks = []
    for user, (offload, steps) in enumerate(
        zip(solved["exact"].offload, solved["exact"].steps, strict=True)
    ):
        place, kind = ("local", "edge")[offload], scenario.users[user]["prompt_class"]
        asked = {
            **MODELS[place],
            "place": place,
            "prompt": PROMPTS[kind][user % 3],
            "prompt_class": kind,
            "user": user,
        }
        for image in range(2):
            tasks.append(
                Task(**asked, seed=1_000_000 + image, steps=CONVERGED, purpose="converged")
            )
            tasks.append(Task(**asked, seed=1_000_000 + image, steps=steps, purpose="user"))
    execution = execute(run / "execution", tasks, rng)
    row = {
        "quantity": "Fréchet distance (60 images)",
        "unit": "",
        "predicted": 4.1,
        "measured": 5.6,
        "low": 3.6,
        "high": 4.7,
        "relative_error": -0.268,
        "inside": False,
        "basis": "measured",
    }
    nothing = dict.fromkeys(("predicted", "measured", "low", "high", "relative_error", "inside"))
    extra = [row, {"quantity": "kernel distance", "unit": "", **nothing, "basis": "none"}]
    keys = ("solver", "objective", "time", "energy", "error", "utility", "edge_steps_used")
    files = {
        "config": config,
        "profiles": profiles,
        "scenario": scenario.to_dict(),
        "problem": problem,
        "allocation": solved["exact"].to_dict(),
        "baselines": [{key: getattr(one, key) for key in keys} for one in solved.values()],
        "validation": validate(
            problem, solved["exact"].to_dict(), profiles, scenario, execution, extra
        ),
    }
    for name, content in files.items():
        (run / f"{name}.json").write_text(json.dumps(content, allow_nan=False))
    return run


class Page(HTMLParser):
    """The tags of a page with their attributes, and its visible text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self._silent = [], "", False
        self.feed(Path(path).read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._silent = tag == "style"

    def handle_endtag(self, tag):
        self._silent = False

    def handle_data(self, data):
        self.text += "" if self._silent else f" {data}"

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def copy(run, target, *names):
    target.mkdir()
    for name in names:
        source = run / name
        shutil.copytree(source, target / name) if source.is_dir() else shutil.copy(
            source, target / name
        )
    return target
