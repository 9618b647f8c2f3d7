"""Time, memory and energy of a published architecture with random weights, against the batch size:
``testbed bench``.

None of them depends on what the weights are, so they are measured honestly; quality has no meaning
here and stays empty. The images are made by diffusers' own pipeline and timed as those of a
calibration are.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline

from solver.inputs import write_json
from testbed.bench.report import (
    NOTE,
    PUBLISHED,
    BatchRow,
    BenchReport,
    FailedBatch,
    Samples,
)
from testbed.engines.networks import check_call
from testbed.engines.out_of_memory import free_unused, out_of_memory
from testbed.engines.stock import Generated, generate
from testbed.environment import environment
from testbed.metering.meters import AnyMeter, open_meter
from testbed.models.memory import guard_decoder
from testbed.models.pipelines import denoiser, pick_device, tell_steps
from testbed.models.published import architectures, catalogue
from testbed.models.samplers import check_steps

WARM_UP_STEPS = 3
REPEATS = 3  # measured calls of each batch
PROMPT = "a big red ball in the middle"


@dataclass(frozen=True)
class Bench:
    """What is measured: the architecture ``name`` at each of ``batches``, ``repeats`` times with
    ``steps`` steps. ``shrink`` divides its widths, to try it.
    """

    name: str
    batches: Sequence[int]
    dtype: str = "float16"
    steps: int = 20
    device: str = "auto"
    shrink: int = 1
    compiled: bool = False
    channels_last: bool = False
    repeats: int = REPEATS


def run(bench: Bench, output: Path | None = None) -> BenchReport:
    """Measure all batch sizes; the report is written to ``output`` after each."""
    for report in measure(bench):
        if output:
            write_json(output, report.to_dict())
    return report


def measure(bench: Bench) -> Iterator[BenchReport]:
    """The report as it grows, once after each batch size. A batch that memory cannot hold ends it.

    Raises :class:`InputError` for an architecture or device that there is not, and for steps that
    it cannot take.
    """
    architecture, device = catalogue.find(bench.name), pick_device(bench.device)
    meter = open_meter(device)
    report = BenchReport(
        architecture=bench.name,
        source=architecture.source,
        weights=NOTE,
        shrink=bench.shrink,
        dtype=bench.dtype,
        engine=f"PyTorch {torch.__version__}, "
        + ("compiled" if bench.compiled else "eager")
        + (", channels last" if bench.channels_last else ""),
        guidance=architecture.guidance,
        steps=bench.steps,
        environment=environment(device),
        meter=meter.name,
        published=PUBLISHED.get(bench.name) if bench.shrink == 1 else None,
    )
    try:
        pipeline = _assemble(bench, device)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        failed = FailedBatch(bench.batches[0], "out of memory: its weights")
        yield replace(report, batches=(failed,))
        return
    check_call(pipeline, bench.steps)
    check_steps(pipeline.scheduler, {"--steps": (1, WARM_UP_STEPS, bench.steps)})
    for size in bench.batches:
        batch = _Batch(bench, pipeline, size, architecture.guidance, meter, device)
        report = replace(report, batches=(*report.batches, batch.row()))
        yield report
        if report.failure:
            return


def _assemble(bench: Bench, device: torch.device) -> DiffusionPipeline:
    dtype = getattr(torch, bench.dtype)
    pipeline = architectures.assemble(bench.name, device, dtype, bench.shrink)
    tell_steps(pipeline)
    guard_decoder(pipeline)
    if bench.channels_last:
        for part in (denoiser(pipeline), pipeline.vae):
            part.to(memory_format=torch.channels_last)
    if bench.compiled:
        denoiser(pipeline).forward = torch.compile(denoiser(pipeline).forward)
    return pipeline


@dataclass(frozen=True)
class _Batch:
    """Calls of one batch size."""

    bench: Bench
    pipeline: DiffusionPipeline
    batch: int
    guidance: float
    meter: AnyMeter
    device: torch.device

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
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        free_unused(self.device)  # here: what the error refers to is free now
        return None

    def _call(self, steps: int) -> tuple[Generated, float | None]:
        """One call, and all joules that were counted in it, however short it was."""
        prompts, seeds = [PROMPT] * self.batch, range(self.batch)
        done = generate(self.pipeline, prompts, seeds, steps, self.guidance, self.meter)
        parts = self.meter.parts_j
        return done, None if parts is None else sum(parts.values())

    def _measure(self) -> BatchRow:
        for steps in (1, WARM_UP_STEPS):  # memory, kernels and clocks settle
            self._call(steps)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        repeats = self.bench.repeats
        short, short_j = zip(*(self._call(1) for _ in range(repeats)))
        full, full_j = zip(*(self._call(self.bench.steps) for _ in range(repeats)))
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
        images = full[-1].pixels
        cuda, vae = self.device.type == "cuda", self.pipeline.vae
        return BatchRow(
            batch=self.batch,
            resolution=images.shape[1],
            step_time=step,
            text_time=text,
            decode_time=decode,
            overhead=text + decode,
            images_per_second=self.batch / (text + decode + self.bench.steps * step),
            step_energy_j=self._step_energy(short_j, full_j),
            peak_memory_bytes=torch.cuda.max_memory_allocated(self.device) if cuda else None,
            finite=bool(np.isfinite(images).all() and images.min() < images.max()),
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
        if self.bench.steps == 1 or not short or not full:
            return None
        return (statistics.fmean(full) - statistics.fmean(short)) / (self.bench.steps - 1)
