"""Streams served in real time by a run folder's own models, every image scored.

Each stream is kept as soon as it is done, so that a long benchmark can be made in parts. In a cell
all policies serve the same requests, one policy after the other, in an order that turns from seed
to seed; seeds are other requests. So policies are compared in pairs, seed by seed.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.online.controls import controlled, simulated
from benchmarks.online.setting import EQUAL, Cell
from calibration.schema import Schema, frozen
from calibration.serving.online_run import Asked, Interval, PolicyRun
from solver.inputs import InputError
from solver.online import DEFAULT
from testbed.runs.folder import RunFolder
from testbed.stages.online.execute import Stage
from testbed.stages.online.simulate import World

#: What is held against the simulation, by ratio and by difference.
RATIOS = ("steps", "time", "time_p95", "energy", "error", "utility")
DIFFERENCES = ("offloaded", "met", "gain")
#: Requests of a stream, at least.
FEWEST = 20


@frozen
class Row(Schema):
    """A stream of a ``process`` and a ``seed`` that was ``live`` under one policy, and the same
    ``simulated`` at the speed that was measured.
    """

    process: str
    seed: int
    live: PolicyRun
    simulated: PolicyRun

    @property
    def key(self) -> tuple[str, int, float, int, str]:
        """Which stream it is."""
        live = self.live
        return self.process, self.seed, live.load, live.requests, live.policy

    def measured(self, name: str) -> float | None:
        """A figure of the stream; error and utility of its images."""
        if name in ("error", "utility"):
            ends: Interval = getattr(self.live.executed, name)
            return ends.value
        value: float | None = getattr(self.live, name)
        return value


@frozen
class Streams(Schema):
    """All ``rows`` that were made on the ``run`` folder of that name, whose edge had this
    ``capacity``.
    """

    run: str
    capacity: float
    rows: tuple[Row, ...] = ()


def execute(
    folder: RunFolder,
    place: World,
    kept: Streams | None,
    cells: Sequence[Cell],
    policies: Sequence[str],
    seeds: int,
    seconds: float,
    keep: Callable[[Streams], None],
) -> Streams:
    """Serve what is not ``kept`` yet: streams of so many ``seconds``; ``keep`` is called after
    each.

    ``place``: the world of the ``folder``. Raises InputError for a file of another run.
    """
    streams = Streams(folder.path.name, place.capacity)
    if kept is not None:
        if streams.run != kept.run or not math.isclose(
            streams.capacity, kept.capacity, rel_tol=1e-3
        ):
            raise InputError(
                f"--out: executed: found run {kept.run!r} of capacity {kept.capacity:g}; allowed: "
                f"{streams.run!r} of {streams.capacity:g}, --run's"
            )
        streams = kept
    done, stage = {row.key for row in streams.rows}, None
    wanted: list[Asked] = []
    for seed, (process, load) in itertools.product(range(seeds), cells):
        count = max(FEWEST, round(seconds * load * place.capacity))
        turn = seed % len(policies)  # the machine changes meanwhile
        order = (*policies[turn:], *policies[:turn])
        missing = tuple(n for n in order if (process, seed, load, count, n) not in done)
        if missing:
            wanted.append(Asked(missing, (load,), process, count, seed, True))
    spans = [each.requests / each.loads[0] * len(each.policies) for each in wanted]
    number, minutes = sum(len(each.policies) for each in wanted), sum(spans) / place.capacity / 60
    print(f"{number} streams, {minutes:.1f} minutes of arrivals", flush=True)
    for asked in wanted:
        stage = stage or Stage(folder, place)
        for run in stage.runs(asked):
            assert run.simulated is not None
            row = Row(asked.arrivals, asked.seed, run.row, run.simulated)
            streams = replace(streams, rows=(*streams.rows, row))
            keep(streams)
    return streams


def compared(streams: Streams, place: World) -> dict[str, Any]:
    """The default against every other policy in each cell, the simulation against what was measured
    for each figure, and the quality of the images that were served.
    """
    cells = sorted({(row.process, row.live.load, row.live.requests) for row in streams.rows})
    return {
        "cells": [_cell(streams, place, *cell) for cell in cells],
        "simulation": _agreement(streams),
        "quality": _quality(streams),
    }


def _cell(
    streams: Streams, place: World, process: str, load: float, requests: int
) -> dict[str, Any]:
    """How much more the default gains than each other policy.

    ``gain``: of each stream, by policy; ``simulated``: its mean over many; ``margin``: the expected
    difference, with the simulation as control; ``ahead``, ``behind``: policies from which the
    default surely (95 %) differs by more than ``EQUAL``; ``equal``: those from which it surely does
    not; ``open``: the rest.
    """
    gains: dict[str, dict[int, float]] = {}
    apart: dict[str, dict[int, float]] = {}  # from its own simulation
    for row in streams.rows:
        live = row.live
        if (row.process, live.load, live.requests) == (process, load, requests):
            gains.setdefault(live.policy, {})[row.seed] = live.gain
            apart.setdefault(live.policy, {})[row.seed] = live.gain - row.simulated.gain
    told = (row.live.executed.speed for row in streams.rows if row.live.executed)
    speeds = [speed for speed in told if speed is not None]
    expected = simulated(place, process, load, requests, gains, speeds or [1.0])
    ours, margins = apart.get(DEFAULT, {}), {}
    for name in sorted(gains.keys() - {DEFAULT}):
        pairs = [ours[seed] - apart[name][seed] for seed in ours.keys() & apart[name].keys()]
        if len(pairs) > 1:  # of one nothing is known
            margins[name] = controlled(pairs, expected[DEFAULT] - expected[name])
    verdicts = {name: _verdict(margin) for name, margin in margins.items()}
    return {
        "process": process,
        "load": load,
        "requests": requests,
        "streams": len(ours),
        "gain": {name: list(values.values()) for name, values in gains.items()},
        "simulated": {name: float(values.mean()) for name, values in expected.items()},
        "margin": margins,
        **{
            verdict: [name for name in verdicts if verdicts[name] == verdict]
            for verdict in ("ahead", "equal", "open", "behind")
        },
    }


def _verdict(margin: dict[str, float]) -> str:
    if margin["low"] > EQUAL:
        return "ahead"
    if margin["high"] < -EQUAL:
        return "behind"
    return "equal" if max(-margin["low"], margin["high"]) <= EQUAL else "open"


def _agreement(streams: Streams) -> dict[str, dict[str, float]]:
    """Of each figure measured over simulated, less 1, or measured less simulated: the median over
    streams, and the central 90 %. Error and utility are those of the images. A figure that either
    lacks is left out, as the steps where nobody goes to the edge.
    """
    told = {}
    for name in (*RATIOS, *DIFFERENCES):
        pairs = [(row.measured(name), getattr(row.simulated, name)) for row in streams.rows]
        apart = [
            live / simulated - 1 if name in RATIOS else live - simulated
            for live, simulated in pairs
            if name in DIFFERENCES or (live and simulated)
        ]
        if apart:
            low, median, high = np.quantile(apart, [0.05, 0.5, 0.95]).tolist()
            told[name] = {"median": median, "low": low, "high": high, "streams": len(apart)}
    return told


def _quality(streams: Streams) -> list[dict[str, Any]]:
    """Error and utility of the images that each policy served at each load, measured (means of the
    streams' means and of their intervals' ends: all have the same prompts) and as the curves
    predicted them; deadlines and quotes.
    """
    rows = []
    loads = sorted({row.live.load for row in streams.rows})
    policies = dict.fromkeys(row.live.policy for row in streams.rows)
    for load, name in itertools.product(loads, policies):
        lives = [r.live for r in streams.rows if (r.live.load, r.live.policy) == (load, name)]
        if not lives:
            continue
        row: dict[str, Any] = {"load": load, "policy": name, "streams": len(lives)}
        for quantity in ("error", "utility"):
            ends = [getattr(live.executed, quantity).to_dict() for live in lives]
            row[quantity] = {end: float(np.mean([e[end] for e in ends])) for end in ends[0]}
            row[quantity]["predicted"] = float(np.mean([getattr(live, quantity) for live in lives]))
        for figure in ("met", "coverage", "quote_error"):
            values = [v for v in (getattr(live, figure) for live in lives) if v is not None]
            row[figure] = float(np.mean(values)) if values else None
        rows.append(row)
    return rows


def goals(result: dict[str, Any]) -> dict[str, bool]:
    """Which of the goals for executions are met."""
    cells = [cell for cell in result["cells"] if cell["margin"]]  # of others nothing is known
    window = [cell for cell in cells if "window" in cell["margin"]]

    def kinds(cells: list[dict[str, Any]]) -> int:
        return len({(cell["process"], cell["load"]) for cell in cells})

    return {
        "executed: no policy better in 9 of 10 cells": kinds(cells) >= 10
        and kinds([cell for cell in cells if not cell["behind"]]) >= 9,
        "executed: better than the held window in all": kinds(window) >= 10
        and all("window" in cell["ahead"] for cell in window),
    }
