"""Every figure of a page is the one of its result file."""

import json
import re
import statistics
from pathlib import Path

import pytest

from tests.serving_figures import (
    link,
    online,
    serving,
    serving_crowd,
    serving_overload,
    serving_predictions,
)
from tests.solver_figures import paper_gap, percent, pisinger, several_limits, solver

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def page(name):
    """A page's text, as one line."""
    path = ROOT / name if name == "README.md" else ROOT / "docs" / name
    return re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))


def fit(of):
    published = of["published"]
    median = {
        (file, way): f"{published[f'{file}: {way}']['median_percent']:.1f}"
        for file in ("fid_vs_steps.json", "fid_vs_steps_more.json")
        for way in ("interpolating", "extrapolating")
    }
    five, more = (
        [median[file, way] for way in ("interpolating", "extrapolating")]
        for file in ("fid_vs_steps.json", "fid_vs_steps_more.json")
    )
    covered = [
        value
        for family in of["coverage"].values()
        for name, value in family.items()
        if name not in ("new", "beyond")
    ]
    digits = min(problem["values"] for problem in of["nist"].values())
    yield "results.md", f"between the fitted points | median error {five[0]} % |"
    yield "results.md", f"beyond the fitted points | {five[1]} %"
    yield "results.md", f"between and beyond | {more[0]} %, {more[1]} %"
    yield "results.md", f"cover {percent(min(covered), 1)} to {percent(max(covered), 1)} %"
    yield "results.md", f"{len(of['nist'])} NIST problems | {digits:.1f} digits or more"
    yield "results.md", f"{of['sweeps']:,} synthetic sweeps"
    yield (
        "paper.md",
        f"by {five[0]} % between the fitted points and {five[1]} % beyond them (median)",
    )
    yield "paper.md", f"on 13 others by {more[0]} and {more[1]} %"


def predictions(of):
    for name, row in of["summary"].items():
        errors = [percent(row[key], 1) for key in ("median_error", "paper_median_error")]
        inside = [percent(row[key]) for key in ("images_inside", "means_inside")]
        yield "results.md", f"| {name} | {' | '.join(errors + inside)} |"
    images = [row["images"] for row in of["rows"] if row["quantity"] != "time"]
    yield "results.md", f"{min(images)} to {max(images)} images of each class"

    def rows(prompt_class):
        return [
            row
            for row in of["rows"]
            if row["quantity"] == "error" and row["prompt_class"] == prompt_class
        ]

    off = {
        name: sorted(100 * abs(row["predicted"] / row["measured"] - 1) for row in rows(name))
        for name in ("object", "scene", "relation")
    }
    yield (
        "results.md",
        f"off by {off['object'][0]:.1f} to {off['object'][-1]:.0f} % for single objects, "
        f"{off['scene'][0]:.1f} to {off['scene'][-1]:.0f} % for scenes, and "
        f"{off['relation'][0]:.1f} to {off['relation'][-1]:.0f} % for spatial relations",
    )
    late = [row["measured_se"] / row["measured"] for row in rows("relation") if row["steps"] == 20]
    yield (
        "results.md",
        f"at 20 steps has a standard error of {percent(min(late))} and {percent(max(late))} %",
    )
    plan = of["plan"]
    fewer = plan["uniform_evaluations"] / plan["evaluations"]
    yield "results.md", f"modelled, it would take {fewer:.1f} times the evaluations"


def sweep(of):
    made_up, fewer = of["made_up"], of["made_up"]["fewer_evaluations"]
    covered = made_up["coverage"]["adaptive"].values()
    yield (
        "results.md",
        f"{made_up['worlds']} made-up models, to ±{percent(made_up['half_width'])} % (median; "
        f"quartiles {fewer['quarter']:.1f} and {fewer['three_quarters']:.1f}; "
        f"least {fewer['least']:.1f}) | simulated | {fewer['median']:.1f} times fewer",
    )
    yield "results.md", f"the truth in {percent(min(covered))} to {percent(max(covered))} %"
    real = of["embedded"]
    yield (
        "results.md",
        f"to the ±{percent(real['half_width'])} % that {real['prompts']} prompts reach | measured "
        f"| {real['fewer_evaluations']:.1f} times fewer",
    )


def engine(of):
    image = of["image_difference"]
    yield "results.md", f"one request after another | {of['over_stock']:.1f} times as fast"
    yield "results.md", f"equal steps together | {of['over_grouped']:.1f} times"
    yield (
        "results.md",
        f"| {of['ceiling_ratio']:.2f} (of the denoiser's calls alone {of['denoiser_ratio']:.2f})",
    )
    worst, median = f"{image['worst']:.1e}", f"{image['median']:.0e}"
    yield "results.md", f"{worst.replace('e-0', 'e-')}, as much as the stock pipeline itself"
    yield "results.md", f"median {median.replace('e-0', 'e-')}"
    yield "paper.md", f"{of['over_stock']:.1f} times as fast in one running batch"


def bench_sd15_cpu(of):
    alone = of["batches"][0]
    yield "results.md", f"| {alone['step_time']:.1f} s | {alone['decode_time']:.1f} s |"


def bench_sdxl_cpu(of):
    alone = of["batches"][0]
    yield "results.md", f"| {alone['step_time']:.1f} s | {alone['decode_time']:.0f} s |"


def embedded_quality(of):
    for model in ("edge", "light"):
        points = of[model]["points"]
        rows = {
            "Fréchet distance": [
                f"{v:.{1 if v >= 10 else 2}f}" for v in (point["frechet"] for point in points)
            ],
            "CLIP score": [f"{point['clip_score'][0]:.1f}" for point in points],
            "error": [f"{point['error'][0]:.3f}" if point["error"][0] else "0" for point in points],
        }
        for name, values in rows.items():
            yield "results.md", f"| `{model}`, {name} | {' | '.join(values)} |"
    real = of["real"]
    yield (
        "results.md",
        f"scenes score {real['clip_score'][0]:.1f}, and {real['frechet']:.2f} in Fréchet distance",
    )


def caution(of):
    broken = [percent(row["limits_broken"], 1) for row in of["rows"]]
    more = [f"{row['steps'] / of['rows'][0]['steps']:.1f}" for row in of["rows"][1:]]
    yield "solver.md", f"{broken[0]} % of the error limits break without a risk"
    yield "solver.md", "and {}, {} and {} % at a risk of 20, 10 and 5 %".format(*broken[1:])
    yield "solver.md", "for {}, {} and {} times as many steps".format(*more)


def whole_runs(of):
    honest = of["drawn"]["none"]
    names = {
        "time": "time (sum)",
        "error": "error (mean)",
        "utility": "utility (mean)",
        "CLIP score": "clip_score (mean)",
        "objective": "objective",
        "Fréchet distance": "Fréchet distance (30 images)",
    }
    for shown, name in names.items():
        total = honest["totals"][name]
        inside, half, off = (
            percent(total[key], 1) for key in ("inside", "half_width", "median_absolute_error")
        )
        yield "results.md", f"| {shown} | {inside} % | ±{half} % | {off} % |"
    yield "results.md", f"{honest['runs']} default runs drawn from recorded images"
    yield (
        "results.md",
        (
            f"No prediction fails in {percent(1 - honest['failed'])} % of the runs; "
            f"in {percent(honest['not_tested'])} % at least one could not be tested"
        ),
    )
    swapped, slower, slow = (
        percent(of["drawn"][name]["failed"])
        for name in ("model swapped", "machine 20 % slower", "machine 40 % slower")
    )
    yield "results.md", f"in {swapped} % of those whose edge model was swapped"
    yield "results.md", f"in {slower} % of those on a machine that has become 20 % slower"
    yield "results.md", f"and in {slow} % at 40 % slower"
    more = of["drawn, 120 users"]["none"]
    half = percent(more["totals"]["error (mean)"]["half_width"], 1)
    yield "results.md", f"it is ±{half} % (`--users 120 --runs {more['runs']}`)"
    alone, busy = (of["summary"][kind] for kind in ("undisturbed", "busy"))
    yield "results.md", f"in {alone['without_fail']} of {alone['runs']} runs on an undisturbed"
    yield "results.md", f"in {busy['without_fail']} of {busy['runs']} beside a process"
    yield "results.md", f"then {percent(1 - more['failed'])} % of the runs fail nothing"
    batches = {
        "time, with drift removed": "time (sum), drift removed",
        "makespan in batches": "edge in batches: makespan",
        "makespan in batches, with drift removed": "edge in batches: makespan, drift removed",
        "time in batches (sum)": "edge in batches: time (sum)",
        "time in batches (sum), with drift removed": "edge in batches: time (sum), drift removed",
    }
    for shown, name in (names | batches).items():
        inside = " | ".join(kind["inside"][name] for kind in (alone, busy))
        yield "results.md", f"| {shown} | {inside} |"
    minutes = [run["seconds"] / 60 for run in of["executed"] if not run["busy"]]
    took = f"{min(minutes):.1f} to {max(minutes):.1f} minutes, {statistics.median(minutes):.1f}"
    yield "results.md", f"They took {took} in the median"
    yield "results.md", f"busy core {of['summary']['times_as_long']:.2f} times as long"


def splits(of):
    scores, begun = {}, {"local": [], "edge": []}
    for point in of["points"]:
        first, before, total = point["option"].values()
        scores[first, before, total] = "{:.1f} ± {:.1f}".format(*point["score"])
        if before < total:
            begun[first].append((f"{before} + {total - before}", bool(point["dominated_by"])))
    for edge, device in ((1, 3), (2, 4), (3, 1), (4, 4), (6, 2), (9, 3)):
        alone, split = scores["edge", edge, edge], scores["local", device, device + edge]
        yield "results.md", f"| {edge} | {alone} | {split} ({device} there) |"
    for first, where in (("local", "on the device"), ("edge", "at the edge")):
        names = [name for name, dominated in begun[first] if dominated]
        told = f"{len(names)} are dominated: {', '.join(names)}" if names else "none is dominated"
        yield "results.md", f"f {len(begun[first])} splits that begin {where} {told}"
    gains = of["gains"]
    yield "results.md", f"{sum(gain['held'] for gain in gains)} of {len(gains)} intervals hold"
    for kind, share in of["held_over_random_halves"].items():
        own = [gain["held"] for gain in gains if gain["prompt_class"] == kind]
        yield "results.md", f"| {kind} | {sum(own)} of {len(own)} | {percent(share)} % |"
    yield (
        "calibrate.md",
        f"Three steps on the device and one at the edge score {scores['local', 3, 4]}, three at "
        f"the edge alone {scores['edge', 3, 3]}; four on the device alone "
        f"{scores['local', 4, 4]}, one at the edge alone {scores['edge', 1, 1]}",
    )
    command = f"benchmarks.images.splits --prompts {of['prompts_per_class']} --totals 4 6 8 12"
    yield "results.md", command
    yield "numbers.md", command


def profiles(of):
    classes = [each["time"]["lack_of_fit"] for place in of["places"] for each in place["classes"]]
    furthest, p = max(abs(each["largest"]) for each in classes), [each["p"] for each in classes]
    yield "paper.md", f"no median is further than {percent(furthest, 1)} % from the line"
    yield "paper.md", f"no F test rejects it (p {min(p):.2f} to {max(p):.2f})"
    differ = [{row["quantity"]: row["p"] for row in p["class_differences"]} for p in of["places"]]
    yield "paper.md", "not shown in time ({:.2f}, {:.2f})".format(*(row["time"] for row in differ))


FIGURES = (
    profiles,
    bench_sd15_cpu,
    bench_sdxl_cpu,
    caution,
    embedded_quality,
    engine,
    fit,
    link,
    online,
    paper_gap,
    pisinger,
    predictions,
    serving,
    serving_crowd,
    serving_overload,
    serving_predictions,
    several_limits,
    solver,
    splits,
    sweep,
    whole_runs,
)


@pytest.mark.parametrize("figures", FIGURES, ids=lambda figures: figures.__name__)
def test_the_pages_say_what_the_file_says(figures):
    """The file has the function's name, and is listed by the page of numbers."""
    name = figures.__name__
    folder = ROOT / "docs" if name == "profiles" else RESULTS
    said = list(figures(json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))))
    assert said and f"{name}.json`" in page("numbers.md")
    for where, text in said:
        assert text in page(where), f"{where}: {text}"
