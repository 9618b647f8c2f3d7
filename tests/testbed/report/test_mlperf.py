"""MLPerf's accepted ranges: only beside what was measured under its conditions."""

import pytest

from calibration.sweep import grid as plan
from testbed import config
from testbed.report import mlperf

METRICS = {
    "utility": {"model": mlperf.CLIP},
    "frechet": {"extractor": "Inception-v3, 2048 pooled features"},
}
ASKED = {**mlperf.CONDITIONS, "steps": 20, "dtype": "float16"}


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
    asked = {name: getattr(preset.edge, name, None) for name in mlperf.CONDITIONS} | {
        "steps": max(preset.sweep.steps)
    }
    (task, *_) = plan.sweep(
        {"edge": dict.fromkeys(plan.MODEL_FIELDS, "any") | {"guidance": 8}},
        {"all": ["a"]},
        preset.sweep.seeds,
        [1],
        2,
        preset.sweep.noise,
    )
    assert (
        mlperf.departures(asked | {"seed": task.seed}, METRICS) == []
        and preset.quality.clip == mlperf.CLIP
    )
    assert (
        preset.quality.extractor == "inception"
        and preset.quality.reference_size == mlperf.IMAGES == preset.sweep.prompts_per_class
    )


def test_every_departure_is_named():
    assert mlperf.departures(ASKED, METRICS) == []
    assert mlperf.departures({**ASKED, "guidance": 7.5}, METRICS) == ["guidance: 7.5; MLPerf: 8.0"]
    plain = {key: value for key, value in ASKED.items() if key != "negative_prompt"}
    assert mlperf.departures(plain, METRICS) == [
        f"negative_prompt: none; MLPerf: {mlperf.CONDITIONS['negative_prompt']}"
    ]
    other = {
        "utility": {"model": "embedded:clip"},
        "frechet": {"extractor": "embedded:clip, projected image features"},
    }
    assert [line.split(":")[0] for line in mlperf.departures({**ASKED, "steps": 8}, other)] == [
        "steps",
        "CLIP score",
        "extractor",
    ]


@pytest.mark.parametrize(
    "value, n, inside",
    [(23.5, 5000, True), (24.0, 5000, False), (22.9, 5000, False), (23.5, 500, None)],
)
def test_a_value_is_inside_only_with_as_many_images(value, n, inside):
    points = [{"steps": 8, "value": 60.0, "n": 5000}, {"steps": 20, "value": value, "n": n}]
    entry = {
        "frechet": {"points": points},
        "clip_score": {"points": [{"steps": 20, "value": 31.7, "n": 5000}]},
    }
    frechet, clip = mlperf.verdicts(entry)
    assert (frechet["quantity"], frechet["value"], frechet["n"], frechet["inside"]) == (
        "frechet",
        value,
        n,
        inside,
    )
    assert clip["inside"] is True
