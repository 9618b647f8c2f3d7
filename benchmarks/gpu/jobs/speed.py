"""Time, memory and energy of published architectures at their true size, with random weights."""

import time
from dataclasses import dataclass

from benchmarks.gpu.goals import steps_of
from benchmarks.gpu.notes import Notes, said
from benchmarks.gpu.setting import Setting
from testbed.bench.bench import Bench, measure
from testbed.bench.report import BatchRow, BenchReport, best_rate

REPEATS = 2
_GROWTH = 2.2  # a batch takes at most so many times as long as one of half its size


@dataclass(frozen=True)
class Speed:
    """Measures the architecture ``name`` at the batch sizes ``batches``."""

    name: str
    batches: tuple[int, ...]
    dtype: str = "float16"

    def __call__(self, notes: Notes, setting: Setting) -> str:
        """Measure one batch size after another, as long as there is time."""
        small = (2, self.batches[:1])
        steps, batches = small if setting.small else (steps_of(self.name), self.batches)
        bench = Bench(
            self.name,
            batches,
            setting.dtype(self.dtype),
            steps,
            setting.device,
            setting.shrink,
            repeats=1 if setting.small else REPEATS,
        )
        reports = measure(bench)
        report, start = None, time.monotonic()
        for batch in batches:
            spent = time.monotonic() - start
            if report and setting.left < _GROWTH * spent:
                notes.add(stopped=f"before a batch of {batch}: {setting.left:.0f} s were left")
                break
            start = time.monotonic()
            try:
                report = next(reports, report)
            # e.g. a convolution that cuDNN has no kernel for; smaller batches are measured
            except RuntimeError as error:
                if report is None:
                    raise
                notes.add(stopped=f"at a batch of {batch}: {said(error)}")
                break
            notes.add(report=report)
        if report is None or not report.rows:
            raise RuntimeError(f"no batch was measured: {report and report.failure}")
        return line(report)


_BATCHES = (1, 2, 4, 8, 16)
SD15, SDXL = Speed("sd15", _BATCHES), Speed("sdxl", _BATCHES)
SD3, PIXART, SD35, FLUX, SANA, SPRINT = (
    Speed(name, (1, 4), "bfloat16")
    for name in ("sd3", "pixart", "sd35-medium", "flux-schnell", "sana", "sana-sprint")
)


def line(report: BenchReport) -> str:
    """The smallest and the largest batch."""
    rows = report.rows if len(report.rows) == 1 else [report.rows[0], report.rows[-1]]
    steps = steps_of(report.architecture)
    best = best_rate(report, steps)
    return f"{report.dtype}, {'; '.join(map(_row, rows))}; {steps} steps: {best:.3g} images/s"


def _row(row: BatchRow) -> str:
    energy = "" if row.image_energy_j is None else f", {row.image_energy_j:.3g} J/image"
    finite = "" if row.finite else " (not finite)"
    return f"batch {row.batch}: {1e3 * row.step_time:.4g} ms/step{energy}{finite}"
