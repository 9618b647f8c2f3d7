"""The bound against every schedule of small traces, and the certificate against cheats."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from calibration.serving.online import serve
from solver.inputs import InputError
from solver.online import Backlog, Bound, Calls, certify, lower_bound
from solver.online.bound import evaluate
from solver.online.policies import POLICIES
from solver.online.state import Setting
from tests.solver.online.worlds import CALLS, stream, tables


def cheapest_schedule(world, calls, kind, arrival):
    """The least cost of all choices of place and steps, served first come first served, and of all
    orders in which those at the edge may be delayed further.
    """
    best = np.inf
    home = [world.at_home(k)[0] for k in kind]
    for choice in product(range(1 + world.most_steps), repeat=len(kind)):
        backlog, done = Backlog(calls), []
        for index, steps in enumerate(choice):
            done += backlog.advance(arrival[index])
            if steps:
                backlog.add(index, steps)
        done += backlog.drain()
        edge = np.array(choice) > 0
        seconds = world.local_time[kind, home]
        shared = np.zeros(len(kind))
        for name, finished, share in done:
            seconds[name], shared[name] = finished - arrival[name], share
        steps = np.where(edge, choice, home)
        best = min(best, world.cost(kind, edge, steps, seconds, shared).sum())
    return best


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limits", [{}, {"deadline": 0.25}, {"max_error": 0.5}])
def test_no_schedule_of_a_small_trace_costs_less_than_the_bound(seed, limits):
    world = tables(users=3, edge_steps=3, seed=seed, **limits)
    rng = np.random.default_rng(seed)
    kind, arrival = rng.integers(0, 3, 4), np.sort(rng.uniform(0, 0.1, 4))
    slow = Calls.of(CALLS.tick[1:4] * 2, CALLS.text[1:4], CALLS.decode[1:4])
    bound = lower_bound(world, slow, kind, arrival)
    best = cheapest_schedule(world, slow, kind, arrival)
    assert bound.value <= best
    assert bound.value == pytest.approx(
        evaluate(world, slow, kind, arrival, bound.edges, bound.prices)
    )
    # it says something: most of what could be gained by an edge without others is not there
    free = lower_bound(world, slow, kind, arrival, rounds=0)
    assert bound.value >= free.value - 1e-9


def test_any_prices_prove_a_bound():
    world = tables(users=3, edge_steps=4)
    kind, arrival = np.array([0, 1, 2, 0]), np.array([0.0, 0.01, 0.02, 0.05])
    best = cheapest_schedule(world, CALLS, kind, arrival)
    rng = np.random.default_rng(0)
    for _ in range(50):
        edges = np.cumsum(rng.uniform(0.01, 0.5, 6)) - 0.3
        prices = rng.exponential(rng.choice([0.01, 0.3, 3.0]), 5)
        assert evaluate(world, CALLS, kind, arrival, edges, prices) <= best


@pytest.fixture(scope="module")
def run():
    """A run under overload, and its bound."""
    world = tables(seed=1, deadline=1.5)
    kind, arrival = stream(world, 40.0, 150)
    served = serve(
        world, CALLS, kind, arrival, POLICIES["externality_price"](Setting(world, CALLS))
    )
    return world, served.outcome, lower_bound(world, CALLS, kind, arrival, rounds=40)


def test_a_run_is_certified_from_its_records(run):
    world, outcome, bound = run
    proof = certify(world, CALLS, outcome, bound)
    assert 0 <= proof.regret and 0 < proof.share <= 1
    assert proof.cost == pytest.approx(outcome.cost(world).sum())
    assert 0.1 < outcome.edge.mean() < 1


def cheats(outcome):
    edge, home = np.flatnonzero(outcome.edge), np.flatnonzero(~outcome.edge)

    def changed(name, at, value):
        values = getattr(outcome, name).copy()
        values[at] = value
        return replace(outcome, **{name: values})

    yield "faster than an empty edge", changed("seconds", edge[0], 0.01)
    yield "no share of the edge", changed("shared", edge[0], 0.0)
    yield "faster than its device", changed("seconds", home[0], 0.001)
    yield "more steps than allowed", changed("steps", edge[0], 99)
    yield "steps that are none", changed("steps", home[0], 0)
    alone = CALLS.alone(outcome.steps) * 1.001
    yield (
        "all as if alone",
        replace(outcome, seconds=np.where(outcome.edge, alone, outcome.seconds)),
    )


@pytest.mark.parametrize("which", range(6))
def test_records_that_no_edge_could_have_made_are_refused(run, which):
    world, outcome, bound = run
    with pytest.raises(InputError, match=r"^records\[\d+\]: \w+: found .*; allowed: "):
        certify(world, CALLS, list(cheats(outcome))[which][1], bound)


def test_a_bound_that_its_prices_do_not_prove_is_refused(run):
    world, outcome, bound = run
    with pytest.raises(InputError, match="^bound: value: "):
        certify(world, CALLS, outcome, replace(bound, value=bound.value + 0.01))
    with pytest.raises(InputError, match="^bound: prices: "):
        certify(world, CALLS, outcome, replace(bound, prices=(-1.0,) * len(bound.prices)))
    with pytest.raises(InputError, match="^bound: edges: "):
        certify(world, CALLS, outcome, Bound(0.0, (0.0, 1.0), (1.0, 1.0)))


def test_prices_whose_sum_overflows_prove_nothing(run):
    """-inf + 1e-9 inf is no number, and nothing is above it."""
    world, outcome, bound = run
    with np.errstate(all="ignore"), pytest.raises(InputError, match="^bound: value: "):
        certify(world, CALLS, outcome, replace(bound, prices=(1e308,) * len(bound.prices)))


@pytest.mark.parametrize("name", ["kind", "arrival", "edge", "steps", "seconds", "shared"])
@pytest.mark.parametrize("wrong", [np.zeros(0), np.float64(3), np.ones((3, 3)), np.array(["a"])])
def test_arrays_of_another_shape_or_type_are_refused_in_one_line(run, name, wrong):
    world, outcome, bound = run
    with pytest.raises(InputError, match="^records: "):
        certify(world, CALLS, replace(outcome, **{name: wrong}), bound)


@pytest.mark.parametrize("name", ["seconds", "shared"])
def test_times_beyond_every_clock_are_refused_before_they_are_summed(run, name):
    world, outcome, bound = run
    wrong = replace(outcome, **{name: np.full(len(outcome.kind), 1e308)})
    with pytest.raises(
        InputError, match=rf"^records\[0\]: {name}: found 1e\+308; allowed: at most"
    ):
        certify(world, CALLS, wrong, bound)


def test_energy_weights_that_differ_still_give_a_bound():
    world = tables(users=3, edge_steps=4)
    other = replace(world, energy_weight=world.energy_weight * np.array([1.0, 0.1, 3.0]))
    kind, arrival = np.array([0, 1, 2, 1]), np.array([0.0, 0.0, 0.01, 0.02])
    bound = lower_bound(other, CALLS, kind, arrival, rounds=20)
    assert bound.value <= cheapest_schedule(other, CALLS, kind, arrival)
