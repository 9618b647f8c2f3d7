"""What policies came to on streams, kept in a run folder, and proven again from there.

A simulation and an execution have files of their own: what each policy came to, and what the
certificate needs: each request, and the prices that prove the bound.
"""

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration.arrivals import draw, located
from calibration.serving.online_run import Asked, OnlineRun, PolicyRun
from solver.inputs import InputError, read_json, write_atomic, write_json
from solver.online import Bound, Outcome, Regret, certify
from solver.problem import npz
from testbed.runs.folder import RunFolder
from testbed.stages.online.simulate import Run, Stream, World, calls_at

#: By whether images were made: the results, and the records that prove them.
FILES = {
    False: ("online.json", "online/records.npz"),
    True: ("online-executed.json", "online/executed.npz"),
}


class Results:
    """The runs of what was ``asked``, by load and policy, in the folder's file ``path``.

    Of an execution, which takes its real time, begin with those that the folder holds of equal
    requests: of other policies and loads, too.
    """

    def __init__(self, folder: RunFolder, world: World, asked: Asked) -> None:
        _move_older(folder)
        self.path, self._records = _paths(folder, asked.executed)
        self._world, self._asked = world, asked
        self._runs: dict[tuple[float, str], tuple[PolicyRun, Mapping[str, Any]]] = {}
        if asked.executed and self.path.exists():
            self._take_kept()

    def __contains__(self, key: object) -> bool:
        """Whether a run, by load and policy, is there."""
        return key in self._runs

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def complete(self) -> bool:
        """Whether all runs are there."""
        pairs = itertools.product(self._asked.loads, self._asked.policies)
        return all(pair in self for pair in pairs)

    def add(self, run: Run) -> None:
        """Add a run; of an execution it is written at once, else by :meth:`save`."""
        outcome, bound = run.served.outcome, run.bound
        requests = {
            **{name: getattr(outcome, name) for name in Outcome.__dataclass_fields__},
            "decided": run.served.decided,
            "quotes": run.served.quotes,
            "edges": np.array(bound.edges),
            "prices": np.array(bound.prices),
        }
        self._runs[run.row.load, run.row.policy] = run.row, requests
        if self._asked.executed:
            self.save()

    def save(self) -> OnlineRun:
        """Write both files."""
        rows, requests = zip(*self._runs.values())
        loads, policies = (dict.fromkeys(each) for each in zip(*self._runs))
        result = OnlineRun(
            replace(self._asked, loads=tuple(loads), policies=tuple(policies)),
            self._world.capacity,
            tuple(f"{prompt} on {device}" for prompt, device in self._world.labels),
            rows,
        )
        # first: what the results do not name yet does no harm
        self._records.parent.mkdir(exist_ok=True)
        write_atomic(self._records, npz.dumps({str(i): each for i, each in enumerate(requests)}))
        write_json(self.path, result.to_dict())
        return result

    def _take_kept(self) -> None:
        """Take the runs of equal requests, where what the folder measured still proves them."""
        try:
            kept = OnlineRun.from_dict(read_json(self.path), str(self.path))
            asked = self._asked
            arrivals = located(kept.asked.arrivals)
            like = replace(asked, loads=kept.asked.loads, policies=kept.asked.policies)
            if replace(kept.asked, arrivals=arrivals) != like:
                return
            _prove(self._world, kept, self._records)
        except InputError as error:
            warnings.warn(f"{error}; all is executed again", stacklevel=3)
            return
        records = npz.read(self._records)
        for index, row in enumerate(kept.runs):
            self._runs[row.load, row.policy] = row, records[str(index)]


def check(folder: RunFolder) -> dict[Path, list[Regret]]:
    """Prove each run's regret again, from the files of the folder alone; by the file of records.

    The bound of an execution is that of the edge's expected seconds at the speed that was measured.
    Raises InputError, one line, for a record that cannot be, and for a number that differs.
    """
    pairs = [_paths(folder, executed) for executed in FILES]
    kept = {path: records for path, records in pairs if path.exists()}
    if not kept:
        raise InputError(f"{pairs[0][0]}: no such file; `testbed online` makes it")
    world = World.read(folder)
    return {
        records: _prove(world, OnlineRun.from_dict(read_json(path), str(path)), records)
        for path, records in kept.items()
    }


def _paths(folder: RunFolder, executed: bool) -> tuple[Path, Path]:
    results, records = FILES[executed]
    return folder.path / results, folder.path / records


def _move_older(folder: RunFolder) -> None:
    """Move an execution that an earlier version wrote where simulations are to its own files."""
    (path, records), (own, own_records) = (_paths(folder, executed) for executed in FILES)
    if own.exists() or not path.exists():
        return
    try:
        executed = OnlineRun.from_dict(read_json(path), str(path)).asked.executed
    except InputError:
        return
    if executed:
        if records.exists():
            records.replace(own_records)
        path.replace(own)


def _prove(world: World, result: OnlineRun, path: Path) -> list[Regret]:
    """Prove the runs of a ``result`` by the records in ``path``."""
    records, asked, proofs = npz.read(path), result.asked, []
    for index, row in enumerate(result.runs):
        where = f"{path}: {row.policy} at load {row.load:g}"
        arrivals = draw(asked.arrivals, row.rate, asked.requests, asked.seed)
        stream = Stream.of(world, arrivals, asked.seed, asked.deadline, asked.late)
        try:
            proofs.append(_prove_run(world, stream, row, records[str(index)]))
        except KeyError as error:
            raise InputError(f"{where}: {error} is missing") from None
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return proofs


def _prove_run(world: World, stream: Stream, row: PolicyRun, kept: Mapping[str, Any]) -> Regret:
    if not isinstance(kept, Mapping):
        raise InputError("found an array; allowed: arrays by name")
    outcome = Outcome(**{name: kept[name] for name in Outcome.__dataclass_fields__})
    for name in ("kind", "arrival"):
        if not np.array_equal(getattr(outcome, name), getattr(stream, name)):
            raise InputError(f"{name}: found other requests; allowed: those of the arrivals")
    calls, slack = world.calls, 1e-6
    if (live := row.executed) is not None:
        calls, slack = calls_at(calls, live.speed, live.fastest)
    edges, prices = (tuple(np.ravel(kept[name]).tolist()) for name in ("edges", "prices"))
    bound = Bound(row.bound, edges, prices)
    proof = certify(stream.tables, calls, outcome, bound, slack)
    if not np.isclose(proof.cost, row.cost, rtol=1e-9):
        raise InputError(f"cost: found {row.cost}; allowed: {proof.cost}, which the records give")
    return proof
