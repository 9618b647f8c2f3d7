"""Sum up a check: one file of its results, and the table of docs/gpu.md."""

import re
from pathlib import Path
from typing import Any

from benchmarks.gpu.notes import SCHEMA, read_part
from benchmarks.gpu.order import JOBS
from benchmarks.gpu.rows import rows
from solver.inputs import InputError, read_json, write_atomic, write_json

BEGIN, END = "<!-- gpu_check: begin -->", "<!-- gpu_check: end -->"

#: Notes by part and job.
Parts = dict[str, dict[str, Any]]


def summarize(out: Path, results: Path, docs: Path) -> int:
    """Write ``results/gpu_CARD.json`` and the table in ``docs``; print the table, and what is
    missing. Returns 0 when nothing is.
    """
    parts, when = read(out)
    trial = any(job.get("shrink", 1) > 1 for part in parts.values() for job in part.values())
    path = results / ("gpu_trial.json" if trial else f"gpu_{slug(card(parts))}.json")
    result = {"schema": SCHEMA, "card": card(parts), "when": when, "parts": parts}
    write_json(path, result)
    print(*section(result), sep="\n")
    absent = missing(parts)
    for line in absent:
        print(f"missing: {line}")
    if not trial:  # what small networks take on a CPU says nothing of a GPU
        tabulate(results, docs)
        print(docs)
    print(path)
    return 1 if absent else 0


def read(out: Path) -> tuple[Parts, str]:
    """The notes in ``out``, and when the first was made."""
    parts, times = {}, []
    for part in dict.fromkeys(job.part for job in JOBS):
        if (out / f"{part}.json").exists():
            notes = read_part(out / f"{part}.json", part)
            parts[part] = notes["jobs"]
            times.append(notes["when"])
    if not parts:
        raise InputError(f"{out}: found no results; allowed: a folder that scripts/gpu_check wrote")
    return parts, min(times)


def card(parts: Parts) -> str:
    """The card's name, from whatever job noted it."""
    for part in parts.values():
        for job in part.values():
            environment = job.get("environment") or job.get("report", {}).get("environment") or {}
            if "machine" in environment:
                return environment["machine"]
    return "unknown card"


def slug(name: str) -> str:
    """A name fit for a file: ``NVIDIA H100 80GB HBM3`` is ``h100_80gb_hbm3``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower().removeprefix("nvidia")).strip("_")


def missing(parts: Parts) -> list[str]:
    """The jobs that are not done, each with its reason."""
    lines = []
    for job in JOBS:
        notes = parts.get(job.part, {}).get(job.name, {"state": "not run"})
        reason = notes.get("reason", "the check was cut off")
        if notes["state"] == "not run":
            lines.append(f"{job.part} {job.name}: not run")
        elif notes["state"] != "done":
            lines.append(f"{job.part} {job.name}: {notes['state']}: {reason}")
    return lines


def section(result: dict[str, Any]) -> list[str]:
    """The lines of a card's table, in Markdown."""
    parts = result["parts"]
    packages = parts.get("machine", {}).get("machine", {}).get("packages", {})
    about = parts.get("machine", {}).get("machine", {}).get("card", {})
    environment = next(
        (
            report["environment"]
            for job in parts.get("bench", {}).values()
            if (report := job.get("report"))
        ),
        {},
    )
    versions = [
        f"{name} {version}"
        for name, version in (
            ("driver", about.get("driver")),
            ("CUDA", about.get("cuda")),
            ("torch", environment.get("torch")),
            ("diffusers", environment.get("diffusers")),
            ("transformers", packages.get("transformers")),
        )
        if version
    ]
    head = [f"### {result['card']}", "", f"{result['when'][:10]}; {', '.join(versions)}.", ""]
    lines = [f"| {' | '.join(row)} |" for row in rows(parts)]
    absent = [f"- missing: {line}" for line in missing(parts)]
    return [
        *head,
        "| | measured here | goal, or published |",
        "|---|---|---|",
        *lines,
        *([""] if absent else []),
        *absent,
    ]


def tabulate(results: Path, docs: Path) -> None:
    """Put the tables of all cards in ``results`` between the marks of ``docs``."""
    text = docs.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{docs}: found no marks; allowed: {BEGIN} and {END} around the table")
    tables = [
        "\n".join(section(read_json(path)))
        for path in sorted(results.glob("gpu_*.json"))
        if path.name != "gpu_trial.json"
    ]
    write_atomic(docs, f"{before}{BEGIN}\n\n" + "\n\n".join(tables) + f"\n\n{END}{after}")
