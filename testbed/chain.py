"""The chain on a run folder: calibrate → problem → solve → execute → validate → report.

Every stage reads files of the run folder and writes files there, so a killed run goes on where it was.
"""

from pathlib import Path

import numpy as np

import solver
from calibration import plan, profile, validate
from calibration.scenario import Scenario, to_problem
from calibration.tasks import Task
from solver.inputs import InputError, check_keys, read_json, write_json
from solver.problem import PLACES, Problem
from testbed import quality
from testbed.captioned import CaptionedImages
from testbed.distances import CMMD_WIDTH, Reference, shortage
from testbed.execute import Executor, environment
from testbed.pipelines import open_pipeline, pick_device
from testbed.prompts import open_prompts
from testbed.store import RecordStore

EXECUTION_SEED = 1_000_000  # seeds of executed images start here, far from those of any sweep
ANCHOR_EVERY = 3  # users
FRECHET_DRAWS = 200


def open_run(config, out):
    """Make or reopen the run folder ``out``; raises :class:`InputError` if it holds another configuration."""
    out = Path(out)
    path, wanted = out / "config.json", config.to_dict()
    wanted = _plain(wanted)
    if path.exists():
        found = read_json(path)
        for key in sorted(set(wanted) | set(found)):
            if wanted.get(key) != found.get(key):
                raise InputError(
                    f"{path}: {key}: this run folder was made with {found.get(key)!r}, not {wanted.get(key)!r}; choose another --out or the same configuration"
                )
    elif out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: not empty and not a run folder; choose another --out")
    else:
        write_json(path, wanted)
    return out


def _plain(value):
    """Tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


class Testbed:
    """A configuration with its models opened: what calibration and execution share."""

    def __init__(self, config):
        self.config = config
        self.prompts = open_prompts(config.prompts)
        if config.quality.reference == "scenes" and not hasattr(self.prompts, "reference"):
            allowed = "'converged', or a folder of captioned images"
            raise InputError(f"quality.reference: 'scenes' needs prompts = \"scenes\"; allowed with other prompts: {allowed}")
        if config.quality.reference not in ("scenes", "converged"):
            self.pictures = CaptionedImages(config.quality.reference)
        self.device = pick_device(config.device)
        self.models, pipelines = {}, {}
        for place in PLACES:
            model = getattr(config, place)
            pipeline, revision = open_pipeline(model, self.device)
            pipelines[place] = pipeline
            self.models[place] = {
                "model": model.model, "revision": revision, "device": str(self.device), "dtype": model.dtype,
                "scheduler": type(pipeline.scheduler).__name__, "guidance": model.guidance,
            }  # fmt: skip
        self.clip = quality.Clip(config.quality.clip, self.device)
        self.executor = Executor(pipelines, self.clip, self.device, config.sweep.converged_batch)

    def sweep(self):
        """Tasks of the calibration sweep."""
        sweep = self.config.sweep
        prompts = {name: self.prompts.calibration(name, sweep.prompts_per_class) for name in self.prompts.classes}
        return plan.sweep(self.models, prompts, list(sweep.seeds), list(sweep.steps), sweep.converged_steps)

    def check(self, scenario):
        """Raise :class:`InputError` now for what would stop the chain after hours of calibration."""
        self.sweep()
        for place in PLACES:
            limit, measured = getattr(scenario, place)["max_steps"], max(self.config.sweep.steps)
            if limit > measured:
                raise InputError(f"scenario: {place}.max_steps: found {limit}; allowed: at most {measured}, the largest of sweep.steps")
        self._pools([user["prompt_class"] for user in scenario.users])

    def _pools(self, classes):
        """For each prompt class that users ask for, as many prompts as there are such users."""
        for name in classes:
            check_keys("scenario: prompt_classes", [name], self.prompts.classes)
        return {name: self.prompts.execution(name, classes.count(name)) for name in dict.fromkeys(classes)}

    def users(self, allocation, classes):
        """Tasks that carry out an allocation: each UE's images at its place with its steps, and their converged images.

        After every few UEs come anchors (:mod:`calibration.drift`), like images of the middle of the sweep's grid, at each place.
        """
        grid, name = sorted(self.config.sweep.steps), self.prompts.classes[0]
        anchor = {"prompt_class": name, "prompt": self.prompts.calibration(name, 1)[0], "steps": grid[len(grid) // 2], "purpose": "anchor"}
        pools = {name: iter(pool) for name, pool in self._pools(classes).items()}
        tasks = []
        for user, (name, offloaded, steps) in enumerate(zip(classes, allocation.offload, allocation.steps)):
            place, prompt = PLACES[offloaded], next(pools[name])
            for image in range(self.config.execute.images_per_user):
                asked = {**self.models[place], "place": place, "prompt": prompt, "prompt_class": name, "user": user, "seed": EXECUTION_SEED + image}
                tasks.append(Task(**asked, steps=self.config.sweep.converged_steps, purpose="converged"))
                tasks.append(Task(**asked, steps=int(steps), purpose="user"))
            if user % ANCHOR_EVERY == 0:
                tasks += [Task(**self.models[place], place=place, **anchor, seed=EXECUTION_SEED + user) for place in PLACES]
        return tasks

    def given_reference(self):
        """Reference set of each class, ``{class: (image features, captions)}``; a folder's is one for all.

        None if the reference is to be the converged images, which have yet to be made.
        """
        asked, size = self.config.quality.reference, self.config.quality.reference_size
        if asked == "converged":
            return None
        if asked == "scenes":
            drawn = {name: self.prompts.reference(name, size) for name in self.prompts.classes}
            return {name: (self.clip.images(images), captions) for name, (images, captions) in drawn.items()}
        images, captions = self.pictures.reference(size)
        return dict.fromkeys(self.prompts.classes, (self.clip.images(images), captions))

    def converged_reference(self, records, store):
        """The same of the edge model's converged images."""
        made = [r for r in records if r["asked"]["purpose"] == "converged" and r["asked"]["place"] == "edge"]
        of = {name: [r for r in made if r["asked"]["prompt_class"] == name] for name in self.prompts.classes}
        images = {name: self.clip.images([store.image(r["id"]) for r in own]) for name, own in of.items()}
        return {name: (images[name], [r["asked"]["prompt"] for r in own]) for name, own in of.items()}


def _utility_units(features, captions, clip):
    """CLIP score of real images with their own captions (ceiling) and with others' captions (floor)."""
    texts = clip.texts(captions)
    scores = np.maximum(0, 100 * _unit(features) @ _unit(texts).T)
    other = np.array([[a != b for b in captions] for a in captions])
    return {"utility_floor": float(scores[other].mean()), "utility_ceiling": float(np.diag(scores).mean())}


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _error_unit(images):
    """Mean distance between converged images of different prompts: the scale on which an error of 1 is 'another picture'."""
    pairs = [quality.distance(a, b) for i, a in enumerate(images) for b in images[:i]]
    return float(np.mean(pairs))


def calibrate(testbed, out):
    """Run the sweep, fit the curves, write ``profiles.json``; returns ``(profiles, sweep)`` for what follows."""
    store = RecordStore(out / "calibration")
    reference = testbed.given_reference()  # first: what is wrong with it should not show after hours of generation
    records = testbed.executor.run(testbed.sweep(), store, "calibrate")
    reference = reference or testbed.converged_reference(records, store)
    features = dict(zip((r["id"] for r in records), testbed.clip.images([store.image(r["id"]) for r in records])))
    units, frechet, kernels = {}, {}, {}
    for name in testbed.prompts.classes:
        utility, real = _utility_units(*reference[name], testbed.clip), Reference(reference[name][0])
        for place in PLACES:
            own = [r for r in records if r["asked"]["place"] == place and r["asked"]["prompt_class"] == name]
            first_seed = own[0]["asked"]["seed"]
            converged = [store.image(r["id"]) for r in own if r["asked"]["purpose"] == "converged" and r["asked"]["seed"] == first_seed]
            units[place, name] = {"error_unit": _error_unit(converged), **utility}
            points = [_distance_point(own, steps, features, real) for steps in testbed.config.sweep.steps]
            frechet[place, name] = [{"steps": point["steps"], **point["frechet"]} for point in points]
            kernels[place, name] = {kind: [{"steps": point["steps"], **point[kind]} for point in points] for kind in ("kid", "cmmd")}
    compared = {
        "extractor": f"{testbed.config.quality.clip}, projected image features", "reference": testbed.config.quality.reference,
        "reference_size": len(next(iter(reference.values()))[0]),
        "interval": "95 %, of the expected distance of as many images of other prompts to this reference, by a jackknife over prompts",
    }  # fmt: skip
    metrics = {
        "error": {"name": "relative distance to the converged sample", "converged_steps": testbed.config.sweep.converged_steps},
        "utility": {"name": "rescaled CLIP score", "model": testbed.config.quality.clip},
        "frechet": compared,
        "kid": {"name": "kernel distance, squared MMD with a cubic kernel, unbiased", **compared},
        "cmmd": {"name": f"1000 × squared MMD with a Gaussian kernel of σ = {CMMD_WIDTH:g} on features of length 1, unbiased", **compared},
    }
    profiles = profile.build(records, units, frechet, metrics, environment(testbed.device), kernels)
    write_json(out / "profiles.json", profiles)
    return profiles, {"records": records, "features": features, "reference": reference}


def _distance_point(records, steps, features, reference):
    """Distances of the sweep's images with ``steps`` steps to a :class:`testbed.distances.Reference`."""
    chosen = [r for r in records if r["asked"]["steps"] == steps and r["asked"]["purpose"] == "sweep"]
    found, prompts = np.stack([features[r["id"]] for r in chosen]), [r["asked"]["prompt"] for r in chosen]
    kernels = {"kid": reference.kid(found, prompts)._asdict(), "cmmd": reference.cmmd(found, prompts)._asdict()}
    return {"steps": steps, "frechet": reference.frechet(found, prompts), **kernels}


def solve(out, profiles, scenario):
    """Problem from profiles and scenario, its optimum and the simple alternatives, all written to the run folder."""
    problem_dict = to_problem(profiles, scenario)
    write_json(out / "problem.json", problem_dict)
    write_json(out / "scenario.json", scenario.to_dict())
    problem = Problem.from_dict(problem_dict, "problem.json")
    allocation = solver.solve(problem, "exact")
    allocation.save(out / "allocation.json")
    rows = []
    for name in solver.METHODS:
        if name == "milp":  # the exact solver's oracle in the tests; many equal users make it slow
            continue
        try:
            other = allocation if name == "exact" else solver.solve(problem, name)
        except InputError:  # e.g. all local where only the edge can serve
            continue
        keys = ("solver", "objective", "time", "energy", "error", "utility", "edge_steps_used")
        rows.append({key: getattr(other, key) for key in keys})
    write_json(out / "baselines.json", rows)
    return problem_dict, allocation


def execute(testbed, out, allocation, classes):
    """Generate every UE's images at its place with its steps; returns the records."""
    return testbed.executor.run(testbed.users(allocation, classes), RecordStore(out / "execution"), "execute")


def check(testbed, out, profiles, scenario, problem, allocation, records, sweep):
    """Hold the predictions against what was measured; write ``validation.json``."""
    extra = [_frechet_total(testbed, RecordStore(out / "execution"), records, sweep)]
    result = validate.validate(problem, allocation.to_dict(), profiles, scenario, records, extra)
    write_json(out / "validation.json", result)
    return result


def _frechet_total(testbed, store, records, sweep):
    """Fréchet distance of the executed images, against calibration images of the same number and mixture.

    Each draw takes, for every executed image, a calibration image of the same place and class at the nearest
    calibrated step count, of a prompt not yet drawn for the class while there are any. Drawing n of N without
    repetition varies less, by 1 - n/N, than n new prompts would, and the N are a sample themselves: the 95 % interval
    of the draws is widened by sqrt((1 + n/N) / (1 - n/N)). With n >= N there is no interval.
    """
    executed = [r for r in records if r["asked"]["purpose"] == "user"]
    sets = {id(features): features for features, _ in sweep["reference"].values()}  # the classes may share one
    reference = np.concatenate(list(sets.values()))
    measured = quality.frechet(testbed.clip.images([store.image(r["id"]) for r in executed]), reference)
    cells = {}  # (place, class, steps) -> (prompt, seed) -> features
    for record in sweep["records"]:
        asked = record["asked"]
        if asked["purpose"] == "sweep":
            cells.setdefault((asked["place"], asked["prompt_class"], asked["steps"]), {})[asked["prompt"], asked["seed"]] = sweep["features"][record["id"]]
    wanted, share = [], 0.0
    for asked in (r["asked"] for r in executed):
        nearest = min(testbed.config.sweep.steps, key=lambda s: (abs(np.log(s / asked["steps"])), s))
        wanted.append((asked["prompt_class"], cells[asked["place"], asked["prompt_class"], nearest]))
    for name in testbed.prompts.classes:
        pools = [len(cell) for of, cell in wanted if of == name]
        share = max(share, len(pools) / min(pools, default=1))
    rng, values = np.random.default_rng(0), []
    for _ in range(FRECHET_DRAWS):
        decks, drawn = {}, []
        for name, cell in wanted:
            deck = decks.setdefault(name, [])
            if not deck:
                deck.extend(list(cell)[i] for i in rng.permutation(len(cell)))
            drawn.append(cell[deck.pop()])
        values.append(quality.frechet(np.stack(drawn), reference))
    predicted = float(np.median(values))
    half = 1.96 * float(np.std(values, ddof=1) * np.sqrt((1 + share) / (1 - share))) if share < 1 else None
    return {
        "quantity": f"Fréchet distance ({len(executed)} images)", "unit": "", "predicted": predicted, "measured": measured,
        "low": half and predicted - half, "high": half and predicted + half, "relative_error": (predicted - measured) / measured,
        "inside": half and abs(predicted - measured) <= half, "basis": "measured",
        "note": shortage(len(executed), len(reference), reference.shape[1]),
    }  # fmt: skip


def run(config, out):
    """The whole chain; returns the path of the report."""
    from testbed.report import write_report

    classes = open_prompts(config.prompts).classes
    scenario = Scenario.from_dict({"prompt_classes": dict.fromkeys(classes, 1), **config.scenario}, "scenario")
    testbed = Testbed(config)
    testbed.check(scenario)
    out = open_run(config, out)
    profiles, sweep = calibrate(testbed, out)
    problem, allocation = solve(out, profiles, scenario)
    classes = [user["prompt_class"] for user in scenario.users]
    records = execute(testbed, out, allocation, classes)
    check(testbed, out, profiles, scenario, problem, allocation, records, sweep)
    return write_report(out)
