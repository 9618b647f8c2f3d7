"""Time and energy of a published architecture with random weights, against the batch: ``testbed
bench``.

Neither depends on what the weights are, so both are honest; quality has no meaning here and stays
empty. The images are made by diffusers' own pipeline and timed as those of a calibration are.
"""

import statistics

import torch

from solver.inputs import InputError, write_json
from testbed.engines.stock import generate
from testbed.environment import environment
from testbed.meters import open_meter
from testbed.models import architectures
from testbed.models.memory import guard_decoder
from testbed.models.pipelines import denoiser, pick_device, tell_steps

REPEATS = 3  # measured calls of each batch
NOTE = "random weights: times, memory and energy are measured, quality has no meaning"
PUBLISHED = {  # at its own resolution
    "sdxl": {
        "images_per_second": 2.18,
        "steps": 20,
        "source": "one H200, FP8, TensorRT (MLPerf Inference v4.1, offline)",
    },
}


def run(
    name,
    batches,
    dtype="float16",
    steps=20,
    device="auto",
    shrink=1,
    compiled=False,
    channels_last=False,
    output=None,
):
    """Measure the architecture ``name`` at every batch; returns the ``bench/1`` report, written to
    ``output`` after each batch.

    Its ``batches`` hold, for a call that makes ``batch`` images: medians ``step_time``,
    ``text_time`` and ``decode_time`` (s), ``overhead`` = text + decode (t0 of T = t0 + S Δt),
    ``images_per_second`` at ``steps``, ``step_energy_j`` (J; null without a meter),
    ``peak_memory_bytes`` (null on a CPU), ``finite`` (false: overflow made the images all alike,
    and the power is not that of real images), and the raw samples. A batch that memory cannot hold
    ends the list with its ``error``.
    """
    device = pick_device(device)
    architecture = architectures.find(name)
    pipeline = architectures.assemble(name, device, getattr(torch, dtype), shrink)
    tell_steps(pipeline)
    guard_decoder(pipeline)
    if channels_last:
        for part in (denoiser(pipeline), pipeline.vae):
            part.to(memory_format=torch.channels_last)
    if compiled:
        denoiser(pipeline).forward = torch.compile(denoiser(pipeline).forward)
    meter = open_meter(device)
    report = {
        "schema": "bench/1",
        "architecture": name,
        "source": architecture.source,
        "weights": NOTE,
        "shrink": shrink,
        "dtype": dtype,
        "engine": f"PyTorch {torch.__version__}, "
        + ("compiled" if compiled else "eager")
        + (", channels last" if channels_last else ""),
        "guidance": architecture.guidance,
        "steps": steps,
        "environment": environment(device),
        "meter": meter.name,
        "published": PUBLISHED.get(name) if shrink == 1 else None,
        "quality": {"error": None, "clip_score": None, "frechet": None},
        "batches": [],
    }
    for batch in batches:
        try:
            row = _measure(pipeline, batch, steps, architecture.guidance, meter, device)
        except torch.OutOfMemoryError:
            row = {"batch": batch, "error": "out of memory"}
        report["batches"].append(row)
        if output:
            write_json(output, report)
        if "error" in row:
            break
    return report


def _measure(pipeline, batch, steps, guidance, meter, device):
    prompts, seeds = ["a big red ball in the middle"] * batch, range(batch)

    def call(count):
        return generate(pipeline, prompts, seeds, count, guidance, meter)

    for count in (1, 3):  # memory, kernels and clocks settle
        call(count)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    short = [call(1) for _ in range(REPEATS)]
    full = [call(steps) for _ in range(REPEATS)]
    samples = {
        "step_times": [one.step_times for one in full],
        "text_times": [one.text_time for one in short + full],
        "decode_times": [one.decode_time for one in short + full],
        "energies_j": [one.energy_j for one in full],
        "one_step_energies_j": [one.energy_j for one in short],
    }
    step = statistics.median(time for one in full for time in one.step_times)
    text, decode = (
        statistics.median(samples["text_times"]),
        statistics.median(samples["decode_times"]),
    )
    images = full[-1].images
    return {
        "batch": batch,
        "resolution": images.shape[1],
        "step_time": step,
        "text_time": text,
        "decode_time": decode,
        "overhead": text + decode,
        "images_per_second": batch / (text + decode + steps * step),
        "step_energy_j": _step_energy(short, full, steps),
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device)
        if device.type == "cuda"
        else None,
        "finite": bool(images.min() < images.max()),
        "samples": samples,
    }


def _step_energy(short, full, steps):
    """Joules of one step of the whole batch: what calls of many take more than calls of one; None
    without a meter or with one step.
    """
    joules = [[one.energy_j for one in calls] for calls in (short, full)]
    if steps == 1 or None in joules[0] + joules[1]:
        return None
    return (statistics.median(joules[1]) - statistics.median(joules[0])) / (steps - 1)


def table(report):
    """Lines of a small table, and what was published of the same architecture."""
    how = f"{report['dtype']}, {report['engine']}"
    lines = [
        f"{report['architecture']} ({report['source']}), {how}, {report['environment']['machine']}",
        NOTE,
    ]
    lines.append(
        f"{'batch':>6}{'s/step':>10}{'text, s':>10}{'decode, s':>10}{'images/s':>10}{'GB':>8}{'J/step':>9}"
    )
    done = [row for row in report["batches"] if "error" not in row]
    for row in done:
        memory, joules = row["peak_memory_bytes"], row["step_energy_j"]
        lines.append(
            f"{row['batch']:>6}{row['step_time']:>10.4g}{row['text_time']:>10.3g}{row['decode_time']:>10.3g}{row['images_per_second']:>10.3g}"
            + (f"{memory / 1e9:>8.1f}" if memory else f"{'-':>8}")
            + (f"{joules:>9.4g}" if joules is not None else f"{'-':>9}")
            + ("" if row["finite"] else "  not finite")
        )
    lines += [f"{row['batch']:>6}  {row['error']}" for row in report["batches"] if "error" in row]
    published = report["published"]
    if published and done:
        best = max(
            row["batch"] / (row["overhead"] + published["steps"] * row["step_time"]) for row in done
        )
        lines.append(
            f"{published['steps']} steps: {best:.3g} images/s here ({how}); "
            f"published: {published['images_per_second']} images/s on {published['source']}"
        )
    return lines


def parse_batches(text):
    """``"1,2,4"`` as integers; raises :class:`InputError`."""
    try:
        batches = [int(part) for part in text.split(",")]
    except ValueError:
        batches = []
    if not batches or min(batches) < 1:
        raise InputError(
            f"--batch: found '{text}'; allowed: whole numbers of at least 1 separated by commas, e.g. 1,2,4"
        )
    return sorted(set(batches))
