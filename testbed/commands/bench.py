"""Time, memory and energy of a published architecture with random weights, against the batch size:
``testbed bench``.

None of them depends on what the weights are, so they are measured honestly; quality has no meaning
here and stays empty. The images are made by diffusers' own pipeline and timed as those of a
calibration are.
"""

import gc
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from calibration.schema import Schema, frozen, limits
from solver.inputs import InputError, write_json
from testbed.engines.stock import Generated, generate
from testbed.environment import environment
from testbed.meters import AnyMeter, open_meter
from testbed.models import architectures
from testbed.models.memory import guard_decoder
from testbed.models.pipelines import denoiser, pick_device, tell_steps

REPEATS = 3  # measured calls of each batch
NOTE = "random weights: times, memory and energy are measured, quality has no meaning"
PROMPT = "a big red ball in the middle"


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

    SCHEMA = "bench/1"

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


def run(
    name: str,
    batches: Sequence[int],
    dtype: str = "float16",
    steps: int = 20,
    device: str = "auto",
    shrink: int = 1,
    compiled: bool = False,
    channels_last: bool = False,
    output: Path | None = None,
) -> BenchReport:
    """Measure the architecture ``name`` at every batch size; the report is written to ``output``
    after each.
    """
    for report in measure(name, batches, dtype, steps, device, shrink, compiled, channels_last):
        if output:
            write_json(output, report.to_dict())
    return report


def measure(
    name: str,
    batches: Sequence[int],
    dtype: str = "float16",
    steps: int = 20,
    device: str = "auto",
    shrink: int = 1,
    compiled: bool = False,
    channels_last: bool = False,
    repeats: int = REPEATS,
) -> Iterator[BenchReport]:
    """The report as it grows, once after each batch size. A batch that memory cannot hold ends it.

    Raises :class:`InputError` for an architecture or device that there is not.
    """
    architecture = architectures.find(name)
    where = pick_device(device)
    pipeline = architectures.assemble(name, where, getattr(torch, dtype), shrink)
    tell_steps(pipeline)
    guard_decoder(pipeline)
    if channels_last:
        for part in (denoiser(pipeline), pipeline.vae):
            part.to(memory_format=torch.channels_last)
    if compiled:
        denoiser(pipeline).forward = torch.compile(denoiser(pipeline).forward)
    meter = open_meter(where)
    report = BenchReport(
        architecture=name,
        source=architecture.source,
        weights=NOTE,
        shrink=shrink,
        dtype=dtype,
        engine=f"PyTorch {torch.__version__}, "
        + ("compiled" if compiled else "eager")
        + (", channels last" if channels_last else ""),
        guidance=architecture.guidance,
        steps=steps,
        environment=environment(where),
        meter=meter.name,
        published=PUBLISHED.get(name) if shrink == 1 else None,
    )
    for batch in batches:
        bench = _Bench(pipeline, batch, steps, architecture.guidance, meter, where, repeats)
        report = replace(report, batches=(*report.batches, bench.row()))
        yield report
        if report.failure:
            return


@dataclass(frozen=True)
class _Bench:
    """Calls of one batch size."""

    pipeline: DiffusionPipeline
    batch: int
    steps: int
    guidance: float
    meter: AnyMeter
    device: torch.device
    repeats: int

    def row(self) -> BatchRow | FailedBatch:
        """The batch measured; with its images decoded one by one where memory runs out."""
        row = self._attempt()
        if row is None and self.batch > 1 and not getattr(self.pipeline.vae, "use_slicing", True):
            self.pipeline.vae.enable_slicing()
            row = self._attempt()
        return row or FailedBatch(self.batch, "out of memory")

    def _attempt(self) -> BatchRow | None:
        try:
            return self._measure()
        except torch.OutOfMemoryError:
            pass  # what the error refers to is freed after this block
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _call(self, steps: int) -> tuple[Generated, float | None]:
        """One call, and all joules that were counted in it, however short it was."""
        prompts, seeds = [PROMPT] * self.batch, range(self.batch)
        done = generate(self.pipeline, prompts, seeds, steps, self.guidance, self.meter)
        parts = self.meter.parts_j
        return done, None if parts is None else sum(parts.values())

    def _measure(self) -> BatchRow:
        for steps in (1, 3):  # memory, kernels and clocks settle
            self._call(steps)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        short, short_j = zip(*(self._call(1) for _ in range(self.repeats)))
        full, full_j = zip(*(self._call(self.steps) for _ in range(self.repeats)))
        samples = Samples(
            step_times=tuple(tuple(done.step_times) for done in full),
            text_times=tuple(done.text_time for done in short + full),
            decode_times=tuple(done.decode_time for done in short + full),
            energies_j=tuple(done.energy_j for done in full),
            one_step_energies_j=tuple(done.energy_j for done in short),
        )
        step = statistics.median(time for done in full for time in done.step_times)
        text, decode = (
            statistics.median(times) for times in (samples.text_times, samples.decode_times)
        )
        images = full[-1].images
        cuda, vae = self.device.type == "cuda", self.pipeline.vae
        return BatchRow(
            batch=self.batch,
            resolution=images.shape[1],
            step_time=step,
            text_time=text,
            decode_time=decode,
            overhead=text + decode,
            images_per_second=self.batch / (text + decode + self.steps * step),
            step_energy_j=self._step_energy(short_j, full_j),
            peak_memory_bytes=torch.cuda.max_memory_allocated(self.device) if cuda else None,
            finite=bool(images.min() < images.max()),
            samples=samples,
            sliced=getattr(vae, "use_slicing", False) or None,
        )

    def _step_energy(
        self, short_j: Sequence[float | None], full_j: Sequence[float | None]
    ) -> float | None:
        """Joules of one step of the whole batch: what calls of all steps take more than calls of
        one; None without a meter or with one step.

        Means, because a counter that is updated seldom is right on average only.
        """
        short, full = (
            [joules for joules in calls if joules is not None] for calls in (short_j, full_j)
        )
        if self.steps == 1 or not short or not full:
            return None
        return (statistics.fmean(full) - statistics.fmean(short)) / (self.steps - 1)


def table(report: BenchReport) -> list[str]:
    """Lines of a small table, and what was published of the same architecture."""
    how = f"{report.dtype}, {report.engine}"
    lines = [
        f"{report.architecture} ({report.source}), {how}, {report.environment['machine']}",
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
