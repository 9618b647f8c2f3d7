"""A rate: the gain of every policy in each cell of load and process, and the time of a decision."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.online.setting import EQUAL, Cell, held_back, interval, requests_of
from calibration.serving.online import serve
from solver.online import (
    DEFAULT,
    POLICIES,
    Backlog,
    Setting,
    State,
    Tables,
    certify,
    find_policy,
    lower_bound,
)
from testbed.stages.online.simulate import World


def rate_budget(place: World, cells: Sequence[Cell], requests: int, seeds: int) -> dict[str, Any]:
    """The gain of every policy in each cell, and how the default compares."""
    rows = [_row(place, cell, requests, seeds) for cell in cells]
    return {
        "requests": requests,
        "seeds": seeds,
        "cells": rows,
        "as_good_in": sum(row["at_least_as_good"] for row in rows),
        "beats_window_in": sum(row["beats_window"] for row in rows),
    }


def _row(place: World, cell: Cell, requests: int, seeds: int) -> dict[str, Any]:
    tables = Tables.of(place.problem)
    gains: dict[str, list[float]] = {name: [] for name in POLICIES}
    tails: dict[str, list[float]] = {name: [] for name in POLICIES}
    for seed in held_back(seeds):
        kind, times = requests_of(place, cell, requests, seed)
        bound = lower_bound(tables, place.calls, kind, times)
        price = float(np.average(bound.prices, weights=np.diff(bound.edges)))
        for name in POLICIES:
            policy = find_policy(name, Setting(tables, place.calls, price))
            outcome = serve(tables, place.calls, kind, times, policy).outcome
            gains[name].append(certify(tables, place.calls, outcome, bound).share)
            tails[name].append(float(np.quantile(outcome.seconds, 0.99)))
    means = {name: float(np.mean(values)) for name, values in gains.items()}
    best = max((name for name in POLICIES if name != DEFAULT), key=means.__getitem__)
    process, load = cell
    print(
        f"{process} {load:g}: {DEFAULT} {means[DEFAULT]:.3f}, {best} {means[best]:.3f}", flush=True
    )
    margin = interval(np.subtract(gains[DEFAULT], gains[best]).tolist())
    return {
        "process": process,
        "load": load,
        "gain": means,
        "best_other": best,
        "margin": margin,
        "at_least_as_good": margin["value"] >= -EQUAL,
        "beats_window": bool(np.all(np.subtract(gains[DEFAULT], gains["window"]) > 0)),
        "p99": float(np.mean(tails[DEFAULT])),
        "p99_selfish": float(np.mean(tails["selfish"])),
    }


def decision_time(place: World, present: int = 1000) -> dict[str, float]:
    """CPU seconds of the default's decisions while so many requests are present."""
    tables, backlog = Tables.of(place.problem), Backlog(place.calls)
    policy = find_policy(DEFAULT, Setting(tables, place.calls))
    rng = np.random.default_rng(0)
    for index in range(present):
        kind = int(rng.integers(tables.kinds))
        backlog.add(index, int(rng.integers(4, 20)), float(tables.time_weight[kind]))
    spent = []
    for index in range(1000):
        now = 1e-3 * index
        begun = time.thread_time()
        policy(State(tables, backlog, int(rng.integers(tables.kinds)), now, now))
        spent.append(time.thread_time() - begun)
    median, p99 = np.quantile(spent, [0.5, 0.99]).tolist()
    return {"present": present, "median": median, "p99": p99}
