"""One task: an image to generate, by which model, where, and with how many steps."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass

from calibration.checks import is_whole, need, table
from solver.inputs import InputError

PLACES = ("local", "edge")
POINTS = ("sweep", "untimed")
PURPOSES = (*POINTS, "converged", "user", "anchor")


@dataclass(frozen=True)
class Task:
    """What is asked of the testbed; the same task has the same ``id`` on every machine.

    ``place`` is ``local`` or ``edge``; ``steps`` counts denoising steps (>= 1); ``purpose`` is
    ``sweep`` (a calibration point), ``untimed`` (one that was made in a batch, so that its time is
    not used), ``converged`` (a reference image at a high step count), ``user`` (an image that UE
    ``user`` asked for) or ``anchor`` (:mod:`calibration.costs.drift`). Raises :class:`InputError`
    for a value that is not allowed.
    """

    place: str
    model: str
    device: str
    dtype: str
    scheduler: str
    prompt: str
    prompt_class: str
    seed: int
    steps: int
    guidance: float
    revision: str | None = None
    user: int | None = None
    purpose: str = "sweep"
    negative_prompt: str | None = None  # what guidance leads away from

    def __post_init__(self):
        def expect(name, holds, allowed):
            if not holds:
                raise InputError(f"task: {name}: found {getattr(self, name)!r}; allowed: {allowed}")

        expect("place", self.place in PLACES, ", ".join(PLACES))
        expect("purpose", self.purpose in PURPOSES, ", ".join(PURPOSES))
        for name in ("model", "device", "dtype", "scheduler", "prompt", "prompt_class"):
            value = getattr(self, name)
            expect(name, isinstance(value, str) and value, "a non-empty string")
        for name in ("revision", "negative_prompt"):
            value = getattr(self, name)
            expect(
                name,
                value is None or (isinstance(value, str) and value),
                "null or a non-empty string",
            )
        expect(
            "seed",
            is_whole(self.seed) and 0 <= self.seed < 2**63,
            "a whole number from 0 to 2^63 - 1",
        )
        expect("steps", is_whole(self.steps) and self.steps >= 1, "a whole number of at least 1")
        expect(
            "user",
            self.user is None or (is_whole(self.user) and self.user >= 0),
            "null or a whole number of at least 0",
        )
        number = isinstance(self.guidance, (int, float)) and not isinstance(self.guidance, bool)
        expect(
            "guidance",
            number and math.isfinite(self.guidance) and self.guidance >= 0,
            "a number of at least 0",
        )
        object.__setattr__(
            self, "guidance", abs(float(self.guidance))
        )  # 3 and 3.0, 0.0 and -0.0: one task, one id

    @property
    def sample(self):
        """What the images of all step counts have in common that are held against one converged
        image.
        """
        return (
            self.place,
            self.model,
            self.revision,
            self.prompt,
            self.seed,
            self.guidance,
            self.negative_prompt,
        )

    @property
    def id(self):
        """16 hexadecimal digits: the SHA-256 of the task's fields as canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]

    def to_dict(self):
        """The ``asked`` part of a record; without ``negative_prompt`` where there is none."""
        values = dataclasses.asdict(self)
        return (
            values
            if self.negative_prompt
            else {name: value for name, value in values.items() if name != "negative_prompt"}
        )

    @classmethod
    def from_dict(cls, values, where="task"):
        """The inverse of :meth:`to_dict`; raises :class:`InputError` naming ``where`` for unknown,
        missing or wrong fields.
        """
        fields = dataclasses.fields(cls)
        table(where, values, [field.name for field in fields])
        need(
            where, values, [field.name for field in fields if field.default is dataclasses.MISSING]
        )
        try:
            return cls(**values)
        except InputError as error:
            raise InputError(str(error).replace("task", where, 1)) from None


def known(tasks, records):
    """``records`` of ``tasks``, in their order; a distance counts only where ``tasks`` ask for the
    converged image.

    What follows from them is then the same however many images were made before, and in whatever
    order.
    """
    converged = {task.sample for task in tasks if task.purpose == "converged"}
    return [
        record
        if task.sample in converged
        else {**record, "measured": {**record["measured"], "distance": None}}
        for task, record in zip(tasks, records, strict=True)
    ]
