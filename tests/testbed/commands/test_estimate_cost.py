"""What the presets say they cost is what the code that plans the sweep, and the counted operations,
come to.
"""

import json
import re
import socket
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from calibration.records.task import ModelSpec
from calibration.scenario.scenario import Scenario
from solver.inputs import InputError, write_json
from solver.problem import PLACES
from testbed import config
from testbed.cli import main
from testbed.commands import estimate_cost as cost
from testbed.data.prompts import open_prompts
from testbed.models.published import catalogue
from testbed.models.published.operations import operations
from testbed.runs.store import RecordStore
from testbed.stages.tasks import adaptive_sweep, sweep_tasks
from tests.solver.problems import example
from tests.testbed.client.world import SMALL_RUN, serving
from tests.testbed.runs.world import IMAGE, record

PRESETS = sorted(path.stem for path in config.PRESETS.glob("*.toml"))
REAL = [name for name in PRESETS if name != "embedded"]


@pytest.fixture
def coco(tmp_path, monkeypatch):
    """A working folder with the photographs and captions that a preset may name."""
    folder = tmp_path / "coco2014"
    folder.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "0.png")
    listed = {
        "images": [{"id": 0, "file_name": "0.png"}],
        "annotations": [{"image_id": 0, "caption": "a cat"}],
    }
    (folder / "captions.json").write_text(json.dumps(listed))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_a_presets_stated_cost_is_what_it_comes_to(name, coco):
    stated = cost.stated(name)
    assert cost.expected(config.load(name), stated) == cost.Expected(
        stated.evaluations, stated.minutes, stated.gigabytes
    )


@pytest.mark.parametrize("name", REAL)
def test_a_presets_models_are_pinned_and_of_the_architecture_that_is_counted(name, coco):
    settings, stated = config.load(name), cost.stated(name)
    scenario = Scenario.from_dict(settings.scenario)
    assert re.fullmatch("[0-9a-f]{40}", settings.quality.clip_revision)
    for place in PLACES:
        assert getattr(scenario, place).max_steps <= max(settings.sweep.grid(place))
        model = getattr(settings, place)
        architecture = catalogue.find(getattr(stated, place))
        assert re.fullmatch("[0-9a-f]{40}", model.revision) and model.model == architecture.source
        assert model.resolution == architecture.resolution and (model.guidance > 1) == (
            architecture.guidance > 1
        )


def model_spec(name):
    return ModelSpec(name, device="cpu", dtype="float32", scheduler="s", guidance=3.0)


def test_evaluations_are_those_that_calibration_makes(small_config):
    settings = config.load(small_config)
    made = cost.evaluations(settings)
    specs = {place: model_spec(place) for place in PLACES}
    tasks = sweep_tasks(settings, open_prompts(settings.prompts), specs)
    assert sum(
        steps * images for counts in made.values() for steps, images in counts.items()
    ) == sum(task.steps for task in tasks)


def test_a_plan_of_an_adaptive_sweep_is_its_first_round(small_config):
    text = small_config.read_text().replace("[sweep]", "[sweep]\nhalf_width = 0.05")
    small_config.write_text(text.replace("[1, 2, 3, 6]", str(list(range(1, 31)))))
    settings = config.load(small_config)
    settings = replace(settings, sweep=replace(settings.sweep, converged_steps=40))
    specs = {place: model_spec(place) for place in PLACES}
    with pytest.warns(UserWarning, match="half_width"):
        tasks = adaptive_sweep(settings, open_prompts(settings.prompts), specs).tasks()
    counts = {place: Counter(t.steps for t in tasks if t.place == place) for place in PLACES}
    assert cost.evaluations(settings) == counts
    assert len(counts["edge"]) < 30, "not the whole grid"


def test_a_plan_says_whether_time_between_arrivals_is_waited_for(small_config, tmp_path, capsys):
    text = small_config.read_text()
    small_config.write_text(text.replace("[execute]", "[execute]\narrival_rate = 0.5"))
    assert main(["run", str(small_config), "--plan"]) == 0
    assert "the clock skips the time in which nobody waits" in capsys.readouterr().out
    with serving() as (url, _):
        served = SERVED.format(url=url) + "[execute]\narrival_rate = 0.5\n"
        (tmp_path / "served.toml").write_text(served)
        assert main(["run", str(tmp_path / "served.toml"), "--plan"]) == 0
    assert " s, 6 times; a server gets them at these times" in capsys.readouterr().out


def test_operations_of_known_networks():
    """Stable Diffusion 1.5's UNet at 512x512 takes 0.8 TFLOP a call (0.4 T multiply-adds)."""
    step = operations("sd15").step
    assert step == pytest.approx(2 * 0.8e12, rel=0.02)
    assert step > operations("bk-sdm-small").step


def test_a_plan_is_said_and_nothing_is_made(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "sd15", "--plan"]) == 0  # SDXL takes ten seconds to count
    said = capsys.readouterr().out
    assert (
        "calibration: 24768 evaluations" in said
        and "minutes on an RTX 4090 (modelled)" in said
        and "GB of disk" in said
    )
    assert main(["run", "sd15", "--plan", "--edge", "some/other"]) == 0
    assert "modelled" not in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def planned(capsys, *arguments):
    """The plan's first line."""
    assert main(["run", "--plan", *map(str, arguments)]) == 0
    return capsys.readouterr().out.splitlines()[0]


def test_a_plan_is_of_what_the_folder_was_measured_with(small_config, tmp_path, capsys):
    given = small_config.read_text().replace("converged_steps = 12", "converged_steps = 24")
    small_config.write_text(given)
    expected, settings = planned(capsys, small_config), config.load(small_config)
    small_config.write_text(given.replace("converged_steps = 24\n", ""))
    assert planned(capsys, small_config) != expected  # by default others
    write_json(tmp_path / "run" / "config.json", settings.to_dict())
    RecordStore(tmp_path / "run" / "calibration").add(record("a"), IMAGE)
    assert planned(capsys, small_config, "--out", tmp_path / "run") == expected


def test_a_plan_is_of_the_users_of_ones_own_problem(small_config, tmp_path, capsys):
    values = example(users=2) | {"labels": {"prompt_class": ["object", "object"]}}
    write_json(tmp_path / "p.json", values)
    line = planned(capsys, small_config, "--problem", tmp_path / "p.json")
    steps = 2 * values["local"]["max_steps"] + values["edge_budget"] + 2 * 12
    assert line.endswith(f"execution: at most {steps + 3 + 3} more")  # and a control image at each


SERVED = (
    """
[local]
model = "embedded:light"
[edge]
url = "{url}"
"""
    + SMALL_RUN
    + """edge_budget = 8
local = {{ max_steps = 2 }}
edge = {{ max_steps = 2 }}
"""
)


def plan_of(tmp_path, url, capsys):
    """The plan's lines of a run whose edge is at ``url``."""
    (tmp_path / "served.toml").write_text(SERVED.format(url=url))
    assert main(["run", str(tmp_path / "served.toml"), "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("calibration: ") and any("GB of disk" in line for line in lines)
    return [line for line in lines if "a run would stop there" in line]


def test_a_plan_says_whether_the_server_of_a_place_is_there(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serving() as (url, shop):
        assert plan_of(tmp_path, url, capsys) == [] and shop.bodies == []
        shop.models = ["first", "second"]
        (line,) = plan_of(tmp_path, url, capsys)
        assert line.startswith(f"model: {url} serves first, second; allowed: ")
    (line,) = plan_of(tmp_path, url, capsys)
    assert line.startswith(f"url: {url}: Connection refused; ")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(cost, "PATIENCE", 0.2)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (line,) = plan_of(tmp_path, url, capsys)
        assert line.startswith(f"url: {url}: timed out; ")


def test_a_cost_table_that_is_not_whole(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('[local]\nmodel = "a/b"\n[edge]\nmodel = "c/d"\n[cost]\nlocal = "sd15"\n')
    with pytest.raises(
        InputError, match="cost: 'edge' is missing; allowed: all of local, edge, evaluations"
    ):
        cost.stated(path)
    path.write_text(path.read_text().replace("local =", "lokal ="))
    with pytest.raises(InputError, match="cost: 'lokal' is unknown; perhaps you meant 'local'"):
        cost.stated(path)
    path.write_text('cost = 5\n[local]\nmodel = "a/b"\n[edge]\nmodel = "c/d"\n')
    with pytest.raises(InputError, match="cost: found 5; allowed: a table"):
        cost.stated(path)
