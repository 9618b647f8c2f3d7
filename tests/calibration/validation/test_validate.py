"""What a validation compares: the problem's promises, the records' values, the paper's forms."""

import json
from dataclasses import replace

import numpy as np
import pytest

from calibration.comparison import Total
from calibration.scenario.devices import DEVICES
from calibration.scenario.scenario import Scenario
from calibration.serving.serving import ImageDifferences, Serving, ServingRequest
from calibration.validation.validate import validate
from calibration.validation.validation import Validation
from calibration.validation.verdicts import failures
from solver.inputs import InputError
from tests.calibration.validation.setting import total
from tests.calibration.world import World


def mean(records, name):
    return np.mean([getattr(record.measured, name) for record in records])


def with_parts(record, task=None, **measured):
    """``record`` with other parts of its task, and other ``measured`` values."""
    return replace(
        record,
        task=replace(record.task, **(task or {})),
        measured=replace(record.measured, **measured),
    )


def test_predictions_are_the_problems_and_totals_add_up(setting, executed):
    problem, allocation = setting.problem, setting.allocation
    frechet = Total(quantity="frechet", unit="", predicted=1.0, low=None, high=None)
    validation = setting.validate(executed, extra_totals=[frechet])
    for user in validation.users[:40]:
        n, place, steps = user.user, user.place, user.steps
        assert place == ("local", "edge")[allocation.offload[n]] and steps == allocation.steps[n]
        for name in ("time", "energy", "error", "utility"):
            promised = getattr(problem, name)(place)[n, steps - 1]
            assert user.quantity(name).predicted == promised
    for name in ("objective", "time", "energy", "error", "utility"):
        assert total(validation, name).predicted == pytest.approx(getattr(allocation, name))
    measured = [user.time.measured for user in validation.users]
    assert total(validation, "time").measured == pytest.approx(sum(measured))
    assert validation.totals[-1] == frechet
    text = json.dumps(validation.to_dict(), allow_nan=False)
    assert Validation.from_dict(json.loads(text)) == validation


def test_the_totals_of_serving_in_batches_stand_last(setting):
    total_time = Total(quantity="time (sum)", unit="s", predicted=2.0, low=1.0, high=3.0)
    serving = Serving(
        order="first_come",
        cap=4,
        requests=(),
        totals=(total_time,),
        median_absolute_error=0.1,
        paper_median_absolute_error=0.2,
        coverage=1.0,
        asked=ServingRequest((), "first_come", None),
        users=(),
        runs=(),
        images=ImageDifferences(compared=0, different=0, largest_difference=0),
    )
    validation = setting.validate([], serving=serving)
    last = validation.totals[-1]
    assert (last.quantity, last.basis) == ("edge in batches: time (sum)", "measured")
    assert Validation.from_dict(validation.to_dict()).serving == serving


def test_measured_values_come_from_the_records_with_ratio_and_scales(setting, executed):
    validation = setting.validate([*executed, *executed[:9]])
    for user in validation.users[:60]:
        own = [record for record in executed if record.task.user == user.user]
        device = DEVICES[user.device_class]
        ratio = device.ratio if user.place == "local" else 1.0
        assert len(user.records) == 2
        assert user.time.measured == pytest.approx(ratio * mean(own, "time"))
        assert user.time.basis == ("measured" if ratio == 1 else "emulated")
        assert user.error.measured == pytest.approx(mean(own, "distance") / 0.4)
        assert user.utility.measured == pytest.approx((mean(own, "clip_score") - 60) / 30)
        if ratio == 1:
            assert user.energy.measured == pytest.approx(mean(own, "energy_j"))
        else:
            assert user.energy.measured == pytest.approx(device.watts * user.time.measured)
        assert user.energy.basis == ("measured" if ratio == 1 else "modelled")
    assert any("Emulated" in note for note in validation.notes)
    assert any("Modelled" in note for note in validation.notes)


def test_users_that_were_not_served_are_said_and_left_out(setting, executed):
    records = [record for record in executed if record.task.user != 7]
    steps = setting.allocation.steps[7] + 1
    wrong_steps = replace(with_parts(records[0], {"user": 7, "steps": steps}), id="f" * 16)
    validation = setting.validate([*records, wrong_steps])
    left_out = validation.users[7]
    assert left_out.images == 0 and left_out.time.measured is None
    assert total(validation, "time").predicted == pytest.approx(
        setting.allocation.time - left_out.time.predicted
    )
    assert any("left out" in note for note in validation.notes)
    nothing = setting.validate([])
    assert nothing.coverage["time"] is None and total(nothing, "objective").measured is None
    assert Validation.from_dict(nothing.to_dict()) == nothing


def test_without_a_meter_energy_is_modelled_and_without_quality_it_is_unknown(setting):
    records = [
        with_parts(record, distance=None)
        for record in World(seed=3).execute(setting.scenario, setting.allocation)
    ]
    validation = setting.validate(records)
    assert {user.energy.basis for user in validation.users} == {"modelled"}
    assert validation.coverage["error"] is None
    assert total(validation, "objective").measured is None
    assert total(validation, "utility").inside


def test_inputs_that_do_not_belong_together_are_refused(setting):
    wrong = replace(setting.allocation, objective=setting.allocation.objective * 1.01)
    with pytest.raises(InputError, match="edge_steps_used|objective|time"):
        validate(setting.problem, wrong, setting.profiles, setting.scenario, [])
    users = [user.to_dict() for user in setting.scenario.users[:299]]
    fewer = replace(setting, scenario=Scenario.from_dict({"users": users}))
    with pytest.raises(InputError, match="users: found 299; allowed: 300"):
        fewer.validate([])


def test_what_the_papers_forms_predict_stands_beside(setting, sound):
    """By hand, from the profiles' own paper entries: T = s Δt, energy = watts T, exponentials;
    local times times the ratio.
    """
    for user in sound.users:
        profile = setting.profiles.find(user.place, user.prompt_class)
        device = DEVICES[user.device_class]
        ratio = device.ratio if user.place == "local" else 1
        time = ratio * profile.time.paper.step_time * user.steps
        watts = profile.power.watts if ratio == 1 else device.watts
        error, utility = (
            {family.family: family.parameters for family in fit.families}
            for fit in (profile.error, profile.utility)
        )
        error, utility = error["exponential"], utility["saturating"]
        expected = {
            "time": time,
            "energy": watts * time,
            "error": error["scale"] * np.exp(-error["decay"] * user.steps),
            "utility": 1 - np.exp(-utility["rate"] * user.steps),
        }
        for name, value in {**expected, "clip_score": 60 + 30 * expected["utility"]}.items():
            row = user.quantity(name)
            assert row.paper == pytest.approx(value)
            assert row.paper_relative_error == pytest.approx((value - row.measured) / row.measured)
    for name, how in (
        ("time", np.sum),
        ("energy", np.sum),
        ("error", np.mean),
        ("utility", np.mean),
    ):
        row, rows = total(sound, name), [user.quantity(name) for user in sound.users]
        assert row.paper == pytest.approx(how([each.paper for each in rows]))
        assert row.paper_relative_error == pytest.approx((row.paper - row.measured) / row.measured)
        median = np.median([abs(each.paper_relative_error) for each in rows])
        assert sound.paper_median_absolute_error[name] == pytest.approx(median)
    weights = setting.problem.weights
    costs = [
        sum(weights[name] * user.quantity(name).paper for name in ("time", "error", "energy"))
        for user in sound.users
    ]
    gains = [weights["utility"] * user.utility.paper for user in sound.users]
    assert total(sound, "objective").paper == pytest.approx(
        sum(weights["cost"] * cost - gain for cost, gain in zip(costs, gains, strict=True))
    )
    # an overhead that the paper's form has not: it must be further off
    paper_error = sound.paper_median_absolute_error["time"]
    assert paper_error > 2 * sound.median_absolute_error["time"]


def test_a_prediction_that_fails_is_named(sound, slower):
    assert failures(sound) == []
    failed = failures(slower)
    assert [line.split(":")[0] for line in failed] == [
        "time (sum)",
        "energy (sum)",
        "objective",
        "coverage of time",
        "coverage of energy",
    ]
    assert all("; allowed: " in line for line in failed)
