"""How often allocations with a risk break their limits, and what the caution costs.

    python -m benchmarks.calibration.caution POOL -o benchmarks/results/caution.json

draws calibrations and held-out executions from the recorded images of a calibrated run folder: in
each draw some prompts of each class are calibrated on, and users ask for others. The last line is
JSON.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.profiles.build import build
from calibration.profiles.profile import Metrics, Profiles
from calibration.records.record import Record
from calibration.records.scale import Scales
from calibration.records.task import POINTS
from calibration.scenario.problem import to_problem
from calibration.scenario.scenario import Scenario
from solver import InputError, solve
from solver.inputs import write_json
from solver.problem import PLACES

Key = tuple[str, str]  # place, class


@dataclass(frozen=True, eq=False)
class Pool:
    """Records by class and prompt, with what is needed to make profiles of some of them."""

    rows: Mapping[str, Mapping[str, list[Record]]]
    scales: Mapping[Key, Scales]
    metrics: Metrics

    @classmethod
    def of(
        cls, records: Sequence[Record], scales: Mapping[Key, Scales], metrics: Metrics
    ) -> "Pool":
        """The pool of a sweep's records."""
        rows: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
        for record in records:
            if record.task.purpose in POINTS:
                rows[record.task.prompt_class][record.task.prompt].append(record)
        return cls(rows, scales, metrics)

    @classmethod
    def read(cls, path: Path) -> "Pool":
        """The pool in a folder that ``testbed calibrate`` made."""
        from testbed.runs.folder import RunFolder

        folder = RunFolder.read(path)
        profiles = folder.need(Profiles)
        scales = {
            (place.place, profile.prompt_class): profile.scales
            for place in profiles.places
            for profile in place.classes
        }
        return cls.of(folder.records("calibration"), scales, profiles.metrics)


@dataclass(frozen=True)
class Draw:
    """One calibration and one execution: limits kept and broken, and what was allocated."""

    limits: int
    broken: int
    users: int
    users_broken: int
    objective: float
    steps: float
    refused: bool = False


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Profiles of some prompts, and by class the records of each of the others."""

    profiles: Profiles
    held_out: Mapping[str, list[list[Record]]]
    grid: list[int]

    @classmethod
    def of(cls, pool: Pool, seed: int, share: float = 2 / 3) -> "Calibrated":
        """Calibrate on a ``share`` of the prompts of each class."""
        rng = np.random.default_rng(seed)
        calibration: list[Record] = []
        held_out: dict[str, list[list[Record]]] = {}
        for name, prompts in pool.rows.items():
            order = [str(prompt) for prompt in rng.permutation(sorted(prompts))]
            count = max(3, round(share * len(order)))
            calibration += [record for prompt in order[:count] for record in prompts[prompt]]
            held_out[name] = [prompts[prompt] for prompt in order[count:]]
        profiles = build(calibration, dict(pool.scales), {}, pool.metrics, {})
        return cls(profiles, held_out, sorted({record.task.steps for record in calibration}))


def draw(pool: Pool, calibrated: Calibrated, seed: int, settings: Mapping[str, Any]) -> Draw:
    """Allocate a scenario of ``settings``, and execute it.

    A user's image is one of a held-out prompt, at a step count that was recorded.
    """
    rng, held_out = np.random.default_rng(seed), calibrated.held_out
    shares = dict.fromkeys(pool.rows, 1)
    scenario = Scenario.from_dict({"prompt_classes": shares, "seed": seed, **settings})
    try:
        allocation = solve(on_grid(to_problem(calibrated.profiles, scenario), calibrated.grid))
    except InputError:
        return Draw(0, 0, 0, 0, np.nan, np.nan, refused=True)
    limits = broken = users_broken = 0
    for user, a, steps in zip(scenario.users, allocation.offload, allocation.steps, strict=True):
        rows = held_out[user.prompt_class]
        images = [
            record
            for record in rows[rng.integers(len(rows))]
            if (record.task.place, record.task.steps) == (PLACES[min(a, 1)], steps)
            and (scenario.deadline is None or record.task.purpose == "sweep")  # the timed
        ]
        image = images[rng.integers(len(images))]
        own = 0
        if scenario.deadline is not None:
            limits, own = limits + 1, own + (image.measured.time > scenario.deadline)
        if scenario.max_error is not None:
            scale = pool.scales[image.task.place, user.prompt_class].error
            error = scale.of(image.measured.distance)
            assert error is not None
            limits, own = limits + 1, own + (error > scenario.max_error)
        broken, users_broken = broken + own, users_broken + (own > 0)
    mean = float(np.mean(allocation.steps))
    users = len(scenario.users)
    return Draw(limits, broken, users, users_broken, allocation.objective, mean)


def on_grid(problem, grid):
    """The problem with only the step counts that were recorded: the error of others is above any
    limit.
    """
    data = problem.to_dict()
    edges = [data["edge"]] if "edge" in data else list(data["edges"].values())
    for place in (data["local"], *edges):
        values = place["error"]["values"]
        for row in values if isinstance(values[0], list) else [values]:
            for step in range(1, len(row) + 1):
                if step not in grid:
                    row[step - 1] = 1e6
    data.setdefault("max_error", 1e5)
    return type(problem).from_dict(data)


def summary(draws: Sequence[Draw]) -> dict[str, float]:
    """Shares of limits and of users broken, and of draws with any; means of the rest."""
    done = [each for each in draws if not each.refused]
    limits, users = sum(each.limits for each in done), sum(each.users for each in done)
    return {
        "draws": len(done),
        "refused": len(draws) - len(done),
        "limits": limits,
        "limits_broken": sum(each.broken for each in done) / max(1, limits),
        "users_broken": sum(each.users_broken for each in done) / max(1, users),
        "draws_with_any": float(np.mean([each.broken > 0 for each in done] or [np.nan])),
        "objective": float(np.mean([each.objective for each in done] or [np.nan])),
        "steps": float(np.mean([each.steps for each in done] or [np.nan])),
    }


def compare(
    pool: Pool, risks: Sequence[float], draws: int, settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row for each risk, None first: the same draws under the same limits."""
    every: dict[float | None, list[Draw]] = defaultdict(list)
    for seed in range(draws):
        calibrated = Calibrated.of(pool, seed)
        for risk in (None, *risks):
            own = dict(settings) if risk is None else {**settings, "risk": risk}
            every[risk].append(draw(pool, calibrated, seed, own))
    return [{"risk": risk, **summary(own)} for risk, own in every.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--risks", type=float, nargs="+", default=[0.2, 0.1, 0.05])
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--deadline", type=float)
    parser.add_argument("--max-error", type=float)
    parser.add_argument("--users", type=int, default=30)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    settings = {"users": args.users, "device_classes": {"server-core": 1}}
    settings |= {"deadline": args.deadline, "max_error": args.max_error}
    # only time counts, so that every user takes the fewest steps that its limits allow
    settings["weights"] = {"cost": 1, "utility": 0, "time": 1, "error": 0, "energy": 0}
    rows = compare(Pool.read(args.pool), args.risks, args.draws, settings)
    for row in rows:
        print(
            "risk {risk}: {limits_broken:.1%} of limits, {users_broken:.1%} of users broken; "
            "objective {objective:.4g}, {steps:.1f} steps, {refused} draws refused".format(**row)
        )
    result = {"settings": settings, "rows": rows}
    if args.out:
        write_json(args.out, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
