"""Classes whose utility is left out: profiled, stored, allocated and validated without it."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from calibration.profiles.merge import Part, merge
from calibration.profiles.profile import MetricDefinition
from calibration.profiles.store import load, parse, save
from calibration.records.scale import Scales
from calibration.scenario.problem import to_problem
from calibration.scenario.scenario import Scenario
from calibration.validation.validate import validate
from calibration.validation.validation import Validation
from calibration.validation.verdicts import verdicts
from solver import solve
from solver.inputs import InputError
from tests.calibration.conftest import swept
from tests.calibration.world import World, scales
from tests.calibration.world import profiles as profiles_of

WITHOUT = Scales.without_utility(0.4, "captions match nothing")
CLASSES = ("object", "scene")
SCENARIO = {
    "users": 6,
    "local": {"max_steps": 8},
    "edge": {"max_steps": 8},
    "edge_budget": 20,
    "prompt_classes": dict.fromkeys(CLASSES, 1),
}
OF_ONE = SCENARIO | {"prompt_classes": {"object": 1}}


def of_classes(names):
    return [record for record in swept() if record.task.prompt_class in names]


@pytest.fixture(scope="module")
def partly():
    """Profiles of the same records, in which "scene" has no utility."""
    own = {key: WITHOUT if key[1] == "scene" else scale for key, scale in scales().items()}
    return profiles_of(of_classes(CLASSES), scales=own)


@pytest.fixture(scope="module")
def none():
    """Profiles of one class, without any utility."""
    return profiles_of(of_classes(["object"]), scales=dict.fromkeys(scales(), WITHOUT))


def without(profiles):
    return {
        (place.place, profile.prompt_class)
        for place in profiles.places
        for profile in place.classes
        if profile.utility is None
    }


def test_the_rest_of_such_a_class_is_as_it_would_be(measured, partly, tmp_path):
    assert without(partly) == {("local", "scene"), ("edge", "scene")}
    for place, kind in itertools.product(("local", "edge"), CLASSES):
        ours, theirs = partly.find(place, kind), measured.find(place, kind)
        assert ours.error == theirs.error and ours.time == theirs.time
        assert ours.clip_score == theirs.clip_score
    compared = {row.quantity: row.prompts for row in partly.places[0].class_differences}
    assert compared == {"time": 24, "error": 24}, "one class is compared with none"
    save(tmp_path / "p.json", partly)
    assert load(tmp_path / "p.json") == partly


def test_a_curve_without_a_scale_is_refused(partly):
    values = json.loads(json.dumps(partly.to_dict()))
    profile = values["places"][0]["classes"][0]
    profile["utility"] = None
    with pytest.raises(InputError, match="found a curve or a scale alone"):
        parse(values, "p.json")


def test_its_users_have_weight_0_with_a_warning_and_their_choice_follows_from_the_rest(partly):
    """Brute force over the places and steps of a user, at an edge that is not scarce."""
    scenario = Scenario.from_dict(SCENARIO | {"edge_budget": 48})
    with pytest.warns(UserWarning, match="utility of prompt class scene is left out"):
        problem = to_problem(partly, scenario)
    kinds = [user.prompt_class for user in scenario.users]
    weights = problem.weights["utility"]
    assert weights.tolist() == [0.0 if kind == "scene" else 0.5 for kind in kinds]
    allocation = solve(problem)
    for n, kind in enumerate(kinds):
        costs = {
            (offload, steps): 0.5
            * (
                float(problem.weights["time"]) * problem.time(place)[n, steps - 1]
                + 0.6 * problem.error(place)[n, steps - 1]
                + float(problem.weights["energy"]) * problem.energy(place)[n, steps - 1]
            )
            - (kind != "scene") * 0.5 * problem.utility(place)[n, steps - 1]
            for offload, place in enumerate(("local", "edge"))
            for steps in range(1, 9)
        }
        assert (allocation.offload[n], allocation.steps[n]) == min(costs, key=costs.get)


def test_with_a_utility_everywhere_the_weight_stays_one_number(measured, recwarn):
    assert (
        np.ndim(to_problem(measured, Scenario.from_dict(SCENARIO)).to_dict()["weights"]["utility"])
        == 0
    )
    assert not recwarn


def test_validation_judges_what_there_is_and_says_nothing_of_what_is_not(partly):
    scenario = Scenario.from_dict(SCENARIO)
    with pytest.warns(UserWarning):
        problem = to_problem(partly, scenario)
    allocation = solve(problem)
    executed = World(seed=4).execute(scenario, allocation)
    validation = validate(problem, allocation, partly, scenario, executed)
    assert Validation.from_dict(json.loads(json.dumps(validation.to_dict()))) == validation
    for user in validation.users:
        assert (user.utility is None) == (user.prompt_class == "scene")
    totals = {total.quantity: total for total in validation.totals}
    measured = [user.utility.measured for user in validation.users if user.utility]
    assert totals["utility (mean)"].measured == pytest.approx(np.mean(measured))
    # all users count in the objective: those of the class without its utility
    cost = sum(
        0.5
        * (
            float(problem.weights["time"]) * user.time.measured
            + 0.6 * user.error.measured
            + float(problem.weights["energy"]) * user.energy.measured
        )
        - 0.5 * (user.utility.measured if user.utility else 0.0)
        for user in validation.users
    )
    assert totals["objective"].measured == pytest.approx(cost)
    judged = {verdict.judged for verdict in verdicts(validation, partly)}
    assert "utility curve on left-out points: object, edge" in judged
    assert "utility curve on left-out points: scene, edge" not in judged


def test_without_any_utility_no_total_of_it_is_made_up(none):
    scenario = Scenario.from_dict(OF_ONE)
    with pytest.warns(UserWarning):
        problem = to_problem(none, scenario)
    allocation = solve(problem)
    executed = World(seed=4).execute(scenario, allocation)
    validation = validate(problem, allocation, none, scenario, executed)
    judged = [verdict.judged for verdict in verdicts(validation, none)]
    judged += [total.quantity for total in validation.totals]
    assert not [each for each in judged if "utility" in each or "clip" in each]
    assert validation.coverage["utility"] is None


def test_places_are_joined_where_one_leaves_utility_out_and_it_counts_for_nobody(measured, none):
    """A device without a scorer, an edge with one; error and time are weighed as ever."""
    scorer = dataclasses.replace(measured.metrics, utility=MetricDefinition("score", model="clip"))
    edge = dataclasses.replace(measured, metrics=scorer)
    none = dataclasses.replace(
        none, metrics=dataclasses.replace(none.metrics, utility=MetricDefinition())
    )
    joined = merge([Part("device", "local", none), Part("server", "edge", edge)])
    assert joined.metrics.utility.model == "clip"
    with pytest.warns(UserWarning, match="left out"):
        problem = to_problem(joined, Scenario.from_dict(OF_ONE))
    assert problem.weights["utility"].tolist() == [0.0] * 6
    other = dataclasses.replace(
        edge, metrics=dataclasses.replace(scorer, error=MetricDefinition("another error"))
    )
    with pytest.raises(InputError, match="metrics.error.name"):
        merge([Part("device", "local", none), Part("server", "edge", other)])
