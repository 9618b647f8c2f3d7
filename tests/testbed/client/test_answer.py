"""Answers of anyone's server: read, or refused in one line."""

import base64
import json
import time
from pathlib import Path

import numpy as np
import pytest

from testbed.client.answer import read
from testbed.client.exchange import Exchange, ServerFault
from tests.testbed.client.world import openai_body, picture, png

ANSWERS = Path(__file__).parent / "answers"
URL = "http://here"


def exchange(body, status=200, headers=None):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Exchange(status, headers or {}, content, 0.01, 0.01, 0.0, 1.0, 0.1, 300, len(content))


@pytest.mark.parametrize(
    "name, total, queue, denoise",
    [
        ("testbed", 0.515, 0.01, 0.4),  # queue, service, encode
        ("vllm_omni", 2.1155, 0.0125, None),  # its orchestrator's milliseconds
        ("sglang_diffusion", 1.75, None, None),
        ("openai", None, None, None),
    ],
)
def test_what_each_engine_answers_is_read(name, total, queue, denoise):
    """Written from the sources of autumn 2026, not recorded of running servers.

    vLLM-Omni: ``ImageGenerationResponse`` in ``vllm_omni/entrypoints/openai/protocol/images.py``;
    ``_build_image_response_metrics`` in ``.../openai/api_server.py``; ``stage_durations`` in
    ``vllm_omni/entrypoints/omni_base.py`` (names in ``_ms``) and, where it profiles, in
    ``vllm_omni/diffusion/profiler/diffusion_pipeline_profiler.py`` (the others, in seconds).
    SGLang: ``ImageResponse`` in ``.../multimodal_gen/runtime/entrypoints/openai/protocol.py``,
    ``add_common_data_to_response`` in ``.../openai/utils.py``; what ``inference_time_s`` holds is
    set in ``.../multimodal_gen/runtime/managers/gpu_worker.py``: neither queue nor file.
    """
    answer = read(exchange((ANSWERS / f"{name}.json").read_bytes()), URL)
    assert (answer.image == picture("a red ball", 7, 4, 8)).all()
    times = answer.times
    assert (times.quoted, times.kept) == ((0.5, True) if name == "testbed" else (None, None))
    assert (times.total, times.queue) == (pytest.approx(total), pytest.approx(queue))
    assert times.denoise == denoise


@pytest.mark.parametrize(
    "durations, total, queue",
    [
        (None, None, None),
        ({"queue_wait_ms": 0.0, "stage_0_gen_ms": 1500.0}, 1.5, 0.0),
        ({"A.forward": 2.0, "A.diffuse": 1.5, "A.vae.decode": 0.4}, 2.0, None),
        (
            {
                "ar_stage_0": 1.0,  # seconds of what stage_0_gen_ms has in milliseconds
                "preprocess_ms": 5.0,
                "stage_0_gen_ms": 1000.0,
                "ar2diffusion_ms": 20.0,
                "A.forward": 1.9,
                "stage_1_gen_ms": 2000.0,
                "queue_wait_ms": 100.0,
            },
            3.125,
            0.1,
        ),
    ],
)
def test_vllm_omnis_milliseconds_and_seconds_are_told_apart(durations, total, queue):
    content = body(metrics={"stage_durations": durations, "peak_memory_mb": None})
    times = read(exchange(content), URL).times
    assert (times.total, times.queue) == (pytest.approx(total), pytest.approx(queue))


def test_the_standard_header_tells_the_times_too():
    headers = {"server-timing": 'queue;dur=5, denoise;desc="steps";dur=170.5, total;dur=250'}
    times = read(exchange(openai_body(picture("a", 0, 1)), headers=headers), URL).times
    assert (times.total, times.queue, times.denoise) == (0.25, 0.005, 0.1705)


def body(**change):
    return openai_body(picture("a", 0, 1)) | change


PNG = png(np.zeros((64, 64, 3), np.uint8))
BROKEN = PNG[:33] + b"\0\0\0\0\x83c\xd9\xee" + PNG[41:]  # Pillow raises a SyntaxError
#: Pillow would start Ghostscript for it.
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
WRONG = {
    "no image": body(data=[]),
    "two images": body(data=2 * openai_body(picture("a", 0, 1))["data"]),
    "a url": body(data=[{"url": "http://elsewhere/a.png"}]),
    "no base64": body(data=[{"b64_json": "%%%"}]),
    "no picture": body(data=[{"b64_json": base64.b64encode(b"text").decode()}]),
    "half a picture": body(
        data=[{"b64_json": base64.b64encode(png(np.zeros((64, 64, 3), np.uint8))[:60]).decode()}]
    ),
    "a list": [1, 2],
    "not JSON": b"<html>",
    "deep": b"[" * 100_000,
    "times not finite": body(metrics={"queue": 0, "service": float("inf"), "encode": 0}),
    "times that are text": body(metrics={"denoise": "soon"}),
    "times below 0": body(inference_time_s=-1.0),
    "metrics that are text": body(metrics="fast"),
    "metrics that are a list": body(metrics=[1]),
    "a metric beyond a float": body(metrics={"queue": 10**400}),
    "stages that are text": body(metrics={"stage_durations": {"denoise": "soon"}}),
    "a broken chunk": body(
        data=[{"b64_json": base64.b64encode(BROKEN).decode()}],
    ),
    "PostScript": body(data=[{"b64_json": base64.b64encode(POSTSCRIPT).decode()}]),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_answer_is_one_line(what):
    content = WRONG[what]
    if isinstance(content, dict) and "metrics" in content:
        content = json.dumps(content).encode()  # JSON's own parser takes Infinity
    if what == "times not finite":
        assert read(exchange(content), URL).times.total is None
        return
    with pytest.raises(ServerFault) as fault:
        read(exchange(content), URL)
    assert str(fault.value).startswith(f"{URL}: ") and "\n" not in str(fault.value)
    assert len(str(fault.value)) < 400


@pytest.mark.parametrize("header", ["total;dur=1.2.3", "total;dur=.", "x" * 60_000, ";;,=,dur=1"])
def test_a_malformed_header_tells_no_time_and_takes_none(header):
    begin = time.process_time()
    answer = read(exchange(openai_body(picture("a", 0, 1)), headers={"server-timing": header}), URL)
    assert answer.times.total is None
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    "content, said",
    [
        ({"error": {"message": "steps: found 0", "code": "invalid"}}, "steps: found 0"),
        ({"detail": "Model mismatch"}, "Model mismatch"),
        (
            {"detail": [{"loc": ["body", "n"], "msg": "at most 10", "type": "less_than"}]},
            r"\['body', 'n'\]: at most 10",
        ),
        (b"Bad\nGateway", "Bad Gateway"),
        (b"", "no reason given"),
    ],
)
def test_a_refusal_is_told_in_its_own_words(content, said):
    with pytest.raises(ServerFault, match=f"^{URL}: 400: {said}$"):
        read(exchange(content, 400), URL)
