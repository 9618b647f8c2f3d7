"""The tasks of a run: its calibration sweep, and the images that an allocation gives its users.

Nothing here loads torch, so that a configuration is refused before a model is opened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from calibration.records.record import Record
from calibration.records.split import Split
from calibration.records.task import ModelSpec, Task
from calibration.scenario.scenario import Scenario
from calibration.sweep import grid
from calibration.sweep.adaptive import AdaptiveSweep
from solver.allocation import Allocation
from solver.inputs import InputError, check_keys
from solver.problem import PLACES, Problem
from testbed.config import Config, defaults
from testbed.data.captioned import CaptionedImages
from testbed.data.prompts import FilePrompts, ScenePrompts, open_prompts
from testbed.runs.folder import RunFolder

Prompts = ScenePrompts | FilePrompts

#: The seeds of executed images start here; those of a sweep are below.
EXECUTION_SEED = grid.SEEDS
#: Users after whose images a control image is made at each place.
ANCHOR_EVERY = 3
#: Stands for a model before it is opened.
_ANY = ModelSpec("any", device="any", dtype="any", scheduler="any", guidance=1.0)


def check_calibration(
    config: Config, places: Sequence[str] = PLACES, out: Path | None = None
) -> None:
    """Raise :class:`InputError` for what would stop a calibration in the folder ``out``, before it
    begins.
    """
    reference, prompts = config.quality.reference, open_prompts(config.prompts)
    if (splits := config.sweep.splits) and len(places) < len(PLACES):
        allowed = "allowed without it: latents are handed over from model to model"
        raise InputError(f"sweep.splits: found {list(splits)} with --place; {allowed}")
    kept = out is not None and RunFolder(out).reference_path.exists()
    if config.quality.compares and reference == "converged" and "edge" not in places and not kept:
        raise InputError(
            "--place: found local with quality.reference = 'converged', the edge's images; allowed "
            'with local: quality.reference = "FILE", the calibration/reference.npz that '
            "`testbed calibrate --place edge` writes, or a folder of captioned images"
        )
    if reference == "scenes" and not isinstance(prompts, ScenePrompts):
        raise InputError(
            "quality.reference: 'scenes' needs prompts = \"scenes\"; allowed with other prompts: "
            "'converged', or a folder of captioned images"
        )
    if Path(reference).is_dir():
        CaptionedImages(reference).reference(config.quality.reference_size)
    specs = dict.fromkeys(places, _ANY)
    sweep_tasks(config, prompts, specs)
    if config.sweep.half_width is not None:
        adaptive_sweep(config, prompts, specs)


def check_scenario(config: Config) -> None:
    """Raise :class:`InputError` for a scenario that the sweep's step counts or the prompts do not
    allow.
    """
    prompts = open_prompts(config.prompts)
    scenario = run_scenario(config, prompts)
    own = ("edge", "edge", scenario.edge.max_steps)
    limits = [("local", "local", scenario.local.max_steps)]
    limits += [
        own if site.max_steps is None else (site.name, "edge", site.max_steps)
        for site in scenario.edges
    ] or [own]
    if max(most for _, _, most in limits) == 0:
        raise InputError("scenario: max_steps: found 0 at every place; allowed: more at one")
    for name, place, most in limits:
        measured = max(config.sweep.grid(place))
        if most > measured:
            raise InputError(
                f"scenario: {name}.max_steps: found {most}; "
                f"allowed: at most {measured}, the largest that is measured there"
            )
    _prompts_of_users(prompts, [user.prompt_class for user in scenario.users])


def check_execution(config: Config, problem: Problem, allocation: Allocation) -> None:
    """Raise :class:`InputError` for what :func:`check_problem` refuses, and for users that ask for
    more prompts than there are.
    """
    check_problem(config, problem)
    specs = dict.fromkeys(PLACES, _ANY)
    user_tasks(config, open_prompts(config.prompts), specs, allocation, problem)


def check_problem(config: Config, problem: Problem) -> None:
    """Raise :class:`InputError` for users that ask for other prompts than there are, for classes
    that no scenario has, and for images that the two models cannot make: of a split, or of a tier.
    """
    tiers = [name for name, load in problem.loads.items() if load.step_weight != 1]
    if made := [*tiers, *(() if config.sweep.splits else problem.splits)]:
        raise InputError(
            f"{problem.where}: found {', '.join(made)}; allowed to be executed: local, edges "
            "without step_weight, which all run the edge's model, and splits where sweep.splits "
            "measures them"
        )
    prompts = open_prompts(config.prompts)
    _prompts_of_users(prompts, prompt_classes(problem))
    run_scenario(config, prompts, problem)


def check_users(problem: Problem, scenario: Scenario) -> None:
    """Raise :class:`InputError` for a scenario whose users are not those of the problem."""
    users = {
        "prompt_class": [user.prompt_class for user in scenario.users],
        "device_class": [user.device_class for user in scenario.users],
    }
    for name, classes in (problem.labels or {}).items():
        if users.get(name, classes) != classes:
            raise InputError(
                f"scenario: users: their {name} is not that of {problem.where}; allowed: "
                "the scenario that the problem was made of (`testbed validate --scenario`)"
            )


def prompt_classes(problem: Problem) -> list[str]:
    """Each user's prompt class; raises :class:`InputError` where the problem names none."""
    classes = (problem.labels or {}).get("prompt_class")
    if classes is None:
        raise InputError(
            f"{problem.where}: labels.prompt_class is missing; it names each user's prompt class, "
            "as `testbed problem` writes it"
        )
    return classes


def run_scenario(config: Config, prompts: Prompts, problem: Problem | None = None) -> Scenario:
    """The scenario of a configuration; see :func:`testbed.config.defaults.scenario`.

    The users are those of a ``problem`` from elsewhere, if there is one: as its labels have them,
    on the measured machine where they name no device class.
    """
    if problem is not None:
        classes, labels = prompt_classes(problem), problem.labels or {}
        devices = labels.get("device_class", ["server-core"] * problem.users)
        users = [
            {"prompt_class": name, "device_class": device}
            for name, device in zip(classes, devices, strict=True)
        ]
        config = replace(config, scenario={**config.scenario, "users": users})
    return defaults.scenario(config, prompts)


def sweep_tasks(config: Config, prompts: Prompts, specs: Mapping[str, ModelSpec]) -> list[Task]:
    """The fixed calibration sweep of the models ``specs``, by place."""
    sweep = config.sweep
    chosen = {name: prompts.calibration(name, sweep.prompts_per_class) for name in prompts.classes}
    tasks = grid.sweep(
        specs,
        chosen,
        list(sweep.seeds),
        list(sweep.steps),
        sweep.converged_steps,
        sweep.noise,
        sweep.timed,
        sweep.own_steps,
    )
    if sweep.splits:
        tasks += grid.split_tasks(specs, chosen, sweep.seeds, sweep.splits, sweep.noise)
    return tasks


def adaptive_sweep(
    config: Config, prompts: Prompts, specs: Mapping[str, ModelSpec]
) -> AdaptiveSweep:
    """The sweep that grows until its intervals are narrow enough."""
    sweep = config.sweep
    assert sweep.half_width is not None, "without it the sweep is a fixed one"
    chosen = {
        name: prompts.calibration(name, _most_prompts(config, prompts, name))
        for name in prompts.classes
    }
    return AdaptiveSweep(
        specs,
        chosen,
        list(sweep.seeds),
        list(sweep.steps),
        sweep.converged_steps,
        sweep.prompts_per_class,
        sweep.half_width,
        sweep.noise,
        sweep.timed,
    )


def _most_prompts(config: Config, prompts: Prompts, prompt_class: str) -> int:
    """How many prompts of a class a sweep may use."""
    sweep = config.sweep
    if sweep.half_width is None:
        return sweep.prompts_per_class
    return min(sweep.most_prompts, prompts.available(prompt_class))


def prompt_repeats(config: Config, prompts: Prompts) -> dict[str, Mapping[str, int]]:
    """How often each prompt of a sweep counts where images are compared as sets, by class."""
    return {
        name: prompts.repeats(name, _most_prompts(config, prompts, name))
        for name in prompts.classes
    }


def sweep_records(records: Sequence[Record], specs: Mapping[str, ModelSpec]) -> list[Record]:
    """The calibration records of these models, by place, without those of executions."""
    return [
        record
        for record in records
        if record.task.seed < EXECUTION_SEED
        and specs.get(record.task.place) == record.task.spec
        and record.task.local_model in (None, specs.get("local"))
    ]


def user_tasks(
    config: Config,
    prompts: Prompts,
    specs: Mapping[str, ModelSpec],
    allocation: Allocation,
    problem: Problem,
) -> list[Task]:
    """The tasks that carry out an allocation: each user's images, and their converged images.

    After every few users come control images (:mod:`calibration.costs.drift`) at each place, like
    images of the middle of the sweep's grid.
    """
    classes, edge_steps = prompt_classes(problem), allocation.edge_steps or allocation.steps
    middle, control_class = {}, prompts.classes[0]
    for place in PLACES:
        steps = sorted(config.sweep.grid(place))
        middle[place] = steps[len(steps) // 2]
    control_prompt = prompts.calibration(control_class, 1)[0]
    pools = {name: iter(pool) for name, pool in _prompts_of_users(prompts, classes).items()}
    tasks = []
    for user, (name, offload, allocated) in enumerate(
        zip(classes, allocation.offload, allocation.steps)
    ):
        place, prompt = model_place(offload), next(pools[name])
        shared = problem.splits.get(problem.names[offload])
        split = Split(shared.first, edge_steps[user]) if shared else None
        for image in range(config.execute.images_per_user):
            seed = execution_seed(prompt, image, config.sweep.noise)
            for count, purpose, how in (
                (config.sweep.converged(place), "converged", None),
                (int(allocated), "user", split),
            ):
                tasks.append(
                    specs[place].task(
                        place=place,
                        prompt=prompt,
                        prompt_class=name,
                        seed=seed,
                        steps=count,
                        purpose=purpose,
                        user=user,
                        split=how,
                        local_model=specs["local"] if how else None,
                    )
                )
        if user % ANCHOR_EVERY == 0:
            tasks += [
                specs[place].task(
                    place=place,
                    prompt=control_prompt,
                    prompt_class=control_class,
                    seed=EXECUTION_SEED + user,
                    steps=middle[place],
                    purpose="anchor",
                )
                for place in PLACES
            ]
    return tasks


def model_place(offload: int) -> str:
    """Whose model serves a user: local, or the edge's, which all edges run and splits share."""
    return PLACES[min(offload, 1)]


def offloaded(tasks: Sequence[Task]) -> list[Task]:
    """The tasks of users' images that the edge makes, without those that it shares."""
    return [t for t in tasks if t.purpose == "user" and t.place == "edge" and not t.split]


def execution_seed(prompt: str, image: int, noise: str) -> int:
    """The seed of a prompt's image number ``image``, none that a sweep uses."""
    return EXECUTION_SEED + grid.noise_seed(prompt, image, noise)


def _prompts_of_users(prompts: Prompts, classes: Sequence[str]) -> dict[str, list[str]]:
    """For each prompt class that users ask for, as many prompts as there are such users."""
    for name in classes:
        check_keys("scenario: prompt_classes", [name], prompts.classes)
    return {name: prompts.execution(name, classes.count(name)) for name in dict.fromkeys(classes)}
