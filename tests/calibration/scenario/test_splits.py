"""Split images in profiles and problems: measured means, both places' own fits, and the link."""

import json
from dataclasses import replace

import numpy as np
import pytest

from calibration.fitting.curve_fit import CurvePoint
from calibration.fitting.prediction import degrees_of_freedom, evaluate
from calibration.profiles import store
from calibration.profiles.merge import Part, merge
from calibration.profiles.profile import SharedLatents, SplitPoint
from calibration.profiles.splits import fit_splits
from calibration.records.split import Split, split_options
from calibration.scenario.problem import to_problem
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import sites
from calibration.scenario.splits import dominating
from calibration.statistics import t_quantile
from solver import certify, solve
from solver.inputs import InputError
from tests.calibration.world import DECODE, LATENTS, World, scales
from tests.calibration.world import profiles as profiles_of

SHARED = SharedLatents("0123456789ab", "ba9876543210", (4, 8, 8))
TOTALS = (4, 8, 16)
CLASSES = ("object", "scene")
SHARES = {"prompt_classes": dict.fromkeys(CLASSES, 1)}


@pytest.fixture(scope="module")
def records():
    world = World(watts=40.0)
    alone = world.calibrate(CLASSES, 8, steps=[1, 2, 4, 8, 32])
    return alone, world.calibrate_splits(TOTALS, CLASSES, 8)


@pytest.fixture(scope="module")
def profiles(records):
    return profiles_of([*records[0], *records[1]], CLASSES, shared=SHARED)


def scenario(**given):
    return Scenario.from_dict({**SHARES, "users": 6, **given})


def test_shares_are_of_both_orders_and_leave_a_step_for_each():
    assert split_options(1) == [] and set(split_options(2)) == {Split("local", 1), Split("edge", 1)}
    for steps in (2, 3, 4, 9):
        options = split_options(steps)
        assert len(set(options)) == len(options) and all(0 < s.edge_steps < steps for s in options)
        assert {s.first for s in options} == {"local", "edge"}
    assert Split("local", 4).parts(16) == {"local": 12, "edge": 4}
    assert list(Split("edge", 4).parts(16)) == ["edge", "local"]
    assert Split("local", 4).name(16) == "local 12, then edge 4"


def test_points_are_the_means_of_their_own_images_on_the_edges_scale(profiles, records):
    assert profiles.splits.bytes == LATENTS and set(profiles.splits.classes) == set(CLASSES)
    points = profiles.splits.classes["scene"]
    assert len(points) == 3 * 6
    for point in points:
        own = [
            record.measured
            for record in records[1]
            if record.task.prompt_class == "scene"
            and (record.task.split, record.task.steps) == (point.split, point.steps)
        ]
        assert point.error.value == pytest.approx(np.mean([each.distance for each in own]) / 0.4)
        scores = np.array([each.clip_score for each in own])
        assert point.utility.value == pytest.approx((scores.mean() - 60) / 30)
        assert point.utility.se == pytest.approx(scores.std(ddof=1) / 30 / 8**0.5)
        assert point.error.prompts == 8
    assert profiles.splits.find("scene", Split("edge", 4), 8) in points
    assert profiles.splits.find("scene", Split("edge", 4), 9) is None


def test_split_images_change_nothing_else_and_files_without_them_are_read(
    profiles, records, tmp_path
):
    plain = profiles_of(records[0], CLASSES)
    assert plain == replace(profiles, splits=None)
    for each in (plain, profiles):
        store.save(tmp_path / "p.json", each)
        assert store.load(tmp_path / "p.json") == each
    assert "splits" not in plain.to_dict()
    given = scenario()
    assert to_problem(plain, given).to_dict()["schema"] == "problem/1"
    of_one = Part("a", "local", profiles), Part("b", "edge", profiles)
    assert merge(of_one).splits is None, "the models of two files never made an image together"


def test_options_cost_what_both_places_take_and_the_link(profiles):
    link = {"transfer_time": 0.3, "transfer_energy": 0.7}
    for rate in (None, 1e5):
        given = scenario(links={"way": link | ({"rate": rate} if rate else {})}, link="way")
        problem, served = to_problem(profiles, given), sites(profiles, given)
        assert set(problem.splits) == {"edge-then-local", "local-then-edge"}
        latents = 0.3 if rate is None else 8 * LATENTS / rate
        for name, split in problem.splits.items():
            back = 0.3 if split.first == "local" else 0.0
            for user, site in enumerate(served):
                for j, (steps, on_edge) in enumerate(zip(split.steps, split.edge_steps)):
                    local, edge = site.local.seconds(steps - on_edge), site.edge.seconds(on_edge)
                    if split.first == "local":
                        local -= DECODE * site.local.ratio
                    else:
                        edge -= DECODE
                    time = local + edge + latents + back
                    assert problem.time(name)[user, j] == pytest.approx(time, rel=1e-9)
                    joules = site.local.watts * local + site.edge.watts * edge
                    joules += 0.7 * (2 if back else 1)
                    assert problem.energy(name)[user, j] == pytest.approx(joules, rel=1e-9)
                    how = Split(split.first, int(on_edge))
                    point = profiles.splits.find(site.user.prompt_class, how, int(steps))
                    assert problem.error(name)[user, j] == max(0.0, point.error.value)


def test_the_solver_takes_splits_where_they_pay_within_the_budget(profiles):
    devices = {"fast": {"ratio": 1.0, "watts": 5.0, "source": "made up"}}
    given = scenario(
        users=12,
        edge_budget=40,
        devices=devices,
        device_classes={"fast": 1},
        local={"max_steps": 4},
        time_unit=100.0,
        energy_unit=1000.0,
    )
    problem = to_problem(profiles, given)
    allocation = solve(problem)
    assert certify(problem, allocation) <= 1e-9 and allocation.status == "optimal"
    shared = [n for n, a in enumerate(allocation.offload) if problem.names[a] in problem.splits]
    assert shared and allocation.edge_steps_used <= 40
    assert all(0 < allocation.edge_steps[n] < allocation.steps[n] for n in shared)
    without = solve(replace(problem, splits={}))
    assert allocation.objective < without.objective
    assert json.loads(json.dumps(allocation.to_dict()))["schema"] == "allocation/2"


def test_a_split_is_dominated_where_both_error_and_utility_are_better_for_less(profiles):
    """By brute force over what takes no more steps at either place."""
    outcomes = set()
    for name in CLASSES:
        points = profiles.splits.classes[name]
        alone = {
            place: [(at(profile.error, n), at(profile.utility, n)) for n in range(1, max(TOTALS))]
            for place in ("local", "edge")
            for profile in [profiles.find(place, name)]
        }
        for point in points:
            most = point.split.parts(point.steps)
            rivals = [rival for place in alone for rival in alone[place][: most[place]]]
            rivals += [
                (value(other.error), value(other.utility))
                for other in points
                if other != point
                and all(n <= most[p] for p, n in other.split.parts(other.steps).items())
            ]
            mine, good = value(point.error), value(point.utility)
            better = any(
                mine[0] - error[0] > np.hypot(mine[1], error[1])
                and utility[0] - good[0] > np.hypot(good[1], utility[1])
                for error, utility in rivals
            )
            assert (dominating(profiles, name, point) is not None) == better
            outcomes.add(better)
    assert outcomes == {True, False}


def at(fit, steps):
    values, covariance = evaluate(fit, [steps])
    return values[0], t_quantile(degrees_of_freedom(fit)) * covariance[0, 0] ** 0.5


def value(point):
    return point.value, t_quantile(point.prompts - 1) * point.se


@pytest.mark.parametrize("prompts, told", [(None, True), (5, False), (50, True)])
def test_few_prompts_tell_less_of_what_dominates(profiles, prompts, told):
    """Both lie 2.4 standard errors apart; Student's t of 4 degrees of freedom asks for 2.8."""

    points = [
        SplitPoint(
            Split("local", 4),
            CurvePoint(steps, 0.01 - apart, se=0.001, prompts=prompts),
            CurvePoint(steps, 0.99 + apart, se=0.001, prompts=prompts),
        )
        for steps, apart in ((8, 0.0), (7, 2.4 * 2**0.5 * 0.001))
    ]
    given = replace(profiles, splits=replace(profiles.splits, classes={"object": tuple(points)}))
    assert (dominating(given, "object", points[0]) is not None) == told


def test_only_options_that_are_not_dominated_in_every_class_are_offered(profiles):
    problem = to_problem(profiles, scenario())
    offered = {
        (Split(split.first, int(on_edge)), int(steps))
        for split in problem.splits.values()
        for steps, on_edge in zip(split.steps, split.edge_steps)
    }
    expected = {
        (point.split, point.steps)
        for name in CLASSES
        for point in profiles.splits.classes[name]
        if dominating(profiles, name, point) is None
    }
    assert offered == expected != set()


def test_splits_are_offered_at_every_edge(profiles):
    edges = [{"name": "near", "budget": 9}, {"name": "far", "budget": 9}]
    problem = to_problem(profiles, scenario(edges=edges))
    assert {split.edge for split in problem.splits.values()} == {"near", "far"}
    assert len(problem.splits) == 4


def test_without_any_split_image_there_is_nothing_to_fit(records):
    with pytest.raises(InputError, match="records: found no split image"):
        fit_splits(records[0], scales(CLASSES), SHARED)
