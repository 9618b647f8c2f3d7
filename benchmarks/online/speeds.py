"""Machines that are not as fast as they were measured: what the edge's pace is worth.

The pace is what the last iterations took (:class:`solver.online.Pace`). Held at 1 is what a default
does that rests on the calibration alone.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.online.setting import Cell, held_back, interval, requests_of
from calibration.serving.online import serve
from solver.online import DEFAULT, Pace, Setting, Tables, certify, find_policy, lower_bound
from testbed.stages.online.simulate import World

#: How many times as long as measured calls take.
SPEEDS = (0.8, 1.0, 1.25, 1.5, 2.0)


def at_speeds(
    place: World, cells: Sequence[Cell], requests: int, seeds: int
) -> list[dict[str, Any]]:
    """The gain at each speed, in each cell: with the pace, and by how much more than without."""
    return [_row(place, cell, speed, requests, seeds) for speed in SPEEDS for cell in cells]


def _row(place: World, cell: Cell, speed: float, requests: int, seeds: int) -> dict[str, Any]:
    tables, calls = Tables.of(place.problem), place.calls.scaled(speed)
    gains: dict[bool, list[float]] = {True: [], False: []}
    for seed in held_back(seeds):
        kind, times = requests_of(place, cell, requests, seed)
        bound = lower_bound(tables, calls, kind, times)
        for follows, own in gains.items():
            policy = find_policy(DEFAULT, Setting(tables, place.calls))
            with nullcontext() if follows else patch.object(Pace, "add", lambda *_: None):
                served = serve(tables, place.calls, kind, times, policy, lambda: speed)
            own.append(certify(tables, calls, served.outcome, bound).share)
    process, load = cell
    return {
        "speed": speed,
        "process": process,
        "load": load,
        "gain": float(np.mean(gains[True])),
        "more": interval(np.subtract(gains[True], gains[False]).tolist()),
    }
