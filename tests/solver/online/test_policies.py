"""What must hold of every policy, and what single ones are for."""

import copy
import sys
from dataclasses import replace

import numpy as np
import pytest

from calibration.serving.online import serve
from solver.inputs import InputError
from solver.online import (
    POLICIES,
    Backlog,
    Calls,
    Setting,
    State,
    Tables,
    certify,
    lower_bound,
)
from solver.online.policies import charge, find_policy
from solver.online.state import Snapshot
from tests.solver.online.worlds import CALLS, problem, stream, tables


def run(world, name, rate=40.0, count=120, **settings):
    kind, arrival = stream(world, rate, count)
    policy = find_policy(name, Setting(world, CALLS, **settings))
    return serve(world, CALLS, kind, arrival, policy).outcome


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_keeps_the_error_limit_and_is_certified(name):
    world = tables(max_error=0.6)
    outcome = run(world, name, price=0.1)
    kind, arrival = outcome.kind, outcome.arrival
    certify(world, CALLS, outcome, lower_bound(world, CALLS, kind, arrival, rounds=5))
    error, utility = world.quality(kind, outcome.edge, outcome.steps)
    assert (error <= 0.6 * (1 + 1e-9)).all() and (utility > 0).all()


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "window"])
def test_whoever_decides_on_arrival_keeps_every_deadline_that_home_can_keep(name):
    world = tables(seed=3, deadline=0.9)
    assert all(world.local_time[k, world.at_home(k)[0]] <= 0.9 for k in range(world.kinds))
    outcome = run(world, name, rate=80.0, price=0.1)
    assert not outcome.missed(world).any()


def test_the_window_holds_requests_and_misses_deadlines_that_its_allocation_does_not_see():
    world = tables(seed=3, deadline=0.9)
    outcome = run(world, "window", rate=80.0, window=0.5)
    assert outcome.missed(world).any()
    held = (
        outcome.seconds[~outcome.edge]
        - world.local_time[outcome.kind, outcome.steps][~outcome.edge]
    )
    assert (held >= -1e-9).all() and (held <= 0.5 + 1e-9).all() and held.max() > 0.3


def test_a_deadline_that_nobody_can_keep_is_missed_and_paid_for():
    world = tables(deadline=0.01)
    outcome = run(world, "externality_price", count=20)
    assert outcome.missed(world).all()
    free = replace(world, deadline=np.full(world.kinds, np.inf))
    assert outcome.cost(world) == pytest.approx(outcome.cost(free) + world.late)


def test_a_kind_that_only_the_edge_serves_is_served_there():
    world = Tables.of(problem(local_steps=0))
    for name in POLICIES:
        assert run(world, name, count=30).edge.all()


def test_the_social_cost_is_what_all_pay_more():
    world, backlog = tables(), Backlog(CALLS)
    for kind, steps in ((0, 6), (1, 3), (2, 8)):
        backlog.add(kind, steps, float(world.time_weight[kind]))
    state = State(world, backlog, 3, 0.0, 0.0)
    spent = state.options.shared * world.energy_weight[3]
    assert (state.social - state.own)[1:] == pytest.approx(
        (state.options.harm + state.options.added * world.energy_weight[3] - spent)[1:]
    )
    assert state.own[0] == pytest.approx(world.at_home(3)[1])


@pytest.mark.parametrize(
    "name", ["selfish", "externality", "fixed_price", "window_price", "dual", "externality_price"]
)
def test_what_a_policy_charges_is_why_it_chooses(name):
    world, backlog = tables(), Backlog(CALLS)
    policy, charged = find_policy(name, Setting(world, CALLS, price=0.3)), 0.0
    for index, kind in enumerate(np.random.default_rng(0).integers(0, 4, 40)):
        now = 0.01 * index
        backlog.advance(now)
        state = State(world, backlog, int(kind), now, now)
        asked = [charge(policy, state) for _ in range(2)]  # asking changes nothing
        assert (asked[0] == asked[1]).all() and asked[0][0] == 0
        seen = copy.deepcopy(policy)
        if hasattr(seen, "see"):  # its price is solved for with the request counted
            seen.see(state)
        best = int((state.own + charge(seen, state)).argmin())
        chosen = policy(state)
        charged = max(charged, asked[0][1:].max())
        assert chosen == best
        if chosen:
            backlog.add(index, chosen, float(world.time_weight[kind]))
    assert (charged > 0) == (name != "selfish")


def test_the_price_lowers_the_steps_of_those_whom_only_the_edge_serves():
    """Nobody leaves; what is scarce is shared by fewer steps, and in a lull it is free again."""
    world = Tables.of(problem(local_steps=0))
    steps = {
        name: [run(world, name, rate, 200).steps.mean() for rate in (5.0, 200.0)]
        for name in ("selfish", "externality_price")
    }
    (calm, busy), own = steps["externality_price"], steps["selfish"]
    assert calm == pytest.approx(own[0], rel=0.1) and busy < 0.8 * own[1]
    policy, backlog = find_policy("window_price", Setting(world, CALLS)), Backlog(CALLS)
    for now in [*np.arange(0, 3, 0.005), 100.0]:
        high = policy.price
        policy(State(world, backlog, 0, float(now), float(now)))
    assert high > 0 == policy.price


def test_under_overload_the_price_of_others_delay_beats_selfishness_and_holding():
    world = tables(seed=1)
    kind, arrival = stream(world, 90.0, 300)
    cost = {
        name: serve(world, CALLS, kind, arrival, find_policy(name, Setting(world, CALLS)))
        .outcome.cost(world)
        .sum()
        for name in ("externality_price", "externality", "selfish", "window", "all_local")
    }
    assert cost["externality_price"] < cost["externality"] < cost["selfish"] < cost["all_local"]
    assert cost["externality_price"] < cost["window"]


@pytest.mark.parametrize("name", ["externality_price", "window_price", "threshold"])
def test_those_who_come_together_at_the_beginning_are_not_sent_home(name):
    """No time has passed, so that nobody knows a rate."""
    world, backlog = tables(), Backlog(CALLS)
    policy, chosen = find_policy(name, Setting(world, CALLS)), []
    for index in range(10):
        steps = policy(State(world, backlog, index % 4, 0.0, 0.0))
        chosen.append(steps)
        if steps:
            backlog.add(index, steps, float(world.time_weight[index % 4]))
    assert sum(steps > 0 for steps in chosen[6:]) >= 2


def test_an_edge_of_one_request_at_a_time_has_a_price_too():
    calls = Calls(CALLS.tick[:2], CALLS.text[:2], CALLS.decode[:2])
    world, cost = tables(seed=1), {}
    kind, arrival = stream(world, 40.0, 250)
    for name in ("externality_price", "externality", "selfish"):
        policy = find_policy(name, Setting(world, calls))
        cost[name] = serve(world, calls, kind, arrival, policy).outcome.cost(world).sum()
    # one after the other, nobody delays those present: only those to come are harmed
    assert cost["externality_price"] < 0 < cost["externality"] == cost["selfish"]


def test_options_beyond_the_tables_are_charged_too():
    """A server is asked what any number of steps would cost."""
    world = tables()
    policy, backlog = find_policy("externality_price", Setting(world, CALLS)), Backlog(CALLS)
    run_steps = 3 * world.most_steps
    options = backlog.options(0.0, run_steps)
    seen = Snapshot(CALLS, 0, options)
    assert charge(policy, State(world, seen, 0, 0.0, 0.0)).shape == (1 + run_steps,)


def test_ones_own_policy_is_called_and_its_answers_are_checked(tmp_path, monkeypatch):
    (tmp_path / "my_policy.py").write_text(
        "def few(state):\n    return 1 if state.allowed[1] else 0\n"
        "class Every:\n"
        "    def __init__(self, setting):\n        self.count = 0\n"
        "    def __call__(self, state):\n"
        "        self.count += 1\n        return self.count % 2\n"
        "def wrong(state):\n    return 1000\n"
        "def broken(state):\n    return state.nothing\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_policy", raising=False)
    world = tables()
    assert (run(world, "my_policy:few", count=10).steps == 1).all()
    assert run(world, "my_policy:Every", count=10).edge.sum() == 5
    for name, reason in (
        ("my_policy:wrong", "found 1000 for a request of kind"),
        ("my_policy:broken", "AttributeError"),
        ("my_policy:number", "found int; allowed: a function"),
        ("no_such:module", "ModuleNotFoundError"),
        ("selfis", "perhaps you meant 'selfish'"),
    ):
        with pytest.raises(InputError, match=reason):
            run(world, name, count=3)


def test_a_limit_that_no_option_keeps_is_refused():
    with pytest.raises(InputError, match="max_error: user 0: no step count of any place"):
        Tables.of(problem(max_error=0.0))
