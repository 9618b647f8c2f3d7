"""Requests that arrive: policies on simulated streams, from what a run folder measured."""

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from calibration.arrivals import Arrivals, draw
from calibration.profiles.profile import Profiles
from calibration.scenario.problem import to_problem
from calibration.scenario.scenario import Scenario
from calibration.serving.online import Served, calls_of, serve
from calibration.serving.online_run import Asked, PolicyRun, summary
from solver.inputs import InputError
from solver.online import (
    Bound,
    Calls,
    Regret,
    Setting,
    Tables,
    certify,
    find_policy,
    lower_bound,
)
from solver.online.prices import Market
from solver.problem import Problem
from testbed.runs.folder import RunFolder

Ints = NDArray[np.int_]
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class World:
    """Who asks and what serves them: a ``problem`` whose users are the kinds of request, with
    their ``labels`` (prompt class, device class) and ``shares``, and the edge's ``calls``.
    """

    problem: Problem
    labels: tuple[tuple[str, str], ...]
    shares: Array
    calls: Calls

    @classmethod
    def of(cls, profiles: Profiles, scenario: Scenario) -> "World":
        """Of what was measured; raises InputError where the edge's batches were not, and for an
        edge behind a network.
        """
        edge = profiles.get("edge")
        if edge is None or edge.batch is None:
            note = "nothing" if edge is None else edge.batch_note or "no batches"
            raise InputError(
                f"profiles: edge: batch: found {note}; allowed: timed batches of continuous "
                "batching, as `testbed calibrate` times them"
            )
        if profiles.splits:
            warnings.warn("splits: left out: each request is served at one place", stacklevel=2)
        problem = to_problem(replace(profiles, splits=None), scenario)
        places = problem.places.values()
        if any(place.transfer_time.any() or place.transfer_energy.any() for place in places):
            raise InputError(
                "edge: found a network on the way to it (a url, or links of the scenario); allowed "
                "for requests that arrive: an edge without, as their policies know no transfers yet"
            )
        keys = [
            (user.prompt_class, user.device_class, user.deadline or inf, user.max_error or inf)
            for user in scenario.users
        ]
        kinds = sorted(Counter(keys).items())
        problem = problem.part([keys.index(key) for key, _ in kinds])
        labels = tuple((prompt, device) for (prompt, device, _, _), _ in kinds)
        home = Tables.of(problem).best_at_home()
        if not np.isfinite(home).all():
            who = " on ".join(labels[int(np.isfinite(home).argmin())])
            raise InputError(
                f"scenario: {who}: found no local step count within its limits; allowed for "
                "requests that arrive: one, as gains are those over serving all locally"
            )
        shares = np.array([count for _, count in kinds]) / len(keys)
        return cls(problem, labels, shares, calls_of(edge.batch))

    @classmethod
    def read(cls, folder: RunFolder) -> "World":
        """Of a run folder's profiles and its scenario (`testbed allocate` resolves it)."""
        return cls.of(folder.need(Profiles), folder.need(Scenario))

    @property
    def capacity(self) -> float:
        """Requests a second at which the full edge just serves all, each as is best alone."""
        market = Market.of(Tables.of(self.problem), self.calls)
        busy = float(self.shares @ market.busy[:, 0])
        if not busy > 0:
            raise InputError(
                "scenario: found nobody whom the edge serves best, even alone; allowed: a kind of "
                "request at least, as loads are in units of what the edge can serve"
            )
        return 1 / busy


@dataclass(frozen=True, eq=False)
class Stream:
    """Requests of ``kind`` that come at ``arrival`` s, both of shape (n,), with their ``tables``.

    ``asked``: each one's place among the world's kinds: with deadlines of their own there are
    more kinds in the tables.
    """

    tables: Tables
    kind: Ints
    arrival: Array
    asked: Ints

    @classmethod
    def of(
        cls, world: World, arrivals: Arrivals, seed: int, deadline: float | None, late: float
    ) -> "Stream":
        """Draw who asks from the world's shares; ``deadline``, s, is one more for everyone."""
        count = len(arrivals.times)
        asked = np.random.default_rng([seed, 1]).choice(len(world.shares), count, p=world.shares)
        due = np.minimum(arrivals.deadlines, np.inf if deadline is None else deadline)
        if not np.isfinite(due).any():
            return cls(Tables.of(world.problem, late), asked, arrivals.times, asked)
        values, which = np.unique(due, return_inverse=True)
        pairs, kind = np.unique(np.stack([asked, which]), axis=1, return_inverse=True)
        part = world.problem.part(pairs[0].tolist())
        own = np.inf if part.deadline is None else part.deadline
        part = replace(part, deadline=np.minimum(values[pairs[1]], own))
        return cls(Tables.of(part, late), kind.ravel(), arrivals.times, asked)


@dataclass(frozen=True, eq=False)
class Run:
    """One policy's run: its ``row`` in the table, what was ``served``, and the ``bound``. Of an
    execution, the row of the same requests ``simulated`` at the speed that was measured.
    """

    row: PolicyRun
    served: Served
    bound: Bound
    simulated: PolicyRun | None = None


def streams(world: World, asked: Asked) -> Iterator[tuple[float, float, Stream, Bound]]:
    """The load, the rate a second, the requests and their bound, for each load asked for."""
    capacity = world.capacity
    for load in asked.loads:
        rate = load * capacity
        arrivals = draw(asked.arrivals, rate, asked.requests, asked.seed)
        stream = Stream.of(world, arrivals, asked.seed, asked.deadline, asked.late)
        bound = lower_bound(stream.tables, world.calls, stream.kind, stream.arrival)
        yield load, rate, stream, bound


def simulate(world: World, asked: Asked) -> Iterator[Run]:
    """Each policy on each load's requests, the same for all."""
    for load, rate, stream, bound in streams(world, asked):
        setting = setting_of(world, stream, bound, asked)
        for name in asked.policies:
            served, proof = at_speed(world, name, stream, setting, bound)
            yield Run(summary(name, load, rate, stream.tables, served, proof), served, bound)


def setting_of(world: World, stream: Stream, bound: Bound, asked: Asked) -> Setting:
    """What policies are told; the fixed price is that of hindsight."""
    price = float(np.average(bound.prices, weights=np.diff(bound.edges)))
    return Setting(stream.tables, world.calls, price, asked.window)


def at_speed(
    world: World, name: str, stream: Stream, setting: Setting, bound: Bound, speed: float = 1.0
) -> tuple[Served, Regret]:
    """A stream under a policy at an edge whose iterations take ``speed`` times as long as they were
    measured; the ``bound`` is that of this edge.
    """
    policy, tables = find_policy(name, setting), stream.tables
    served = serve(tables, world.calls, stream.kind, stream.arrival, policy, lambda: speed)
    return served, certify(tables, world.calls.scaled(speed), served.outcome, bound)


def calls_at(calls: Calls, speed: float | None, fastest: float | None) -> tuple[Calls, float]:
    """The calls of an execution's median ``speed`` (None: nobody was at the edge), and by how much
    single ones may be shorter.

    Of an iteration the whole is timed; its encoding or decoding may be faster yet.
    """
    if speed is None or fastest is None:
        return calls, 1e-6
    return calls.scaled(speed), 1 - 0.8 * fastest / speed
