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
from calibration.comparison import Total
from calibration.profiles.build import build
from calibration.profiles.profile import DistancePoint, Distances, MetricDefinition, Metrics
from calibration.records.record import Measured, Record
from calibration.records.scale import Scales
from calibration.records.task import ModelSpec
from calibration.scenario.problem import to_problem
from calibration.scenario.scenario import Scenario
from calibration.schema import plain
from calibration.sweep.grid import sweep
from calibration.validation.validate import validate
from solver.inputs import write_json
from testbed.config import Config, ModelConfig, SweepConfig
from testbed.runs.folder import RunFolder
from testbed.runs.products import Baseline

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
    place: ModelSpec(model, "cpu", "float32", "DDIMScheduler", 3.0)
    for place, model in (("local", "embedded:light"), ("edge", "embedded:edge"))
}
SCALES = Scales.of(error_unit=0.2, utility_floor=20.0, utility_ceiling=30.0)
OVERHEAD, STEP_TIME = {"local": 0.011, "edge": 0.041}, {"local": 0.0062, "edge": 0.0196}  # s
ENVIRONMENT = {
    "machine": "Some CPU @ 2.1 GHz",
    "python": "3.11.9",
    "torch": "2.13.0",
    "diffusers": "0.42.1",
    "threads": 2,
}
METRICS = Metrics(
    error=MetricDefinition(
        name="relative distance to the converged sample", converged_steps=CONVERGED
    ),
    utility=MetricDefinition(
        name="rescaled CLIP score", model="embedded:clip", model_sha256="87a843d8a6fd"
    ),
    frechet=MetricDefinition(extractor="embedded:clip", reference="scenes", reference_size=512),
)
COLOURS = {
    "red": (214, 40, 40),
    "blue": (45, 95, 205),
    "green": (60, 160, 70),
    "pink": (245, 130, 180),
}


def error(place, kind, steps):
    """The true error of the made-up models: exponential with a floor, slower for harder classes."""
    decay = {"object": 3.0, "scene": 5.5, "relation": 9.0}[kind]
    return (0.02 if place == "edge" else 0.06) + 0.8 * math.exp(-steps / decay)


def utility(place, kind, steps):
    """The true utility: saturating, lower for harder classes and the light model."""
    ceiling = {"object": 0.94, "scene": 0.88, "relation": 0.8}[kind]
    return ceiling - (0.0 if place == "edge" else 0.07) - 0.7 * math.exp(-steps / 2.2)


def draw(path, task, rng):
    """A ball under a sky that sinks into noise the fewer the steps and the weaker the model."""
    image = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    image = Image.blend(image, Image.new("RGB", (64, 64), (120, 190, 240)), 0.6)
    colour = next((value for name, value in COLOURS.items() if name in task.prompt), (250, 214, 50))
    ImageDraw.Draw(image).ellipse((18, 20, 46, 48), fill=colour)
    noise = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    share = 0.05 * (task.place == "local") + 0.9 * math.exp(-task.steps / 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.blend(image, noise, min(0.95, share)).save(path)


def execute(folder, tasks, rng):
    """Records and images of tasks, as the testbed writes them, from the made-up models."""
    records = []
    for task in tasks:
        draw(folder / "images" / f"{task.id}.png", task, rng)
        measured = measure(task, rng)
        records.append(Record(task.id, task, measured, ENVIRONMENT, f"images/{task.id}.png"))
    lines = [json.dumps(record.to_dict()) + "\n" for record in records]
    (folder / "records.jsonl").write_text("".join(lines))
    return records


def measure(task, rng):
    place, kind, steps = task.place, task.prompt_class, task.steps
    digest = int(hashlib.sha256(task.prompt.encode()).hexdigest(), 16)
    harder = 1 + 0.1 * (digest % 100 / 50 - 1)  # some prompts are
    step = STEP_TIME[place] * rng.normal(1, 0.03)
    text, decode = 0.4 * OVERHEAD[place], 0.6 * OVERHEAD[place]
    distance = 0.0
    if task.purpose != "converged":
        distance = 0.2 * error(place, kind, steps) * harder * rng.normal(1, 0.05)
    return Measured(
        text_time=text,
        step_times=(step,) * steps,
        decode_time=decode,
        time=text + decode + steps * step,
        energy_j=None,
        clip_score=20 + 10 * utility(place, kind, steps) + 2 * (harder - 1) + rng.normal(0, 0.2),
        distance=distance,
    )


def distances(place, kind, rng):
    """Fréchet distances of 24 images, but for a single step."""
    values = [(steps, 3 + 14 * error(place, kind, steps) * rng.normal(1, 0.03)) for steps in GRID]
    return Distances(
        tuple(
            DistancePoint(steps, value, 0.9 * value, 1.15 * value, 24)
            for steps, value in values
            if steps > 1
        )
    )


def user_tasks(allocation, scenario):
    """Two images for each user, and the converged image of each."""
    tasks = []
    for user, offload, steps in zip(
        scenario.users, allocation.offload, allocation.steps, strict=True
    ):
        place = ("local", "edge")[offload]
        for seed in (1_000_000, 1_000_001):
            asked = {
                "place": place,
                "prompt": PROMPTS[user.prompt_class][user.user % 3],
                "prompt_class": user.prompt_class,
                "user": user.user,
                "seed": seed,
            }
            tasks.append(MODELS[place].task(**asked, steps=CONVERGED, purpose="converged"))
            tasks.append(MODELS[place].task(**asked, steps=steps, purpose="user"))
    return tasks


def make_run(path, users=30):
    """A complete run folder: records made up, everything else computed from them by the stages' own
    code. Returns its path.
    """
    rng, folder = np.random.default_rng(1), RunFolder(path)
    tasks = sweep(MODELS, PROMPTS, [0], list(GRID), CONVERGED)
    records = execute(path / "calibration", tasks, rng)
    cells = [(place, kind) for place in MODELS for kind in PROMPTS]
    profiles = build(
        records,
        dict.fromkeys(cells, SCALES),
        {cell: distances(*cell, rng) for cell in cells},
        METRICS,
        ENVIRONMENT,
    )
    scenario = Scenario.from_dict(
        {"users": users, "edge_budget": 6 * users, "edge": {"max_steps": 24}}
    )
    problem = to_problem(profiles, scenario)
    methods = ("exact", "greedy", "uniform", "random", "all_local")
    solved = {method: solver.solve(problem, method) for method in methods}
    allocation = solved["exact"]
    executed = execute(path / "execution", user_tasks(allocation, scenario), rng)
    totals = [
        Total(
            quantity="Fréchet distance (60 images)",
            unit="",
            predicted=4.1,
            measured=5.6,
            low=3.6,
            high=4.7,
            relative_error=-0.268,
            inside=False,
            basis="measured",
        ),
        Total(
            quantity="kernel distance", unit="", predicted=4.0, low=None, high=None, basis="none"
        ),
    ]
    config = Config(
        local=ModelConfig("embedded:light"),
        edge=ModelConfig("embedded:edge"),
        sweep=SweepConfig(steps=GRID),
        scenario={"users": users},
    )
    write_json(path / "config.json", plain(config.to_dict()))
    validation = validate(problem, allocation, profiles, scenario, executed, totals)
    for product in (profiles, scenario, problem, allocation, validation):
        folder.save(product)
    folder.save_baselines(Baseline.of(other) for other in solved.values())
    return path


def without_paper(validation):
    """A validation as an older testbed wrote it, in JSON: without what the paper would have
    predicted, and without drift.
    """
    values = validation.to_dict()
    del values["paper_median_absolute_error"], values["drift"]
    rows = [row for user in values["users"] for row in user.values() if isinstance(row, dict)]
    for row in [*values["totals"], *rows]:
        for name in ("paper", "paper_relative_error"):
            row.pop(name, None)
    return values


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

    def sections(self):
        return [attributes["id"] for attributes in self.all("section")]

    def line(self):
        """The text with single spaces."""
        return " ".join(self.text.split())


def copy(run, target, *names):
    """A folder with these of the files and folders of a run."""
    target.mkdir()
    for name in names:
        source = run / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            shutil.copy(source, target / name)
    return target
