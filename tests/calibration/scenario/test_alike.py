"""Users that places serve alike are computed once: the problem of many is that of each alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.scenario.problem import to_problem
from calibration.scenario.scenario import Scenario
from calibration.scenario.sites import sites
from solver.inputs import InputError
from solver.problem.place import COLUMNS

CLASSES = ("object", "scene")
OWN = {
    "time_unit": 2.0,
    "energy_unit": 50.0,
    "devices": {"old": {"step_time": 0.08, "watts": 3.0, "source": "timed"}},
    "links": {
        "wifi": {"transfer_time": 0.05, "transfer_energy": 0.1},
        "cell": {"transfer_time": 1},
    },
}
OPTIONAL = {
    "deadline": st.sampled_from([1.0, 2.5, 30.0]),
    "max_error": st.sampled_from([0.3, 0.9]),
    "link": st.sampled_from(["wifi", "cell"]),
}
USER = st.fixed_dictionaries(
    {
        "prompt_class": st.sampled_from(CLASSES),
        "device_class": st.sampled_from(["old", "server-core", "snapdragon-8-gen-3"]),
    },
    optional=OPTIONAL,
)
EDGE = st.fixed_dictionaries(
    {"budget": st.integers(0, 50)},
    optional={
        "device_class": st.sampled_from(["old", "server-core"]),
        "watts": st.sampled_from([5.0, 80.0]),
        "max_steps": st.integers(0, 32),
        "slots": st.integers(0, 3),
    },
)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(USER, min_size=2, max_size=6),
    st.lists(EDGE, max_size=3),
    st.fixed_dictionaries({}, optional=OPTIONAL | {"risk": st.sampled_from([0.05, 0.4])}),
)
def test_the_problem_of_many_is_that_of_each_alone(measured, users, edges, more):
    given_edges = [edge | {"name": f"edge{index}"} for index, edge in enumerate(edges)]
    shared = OWN | more | ({"edges": given_edges} if edges else {})

    def made(own):
        return to_problem(measured, Scenario.from_dict({**shared, "users": own}))

    try:
        alone = [made([user]) for user in users]
    except InputError:
        with pytest.raises(InputError, match="^scenario: risk: "):
            made(users)
        return
    problem = made(users)
    assert problem.users == len(users)
    for index, single in enumerate(alone):
        for name in problem.places:
            every, own = problem.place(name), single.place(name)
            for column in COLUMNS:
                value = np.broadcast_to(getattr(every, column), len(users))[index]
                assert value == np.broadcast_to(getattr(own, column), 1)[0], column
            for curve in ("error", "utility"):
                values = getattr(every, curve).parameters["values"]
                assert (values[index] == getattr(own, curve).parameters["values"][0]).all()
        for limit in ("deadline", "max_error"):
            values = getattr(problem, limit), getattr(single, limit)
            own = [
                np.inf if value is None else np.broadcast_to(value, 9)[0] for value in values[1:]
            ]
            every = np.inf if values[0] is None else np.broadcast_to(values[0], len(users))[index]
            assert every == own[0]
        assert problem.labels["device_class"][index] == single.labels["device_class"][0]


def test_the_mean_user_is_that_of_all_users(measured):
    """The automatic units count every user, not every kind."""
    users = [{"prompt_class": "object", "device_class": "old"}] * 3
    users.append({"prompt_class": "scene", "device_class": "server-core"})
    values = {**OWN, "users": users, "time_unit": "auto", "energy_unit": "auto"}
    scenario = Scenario.from_dict(values)
    problem = to_problem(measured, scenario)
    seconds = [site.local.seconds(scenario.local.max_steps) for site in sites(measured, scenario)]
    assert problem.weights["time"] == scenario.weights.time / np.mean(seconds)
