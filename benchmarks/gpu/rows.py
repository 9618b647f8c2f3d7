"""The rows of a card's table: what was measured, beside what was aimed at or published."""

from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.goals import CEILING, OVER_STOCK, steps_of
from testbed.bench.report import BatchRow, BenchReport, best_rate

Row = tuple[str, str, str]

_NAMES = {
    "sd15": "Stable Diffusion 1.5",
    "sdxl": "SDXL",
    "sd3": "Stable Diffusion 3",
    "pixart": "PixArt-Σ",
    "sd35-medium": "Stable Diffusion 3.5 medium",
    "sana": "Sana 1.6B",
    "sana-sprint": "SANA-Sprint 0.6B",
    "flux-schnell": "FLUX.1-schnell",
}
#: steps, and what was published of an image's energy with so many
_ENERGY = {
    "sdxl": (20, "340 J, the whole server (MLPerf Inference v4.1, H200, power-capped)"),
    "sd35-medium": (28, "1581 to 1600 J, GPU (ML.ENERGY, H100)"),
    "pixart": (20, "691 to 714 J, GPU (ML.ENERGY, H100)"),
}


def rows(parts: dict[str, dict[str, Any]]) -> Iterator[Row]:
    """The rows of what there is in ``parts``, notes by part and job."""
    machine = parts.get("machine", {}).get("machine", {})
    if "best" in machine and "failed" not in machine["best"]:
        best = ", ".join(f"{value:.3g} {unit}" for unit, value in machine["best"].items())
        yield "matrix product and copy, half precision", best, ""
    for name, job in parts.get("tests", {}).items():
        yield f"tests marked `gpu`, {name}", job.get("line") or job["state"], "all pass"
    for name, job in parts.get("bench", {}).items():
        if "report" in job:
            report = BenchReport.from_dict(job["report"])
            yield from _bench(name, report, job.get("stopped", ""))
    for name in _NAMES:
        if comparison := parts.get("engine", {}).get(name, {}).get("comparison"):
            yield from _engine(_NAMES[name], comparison, name == "sd15")
    for name, title in (("variants", "denoiser's call"), ("compiled", "torch.compile")):
        if line := parts.get("engine", {}).get(name, {}).get("line"):
            yield f"{_NAMES['sd15']}, {title}", line, ""
    for name, title in (("chain", "chain, embedded models"), ("laws", _NAMES["sd15"])):
        for job in parts.get(name, {}).values():
            if line := job.get("line"):
                yield title, line, ""


def _bench(name: str, report: BenchReport, stopped: str) -> Iterator[Row]:
    if not report.rows:
        return
    first = report.rows[0]
    title = f"{_NAMES[name]}, {first.resolution}², {report.dtype}, eager"
    times = "; ".join(f"{1e3 * row.step_time:.3g} ({row.batch})" for row in report.rows)
    yield f"{title}: ms a step (batch)", times, stopped and f"stopped {stopped}"
    memory = "; ".join(
        f"{row.peak_memory_bytes / 1e9:.3g} ({row.batch})"
        for row in report.rows
        if row.peak_memory_bytes
    )
    yield f"{title}: t0 in ms, GB (batch)", f"{1e3 * first.overhead:.3g}; {memory or '-'}", ""
    published = ""
    if report.published:
        published = f"{report.published.images_per_second} ({report.published.source})"
    steps = steps_of(name)
    rate = best_rate(report, steps)
    yield f"{title}: images/s at {steps} steps", f"{rate:.3g}", published
    steps_published, energy = _ENERGY.get(name, (steps, ""))
    joules = [
        f"{value:.4g} ({row.batch})"
        for row in report.rows
        if (value := _image_energy(row, report.steps, steps_published)) is not None
    ]
    measured = "; ".join(joules) or "not measured"
    yield f"{title}: J an image, {steps_published} steps (batch)", measured, energy


def _image_energy(row: BatchRow, steps: int, wanted: int) -> float | None:
    """Joules an image at ``wanted`` steps, from those at ``steps`` and those of a step."""
    if row.image_energy_j is None or wanted == steps:
        return row.image_energy_j
    if row.step_energy_j is None:
        return None
    return row.image_energy_j + (wanted - steps) * row.step_energy_j / row.batch


def _engine(title: str, comparison: dict[str, Any], goals: bool) -> Iterator[Row]:
    about = f"{title}, continuous batching, cap {comparison['batch']}"
    difference = comparison["image_difference"]
    goal = f">= {OVER_STOCK:g}" if goals else ""
    yield f"{about}: times the stock pipeline", f"{comparison['over_stock']:.2f}", goal
    yield f"{about}: times it, grouped", f"{comparison['over_grouped']:.2f}", ""
    goal = f">= {CEILING:g}" if goals else ""
    yield f"{about}: of the ceiling", f"{comparison['ceiling_ratio']:.3f}", goal
    worst, alone = (_level(difference[key]) for key in ("worst", "worst_in_a_stock_batch"))
    yield f"{about}: largest difference of a pixel", worst, f"{alone}: stock, alone or in a batch"


def _level(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2g}"
