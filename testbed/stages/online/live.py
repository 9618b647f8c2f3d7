"""A stream that was served in real time, kept beside its images until these are scored."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from calibration.serving.online import Served
from calibration.statistics import Array
from solver.inputs import InputError, write_atomic
from solver.online import Outcome
from solver.problem import npz
from testbed.runs.store import RecordStore

_FILE = "stream.npz"


@dataclass(frozen=True, eq=False)
class Live:
    """What was ``served``, the images' records in ``store``, measured over expected seconds of each
    iteration (``ratios``), and when each request was ``sent``, s.
    """

    served: Served
    store: RecordStore
    ratios: Array
    sent: Array

    @property
    def speed(self) -> float | None:
        """The median of the ratios; None where nobody was at the edge."""
        return float(np.median(self.ratios)) if len(self.ratios) else None

    @property
    def fastest(self) -> float | None:
        """The least of them."""
        return float(self.ratios.min()) if len(self.ratios) else None

    @classmethod
    def kept(cls, folder: Path, key: str, arrival: Array) -> Self | None:
        """The stream of this ``key`` and these arrivals whose images in ``folder/N`` nobody has
        scored yet; None where there is none that is whole.
        """
        for path in folder.glob(f"*/{_FILE}"):
            with contextlib.suppress(InputError, KeyError, TypeError):
                tree = npz.read(path)
                served = dict(tree["served"])
                outcome = Outcome(**served.pop("outcome"))
                store = RecordStore(path.parent, images="")
                whole = all(f"{index:06d}" in store for index in np.flatnonzero(outcome.edge))
                if whole and tree["key"] == key and np.array_equal(outcome.arrival, arrival):
                    return cls(Served(outcome, **served), store, tree["ratios"], tree["sent"])
        return None

    def keep(self, key: str) -> None:
        """Write it under a ``key`` that no other stream has."""
        served = {**vars(self.served), "outcome": vars(self.served.outcome)}
        tree = {"key": key, "served": served, "ratios": self.ratios, "sent": self.sent}
        write_atomic(self.store.folder / _FILE, npz.dumps(tree))

    def forget(self) -> None:
        """It is scored, and what it came to is kept elsewhere."""
        (self.store.folder / _FILE).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # images are in the way: they stay
            self.store.folder.rmdir()
