"""Completion times quoted at admission: how far off they are, and how far off who knows all but the
future would be.

A quote's error has two parts: a *bias*, which a correction could remove, and a *spread*. The oracle
sees the edge and the policy as they are, and knows the rate of arrivals, the mixture of kinds and
the noise of calls, but not who will come: it plays many futures, and quotes their median, which no
other quote beats in the mean. Calls take as much longer or shorter than expected as was measured.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.online.setting import PROFILES, Cell, held_back, requests_of
from calibration import load_profiles
from calibration.arrivals import SHARE, turns
from calibration.serving.online import Noise, serve
from solver.online import DEFAULT, Backlog, Policy, Setting, State, Tables, find_policy
from testbed.stages.online.simulate import World

#: Requests from which on quotes are compared: before, too few have finished to correct by.
FIRST = 100
#: Whose seconds are compared: the backlog's if nobody else comes, those quoted, and the oracle's.
WHO = ("backlog", "quote", "oracle")


@dataclass(frozen=True, eq=False)
class Moment:
    """A request that goes to the edge, with so many ``steps``: what was there (``backlog``), and
    the ``policy`` after its decision.
    """

    index: int
    kind: int
    now: float
    steps: int
    backlog: Backlog
    policy: Policy


class Watcher:
    """The default policy, which keeps the moments of some of its decisions."""

    def __init__(self, policy: Policy, watched: set[int]) -> None:
        self.moments: list[Moment] = []
        self._policy, self._watched, self._count = policy, watched, 0

    def __call__(self, state: State) -> int:
        index, steps = self._count, self._policy(state)
        self._count += 1
        if steps and index in self._watched:
            backlog, policy = copy.deepcopy((state.backlog, self._policy))
            self.moments.append(Moment(index, state.kind, state.now, steps, backlog, policy))
        return steps


def quoted(
    place: World,
    cells: Sequence[Cell],
    requests: int,
    seeds: int,
    watched: int = 60,
    futures: int = 25,
) -> dict[str, Any]:
    """The quotes of the default in each cell, ``watched`` of a stream held against the oracle's of
    so many ``futures``.
    """
    edge = load_profiles(PROFILES).get("edge")
    assert edge is not None and edge.batch is not None
    noise, rows = edge.batch.tick.relative_sd, []
    for cell in cells:
        streams = [
            _stream(place, cell, requests, seed, noise, watched, futures)
            for seed in held_back(seeds)
        ]
        seconds = np.concatenate([each for each, _ in streams])
        told = {name: parts(seconds[:, 0], seconds[:, i]) for i, name in enumerate(WHO, 1)}
        process, load = cell
        rows.append(
            {
                "process": process,
                "load": load,
                "coverage": float(np.mean([inside for _, inside in streams])),
                "compared": len(seconds),
                **told,
            }
        )
        errors = {name: round(each["error"], 3) for name, each in told.items()}
        print(f"quotes, {process} {load:g}: {errors}", flush=True)
    return {"requests": requests, "seeds": seeds, "noise": noise, "cells": rows}


def parts(measured: NDArray[np.float64], told: NDArray[np.float64]) -> dict[str, float]:
    """The median relative ``error`` of what was ``told``, and of measured over told the median less
    1, the ``bias``, and the median distance from that median, the ``spread``.
    """
    ratio = measured / told
    bias = float(np.median(ratio))
    return {
        "error": float(np.median(np.abs(1 / ratio - 1))),
        "bias": bias - 1,
        "spread": float(np.median(np.abs(ratio / bias - 1))),
    }


def _stream(
    place: World,
    cell: Cell,
    requests: int,
    seed: int,
    noise: float,
    watched: int,
    futures: int,
) -> tuple[NDArray[np.float64], float]:
    """Of the watched requests the seconds that it took, and those of ``WHO``, shape (n, 4); and the
    share of all intervals that held.
    """
    tables, (process, load) = Tables.of(place.problem), cell
    rate = load * place.capacity
    kind, times = requests_of(place, cell, requests, seed)
    rng = np.random.default_rng([seed, 2])
    later = np.arange(min(FIRST, requests // 2), requests)
    chosen = rng.choice(later, min(watched, len(later)), replace=False)
    watcher = Watcher(find_policy(DEFAULT, Setting(tables, place.calls)), set(chosen.tolist()))
    served = serve(tables, place.calls, kind, times, watcher, Noise(noise, seed))
    spent, told = served.outcome.seconds, served.quotes
    edge = served.outcome.edge
    inside = (told[edge, 1] <= spent[edge] + 1e-9) & (spent[edge] <= told[edge, 2] + 1e-9)
    rows = []
    for moment in watcher.moments:
        high = process == "bursts" and _in_burst(rate, seed, moment.now)
        done = [
            _future(place, tables, moment, _arrivals(process, rate, high, rng), noise, rng)
            for _ in range(futures)
        ]
        alone = copy.deepcopy(moment.backlog)
        _, last = alone.add(-1, moment.steps)
        index = moment.index
        # the backlog is told in seconds from now, the others from arrival: here the same
        rows.append(
            [spent[index], alone.expected(last, moment.now), told[index, 0], np.median(done)]
        )
    return np.array(rows).reshape(-1, 1 + len(WHO)), float(inside.mean())


def _in_burst(rate: float, seed: int, now: float) -> bool:
    """Whether the process of that seed is in a burst."""
    rng = np.random.default_rng(seed)
    states = turns(rate, rng, bool(rng.random() < SHARE))
    return next(high for end, high, _ in states if end > now)


def _arrivals(process: str, rate: float, high: bool, rng: np.random.Generator) -> Iterator[float]:
    """Seconds from now at which others come, without end."""
    if process == "bursts":
        for _, _, arrivals in turns(rate, rng, high):
            yield from arrivals
    at = 0.0
    while True:
        at += float(rng.exponential(1 / rate))
        yield at


def _future(
    place: World,
    tables: Tables,
    moment: Moment,
    arrivals: Iterator[float],
    noise: float,
    rng: np.random.Generator,
) -> float:
    """Seconds until the request is done in one future."""
    backlog, policy = copy.deepcopy((moment.backlog, moment.policy))
    backlog.noise = Noise(noise, int(rng.integers(2**31)))
    backlog.add(-1, moment.steps, float(tables.time_weight[moment.kind]))
    for index, after in enumerate(arrivals):
        now = moment.now + after
        for done in backlog.advance(now):
            if done.name == -1:
                return done.finished - moment.now
        kind = int(rng.choice(len(place.shares), p=place.shares))
        if steps := policy(State(tables, backlog, kind, now, now)):
            backlog.add(index, steps, float(tables.time_weight[kind]))
    raise AssertionError("arrivals have no end")
