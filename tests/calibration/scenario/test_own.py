"""What a scenario may add of its own: devices, links, edges, users one by one, and a risk."""

import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.calibration.caution import Pool, compare
from calibration.costs.drift import LAG, PARTS
from calibration.costs.time import fit_time
from calibration.scenario import scenario as scenario_module
from calibration.scenario.problem import to_problem
from calibration.scenario.risk import error_limit, time_limit
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import sites
from solver import certify, solve
from solver.inputs import InputError
from solver.problem import Problem
from solver.problem.files import plain
from tests.calibration.world import METRICS, World, scales
from tests.calibration.world import profiles as profiles_of

OWN = {
    "devices": {
        "old-phone": {"step_time": 0.08, "watts": 3.0, "source": "timed on my phone"},
        "tablet": {"ratio": 2.5, "watts": 5.0, "source": "its maker"},
    },
    "links": {
        "wifi": {"transfer_time": 0.05, "transfer_energy": 0.1, "source": "iperf"},
        "cell": {"transfer_time": 0.4},
    },
}
USERS = [
    {"prompt_class": "object", "device_class": "old-phone", "deadline": 1.5, "link": "cell"},
    {"prompt_class": "object", "device_class": "tablet", "max_error": 0.3},
    {"prompt_class": "object", "device_class": "server-core", "link": "wifi"},
]


@pytest.fixture(scope="module")
def profiles():
    world = World(noise=0.5)
    records = world.calibrate(["object"], 4, (0, 1), steps=[1, 2, 4, 8, 16, 32])
    return profiles_of(records, ["object"])


def test_own_devices_users_and_links_reach_the_problem(profiles):
    scenario = Scenario.from_dict({**OWN, "users": USERS, "link": "wifi"})
    assert Scenario.from_dict(json.loads(json.dumps(scenario.to_dict()))) == scenario
    problem = to_problem(profiles, scenario)
    served = sites(profiles, scenario)
    assert problem.local.step_time[0] == pytest.approx(0.08)  # as timed, whatever was measured
    assert served[1].device.ratio == 2.5 and served[1].local.time_basis == "emulated"
    assert served[0].device.source == "timed on my phone"
    assert [site.local.watts for site in served[:2]] == [3.0, 5.0]
    assert problem.edge.transfer_time.tolist() == [0.4, 0.05, 0.05]
    assert problem.edge.transfer_energy.tolist() == [0.0, 0.1, 0.1]
    assert problem.deadline.tolist() == [1.5, np.inf, np.inf]
    assert problem.max_error.tolist() == [np.inf, 0.3, np.inf]
    assert problem.to_dict()["schema"] == "problem/2"
    assert served[0].edge.seconds(8) + 0.4 == pytest.approx(problem.time("edge")[0, 7])
    plain = to_problem(profiles, Scenario.from_dict({"prompt_classes": {"object": 1}}))
    assert plain.to_dict()["schema"] == "problem/1"


def test_several_edges(profiles):
    edges = [
        {"name": "near", "budget": 20, "slots": 4},
        {"name": "far", "budget": 60, "device_class": "tablet", "watts": 9.0, "max_steps": 12},
    ]
    scenario = Scenario.from_dict({"prompt_classes": {"object": 1}, **OWN, "edges": edges})
    problem = to_problem(profiles, scenario)
    assert (problem.names, scenario.edge_budget) == (("local", "near", "far"), 80)
    assert problem.place("far").max_steps == 12
    ratio = problem.place("far").step_time / problem.place("near").step_time
    assert ratio == pytest.approx(2.5) and (problem.place("far").power == 9.0).all()
    assert sites(profiles, scenario)[0].at("far").time_basis == "emulated"
    allocation = solve(problem)
    assert allocation.status == "optimal" and certify(problem, allocation) <= 1e-9 * abs(
        allocation.objective
    )
    assert allocation.used["near.slots"] <= 4


def test_the_documented_additions_are_read():
    block = scenario_module.__doc__.split("there are such things::\n", 1)[1]
    lines = block.split("\nAll edges run", 1)[0].splitlines()
    text = "\n".join(line.removeprefix("    ") for line in lines)
    values = tomllib.loads(text.replace("0.05                 # dead", "0.05  # dead"))
    scenario = Scenario.from_dict(values)
    assert (scenario.risk, scenario.users[0].link, scenario.edges[0].slots) == (0.05, "wifi", 8)
    assert scenario.edges[0].makespan.limit == 20.0


@pytest.mark.parametrize(
    "values, message",
    [
        ({"devices": {"x": {"watts": 1, "source": "s"}}}, "ratio: found neither"),
        (
            {"devices": {"x": {"watts": 1, "source": "s", "ratio": 1, "step_time": 1}}},
            "ratio: found both",
        ),
        ({"devices": {"x": {"watts": 1, "ratio": 2}}}, "'source' is missing"),
        (
            {"devices": {"server-core": {"watts": 1, "source": "s", "ratio": 2}}},
            "devices: found server-core, a published class",
        ),
        ({"link": "lte"}, "link: 'lte' is unknown"),
        ({"users": [USERS[0]]}, r"users\[0\]: device_class: 'old-phone' is unknown"),
        ({**OWN, "users": [{**USERS[0], "link": "x"}]}, r"users\[0\]: link: 'x' is unknown"),
        ({**OWN, "users": [{**USERS[0], "deadline": 0}]}, r"users\[0\]: deadline: found 0"),
        ({"risk": 1.0}, "risk: found 1"),
        ({"risk": 0}, "risk: found 0"),
        ({"risk_for": "some"}, "risk_for: "),
        ({"edges": [{"name": "local", "budget": 3}]}, "edges: found the name 'local'"),
        ({"edges": [{"name": "a", "budget": 3}], "edge_budget": 9}, "edge_budget: found 9 beside"),
        ({"edges": [{"name": "a", "budget": 3, "device_class": "z"}]}, "device_class: 'z' is"),
    ],
)
def test_wrong_additions_are_refused_in_one_line(values, message):
    with pytest.raises(InputError, match=message) as raised:
        Scenario.from_dict(values, "s.toml")
    assert str(raised.value).startswith("s.toml: ") and "\n" not in str(raised.value)


def test_upper_limits_are_exceeded_as_often_as_said(profiles):
    """New images of new prompts against the limits at each risk."""
    world, profile = World(seed=7, noise=0.5), profiles.find("edge", "object")
    new = world.calibrate(["object"], prompts=150, steps=[8])
    edge = [record for record in new if (record.task.place, record.task.steps) == ("edge", 8)]
    steps = np.array([8.0])
    for risk in (0.3, 0.1, 0.02):
        time = np.array([record.measured.time for record in edge])
        error = np.array([record.measured.distance / 0.4 for record in edge])
        assert np.mean(time > time_limit(profile.time, steps, risk)[0]) <= risk + 0.05
        assert np.mean(error > error_limit(profile.error, steps, risk)[0]) <= risk + 0.05
    limits = [error_limit(profile.error, steps, risk)[0] for risk in (0.3, 0.1, 0.01)]
    assert limits == sorted(limits)


def test_a_deadline_is_kept_on_a_machine_whose_speed_walks_on_after_the_sweep():
    """Walks through the parts of a sweep and on until the users' images."""
    rng, steps = np.random.default_rng(11), np.array([8.0])
    walks = 0.05 * rng.standard_normal((20_000, PARTS + LAG)).cumsum(axis=1)
    seen, images = walks[:, :PARTS], 0.02 * rng.standard_normal(20_000)
    times = 1 + walks[:, -1] - seen.mean(axis=1) + images
    speed = np.sqrt(seen.var(axis=1, ddof=1).mean())
    exact = fit_time([1, 2, 4, 8], [0.3, 0.4, 0.6, 1.0])
    fit = replace(exact, relative_sd=np.hypot(speed, 0.02), dof=10_000)
    for risk in (0.2, 0.05):
        late = np.mean(times > time_limit(fit, steps, risk, speed))
        assert late == pytest.approx(risk, rel=0.1)
        assert np.mean(times > time_limit(fit, steps, risk)) > 1.4 * risk


@pytest.mark.parametrize(
    "change, reason",
    [
        (
            {"edges": [{"name": "a", "budget": 9, "device_class": ""}]},
            "device_class: '' is unknown",
        ),
        ({"link": ""}, "link: '' is unknown"),
        ({"users": [USERS[0] | {"link": ""}]}, r"users\[0\]: link: '' is unknown"),
        (
            {"weights": {"cost": 1e308}},
            r"weights\.?:? ?cost: found 1e\+308; allowed: at most 1e\+09",
        ),
        ({"users": 10**9}, "users: found 1000000000; allowed: at most 1000000"),
        ({"local": {"max_steps": 10**18}}, f"local.max_steps: found {10**18}; allowed: at most"),
    ],
)
def test_an_empty_name_or_a_number_without_end_is_one_line(profiles, change, reason):
    with pytest.raises(InputError, match=reason):
        to_problem(profiles, Scenario.from_dict({**OWN, "users": USERS, **change}))


def test_a_list_in_a_list_of_limits_is_one_line(profiles):
    tree = plain(to_problem(profiles, Scenario.from_dict({**OWN, "users": USERS})).to_dict())
    tree["max_error"] = [[], 0.3, None]
    with pytest.raises(InputError, match=r"^p: max_error\[0\]: found "):
        Problem.from_dict(tree, "p")


def test_a_risk_narrows_the_steps(profiles):
    given = {"prompt_classes": {"object": 1}, "users": 6, "deadline": 0.6, "max_error": 0.35}
    given["device_classes"] = {"server-core": 1}
    bold = to_problem(profiles, Scenario.from_dict(given))
    careful = to_problem(profiles, Scenario.from_dict({**given, "risk": 0.05}))
    for_all = to_problem(profiles, Scenario.from_dict({**given, "risk": 0.05, "risk_for": "all"}))
    options = [np.isfinite(each.cost("edge")).sum() for each in (bold, careful, for_all)]
    assert options[0] > options[1] > options[2] > 0
    objectives = [solve(each).objective for each in (bold, careful, for_all)]
    assert objectives == sorted(objectives)
    line = "risk: found 0.001: no step count at any place keeps the limits of user 0 with prob"
    with pytest.raises(InputError, match=line):
        to_problem(profiles, Scenario.from_dict({**given, "max_error": 0.05, "risk": 0.001}))


@pytest.mark.slow
def test_limits_are_broken_no_more_often_than_allowed():
    """Whole executions of held-out prompts; without a risk they are broken more often."""
    world = World(seed=3, noise=0.7)
    records = world.calibrate(["object"], prompts=60, steps=[2, 4, 8, 16])
    pool = Pool.of(records, scales(["object"]), METRICS)
    settings = {
        "users": 150,
        "device_classes": {"server-core": 1},
        "weights": {"cost": 1.0, "utility": 0.0, "time": 1.0, "error": 0.0, "energy": 0.0},
        "local": {"max_steps": 16},
        "edge": {"max_steps": 16},
        "max_error": 0.42,
    }
    bold, careful = compare(pool, [0.05], draws=2, settings=settings)
    assert bold["limits_broken"] > 0.1 and careful["limits_broken"] <= 0.05
    assert careful["objective"] > bold["objective"] and careful["refused"] == 0
