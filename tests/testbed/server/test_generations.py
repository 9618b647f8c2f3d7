"""Images over HTTP: what is asked for comes, measured and predicted."""

import base64
import io
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openai
import pytest
from PIL import Image

from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Request
from testbed.server.answers import ImageMetrics
from tests.testbed.model_threads import users_beside
from tests.testbed.server.conftest import serving


def image(b64):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(b64))))


def same(made, expected):
    """Up to rounding, which depends on the batch and on where memory lies."""
    return np.abs(made.astype(int) - expected.astype(int)).max() <= 1


def alone(opened, seed, steps, prompt="a red ball", guidance=3.0, away=None):
    request = Request(prompt, seed, steps, guidance, negative_prompt=away)
    return next(BatchedEngine(opened.pipeline, 1).run([request])).image


def test_the_image_is_the_engines_and_the_answer_says_what_it_took(server, opened):
    answer = server.post(seed=5, num_inference_steps=4, deadline=30)
    assert answer.status_code == 200, answer.text
    (data,), body = answer.json()["data"], answer.json()
    assert same(image(data["b64_json"]), alone(opened, 5, 4)) and data["seed"] == 5
    assert (body["size"], body["model"], body["output_format"]) == (
        "64x64",
        "embedded:light",
        "png",
    )
    metrics = ImageMetrics.from_dict(body["metrics"])
    assert metrics == ImageMetrics.from_dict(data["metrics"])
    assert metrics.steps == 4 and metrics.steps_by == "request" and metrics.batch == 1
    parts = metrics.text + metrics.denoise + metrics.decode
    assert 0 < parts <= metrics.service <= metrics.completion == metrics.queue + metrics.service
    assert metrics.low < metrics.predicted < metrics.high and metrics.deadline_met
    assert metrics.energy_j == pytest.approx(20 * parts) and metrics.energy_basis == "modelled"
    timing = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert float(timing["denoise"]) == pytest.approx(1e3 * metrics.denoise, abs=1e-3)
    assert float(timing["total"]) >= 1e3 * (metrics.completion + metrics.encode)


def test_many_at_once_share_the_batch_and_get_their_own_images(server, opened):
    steps = [2, 5, 3, 6, 4, 2]
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda i: server.post(seed=i, num_inference_steps=steps[i]), range(6))
        )
    for i, answer in enumerate(answers):
        assert same(image(answer.json()["data"][0]["b64_json"]), alone(opened, i, steps[i]))
    assert max(answer.json()["metrics"]["batch"] for answer in answers) > 1


def test_several_images_have_seeds_in_a_row_and_predictions_of_their_own(server, opened):
    body = server.post(seed=7, n=3, num_inference_steps=2, guidance_scale=1.5).json()
    assert [data["seed"] for data in body["data"]] == [7, 8, 9]
    for data in body["data"]:
        assert same(image(data["b64_json"]), alone(opened, data["seed"], 2, guidance=1.5))
    predicted = [data["metrics"]["predicted"] for data in body["data"]]
    assert predicted == sorted(predicted) and predicted[0] < predicted[2]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_file_is_the_image_itself(server, opened, kind):
    answer = server.post(seed=5, num_inference_steps=4, response_format="file", output_format=kind)
    assert answer.headers["content-type"] == f"image/{kind}"
    made = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
    apart = np.abs(made - alone(opened, 5, 4)).mean()
    assert apart < (8 if kind == "jpeg" else 0.1)
    assert json.loads(answer.headers["x-metrics"])["steps"] == 4 and answer.headers["x-seed"] == "5"


def test_negative_prompts_lead_away(server, opened):
    answer = server.post(seed=5, num_inference_steps=3, negative_prompt="a blue house")
    made = image(answer.json()["data"][0]["b64_json"])
    assert same(made, alone(opened, 5, 3, away="a blue house"))
    assert not same(made, alone(opened, 5, 3))


def test_a_drawn_seed_is_told_and_gives_the_image_again(server):
    first = server.post(num_inference_steps=2).json()["data"][0]
    again = server.post(num_inference_steps=2, seed=first["seed"]).json()["data"][0]
    other = server.post(num_inference_steps=2).json()["data"][0]
    assert first["b64_json"] == again["b64_json"] != other["b64_json"]


def test_openais_own_client_is_served(server, opened):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="EMPTY")
    answer = client.images.generate(
        model="embedded:light",
        prompt="a red ball",
        size="64x64",
        response_format="b64_json",
        quality="auto",
        user="u",
        extra_body={"seed": 5, "num_inference_steps": 4},
    )
    assert same(image(answer.data[0].b64_json), alone(opened, 5, 4))
    assert [model.id for model in client.models.list()] == ["embedded:light"]
    assert client.models.retrieve("embedded:light").id == "embedded:light"
    with pytest.raises(openai.BadRequestError, match="size: found '1x1'") as caught:
        client.images.generate(prompt="a red ball", size="1x1")
    assert caught.value.param == "size" and caught.value.code == "invalid_value"


def test_openais_client_reads_the_stream(server, opened):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="EMPTY")
    events = list(
        client.images.generate(
            prompt="a red ball",
            stream=True,
            partial_images=3,
            extra_body={"seed": 5, "num_inference_steps": 8},
        )
    )
    assert [event.type for event in events] == [
        *["image_generation.partial_image"] * 3,
        "image_generation.completed",
    ]
    assert [event.partial_image_index for event in events[:3]] == [0, 1, 2]
    assert [event.step for event in events[:3]] == [2, 4, 6]
    final = alone(opened, 5, 8).astype(int)
    apart = [np.abs(image(event.b64_json) - final).mean() for event in events]
    assert apart[0] > apart[2] > apart[3] < 0.1
    assert events[3].metrics["steps"] == 8


# What the benchmarks of the two engines send, field by field.
BENCHMARKS = {
    "vLLM-Omni": {
        "model": "embedded:light",
        "prompt": "Random prompt 0 for benchmarking diffusion models",
        "n": 1,
        "size": "64x64",
        "response_format": "b64_json",
        "seed": 42,
        "num_inference_steps": 3,
        "guidance_scale": 4.0,
        "negative_prompt": "",
    },
    "SGLang": {
        "model": "embedded:light",
        "prompt": "Random prompt 1 for benchmarking diffusion models",
        "n": 1,
        "response_format": "b64_json",
    },
}


@pytest.mark.parametrize("engine", BENCHMARKS)
def test_the_bodies_of_other_engines_benchmarks_are_served(server, engine):
    headers = {"Authorization": "Bearer EMPTY"}
    answer = server.client.post("/v1/images/generations", json=BENCHMARKS[engine], headers=headers)
    assert answer.status_code == 200 and image(answer.json()["data"][0]["b64_json"]).shape[2] == 3
    assert server.client.get("/v1/model_info").json() == {"model_path": "embedded:light"}


def test_the_engines_thread_alone_uses_the_model(server, opened):
    with users_beside("engine") as names, ThreadPoolExecutor(6) as pool:
        asked = [
            pool.submit(
                server.post,
                seed=i,
                num_inference_steps="auto" if i % 2 else 9 + i,
                negative_prompt=f"dark {i}",
                stream=i % 3 == 0,
                partial_images=2 if i % 3 == 0 else 0,
            )
            for i in range(6)
        ]
        seen = [server.client.get(f"/v1/{route}") for route in ("quote", "models", "requests")]
        answers = [each.result() for each in asked] + seen
        assert {answer.status_code for answer in answers} == {200}
        assert names == {"engine"}
        alone(opened, 0, 1)
        assert names == {"engine", threading.current_thread().name}, "what it would tell of"


def test_served_images_are_recorded_and_on_the_disk_before_the_answer(
    opened, tmp_path, monkeypatch
):
    path, flushed, fsync = tmp_path / "served.jsonl", [], os.fsync
    path.write_text('{"time": 1.5, "pro')  # what a killed server left

    def noted(descriptor):
        fsync(descriptor)
        flushed.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", noted)
    with serving(opened, records=path) as server:
        keys = []
        for i in range(3):
            answer = server.post(num_inference_steps=2, user=f"u{i}")
            assert flushed[i:] == [path.stat().st_size]
            keys.append(answer.json()["metrics"])
        recent = server.client.get("/v1/requests").json()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["metrics"] for line in lines] == keys == recent["data"][::-1]
    assert [line["user"] for line in lines] == ["u0", "u1", "u2"]
    assert recent["running"] == recent["waiting"] == 0
