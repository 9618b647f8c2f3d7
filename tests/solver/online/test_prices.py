"""The price of a second: of a market, and of a plan."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from calibration.serving.online import serve
from solver.online import Backlog, Pace, Setting, State, Tables, prices
from solver.online.calls import FORGOTTEN, RECENT
from solver.online.policies import find_policy
from solver.online.priced import ExternalityPrice
from solver.online.prices import Market, Plan, edge_costs, taken_up
from tests.solver.online.worlds import CALLS, problem, stream, tables


def test_prices_at_which_more_seconds_are_asked_for_are_lower():
    world = tables()
    market = Market.of(world, CALLS)
    assert (np.diff(market.busy, axis=1) <= 1e-12).all() and market.busy[:, 0].min() > 0
    rates = np.full(world.kinds, 100.0)
    prices = [market.price(rates / seconds) for seconds in (1.0, 5.0, 20.0, 1e3)]
    assert sorted(prices, reverse=True) == prices and prices[-1] == 0.0
    least = edge_costs(world, CALLS, np.arange(4), np.zeros(4))
    alone = (
        world.fixed
        + world.time_weight[:, None] * CALLS.alone(np.arange(1 + world.most_steps))
        + world.energy_weight[:, None] * CALLS.least_share(np.arange(1 + world.most_steps))
    )
    assert (least[:, 1:] >= alone[:, 1:] - 1e-12).all(), "a large batch is slow, a small one dear"


def test_a_plan_that_leaves_no_time_to_spare_serves_less(monkeypatch):
    """The plan's share of a deadline, against plans that take all of it."""
    base = problem(seed=3, users=6, edge_steps=20)
    weights = {**base.weights, "error": 20 * base.weights["error"]}
    cost = {}
    for deadline, kept in itertools.product((np.inf, 30.0, 0.45), (prices.KEPT, 1.0)):
        monkeypatch.setattr(prices, "KEPT", kept)
        limit = np.full(6, deadline) if np.isfinite(deadline) else None
        world = Tables.of(replace(base, deadline=limit, weights=weights))
        kind, arrival = stream(world, 20.0, 200)
        policy = ExternalityPrice(Setting(world, CALLS))
        cost[deadline, kept] = serve(world, CALLS, kind, arrival, policy).outcome.cost(world).mean()
    for deadline in (np.inf, 30.0):
        assert cost[deadline, 1.0] == cost[deadline, 0.8]
    assert cost[0.45, 0.8] < cost[0.45, 1.0]


def test_the_price_rises_with_what_is_left_of_those_present():
    world = tables(seed=1)
    kind, arrival = stream(world, 40.0, 100)
    policy = ExternalityPrice(Setting(world, CALLS))
    serve(world, CALLS, kind, arrival, policy)
    now, charged = float(arrival[-1]), []
    for present in (0, 4, 16, 64):
        asked, backlog = copy.deepcopy(policy), Backlog(CALLS, clock=now)
        for name in range(present):
            backlog.add(name, 8)
        state = State(world, backlog, 0, now, now)
        asked(state)
        charged.append((asked.price, asked.charge(state)[8]))
    assert charged == sorted(charged) and charged[0][0] < charged[-1][0]
    assert copy.deepcopy(policy)._plan is policy._plan, "large, and the same for every asker"


def test_a_plan_is_what_a_linear_program_finds():
    """By size of the batch: the dual on the grid of prices is below the optimum, and close."""
    world = tables(seed=2, deadline=0.6)
    plan, rates, ahead = Plan.of(world, CALLS), np.array([9.0, 6.0, 12.0, 3.0]), 2.0
    optimum = []
    for size in plan.sizes:
        busy, _ = taken_up(CALLS, size, np.arange(1 + world.most_steps))
        cost = plan.own(np.arange(world.kinds), size)
        told = linprog(
            np.where(np.isfinite(cost), cost, 1e6).ravel(),
            A_ub=[np.tile(busy, world.kinds)],
            b_ub=[ahead],
            A_eq=np.kron(np.eye(world.kinds), np.ones(cost.shape[1])),
            b_eq=rates * ahead,
        )
        optimum.append(told.fun)
    cost = ahead * plan.cost(rates)
    dual = (cost - plan.prices * ahead).max(axis=1)
    assert (dual <= np.array(optimum) + 1e-9).all()
    assert dual == pytest.approx(optimum, rel=0.015)
    size, price = plan.solve(cost, ahead)
    assert optimum[plan.sizes.tolist().index(size)] <= min(optimum) + 0.015 * abs(min(optimum))
    assert price > 0


def test_what_is_left_counts_where_the_plan_sends_everybody_home():
    world = tables(users=1, seed=4)
    policy, backlog = ExternalityPrice(Setting(world, CALLS)), Backlog(CALLS)
    for index in range(200):
        now = 0.004 * index
        policy.see(State(world, backlog, 0, now, now))
    assert policy._iteration > 0


def test_a_plan_forgets_the_kinds_that_no_longer_ask():
    world = tables()
    plan, rates = Plan.of(world, CALLS), np.array([[1.0, 2.0, 0.0, 0.0], [0.0, 1.0, 3.0, 0.0]])
    first, second = (plan.cost(each) for each in rates)
    assert set(plan._known) == {1, 2}
    assert (plan.cost(rates[0]) == first).all() and (plan.cost(rates[1]) == second).all()
    assert plan.cost(rates.sum(axis=0)) == pytest.approx(first + second)


@pytest.mark.parametrize("rate", [8.0, 14.0, 18.0])
def test_a_plan_takes_the_time_that_a_stream_takes(rate):
    """Requests of six steps: at the mean size of a busy batch, what one took up and how long it
    stayed.
    """
    steps, world = 6, tables()
    kind, arrival = stream(world, rate, 1500)
    served = serve(world, CALLS, kind, arrival, lambda state: steps)
    batch = served.outcome.seconds.sum() / served.busy
    found = served.outcome.shared.mean(), served.outcome.seconds.mean()
    told = [float(each[0]) for each in taken_up(CALLS, batch, np.array([steps]))]
    assert found == pytest.approx(told, rel=0.15)


def test_a_plan_follows_the_machines_pace():
    """On a machine that became slower the policy does, after a while, what one does whose calls
    were measured there, and better than one that does not know it.
    """
    world, slow = tables(seed=1), float(np.exp(11 * prices.CHANGED))
    kind, arrival = stream(world, 40.0, 400)
    asked, end = [], float(arrival[-1])
    for calls, pace in ((CALLS, slow), (CALLS.scaled(slow), 1.0), (CALLS, 1.0)):
        policy = ExternalityPrice(Setting(world, calls))
        backlog = Backlog(calls, clock=end, speed=Pace(pace))
        for each, now in zip(kind, arrival):
            policy.see(State(world, backlog, int(each), float(now), float(now)))
        state = State(world, backlog, 0, end, end)
        asked.append([policy.price, *policy.charge(state)])
    assert asked[0] == pytest.approx(asked[1]) and asked[0][-1] > 1.2 * asked[2][-1]
    cost = {}
    for changed in (0.1, np.inf):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prices, "CHANGED", changed)
            policy = ExternalityPrice(Setting(world, CALLS))
            served = serve(world, CALLS, kind, arrival, policy, lambda: slow)
        cost[changed] = served.outcome.cost(world).sum()
    assert cost[0.1] < cost[np.inf]


@pytest.mark.parametrize("name", ["window", "window_price", "threshold", "externality_price"])
def test_what_fits_the_edge_is_what_fits_it_at_its_pace(name):
    """A policy that looks at the edge's rate sends as on a machine that was measured as slow."""
    world, slow = tables(seed=1), float(np.exp(7 * prices.CHANGED))
    kind, arrival = stream(world, 25.0, 400)
    share = {}
    for calls, noise in ((CALLS, None), (CALLS.scaled(slow), None), (CALLS, lambda: slow)):
        policy = find_policy(name, Setting(world, calls))
        outcome = serve(world, calls, kind, arrival, policy, noise).outcome
        late = outcome.edge & (arrival > arrival[-1] / 4)  # when it is known
        share[calls is CALLS, noise is None] = outcome.steps[late].sum()
    usual, slower, told = share[True, True], share[False, True], share[True, False]
    assert slower < 0.8 * usual and told == pytest.approx(slower, rel=0.2)


def test_a_pace_forgets():
    """One long pause moves it little, and idle time lets those come again whom it kept away."""
    pace = Pace()
    for _ in range(RECENT):
        pace.add(1.0, 2.0)
    assert pace.value == pytest.approx(2.0)
    pace.add(1.0, 1e6)
    assert pace.value < 2.2
    assert pace.after(0.0) == pace.value and 1 < pace.after(FORGOTTEN) < 1.5
    assert pace.after(1e6) == pytest.approx(1)
    backlog = Backlog(CALLS, speed=pace)
    backlog.add(0, 3)
    assert backlog.pace == pace.value
    backlog.drain()
    backlog.advance(1e6)
    assert backlog.pace == pytest.approx(1)
