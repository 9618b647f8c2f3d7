"""What serving a stream of requests in batches came to, predicted and measured; the file format
``serving/1``.
"""

from dataclasses import dataclass
from typing import ClassVar

from calibration.comparison import Comparison, Total
from calibration.schema import Schema, frozen, limits
from solver.inputs import InputError


@dataclass(frozen=True, kw_only=True)
class RequestTime(Comparison):
    """Seconds from a request's ``arrival`` (s) until its image of ``steps`` steps is decoded."""

    request: int
    arrival: float
    steps: int


@frozen
class Completion(Schema):
    """When requests are done that are served in batches of up to ``cap``, chosen by ``order``.

    ``totals``: the ``makespan``, from the first arrival until all are done, and ``time (sum)``, the
    sum over the ``requests``.
    """

    order: str
    cap: int
    requests: tuple[RequestTime, ...]
    totals: tuple[Total, ...]


@frozen
class MeasuredCompletion(Completion):
    """A completion with its measured times.

    Over the requests: the medians of the absolute relative errors, of the prediction and of the
    paper's form, and ``coverage``, the share inside their intervals.
    """

    median_absolute_error: float
    paper_median_absolute_error: float
    coverage: float


@frozen
class ServingRequest(Schema):
    """What was to be served: the ids of ``tasks``, the ``order`` in which requests are chosen, and
    the ``arrival_rate`` in requests a second (None: all arrive at once). ``predicted_from``: the
    digest of what the prediction is made of (None: not told, in older files).
    """

    tasks: tuple[str, ...]
    order: str
    arrival_rate: float | None
    predicted_from: str | None = limits(omit_none=True, default=None)


@frozen
class ImageDifferences(Schema):
    """Images of the batched engine held against the stock pipeline's.

    ``compared`` and ``different`` count images; ``largest_difference`` is in levels of 255.
    """

    compared: int
    different: int
    largest_difference: int


@frozen
class Serving(MeasuredCompletion):
    """What was ``asked``, the ``users`` of its tasks, the end-to-end seconds of each request in
    each of the ``runs``, whose median is the measured time, and how the ``images`` compare.
    """

    SCHEMA: ClassVar[str] = "serving/1"

    asked: ServingRequest
    users: tuple[int, ...]
    runs: tuple[tuple[float, ...], ...]
    images: ImageDifferences

    def __post_init__(self) -> None:
        if len(self.users) != len(self.requests):
            raise InputError(
                f"users: found {len(self.users)}; "
                f"allowed: {len(self.requests)}, one for each request"
            )
