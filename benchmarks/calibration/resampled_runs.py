"""Whole runs drawn from a pool of recorded images, as if each had been generated anew."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.profiles.build import build
from calibration.profiles.profile import Profiles
from calibration.records.record import Record
from calibration.records.scale import Scales
from calibration.records.task import POINTS
from calibration.scenario.problem import to_problem
from calibration.scenario.scenario import Scenario
from calibration.validation.validate import validate
from calibration.validation.validation import Validation
from solver.allocation import evaluate
from solver.methods import solve
from solver.problem import PLACES
from testbed.runs.folder import RunFolder
from testbed.stages.frechet_total import frechet_total

Row = dict[str, Record]  # the images of one prompt and seed, by "place/steps"


@dataclass(frozen=True, eq=False)
class Pool:
    """The images of a calibrated run folder.

    ``rows``: by class and prompt, one row for each seed; ``timed``: by class, the rows that were
    made alone and timed, in the order in which they were made.
    """

    rows: dict[str, dict[str, list[Row]]]
    timed: dict[str, list[Row]]
    profiles: Profiles
    features: dict[str, NDArray[np.float32]]
    reference: NDArray[np.float32]

    @classmethod
    def read(cls, path: Path) -> "Pool":
        """The pool in a folder that ``testbed calibrate benchmarks/data/pool.toml`` made."""
        folder = RunFolder.read(path)
        features = folder.features()
        assert features is not None, f"{path}: calibrated without features"
        by_id = dict(zip(features.ids, features.images))
        return cls.of(
            folder.records("calibration"), folder.need(Profiles), by_id, features.reference
        )

    @classmethod
    def of(
        cls,
        records: Iterable[Record],
        profiles: Profiles,
        features: dict[str, NDArray[np.float32]],
        reference: NDArray[np.float32],
    ) -> "Pool":
        """The pool of a calibration's ``records``; ``features`` by record id."""
        rows: dict[tuple[str, str, int], Row] = defaultdict(dict)
        for record in records:
            task = record.task
            if task.purpose in POINTS:
                rows[task.prompt_class, task.prompt, task.seed][_key(record)] = record
        prompts: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        timed = defaultdict(list)
        for (name, prompt, _), row in rows.items():
            prompts[name][prompt].append(row)
            if all(record.task.purpose == "sweep" for record in row.values()):
                timed[name].append(row)
        return cls(prompts, timed, profiles, features, reference)

    def scales(self) -> dict[tuple[str, str], Scales]:
        """Those of the pool's own profiles."""
        return {
            (place.place, profile.prompt_class): profile.scales
            for place in self.profiles.places
            for profile in place.classes
        }


@dataclass(frozen=True)
class Change:
    """What happens between a run's calibration and its execution: nothing, or a negative control.

    ``slower``: the machine's times are multiplied by this; ``swapped``: the edge's model is
    replaced by the device's.
    """

    slower: float = 1.0
    swapped: bool = False


def run(
    pool: Pool, seed: int, prompts: int, timed: int, users: int, changes: Sequence[Change]
) -> list[Validation]:
    """A run whose prompts, seeds, users and moment in time follow from ``seed``: its validation
    after each of ``changes``.

    The users' steps are taken down to the next step count of the pool. Times come from a stretch of
    the pool's timed images: the first of it is the calibration, the rest the execution.
    """
    rng = np.random.default_rng(seed)
    scenario = Scenario.from_dict({"users": users, "edge_budget": 3 * users, "seed": seed})
    largest = max(Counter(user.prompt_class for user in scenario.users).values())
    start = int(rng.integers(min(map(len, pool.timed.values())) - timed - largest + 1))
    calibration, left = [], {}
    for name, rows in pool.rows.items():
        order = rng.permutation(list(rows))
        left[name] = list(order[prompts:])
        for index, prompt in enumerate(order[:prompts]):
            row = rows[prompt][rng.integers(len(rows[prompt]))]
            clock = pool.timed[name][start + index] if index < timed else None
            calibration += [_made(row[key], clock) for key in row]
    calibration = _in_time_order(calibration)
    profiles = build(
        calibration, pool.scales(), {}, pool.profiles.metrics, pool.profiles.environment
    )
    problem = to_problem(profiles, scenario)
    chosen = solve(problem)
    grid = np.array([*{record.task.steps for record in calibration}])
    steps = [int(grid[grid <= count].max()) for count in chosen.steps]
    allocation = evaluate(problem, chosen.offload, steps)
    drawn, turn = [], defaultdict(int)
    for user in scenario.users:
        name = user.prompt_class
        rows = pool.rows[name][left[name].pop()]
        drawn.append((rows[rng.integers(len(rows))], pool.timed[name][start + timed + turn[name]]))
        turn[name] += 1
    validations = []
    for change in changes:
        executed = []
        for user, offload, count, (row, clock) in zip(
            scenario.users, chosen.offload, steps, drawn, strict=True
        ):
            place = PLACES[offload]
            source = "local" if change.swapped else place
            image = _made(row[f"{source}/{count}"], clock, change.slower)
            task = replace(image.task, place=place, user=user.user, purpose="user")
            executed.append(replace(image, task=task))
        total = frechet_total(
            executed,
            np.stack([pool.features[record.id] for record in executed]),
            calibration,
            pool.features,
            pool.reference,
        )
        totals = [total] if total else []
        validations.append(validate(problem, allocation, profiles, scenario, executed, totals))
    return validations


def _key(record: Record) -> str:
    return f"{record.task.place}/{record.task.steps}"


def _made(record: Record, clock: Row | None, slower: float = 1.0) -> Record:
    """``record`` with the times of the row ``clock``, or untimed."""
    if clock is None:
        return replace(record, task=replace(record.task, purpose="untimed"))
    measured = clock[_key(record)].measured
    return replace(
        record,
        task=replace(record.task, purpose="sweep"),
        measured=replace(
            measured,
            time=slower * measured.time,
            clip_score=record.measured.clip_score,
            distance=record.measured.distance,
        ),
    )


def _in_time_order(records: Sequence[Record]) -> list[Record]:
    """Classes in turns, as a sweep makes them."""
    queues: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        queues[record.task.prompt_class].append(record)
    return [record for group in zip(*queues.values(), strict=True) for record in group]
