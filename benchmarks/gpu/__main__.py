"""The command line of the check; see ``scripts/gpu_check``."""

import argparse
import importlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 480.0
_PRELOADED = ("torch", "benchmarks.serving.engine", "testbed.commands.doctor", "testbed.stages.run")


def parser() -> argparse.ArgumentParser:
    """The arguments of ``scripts/gpu_check``."""
    top = argparse.ArgumentParser(
        prog="scripts/gpu_check", description="Measure on a GPU what only a GPU can tell."
    )
    top.add_argument("out", type=Path, help="folder for the results, one JSON file for each part")
    top.add_argument("--summary", action="store_true", help="only sum up what OUT holds")
    top.add_argument("--seconds", type=float, default=SECONDS, help="for all (default: 480)")
    top.add_argument("--jobs", help="only these, PART or PART.JOB, separated by commas")
    top.add_argument("--shrink", action="store_true", help="a trial on a CPU, on small networks")
    top.add_argument("--device", help="default: cuda, or cpu with --shrink")
    top.add_argument("--job", help=argparse.SUPPRESS)  # in this very process
    top.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    top.add_argument("--docs", type=Path, default=ROOT / "docs" / "gpu.md")
    return top


def main() -> int:
    """Run the check, or sum it up; returns 0 when all was done."""
    args = parser().parse_args()
    if args.summary:
        from benchmarks.gpu.summary import summarize

        return summarize(args.out, args.results, args.docs)
    args.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the job that runs is ended as well
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # diffusers asks for a GPU when it is imported: through NVML, which a forked process survives
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    start = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as caches:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{caches}/inductor")
        os.environ.setdefault("TRITON_CACHE_DIR", f"{caches}/triton")
        return _run(args, start)


def _run(args: argparse.Namespace, start: float) -> int:
    from benchmarks.gpu.notes import Notes
    from benchmarks.gpu.order import JOBS
    from benchmarks.gpu.runner import run_here, run_jobs
    from benchmarks.gpu.setting import SHRINK, Setting

    end = start + args.seconds
    setting = Setting(
        args.device or ("cpu" if args.shrink else "cuda"), SHRINK if args.shrink else 1, end
    )
    if args.job:
        job = next(job for job in JOBS if f"{job.part}.{job.name}" == args.job)
        return run_here(job, Notes(args.out, job.part, job.name), setting)
    wanted = set(args.jobs.split(",")) if args.jobs else {job.part for job in JOBS}
    jobs = [job for job in JOBS if wanted & {job.part, f"{job.part}.{job.name}"}]
    jobs = [job for job in jobs if job.trial or not setting.small]
    for module in _PRELOADED:  # once for all jobs, which are forked from this process
        try:
            importlib.import_module(module)
        except Exception:  # each job says what it cannot import
            pass
    done = run_jobs(jobs, args.out, setting, end - time.monotonic())
    print(f"{args.out}: {time.monotonic() - start:.0f} s", flush=True)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
