"""The tasks of a run: its calibration sweep, and the images that an allocation gives its users.

Nothing here loads torch, so that a configuration is refused before a model is opened.
"""

from collections.abc import Container, Mapping, Sequence
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
from testbed.data.prompts import FilePrompts, ScenePrompts

Prompts = ScenePrompts | FilePrompts

#: The seeds of executed images start here; those of a sweep are below.
EXECUTION_SEED = grid.SEEDS
#: Users after whose images a control image is made at each place.
ANCHOR_EVERY = 3


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
    """The calibration records of these models, by place, without those of executions.

    Of an image that sweeps both timed and made in a batch the timed one counts.
    """
    own = [
        record
        for record in records
        if record.task.seed < EXECUTION_SEED
        and specs.get(record.task.place) == record.task.spec
        and record.task.local_model in (None, specs.get("local"))
    ]
    timed = {record.task.id for record in own if record.task.purpose == "sweep"}
    return [
        record
        for record in own
        if record.task.purpose != "untimed" or replace(record.task, purpose="sweep").id not in timed
    ]


def check_calibrated(
    records: Sequence[Record], specs: Mapping[str, ModelSpec], where: Path
) -> None:
    """Raise :class:`InputError` for a model of ``specs``, by place, that is another one than all
    that the calibration ``records`` in ``where`` have of this place, if there are any.
    """
    for place, spec in specs.items():
        calibrated = [record.task.spec for record in records if record.task.place == place]
        if calibrated and spec not in calibrated:
            was, now = vars(calibrated[-1]), vars(spec)
            name = next(name for name in now if was[name] != now[name])
            raise InputError(
                f"{where}: {place}.{name}: was calibrated as {was[name]!r}, is now {now[name]!r}; "
                "`testbed calibrate` measures it"
            )


def user_tasks(
    config: Config,
    prompts: Prompts,
    specs: Mapping[str, ModelSpec],
    allocation: Allocation,
    problem: Problem,
    before: Container[str] = (),
) -> list[Task]:
    """The tasks that carry out an allocation: each user's images, and their converged images.

    After every few users come control images (:mod:`calibration.costs.drift`) at each place, like
    images of the middle of the sweep's grid. They are those of an earlier allocation exactly where
    the users' images before them are, which were then made at the same time. ``before``: ids of
    what this allocation's execution has made; earlier versions numbered control images by user.
    """
    classes, edge_steps = prompt_classes(problem), allocation.edge_steps or allocation.steps
    middle, control_class = {}, prompts.classes[0]
    for place in PLACES:
        steps = sorted(config.sweep.grid(place))
        middle[place] = steps[len(steps) // 2]
    control_prompt = prompts.calibration(control_class, 1)[0]
    pools = {name: iter(pool) for name, pool in prompts_of_users(prompts, classes).items()}
    tasks: list[Task] = []
    controlled = 0  # tasks with control images behind them
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
            beside = tasks[controlled:]
            own = execution_seed("/".join(task.id for task in beside), user, "own")
            for seed in (EXECUTION_SEED + user, own):
                control = [
                    specs[place].task(
                        place=place,
                        prompt=control_prompt,
                        prompt_class=control_class,
                        seed=seed,
                        steps=middle[place],
                        purpose="anchor",
                    )
                    for place in PLACES
                ]
                if all(task.id in before for task in (*beside, *control)):
                    break
            tasks += control
            controlled = len(tasks)
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


def prompts_of_users(prompts: Prompts, classes: Sequence[str]) -> dict[str, list[str]]:
    """For each prompt class that users ask for, as many prompts as there are such users."""
    for name in classes:
        check_keys("scenario: prompt_classes", [name], prompts.classes)
    return {name: prompts.execution(name, classes.count(name)) for name in dict.fromkeys(classes)}
