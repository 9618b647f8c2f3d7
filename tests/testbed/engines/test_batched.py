"""The step engine's service: batches, orders, arrivals, running out of memory, and ``testbed
generate --engine batched``.
"""

import dataclasses
import json
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from calibration.serving.simulator import ORDERS, simulate
from testbed.cli import main
from testbed.commands.generate import generate_all
from testbed.engines import networks as stages
from testbed.engines.batched import BatchedEngine, Request
from testbed.engines.networks import Stages, served
from testbed.engines.stock import generate
from testbed.meters import NoMeter
from testbed.runs.store import RecordStore
from tests.testbed.pipelines_world import stable_diffusion, stable_diffusion_xl

STEPS = (1, 6, 3, 2, 4)
AWAY = [None, None, "a blue house", None, "a green tree"]
REQUESTS = [
    Request(f"a red car number {i}", 10 + i, steps, (3.0, 1.0)[i % 2], negative_prompt=AWAY[i])
    for i, steps in enumerate(STEPS)
]


@pytest.fixture(scope="module")
def pipeline():
    """SDXL's architecture, in float64: an image that depended on its neighbours would differ by far
    more than rounding.
    """
    return stable_diffusion_xl().to(torch.float64)


@pytest.fixture(scope="module")
def alone(pipeline):
    return [next(BatchedEngine(pipeline, 1).run([request])).pixels for request in REQUESTS]


def check(done, alone):
    assert sorted(one.index for one in done) == list(range(len(alone)))
    assert all(np.abs(one.pixels - alone[one.index]).max() < 1e-7 for one in done)


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    order=st.permutations(range(5)),
    cap=st.integers(1, 6),
    by=st.sampled_from(sorted(ORDERS)),
    late=st.lists(st.floats(0, 0.1), min_size=5, max_size=5),
)
def test_images_do_not_depend_on_order_cap_or_arrivals(pipeline, alone, order, cap, by, late):
    requests = [dataclasses.replace(REQUESTS[i], arrival=late[i]) for i in order]
    done = list(BatchedEngine(pipeline, cap, by).run(requests))
    check(done, [alone[i] for i in order])
    for one in done:
        request = requests[one.index]
        assert one.arrival == request.arrival <= one.joined < one.finished
        assert one.queue_time + one.service_time == pytest.approx(one.end_to_end_time)
        assert len(one.tick_times) == request.steps and 1 <= one.batch <= min(cap, 5)
        assert one.text_time + sum(one.tick_times) + one.decode_time <= one.service_time + 1e-6


@pytest.mark.parametrize("make", [stable_diffusion, stable_diffusion_xl])
def test_guidance_leads_away_from_each_requests_own_negative_prompt_as_in_the_stock_pipeline(make):
    pipeline = make().to(torch.float64)
    requests = [
        Request("a red car", 7, 3, 3.0, negative_prompt=one)
        for one in (None, "a blue house", "a green tree")
    ]
    made = {one.index: one.pixels for one in BatchedEngine(pipeline).run(requests)}
    assert np.abs(made[0] - made[1]).max() > 1e-4 < np.abs(made[1] - made[2]).max()
    for index, request in enumerate(requests):
        wanted = pipeline(
            request.prompt,
            num_inference_steps=3,
            guidance_scale=3.0,
            negative_prompt=request.negative_prompt,
            generator=torch.Generator().manual_seed(7),
            output_type="np",
        ).images[0]
        assert np.abs(made[index] - wanted).max() < 1e-7
        ours = generate(
            pipeline, [request.prompt], [7], 3, 3.0, NoMeter(), request.negative_prompt
        ).images[0]
        assert np.abs(ours - 255 * wanted).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("cap", [1, 2, 3, 16])
def test_batches_are_those_that_the_prediction_simulates(pipeline, order, cap):
    engine = BatchedEngine(pipeline, cap, order)
    finished = [one.index for one in engine.run(REQUESTS)]
    expected = simulate([0.0] * 5, STEPS, lambda batch: 1.0, cap, order)
    assert [size for size, _ in engine.log.tick] == [
        int(row["batch"]) for row in expected.log for _ in range(row["ticks"])
    ]
    assert [size for size, _ in engine.log.text] == [n for n in expected.log["encoded"] if n]
    assert [size for size, _ in engine.log.decode] == [n for n in expected.log["decoded"] if n]
    assert [expected.finished[i] for i in finished] == sorted(expected.finished)


def test_one_call_a_tick_with_a_second_half_for_the_guided_alone(pipeline, monkeypatch):
    rows = []
    real = Stages.denoise
    monkeypatch.setattr(
        Stages,
        "denoise",
        lambda self, latents, *rest: (rows.append(len(latents)), real(self, latents, *rest))[1],
    )
    list(BatchedEngine(pipeline).run(REQUESTS))
    left = [[steps > tick for steps in STEPS] for tick in range(6)]
    assert rows == [sum(present) + sum(present[::2]) for present in left]


def test_late_requests_join_the_running_batch(pipeline):
    long, late = Request("a red car", 1, 60, 3.0), Request("a blue house", 2, 2, 3.0, arrival=0.1)
    first, second = BatchedEngine(pipeline).run([long, late])
    assert (first.index, second.index) == (1, 0)
    assert first.batch == 2 and 1 < second.batch < 2
    assert 0.1 <= first.joined < first.finished < second.finished


def test_the_engine_waits_for_arrivals_in_real_time(pipeline):
    (done,) = BatchedEngine(pipeline).run([Request("a red car", 1, 1, 3.0, arrival=0.3)])
    assert 0.3 <= done.joined < 0.4 and done.queue_time < 0.1


class Limited:
    """``Stages`` whose stages hold so many rows, and run out of memory beyond, as a GPU does: in
    the midst of the work.
    """

    def __init__(self, monkeypatch, error, **most):
        self.failures = 0
        for name, limit in most.items():
            monkeypatch.setattr(Stages, name, self._limit(getattr(Stages, name), limit, error))

    def _limit(self, real, limit, error):
        def limited(stages, items, *rest):
            result = real(stages, items, *rest)
            if len(items) > limit:
                self.failures += 1
                raise error
            return result

        return limited


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=str,
)
def test_out_of_memory_halves_the_cap_and_loses_nothing(pipeline, alone, monkeypatch, error):
    limited = Limited(monkeypatch, error, encode=3, denoise=4)
    engine = BatchedEngine(pipeline, 16)
    check(list(engine.run(REQUESTS)), alone)
    assert limited.failures == 2 and engine.caps == {"text": 2, "tick": 2, "decode": 16}
    assert max(size for size, _ in engine.log.tick) == 2 and sum(
        size for size, _ in engine.log.tick
    ) == sum(STEPS)


def test_decoding_that_runs_out_of_memory_goes_on_with_fewer(pipeline, monkeypatch):
    Limited(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."), decode=1)
    engine = BatchedEngine(pipeline)
    assert len(list(engine.run([Request("a red car", seed, 2, 3.0) for seed in range(5)]))) == 5
    assert engine.caps["decode"] == 1 and [size for size, _ in engine.log.decode] == [1] * 5


@pytest.mark.parametrize(
    "error, most",
    [
        (RuntimeError("shapes cannot be multiplied"), 2),
        (torch.OutOfMemoryError("CUDA out of memory."), 0),
    ],
    ids=str,
)
def test_other_errors_and_too_little_memory_for_one_are_raised(pipeline, monkeypatch, error, most):
    Limited(monkeypatch, error, denoise=most)
    with pytest.raises(type(error), match=str(error)[:9]):
        list(BatchedEngine(pipeline).run(REQUESTS))


def test_what_cannot_be_served_is_said():
    sd = stable_diffusion()
    assert served(sd) is None and served(stable_diffusion_xl()) is None
    sd.safety_checker = torch.nn.Identity()
    assert "safety_checker" in served(sd)
    assert "StableDiffusionImg2Img" in served(type("StableDiffusionImg2Img", (), {})())
    sd.safety_checker, sd.vae = None, torch.nn.Identity()
    assert "Identity" in served(sd)


def _write(path, requests):
    path.write_text("".join(json.dumps(one) + "\n" for one in requests))


def _records(folder):
    return {
        record["id"]: record
        for record in map(json.loads, (folder / "records.jsonl").read_text().splitlines())
    }


def test_generate_batched_makes_what_stock_makes_and_goes_on_where_it_stopped(tmp_path):
    asked = [
        {
            "id": f"r{i}",
            "prompt": "a big red ball in the middle",
            "seed": i,
            "steps": 2 + i,
            "guidance": 3.0 - i,
        }
        for i in range(3)
    ]
    _write(tmp_path / "r.jsonl", asked[:2])
    base = ["generate", "--model", "embedded:light", str(tmp_path / "r.jsonl")]
    ours = [
        *base,
        "-o",
        str(tmp_path / "batched"),
        "--engine",
        "batched",
        "--batch",
        "2",
        "--order",
        "shortest",
    ]
    assert main(ours) == 0
    before = (tmp_path / "batched" / "records.jsonl").read_bytes()
    _write(tmp_path / "r.jsonl", asked)
    assert main(ours) == 0 and (tmp_path / "batched" / "records.jsonl").read_bytes().startswith(
        before
    )
    assert main([*base, "-o", str(tmp_path / "stock")]) == 0
    records, stock = _records(tmp_path / "batched"), _records(tmp_path / "stock")
    for i in range(3):
        ours, theirs = (
            np.asarray(Image.open(tmp_path / kind / f"r{i}.png")).astype(int)
            for kind in ("batched", "stock")
        )
        assert np.abs(ours - theirs).max() <= 1
        measured = records[f"r{i}"]["measured"]
        assert (
            measured["engine"] == "batched"
            and measured["energy_j"] is None
            and len(measured["step_times"]) == 2 + i
        )
        assert measured["end_to_end_time"] == pytest.approx(
            measured["queue_time"] + measured["service_time"]
        )
        assert (
            measured["time"]
            == measured["service_time"]
            >= measured["text_time"] + measured["decode_time"] + sum(measured["step_times"]) - 1e-6
        )
        assert (
            records[f"r{i}"]["asked"] == stock[f"r{i}"]["asked"]
            and stock[f"r{i}"]["measured"]["engine"] == "stock"
        )
    assert records["r0"]["measured"]["batch"] == 2 and records["r2"]["measured"]["batch"] == 1


@pytest.mark.parametrize("engine", ["stock", "batched"])
def test_generate_waits_for_arrivals(tmp_path, engine):
    asked = [
        {"id": f"r{i}", "prompt": "a big red ball", "seed": i, "steps": 1, "arrival": 5 + 0.4 * i}
        for i in range(2)
    ]
    _write(tmp_path / "r.jsonl", asked)
    assert (
        main(
            [
                "generate",
                "--model",
                "embedded:light",
                str(tmp_path / "r.jsonl"),
                "-o",
                str(tmp_path / "out"),
                "--engine",
                engine,
            ]
        )
        == 0
    )
    times = [_records(tmp_path / "out")[f"r{i}"]["measured"] for i in range(2)]
    assert [one["arrival"] for one in times] == pytest.approx(
        [0.0, 0.4]
    )  # the clock starts with the first
    assert times[1]["queue_time"] >= 0 and times[1]["arrival"] + times[1]["end_to_end_time"] > 0.4


def test_generate_draws_arrivals_from_a_rate(tmp_path):
    _write(
        tmp_path / "r.jsonl",
        [{"id": f"r{i}", "prompt": "a big red ball", "seed": i, "steps": 1} for i in range(4)],
    )
    command = [
        "generate",
        "--model",
        "embedded:light",
        str(tmp_path / "r.jsonl"),
        "-o",
        str(tmp_path / "out"),
        "--engine",
        "batched",
    ]
    assert main([*command, "--arrivals", "20"]) == 0
    arrivals = [_records(tmp_path / "out")[f"r{i}"]["measured"]["arrival"] for i in range(4)]
    assert arrivals[0] == 0 and np.all(np.diff(arrivals) > 0) and arrivals[-1] < 2


def test_generate_falls_back_to_stock_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "StableDiffusionPipeline", type("Another", (), {}))
    _write(tmp_path / "r.jsonl", [{"id": "r", "prompt": "a big red ball", "seed": 1, "steps": 1}])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        generate_all("embedded:light", tmp_path / "r.jsonl", tmp_path / "out", engine="batched")
    assert any(
        "the stock pipeline does: StableDiffusionPipeline" in str(warning.message)
        for warning in caught
    )
    measured = _records(tmp_path / "out")["r"]["measured"]
    assert measured["engine"] == "stock" and measured["engine_note"].startswith(
        "fell back to stock: StableDiffusionPipeline"
    )


def test_a_record_that_cannot_be_written_stops_the_run(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordStore, "add", full)
    _write(tmp_path / "r.jsonl", [{"id": "r", "prompt": "a big red ball", "seed": 1, "steps": 1}])
    command = [
        "generate",
        "--model",
        "embedded:light",
        str(tmp_path / "r.jsonl"),
        "-o",
        str(tmp_path / "out"),
        "--engine",
        "batched",
    ]
    assert main(command) == 1 and "what was measured is kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line, options, message",
    [
        ({"arrival": -1}, [], "arrival: found -1; allowed: seconds of at least 0"),
        ({"arrival": "soon"}, [], "arrival: found 'soon'"),
        ({"arrival": 1}, ["--arrivals", "2"], "arrival: found with --arrivals"),
        ({}, ["--arrivals", "0"], "rate: found 0.0"),
        ({}, ["--batch", "4"], "--engine: found stock with --batch or --order"),
    ],
    ids=str,
)
def test_wrong_input_is_named(tmp_path, capsys, line, options, message):
    _write(
        tmp_path / "r.jsonl", [{"id": "r", "prompt": "a red ball", "seed": 1, "steps": 1, **line}]
    )
    assert (
        main(
            [
                "generate",
                "--model",
                "embedded:light",
                str(tmp_path / "r.jsonl"),
                "-o",
                str(tmp_path / "out"),
                *options,
            ]
        )
        == 2
    )
    assert message in capsys.readouterr().err
