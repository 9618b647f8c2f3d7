"""Defaults that fit the models and the prompts, without opening either."""

import inspect
import json
from argparse import Namespace
from dataclasses import replace

import pytest

from solver.inputs import InputError, write_json
from testbed import config
from testbed.commands.serve import _settings
from testbed.config import defaults
from testbed.data.prompts import open_prompts
from testbed.engines.networks import ADAPTERS
from testbed.runs import guard
from testbed.stages.checks import check_calibration, check_scenario
from testbed.stages.tasks import run_scenario
from tests.testbed.own_pairs import configuration, write_prompts

SAMPLERS = {
    "sd": {"_class_name": "PNDMScheduler", "timestep_spacing": "leading"},
    "lcm": {"_class_name": "LCMScheduler", "original_inference_steps": 50},
    "turbo": {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"},
    "zero-snr": {"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"},
}
PIPELINES = {
    "sd": "StableDiffusionPipeline",
    "turbo": "StableDiffusionXLPipeline",
    "zero-snr": "StableDiffusionXLPipeline",
}
MANY, FEW = (1, 2, 3, 4, 6, 8, 12, 16, 32), (1, 2, 3, 4, 6, 8)


@pytest.fixture
def settled(tmp_path, monkeypatch):
    """Settles a configuration of two models and what else it says; ``tmp_path`` has prompts."""
    monkeypatch.chdir(tmp_path)
    write_prompts(tmp_path / "prompts.jsonl")
    for name, sampler in SAMPLERS.items():
        (tmp_path / name / "scheduler").mkdir(parents=True)
        (tmp_path / name / "scheduler" / "scheduler_config.json").write_text(json.dumps(sampler))

        index = {"_class_name": PIPELINES.get(name, "LatentConsistencyModelPipeline")}
        (tmp_path / name / "model_index.json").write_text(json.dumps(index))

    def settle(local, edge=None, extra="", prompts="prompts.jsonl", out=None):
        text = configuration(prompts, local, edge, extra)
        (tmp_path / "my.toml").write_text(text.replace('prompts = "scenes"\n', ""))
        return defaults.settle(config.load("my.toml"), out)

    return settle


@pytest.mark.parametrize(
    "local, edge, steps, converged",
    [
        ("sd", "sd", MANY, 96),
        ("lcm", "lcm", FEW, 16),
        ("turbo", "lcm", FEW, 16),
        ("lcm", "sd", MANY, 50),  # LCM refuses more
        ("zero-snr", "turbo", MANY, 96),
        ("embedded:light", "sd", MANY, 96),
    ],
)
def test_steps_and_converged_steps_are_those_that_the_samplers_take(
    settled, local, edge, steps, converged
):
    sweep = settled(local, edge).sweep
    assert (sweep.steps, sweep.converged_steps) == (steps, converged)


def test_what_is_given_bounds_what_is_not(settled):
    sweep = settled("sd", extra="[sweep]\nsteps = [1, 50, 100]\n").sweep
    assert sweep.converged_steps == 200
    assert settled("lcm", extra="[sweep]\nsteps = [1, 2, 20]\n").sweep.converged_steps == 40
    assert settled("sd", extra="[sweep]\nconverged_steps = 8\n").sweep.steps == (1, 2, 3, 4, 6)


def test_a_configuration_of_two_models_and_prompts_passes_all_checks(settled):
    """Once it was refused for `local.max_steps: found 16` and for 12 prompts that nobody wrote."""
    for extra in ("", "[sweep]\nsteps = [1, 2, 4]\n"):
        own = settled("sd", extra=extra)
        check_calibration(own)
        check_scenario(own)
        scenario = run_scenario(own, open_prompts(own.prompts))
        assert own.sweep.prompts_per_class == 3  # half of six
        assert len(scenario.users) == 6
        assert scenario.local.max_steps == min(16, max(own.sweep.steps))
        assert scenario.edge.max_steps == min(32, max(own.sweep.steps))


@pytest.mark.parametrize(
    "scenario",
    [
        "edge = { max_steps = 0 }\n",
        'edges = [{ name = "a", budget = 9, max_steps = 0 }]\n',
        'edge = { max_steps = 0 }\nedges = [{ name = "a", budget = 9 }]\n',
    ],
)
def test_steps_at_no_place_are_refused_before_the_sweep(settled, scenario):
    own = settled("sd", extra=f"[scenario]\nlocal = {{ max_steps = 0 }}\n{scenario}")
    with pytest.raises(InputError, match="scenario: max_steps: found 0 at every place"):
        check_scenario(own)


def test_too_few_prompts_are_told_by_what_there_is_not_by_a_default(settled, tmp_path):
    write_prompts(tmp_path / "prompts.jsonl", each=3)
    with pytest.raises(InputError, match="class 'thing': half .* 1, .* 4 different prompts"):
        settled("sd")


def test_other_models_get_no_toy_scorer_and_no_scenes_as_reference(settled, monkeypatch):
    monkeypatch.setattr(defaults, "_scorer_is_here", lambda: True)
    own = settled("sd")
    assert own.quality.clip == "openai/clip-vit-large-patch14" and own.quality.clip_revision
    assert own.quality.reference == "converged" and defaults.notices(own) == []
    scenes = settled("sd", prompts="scenes")
    assert scenes.quality.reference == "converged"
    assert [notice.split(":")[0] for notice in defaults.notices(scenes)] == ["prompts"]
    named = replace(scenes, defaulted=(), quality=replace(scenes.quality, reference="scenes"))
    said = defaults.notices(named)
    assert [notice.split(":")[0] for notice in said] == ["prompts", "quality.reference"]
    assert "none are named" in defaults.notices(scenes)[0] and "none are named" not in said[0]
    toy = settled("sd", extra='[quality]\nclip = "embedded:clip"\n')
    assert "knows the scenes" in defaults.notices(toy)[0]
    embedded = settled("embedded:light", "embedded:edge", prompts="scenes")
    assert (embedded.quality.clip, embedded.quality.reference) == ("embedded:clip", "scenes")
    assert defaults.notices(embedded) == []


def test_a_scorer_that_cannot_be_fetched_leaves_utility_out_and_says_what_to_give(settled):
    own = settled("sd")
    assert own.quality.clip == "none"
    (notice,) = defaults.notices(own)
    assert 'quality.clip = "FOLDER"' in notice and "utility is left out" in notice


def test_a_run_folder_keeps_what_its_defaults_came_to(settled, tmp_path, monkeypatch):
    """With a network again the scorer could be had; the folder's records have no scores."""
    own, out = settled("sd"), tmp_path / "run"
    (out / "calibration").mkdir(parents=True)
    write_json(out / "config.json", own.to_dict())
    monkeypatch.setattr(defaults, "_scorer_is_here", lambda: True)
    assert settled("sd", out=out).quality.clip != "none"  # nothing was measured
    (out / "calibration" / "records.jsonl").write_text("{}\n")
    again = settled("sd", out=out)
    assert again == own
    guard.check(again, out)
    given = settled("sd", extra='[quality]\nclip = "embedded:clip"\n', out=out)
    with pytest.raises(InputError, match="quality: this run folder was made with"):
        guard.check(given, out)


def test_a_run_with_the_default_scorer_goes_on_by_the_same_command(settled, tmp_path, monkeypatch):
    monkeypatch.setattr(defaults, "_scorer_is_here", lambda: True)
    own, out = settled("sd"), tmp_path / "run"
    assert own.quality.clip_revision is not None
    (out / "calibration").mkdir(parents=True)
    write_json(out / "config.json", own.to_dict())
    (out / "calibration" / "records.jsonl").write_text("{}\n")
    again = settled("sd", out=out)
    assert again == own
    guard.check(again, out)


def test_files_beside_the_configuration_are_found_from_elsewhere(settled, tmp_path, monkeypatch):
    settled("sd")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    own = config.load(tmp_path / "my.toml")
    assert own.prompts == str(tmp_path / "prompts.jsonl") and own.local.model.endswith("/sd")
    (tmp_path / "prompts.jsonl").unlink()
    with pytest.raises(InputError, match="prompts.jsonl: no such file .*elsewhere"):
        defaults.settle(config.load(tmp_path / "my.toml"))


def test_a_servers_name_of_its_model_is_neither_a_path_nor_a_file(tmp_path, monkeypatch):
    (tmp_path / "beside" / "sdxl").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "beside" / "served.toml"
    for name in ("sdxl", "sdxl.safetensors", "~"):
        edge = f'[edge]\nmodel = "{name}"\nurl = "http://127.0.0.1:1"\n'
        path.write_text('[local]\nmodel = "sdxl"\n' + edge)
        own = config.load(path)
        assert own.edge.model == name and own.local.model == str(tmp_path / "beside" / "sdxl")


@pytest.fixture
def measured(tmp_path):
    """Makes the folder of a run of a configuration that has measured something."""

    def make(settings):
        write_json(tmp_path / "run" / "config.json", settings.to_dict())
        (tmp_path / "run" / "calibration").mkdir()
        (tmp_path / "run" / "calibration" / "records.jsonl").write_text("{}\n")
        return tmp_path / "run"

    return make


def test_the_same_command_from_another_folder_goes_on(settled, measured, tmp_path, monkeypatch):
    own = settled("sd")
    assert (own.prompts, own.local.model) == (str(tmp_path / "prompts.jsonl"), str(tmp_path / "sd"))
    out = measured(own)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = defaults.settle(config.load("../my.toml"), out)
    assert again == own
    guard.check(again, out)
    open_prompts(guard.known_config(out).prompts)


def test_a_folder_that_names_paths_from_where_it_began_keeps_these_names(settled, measured):
    """Earlier versions wrote them so, and records name the models by them."""
    settled("sd")
    before = config.load("my.toml")
    assert (before.prompts, before.local.model) == ("prompts.jsonl", "sd")
    again = settled("sd", out=measured(before))
    assert (again.prompts, again.local.model) == ("prompts.jsonl", "sd")


@pytest.mark.parametrize(
    "model, guidance",
    [("sd", 7.5), ("zero-snr", 5.0), ("turbo", 0.0), ("lcm", 0.0), ("embedded:edge", 3.0)],
)
def test_guidance_is_what_the_models_own_call_takes(settled, model, guidance):
    own = settled("sd", model)
    assert own.edge.guidance == guidance and f"edge.guidance = {guidance}" in defaults.told(own)
    named = settled("sd", model, "guidance = 2.0\n")
    assert named.edge.guidance == 2.0 and "edge.guidance" not in named.defaulted


def test_a_distilled_network_that_takes_the_guidance_scale_gets_one(settled, tmp_path):
    (tmp_path / "lcm" / "unet").mkdir(parents=True)
    (tmp_path / "lcm" / "unet" / "config.json").write_text('{"time_cond_proj_dim": 256}')
    assert settled("lcm").edge.guidance == 8.5


def test_a_folder_that_was_measured_with_another_default_keeps_it(settled, tmp_path):
    own, out = settled("sd"), tmp_path / "run"
    (out / "calibration").mkdir(parents=True)
    before = {place: replace(getattr(own, place), guidance=3.0) for place in ("local", "edge")}
    write_json(out / "config.json", replace(own, **before).to_dict())
    assert settled("sd", out=out).edge.guidance == 7.5  # nothing was measured
    (out / "calibration" / "records.jsonl").write_text("{}\n")
    assert settled("sd", out=out).edge.guidance == 3.0


@pytest.mark.parametrize("pipeline", ADAPTERS)
def test_a_default_read_off_the_source_is_that_of_the_signature(pipeline):
    call = inspect.signature(pipeline.__call__)
    default = defaults.call_default(pipeline.__name__, "guidance_scale")
    assert default == call.parameters["guidance_scale"].default > 0
    assert defaults.call_default(pipeline.__name__, "no_such_argument") is None


def test_what_was_by_default_is_told_as_it_would_be_written(settled):
    told = defaults.told(settled("sd", extra="[sweep]\nsteps = [1, 2, 3]\n"))
    assert "sweep.converged_steps = 96" in told and 'quality.reference = "converged"' in told
    assert not any(each.startswith(("sweep.steps", "prompts")) for each in told)


def test_a_server_takes_the_guidance_that_a_run_takes(settled, tmp_path):
    for edge in ("turbo", "sd", "lcm"):
        run = settled("sd", edge)
        served = _settings(Namespace(run=None, config=tmp_path / "my.toml"))
        assert served.edge.guidance == run.edge.guidance, edge
    assert settled("sd", "turbo").edge.guidance == 0
