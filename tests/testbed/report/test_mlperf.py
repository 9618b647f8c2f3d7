"""MLPerf's accepted ranges: only beside what was measured under its conditions."""

from dataclasses import replace

import pytest
from markupsafe import escape

from calibration.fitting.curve_fit import CurvePoint
from calibration.profiles.profile import DistancePoint, MetricDefinition, Metrics
from calibration.records.task import ModelSpec
from calibration.sweep.grid import sweep
from testbed import config
from testbed.report import mlperf
from testbed.report.page import Run, render, view

METRICS = Metrics(
    error=MetricDefinition(),
    utility=MetricDefinition(model=mlperf.CLIP),
    frechet=MetricDefinition(extractor="Inception-v3, 2048 pooled features"),
)
SPEC = ModelSpec(
    model=mlperf.MODEL,
    device="cuda",
    dtype="float16",
    scheduler=mlperf.CONDITIONS["scheduler"],
    guidance=mlperf.CONDITIONS["guidance"],
    negative_prompt=mlperf.CONDITIONS["negative_prompt"],
)
TASK = SPEC.task(
    place="edge",
    prompt="a cat",
    prompt_class="all",
    seed=mlperf.CONDITIONS["seed"],
    steps=mlperf.STEPS,
    purpose="sweep",
)


def test_the_ranges_are_those_of_the_published_reference():
    for quantity, reference, width in (
        ("frechet", 23.48046692, 0.02),
        ("clip_score", 31.74981837, 0.002),
    ):
        assert mlperf.RANGES[quantity] == pytest.approx(
            (reference * (1 - width), reference * (1 + width)), abs=1e-7
        )


def test_the_preset_asks_for_the_benchmarks_conditions(tmp_path, monkeypatch):
    (tmp_path / "coco2014").mkdir()
    monkeypatch.chdir(tmp_path)
    preset = config.load("mlperf")
    edge = preset.edge
    spec = replace(
        SPEC,
        model=edge.model,
        scheduler=edge.scheduler,
        guidance=edge.guidance,
        negative_prompt=edge.negative_prompt,
    )
    task, *_ = sweep({"edge": spec}, {"all": ["a"]}, preset.sweep.seeds, [1], 2, preset.sweep.noise)
    assert mlperf.departures(replace(task, steps=max(preset.sweep.steps)), METRICS) == []
    assert preset.quality.clip == mlperf.CLIP and preset.quality.extractor == "inception"
    assert preset.quality.reference_size == mlperf.IMAGES == preset.sweep.prompts_per_class


def test_every_departure_is_named():
    assert mlperf.departures(TASK, METRICS) == []
    other = replace(TASK, guidance=7.5)
    assert mlperf.departures(other, METRICS) == ["guidance: 7.5; MLPerf: 8.0"]
    assert mlperf.departures(replace(TASK, negative_prompt=None), METRICS) == [
        f"negative_prompt: none; MLPerf: {mlperf.CONDITIONS['negative_prompt']}"
    ]
    clip = Metrics(
        error=MetricDefinition(),
        utility=MetricDefinition(model="embedded:clip"),
        frechet=MetricDefinition(extractor="embedded:clip, projected image features"),
    )
    lines = mlperf.departures(replace(TASK, steps=8), clip)
    assert [line.split(":")[0] for line in lines] == ["steps", "CLIP score", "extractor"]


@pytest.mark.parametrize(
    "value, n, inside",
    [(23.5, 5000, True), (24.0, 5000, False), (22.9, 5000, False), (23.5, 500, None)],
)
def test_a_value_is_inside_only_with_as_many_images(profiles, value, n, inside):
    profile = replace(
        profiles.find("edge", "object"),
        frechet=(DistancePoint(8, 60.0, None, None, 5000), DistancePoint(20, value, None, None, n)),
        clip_score=(CurvePoint(20, 31.7, n=5000),),
    )
    frechet, clip = mlperf.ranges(profile)
    assert (frechet.quantity, frechet.value, frechet.n, frechet.inside) == (
        "frechet",
        value,
        n,
        inside,
    )
    assert clip.inside is True


def test_the_ranges_stand_beside_its_models_values_with_what_departs_from_its_conditions(
    run, page, monkeypatch, undrawn
):
    assert "MLPerf" not in page.text
    monkeypatch.setattr(mlperf, "MODEL", "embedded:edge")
    monkeypatch.setattr(mlperf, "STEPS", 16)
    shown = view(Run.read(run))
    text = " ".join(shown.mlperf_notes)
    assert "MLPerf accepts 23.0109 to 23.9501: which holds for 5000 images only." in text
    assert "Not MLPerf's conditions:" in text and "guidance: 3.0; MLPerf: 8.0" in text
    assert all(str(escape(note)) in render(shown) for note in shown.mlperf_notes)
