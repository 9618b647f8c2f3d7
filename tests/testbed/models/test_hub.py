"""The hub's client and diffusers against a hub of our own: a model arrives, and what can be wrong
is one line with what to do.
"""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from huggingface_hub import constants, hf_api

from solver.inputs import InputError
from testbed import config
from testbed.commands import estimate_cost
from testbed.config import ModelConfig
from testbed.config.defaults import settle
from testbed.metrics.clip import Clip
from testbed.models import hub, hub_files
from testbed.models.pipelines import WEIGHTS, open_pipeline
from tests.testbed.own_pairs import configuration, write_prompts

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REFUSED = {
    "some/gated": (403, "GatedRepo"),
    "some/missing": (401, "RepoNotFound"),
    "some/token": (401, ""),
    "some/broken": (500, ""),
    "down": (502, ""),
}


class FakeHub(BaseHTTPRequestHandler):
    """Answers as huggingface.co does, with the embedded light model under any name but a few."""

    def do_GET(self):
        path = self.path.split("?")[0].strip("/").removeprefix("api/models/").split("/")
        name, what = "/".join(path[:2]), path[2:]
        if name in REFUSED:
            status, code = REFUSED[name]
            return self.answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": "no"})
        if "nowhere" in what:
            return self.answer(
                404, b"{}", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "no"}
            )
        folder = WEIGHTS / ("clip" if name == "some/clip" else "light")
        files = {
            file.relative_to(folder).as_posix(): file
            for file in folder.rglob("*")
            if file.is_file()
        }
        if name == "some/pickled":
            files = {path.replace("safetensors", "bin"): file for path, file in files.items()}
        if name == "some/language":
            files = {"config.json": files["unet/config.json"]}
        if what[:1] == ["resolve"]:
            if "/".join(what[2:]) not in files:
                return self.answer(
                    404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
                )
            content = files["/".join(what[2:])].read_bytes()
            return self.answer(
                200,
                content,
                {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT},
            )
        if what[:1] == ["tree"]:
            listed = [
                {"type": "file", "path": path, "size": file.stat().st_size, "oid": path}
                for path, file in files.items()
            ]
            return self.answer(200, json.dumps(listed).encode())
        info = {
            "id": name,
            "modelId": name,
            "sha": COMMIT,
            "siblings": [{"rfilename": path} for path in files],
            "tags": [],
            "private": False,
        }
        return self.answer(200, json.dumps(info).encode())

    do_HEAD = do_GET

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for key, value in {
            "Content-Length": str(len(body)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def at(monkeypatch, tmp_path):
    """Point the client to a hub, with an empty cache."""

    def point(endpoint, offline=False):
        template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        settings = {
            "ENDPOINT": endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_OFFLINE": offline,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
        }
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(hf_api.api, "endpoint", endpoint)

    return point


def refused(model, **settings):
    with pytest.raises(InputError) as caught:
        open_pipeline(ModelConfig(model, **settings), torch.device("cpu"))
    assert str(caught.value).startswith(f"model: {model}: ") and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_arrives_once_and_its_revision_is_its_commit(server, at):
    at(server)
    pipeline, revision = open_pipeline(
        ModelConfig("some/model", revision="main"), torch.device("cpu")
    )
    own, _ = open_pipeline(ModelConfig("embedded:light"), torch.device("cpu"))
    assert revision == COMMIT
    assert all(
        torch.equal(a, b)
        for a, b in zip(pipeline.unet.parameters(), own.unet.parameters(), strict=True)
    )
    at(server, offline=True)
    assert hub.fetch("some/model").name == COMMIT


@pytest.mark.parametrize(
    "model, settings, advice",
    [
        ("some/gated", {}, r"gated: accept its conditions at http.*/some/gated, and set HF_TOKEN"),
        (
            "some/missing",
            {},
            "no such model on the hub, or a private one: correct the id, or set HF_TOKEN",
        ),
        ("some/token", {}, "does not accept the token in HF_TOKEN"),
        ("some/broken", {}, "status 500: try again later"),
        ("some/language", {}, r"no model_index\.json in it; allowed: a text-to-image model"),
        (
            "some/pickled",
            {},
            "no safetensors weights; allow_pickle = true .* only for a source that you trust",
        ),
        (
            "some/model",
            {"revision": "nowhere"},
            "revision 'nowhere' does not exist; allowed: a branch, tag or commit",
        ),
        ("some/model", {"variant": "fp16"}, "no weights of variant 'fp16': leave variant out"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_what_to_do(server, at, model, settings, advice):
    at(server)
    message = refused(model, **settings)
    assert re.search(advice, message), message


def test_the_clip_model_is_fetched_at_its_revision(server, at):
    at(server)
    cpu = torch.device("cpu")
    assert Clip("some/clip", cpu, COMMIT).fingerprint == Clip("embedded:clip", cpu).fingerprint
    with pytest.raises(
        InputError, match="quality.clip: some/clip: cannot be opened as a CLIP model: .*nowhere"
    ):
        Clip("some/clip", cpu, "nowhere")


def test_without_a_network_or_offline(at):
    at("http://127.0.0.1:9")  # the port that discards: nobody listens
    reached = "http://127.0.0.1:9 cannot be reached, and the cache does not hold it all"
    assert f"{reached}: check the network" in refused("some/model")
    at("http://127.0.0.1:9", offline=True)
    message = refused("some/model", revision=COMMIT)
    assert (
        "HF_HUB_OFFLINE is set: unset it" in message
        and f"`hf download some/model --revision {COMMIT}`" in message
    )


def plan(tmp_path, clip):
    """The lines of a plan that is of two models of the hub."""
    path = write_prompts(tmp_path / "prompts.jsonl")
    extra = f'[quality]\nclip = "{clip}"\n' if clip else ""
    (tmp_path / "c.toml").write_text(configuration(path, "some/model", extra=extra))
    return estimate_cost.say(settle(config.load(tmp_path / "c.toml")))


@pytest.mark.parametrize("clip", [None, "some/clip"])
def test_a_plan_without_a_network_says_so_and_asks_once(at, tmp_path, monkeypatch, clip):
    """It took most of a minute, in which the hub's client tried again and again."""

    def wait(_seconds):
        raise AssertionError("the client tries again")

    at("http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", wait)
    lines = plan(tmp_path, clip)
    missing = "some/model, some/clip" if clip else "some/model"
    said = f"to fetch: {missing}; http://127.0.0.1:9 cannot be reached: a run would stop there"
    assert said in lines
    with pytest.raises(InputError, match="not in the hub's cache, and .* cannot be reached"):
        Clip("some/clip", torch.device("cpu"))
    assert "cannot be reached" in refused("some/model")


def test_a_proxy_that_does_not_reach_the_hub_is_no_hub(server, at):
    at(server)
    assert hub_files.unreachable() is None
    at(f"{server}/down")
    assert hub_files.unreachable() == f"{server}/down cannot be reached"


def test_a_plan_names_what_a_run_will_fetch_and_no_more(server, at, tmp_path):
    at(server)
    assert "to fetch: some/model, some/clip" in plan(tmp_path, "some/clip")
    open_pipeline(ModelConfig("some/model"), torch.device("cpu"))
    assert "to fetch: some/clip" in plan(tmp_path, "some/clip")
    Clip("some/clip", torch.device("cpu"))
    assert not any(line.startswith("to fetch") for line in plan(tmp_path, "some/clip"))
    at("http://127.0.0.1:9")  # what the cache holds opens without a network
    assert not any(line.startswith("to fetch") for line in plan(tmp_path, "some/clip"))
    open_pipeline(ModelConfig("some/model"), torch.device("cpu"))
    Clip("some/clip", torch.device("cpu"))


def test_a_full_disk_is_not_the_models_fault(server, at, monkeypatch):
    at(server)

    def full(*_args, **_settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub.DiffusionPipeline, "download", full)
    with pytest.raises(OSError, match="No space left"):
        hub.fetch("some/model")
