"""What is wrong with a run, told before anything is opened, fetched or measured.

Nothing here loads torch.
"""

from collections.abc import Sequence
from pathlib import Path

from calibration.checks import shortened
from calibration.records.task import ModelSpec
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import edges_of, model_of, step_limits
from solver.allocation import Allocation
from solver.inputs import InputError
from solver.problem import PLACES, Problem
from testbed.config import Config
from testbed.config.paths import REFERENCES
from testbed.data.captioned import CaptionedImages
from testbed.data.prompts import ScenePrompts, open_prompts
from testbed.runs.folder import RunFolder
from testbed.stages.tasks import (
    EXECUTION_SEED,
    Prompts,
    adaptive_sweep,
    prompt_classes,
    prompts_of_users,
    run_scenario,
    sweep_tasks,
    user_tasks,
)

#: Stands for a model before it is opened.
_ANY = ModelSpec("any", device="any", dtype="any", scheduler="any", guidance=1.0)


def check_calibration(
    config: Config, places: Sequence[str] = PLACES, out: Path | None = None
) -> None:
    """Raise :class:`InputError` for what would stop a calibration in the folder ``out``, before it
    begins.
    """
    reference, prompts = config.quality.reference, open_prompts(config.prompts)
    if gone := sorted({name for name, _ in _measured(out)} - set(prompts.classes)):
        raise InputError(
            f"prompts: {config.prompts}: found no class {gone[0]!r}, which {out} has measured; "
            "allowed: the prompts as they were, and more behind them, or another --out"
        )
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
    if reference not in REFERENCES and Path(reference).is_dir():
        CaptionedImages(reference).reference(config.quality.reference_size)
    specs = dict.fromkeys(places, _ANY)
    sweep_tasks(config, prompts, specs)
    if config.sweep.half_width is not None:
        adaptive_sweep(config, prompts, specs)


def check_scenario(config: Config, out: Path | None = None) -> None:
    """Raise :class:`InputError` for a scenario that the sweep's step counts or the prompts do not
    allow, and for users' prompts that the folder ``out`` has calibrated with.
    """
    prompts = open_prompts(config.prompts)
    scenario = run_scenario(config, prompts)
    limits = step_limits(scenario)
    if max(limits.values()) == 0:
        raise InputError("scenario: max_steps: found 0 at every place; allowed: more at one")
    for name, most in limits.items():
        measured = max(config.sweep.grid(model_of(name)))
        if most > measured:
            raise InputError(
                f"scenario: {name}.max_steps: found {most}; "
                f"allowed: at most {measured}, the largest that is measured there"
            )
    if not config.sweep.splits:  # which share their steps in ways of their own
        _check_room(config, scenario, out)
    _check_unseen(config, prompts, [user.prompt_class for user in scenario.users], out)


def _check_room(config: Config, scenario: Scenario, out: Path | None) -> None:
    """Raise :class:`InputError` where nobody may compute at home, and the edges' budgets and slots
    hold fewer users than there are.
    """
    limits, users, known = step_limits(scenario), len(scenario.users), bool(_measured(out))
    # fewer steps may have been measured before
    least = {place: 1 if known else min(config.sweep.grid(place)) for place in PLACES}
    room = sum(
        min(edge.budget // least["edge"], users if edge.slots is None else edge.slots)
        for edge in edges_of(scenario)
        if limits[edge.name] >= least["edge"]
    )
    if limits["local"] < least["local"] and room < users:
        raise InputError(
            f"scenario: local.max_steps: found {limits['local']}, so that nobody computes at home, "
            f"with {users} users and room for {room} at the edge; allowed: at least "
            f"{least['local']}, or a larger edge_budget"
        )


def check_execution(
    config: Config, problem: Problem, allocation: Allocation, out: Path | None = None
) -> None:
    """Raise :class:`InputError` for what :func:`check_problem` refuses, and for users that ask for
    more prompts than there are.
    """
    check_problem(config, problem, out)
    specs = dict.fromkeys(PLACES, _ANY)
    user_tasks(config, open_prompts(config.prompts), specs, allocation, problem)


def check_problem(config: Config, problem: Problem, out: Path | None = None) -> None:
    """Raise :class:`InputError` for users that ask for other prompts than there are, or for those
    that the folder ``out`` has calibrated with, for classes that no scenario has, and for images
    that the two models cannot make: of a split, or of a tier.
    """
    tiers = [name for name, load in problem.loads.items() if load.step_weight != 1]
    if made := [*tiers, *(() if config.sweep.splits else problem.splits)]:
        raise InputError(
            f"{problem.where}: found {', '.join(made)}; allowed to be executed: local, edges "
            "without step_weight, which all run the edge's model, and splits where sweep.splits "
            "measures them"
        )
    prompts = open_prompts(config.prompts)
    _check_unseen(config, prompts, prompt_classes(problem), out)
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


def _check_unseen(
    config: Config, prompts: Prompts, classes: Sequence[str], out: Path | None
) -> None:
    """Raise :class:`InputError` for users' prompts that there are not, or that are measured."""
    measured = _measured(out)
    for name, texts in prompts_of_users(prompts, classes).items():
        if seen := [text for text in texts if (name, text) in measured]:
            raise InputError(
                f"prompts: {config.prompts}: found {shortened(seen[0], 80)!r} for a user, with "
                f"which {out} was calibrated; allowed: the prompts as they were, or another --out"
            )


def _measured(out: Path | None) -> set[tuple[str, str]]:
    """Class and text of each prompt that the folder ``out`` has calibrated with."""
    tasks = [record.task for record in RunFolder(out).records("calibration")] if out else []
    return {(t.prompt_class, t.prompt) for t in tasks if t.seed < EXECUTION_SEED}
