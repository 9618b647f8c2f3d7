"""Split images with a risk: offered where their upper limits keep a user's own."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from calibration.profiles.profile import SharedLatents
from calibration.profiles.splits import fit_splits
from calibration.records.split import Split
from calibration.scenario.problem import to_problem
from calibration.scenario.risk import point_limit
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import sites
from calibration.sweep.grid import split_tasks
from solver import Problem, certify, solve
from solver.inputs import InputError
from tests.calibration.world import DECODE, MODELS, World, scales
from tests.calibration.world import profiles as profiles_of

SHARED = SharedLatents("0123456789ab", "ba9876543210", (4, 8, 8))
RISK = 0.1


@pytest.fixture(scope="module")
def profiles():
    world = World()
    records = world.calibrate(["object"], 8, steps=[1, 2, 4, 8, 16])
    records += world.calibrate_splits((4, 8, 16), ["object"], 8)
    return profiles_of(records, ["object"], shared=SHARED)


def scenario(**given):
    """Users of a device whose decoding takes long, so that a split may be there before it is."""
    own = {
        "devices": {"phone": {"ratio": 20.0, "watts": 3.0, "source": "made up"}},
        "local": {"max_steps": 8},
        "edge": {"max_steps": 8},
        "edge_budget": 12,
        "users": [
            {"prompt_class": "object", "device_class": "phone", "deadline": late, "max_error": most}
            for late, most in ((1.2, 0.8), (0.85, 0.7), (2.2, 0.45))
        ],
    }
    return Scenario.from_dict(own | given)


def upper_time(site, parts, begins, risk):
    """By the formulas, of ``parts``: steps by place; whoever ``begins`` does not decode."""
    upper = 0.0
    for place, steps in parts.items():
        service = getattr(site, place)
        fit, design = service.profile.time, np.array([1, steps])
        mean = fit.overhead - (DECODE if place == begins else 0) + fit.step_time * steps
        # the speed walks on: of 4.125 times the variance that it had in the sweep
        single = max(0.0, fit.relative_sd**2 - service.speed_sd**2) + 4.125 * service.speed_sd**2
        variance = design @ np.array(fit.covariance) @ design + single * mean**2
        upper += service.ratio * (mean + student.ppf(1 - risk, fit.dof) * variance**0.5)
    return upper


def upper_error(point, risk):
    """The error's limit by the formulas: of the mean and of a single image's spread."""
    at = student.ppf(1 - risk, point.prompts - 1)
    variance = point.se**2 + max(point.sd, point.sd_prompt) ** 2
    shape = np.log(1 + variance / point.value**2)
    lognormal = point.value * np.exp(at * shape**0.5 - shape / 2)
    return max(point.value + at * variance**0.5, lognormal)


def test_allowed_is_what_keeps_both_limits_and_the_best_of_all_choices_is_found(profiles):
    given = scenario(risk=RISK)
    problem, served = to_problem(profiles, given), sites(profiles, given)
    outcomes, costs = set(), []
    for n, (site, user) in enumerate(zip(served, given.users)):
        own = [(problem.cost(place)[n], problem.steps(place), place) for place in problem.places]
        menu = [
            (cost, steps if place == "edge" else 0)
            for row, numbers, place in own
            for cost, steps in zip(row, numbers)
            if np.isfinite(cost)
        ]
        for name, split in problem.splits.items():
            for j, (steps, on_edge) in enumerate(zip(split.steps, split.edge_steps)):
                how = Split(split.first, int(on_edge))
                parts = how.parts(int(steps))
                point = profiles.splits.find("object", how, int(steps)).error
                late = upper_time(site, parts, split.first, RISK / 2) <= user.deadline
                far = upper_error(point, RISK / 2) <= user.max_error
                kept = max(parts.values()) <= 8 and late and far
                cost = problem.cost(name)[n, j]
                assert np.isfinite(cost) == kept, (user, how.name(int(steps)))
                narrowed = parts["local"] > np.broadcast_to(problem.local.max_steps, 3)[n]
                outcomes.add((late, far, bool(kept and narrowed)))
                if kept:
                    menu.append((cost, int(on_edge)))
        costs.append(menu)
    assert {(True, True, True), (True, False, False), (False, True, False)} <= outcomes, (
        "each limit binds alone, and the device may not take as many steps alone as in a split"
    )
    best = min(
        sum(cost for cost, _ in choice)
        for choice in itertools.product(*costs)
        if sum(on_edge for _, on_edge in choice) <= given.edge_budget
    )
    allocation = solve(problem)
    assert allocation.objective == pytest.approx(best, rel=1e-12)
    assert certify(problem, allocation) <= 1e-9 * abs(best)
    assert any(problem.names[a] in problem.splits for a in allocation.offload)


def test_the_problem_is_read_back_and_more_risk_allows_more(profiles, tmp_path):
    user = {"prompt_class": "object", "device_class": "phone"}
    users = [user | {"deadline": 1.2, "max_error": 0.8}, user | {"deadline": 2.2}]
    counts = []
    for risk in (0.05, 0.1, 0.4):
        problem = to_problem(profiles, scenario(risk=risk, users=users))
        for suffix in ("json", "npz"):
            problem.save(tmp_path / f"p.{suffix}")
            again = Problem.load(tmp_path / f"p.{suffix}")
            for name in problem.names:
                assert np.array_equal(again.cost(name), problem.cost(name))
        counts.append(sum(np.isfinite(problem.cost(name)).sum() for name in problem.splits))
    expected = to_problem(profiles, scenario(users=users))
    counts.append(sum(np.isfinite(expected.cost(name)).sum() for name in expected.splits))
    assert counts == sorted(counts) and 0 < counts[0] < counts[-1]
    assert all(split.allowed is None for split in expected.splits.values())


def test_whom_only_a_split_can_serve_is_served_by_one(profiles):
    """And refused where there is none."""
    user = {"prompt_class": "object", "device_class": "phone", "deadline": 1.2, "max_error": 0.77}
    given = scenario(risk=RISK, users=[user], edge={"max_steps": 4})
    problem = to_problem(profiles, given)
    assert not np.isfinite(np.concatenate([problem.cost(p) for p in problem.places], axis=1)).any()
    allocation = solve(problem)
    assert problem.names[allocation.offload[0]] in problem.splits
    with pytest.raises(InputError, match="no step count at any place keeps the limits of user 0"):
        to_problem(replace(profiles, splits=None), given)


def test_new_images_exceed_an_errors_limit_no_more_often_than_said():
    """Over many calibrations with few prompts; the limits are no wider than need be."""
    how, steps, risk, broken = Split("local", 4), 8, 0.1, []
    (task,) = (t for t in split_tasks(MODELS, {"object": ["x"]}, [0], [steps]) if t.split == how)
    for seed in range(120):
        known, new = (
            [world.record(replace(task, prompt=f"prompt {n}")) for n in range(count)]
            for world, count in ((World(seed), 6), (World(1000 + seed), 10))
        )
        point = fit_splits(known, scales(["object"]), SHARED).find("object", how, steps)
        limit = point_limit(point.error, risk)
        broken += [record.measured.distance / 0.4 > limit for record in new]
    assert 0.3 * risk < np.mean(broken) < 1.2 * risk
