"""What ``testbed bench`` reports (``bench/1``), and its table. Nothing here loads torch."""

import statistics
from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar

from calibration.schema import Schema, frozen, limits
from solver.inputs import InputError

NOTE = "random weights: times, memory and energy are measured, quality has no meaning"


@frozen
class Published(Schema):
    """What others measured of an architecture at its own resolution."""

    images_per_second: float
    steps: int
    source: str


PUBLISHED = {
    "sdxl": Published(2.18, 20, "one H200, FP8, TensorRT (MLPerf Inference v4.1, offline)"),
}


@frozen
class Samples(Schema):
    """The raw measurements: one entry a call, of calls of one step and of all steps."""

    step_times: tuple[tuple[float, ...], ...]
    text_times: tuple[float, ...]
    decode_times: tuple[float, ...]
    energies_j: tuple[float | None, ...]
    one_step_energies_j: tuple[float | None, ...]


@frozen
class BatchRow(Schema):
    """A call that makes ``batch`` images of ``resolution`` pixels a side.

    Medians in seconds: ``step_time``, ``text_time``, ``decode_time``; ``overhead`` is text +
    decode, the t0 of T = t0 + S Δt. ``images_per_second`` at the report's steps; ``step_energy_j``
    in joules, None without a meter; ``peak_memory_bytes``, None on a CPU. ``finite`` is False where
    an overflow made the images all alike: their power is not that of real images. ``sliced``: True
    where memory did not hold the decoding of all images at once.
    """

    batch: int
    resolution: int
    step_time: float
    text_time: float
    decode_time: float
    overhead: float
    images_per_second: float
    step_energy_j: float | None
    peak_memory_bytes: int | None
    finite: bool
    samples: Samples
    sliced: bool | None = limits(omit_none=True, default=None)

    @property
    def image_energy_j(self) -> float | None:
        """Joules an image at the report's steps; None without a meter."""
        joules = [energy for energy in self.samples.energies_j if energy is not None]
        return statistics.median(joules) / self.batch if joules else None


@frozen
class FailedBatch(Schema):
    """A batch that ended the list, and why."""

    batch: int
    error: str


@frozen
class NoQuality(Schema):
    """Random weights have none."""

    error: float | None = None
    clip_score: float | None = None
    frechet: float | None = None


@frozen
class BenchReport(Schema):
    """What ``testbed bench`` writes (``bench/1``)."""

    SCHEMA: ClassVar[str] = "bench/1"

    architecture: str
    source: str
    weights: str
    shrink: int
    dtype: str
    engine: str
    guidance: float
    steps: int
    environment: Mapping[str, Any]
    meter: str | None
    published: Published | None
    quality: NoQuality = field(default_factory=NoQuality)
    batches: tuple[BatchRow | FailedBatch, ...] = ()

    @property
    def rows(self) -> list[BatchRow]:
        """The batches that were measured."""
        return [row for row in self.batches if isinstance(row, BatchRow)]

    @property
    def failure(self) -> FailedBatch | None:
        """The batch that ended the list, if one did."""
        failed = [row for row in self.batches if isinstance(row, FailedBatch)]
        return failed[0] if failed else None


def table(report: BenchReport) -> list[str]:
    """Lines of a small table, and what was published of the same architecture."""
    how = f"{report.dtype}, {report.engine}"
    shrunk = f", its widths divided by {report.shrink}" if report.shrink != 1 else ""
    lines = [
        f"{report.architecture} ({report.source}{shrunk}), {how}, {report.environment['machine']}",
        NOTE,
        f"{'batch':>6}{'s/step':>10}{'text, s':>10}{'decode, s':>10}{'images/s':>10}"
        f"{'GB':>8}{'J/step':>9}",
    ]
    for row in report.rows:
        memory, joules = row.peak_memory_bytes, row.step_energy_j
        lines.append(
            f"{row.batch:>6}{row.step_time:>10.4g}{row.text_time:>10.3g}{row.decode_time:>10.3g}"
            f"{row.images_per_second:>10.3g}"
            + (f"{memory / 1e9:>8.1f}" if memory else f"{'-':>8}")
            + (f"{joules:>9.4g}" if joules is not None else f"{'-':>9}")
            + ("" if row.finite else "  not finite")
        )
    if report.failure:
        lines.append(f"{report.failure.batch:>6}  {report.failure.error}")
    published = report.published
    if published and report.rows:
        best = best_rate(report, published.steps)
        lines.append(
            f"{published.steps} steps: {best:.3g} images/s here ({how}); "
            f"published: {published.images_per_second} images/s on {published.source}"
        )
    return lines


def best_rate(report: BenchReport, steps: int) -> float:
    """Images a second at ``steps`` steps, at the best of the batch sizes."""
    return max(row.batch / (row.overhead + steps * row.step_time) for row in report.rows)


def parse_batches(text: str) -> list[int]:
    """``"1,2,4"`` as integers; raises :class:`InputError`."""
    try:
        batches = [int(part) for part in text.split(",")]
    except ValueError:
        batches = []
    if not batches or min(batches) < 1:
        raise InputError(
            f"--batch: found '{text}'; allowed: whole numbers of at least 1 separated by commas, "
            "e.g. 1,2,4"
        )
    return sorted(set(batches))
