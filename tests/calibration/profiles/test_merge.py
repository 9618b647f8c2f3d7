"""Profiles of a UE from one machine and of the edge from another: joined where they may be
compared, refused by name where not.
"""

import copy
import json

import pytest

from calibration.profiles import build as profile
from calibration.profiles.merge import merge
from calibration.scenario.scenario import Scenario, to_problem
from solver import Problem, solve
from solver.inputs import InputError, write_json
from testbed.cli import main
from tests.calibration.world import CLASSES, World, units

PROMPTS = {"prompts": "/data/prompts.jsonl", "prompts_sha256": "aaaa"}
METRICS = {
    "error": {"name": "relative distance", "converged_steps": 96, **PROMPTS},
    "utility": {
        "name": "rescaled CLIP score",
        "model": "openai/clip",
        "model_sha256": "cccc",
        **PROMPTS,
    },
    "frechet": {
        "extractor": "CLIP features",
        "extractor_sha256": "cccc",
        "reference": "/data/coco",
        "reference_size": 512,
        "reference_sha256": "bbbb",
    },
    "kid": {"name": "cubic kernel"},
    "cmmd": {"name": "Gaussian kernel"},
}
ENVIRONMENTS = {
    "ue": {"machine": "Jetson", "python": "3.11", "idle_watts": 4.0},
    "server": {"machine": "H100", "python": "3.11", "gpus": 1},
}


def measured(seed, environment, **world):
    """What one machine measured: both places, all classes."""
    frechet = {
        key: [{"steps": steps, "value": 9.0 / steps, "n": 6} for steps in (1, 4, 16)]
        for key in units()
    }
    records = World(seed=seed, **world).calibrate(prompts=6)
    return profile.build(records, units(), frechet, copy.deepcopy(METRICS), environment)


@pytest.fixture(scope="module")
def whole():
    return {
        "ue": measured(1, ENVIRONMENTS["ue"], slower=3.0),
        "server": measured(2, ENVIRONMENTS["server"], watts=300.0),
    }


@pytest.fixture
def travelled(whole):
    return copy.deepcopy(whole)


def joined(found):
    return merge([("ue.json", "local", found["ue"]), ("server.json", "edge", found["server"])])


def test_one_file_stays_as_it_is(whole):
    assert merge([("ue.json", None, whole["ue"])]) is whole["ue"]


def test_each_place_comes_from_its_machine(travelled):
    found = joined(travelled)
    assert [(entry["place"], entry["prompt_class"]) for entry in found["profiles"]] == [
        (p, c) for p in ("local", "edge") for c in sorted(CLASSES)
    ]
    for place, origin in (("local", "ue"), ("edge", "server")):
        for name in CLASSES:
            entry = dict(profile.find(found, place, name))
            assert entry.pop("environment") == ENVIRONMENTS[origin]
            assert entry == profile.find(travelled[origin], place, name)
    assert found["environment"] == {
        "machine": "Jetson (local), H100 (edge)",
        "python": "3.11",
        "idle_watts": "4.0 (local)",
        "gpus": "1 (edge)",
    }
    for row in found["class_differences"]:
        assert row in travelled["ue" if row["place"] == "local" else "server"]["class_differences"]
    assert {row["place"] for row in found["class_differences"]} == {"local", "edge"}
    problem = Problem.from_dict(
        to_problem(found, Scenario.from_dict({"device_classes": {"server-core": 1}}))
    )
    ue, server = (
        to_problem(one, Scenario.from_dict({"device_classes": {"server-core": 1}}))
        for one in travelled.values()
    )
    assert (problem.local.step_time == ue["local"]["step_time"]).all() and (
        problem.edge.step_time == server["edge"]["step_time"]
    ).all()
    assert solve(problem).status == "optimal"


def test_joined_profiles_can_be_joined_again_by_class(travelled):
    for one in travelled.values():
        one["profiles"] = [entry for entry in one["profiles"] if entry["place"] == "edge"]
    scenes, rest = copy.deepcopy(travelled["ue"]), travelled["server"]
    scenes["profiles"] = [entry for entry in scenes["profiles"] if entry["prompt_class"] == "scene"]
    rest["profiles"] = [entry for entry in rest["profiles"] if entry["prompt_class"] != "scene"]
    edge = merge([("a.json", None, scenes), ("b.json", None, rest)])
    assert edge["class_differences"] == []  # its classes are of different machines
    assert edge["environment"]["machine"] == "H100 (edge), Jetson (edge)"
    again = merge(
        [("edge.json", None, edge), ("c.json", "local", measured(3, {"machine": "phone"}))]
    )
    assert [entry["environment"]["machine"] for entry in again["profiles"]] == ["phone"] * 3 + [
        "H100",
        "H100",
        "Jetson",
    ]


def change(metric, **values):
    return lambda found: found["metrics"][metric].update(values)


def shift(field, by):
    return lambda found: [
        entry["utility"].update({field: entry["utility"][field] + by})
        for entry in found["profiles"]
    ]


def points(found):
    for entry in found["profiles"]:
        entry["frechet"]["points"][1]["n"] = 7


@pytest.mark.parametrize(
    "spoil, message",
    [
        (change("error", converged_steps=48), "metrics.error.converged_steps: found 96 and 48"),
        (
            change("error", name="LPIPS"),
            "metrics.error.name: found 'relative distance' and 'LPIPS'",
        ),
        (
            change("error", prompts_sha256="dddd"),
            "metrics.error.prompts_sha256: found 'aaaa' and 'dddd'",
        ),
        (
            change("utility", model="other/clip", model_sha256="dddd"),
            "metrics.utility.model: found 'openai/clip' and 'other/clip'",
        ),
        (
            change("utility", model_sha256="dddd"),
            "metrics.utility.model_sha256: found 'cccc' and 'dddd'",
        ),
        (
            change("frechet", extractor="Inception-v3", extractor_sha256="dddd"),
            "metrics.frechet.extractor: found 'CLIP features' and 'Inception-v3'",
        ),
        (
            change("frechet", reference="converged", reference_sha256="dddd"),
            "metrics.frechet.reference: found '/data/coco' and 'converged'",
        ),
        (
            change("frechet", reference_size=400),
            "metrics.frechet.reference_size: found 512 and 400",
        ),
        (
            change("frechet", reference_model="heavy"),
            "metrics.frechet.reference_model: found None and 'heavy'",
        ),
        (change("kid", name="Gaussian"), "metrics.kid.name: found 'cubic kernel' and 'Gaussian'"),
        (shift("floor", 0.5), "prompt class object: utility.floor: found 60.0 and 60.5"),
        (shift("ceiling", -0.5), "prompt class object: utility.ceiling: found 90.0 and 89.5"),
        (points, "prompt class object: frechet: images at 4 steps: found 6 and 7"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(travelled, spoil, message):
    spoil(travelled["server"])
    with pytest.raises(InputError) as caught:
        joined(travelled)
    assert (
        str(caught.value)
        == f"ue.json, server.json: {message}; allowed: the same in all profiles that are joined"
    )


@pytest.mark.parametrize(
    "differ",
    [
        lambda found: [
            entry.update(model="small", device="cuda", dtype="float16")
            for entry in found["profiles"]
        ],
        change("utility", model="/models/clip"),  # the same weights in a folder
        change("frechet", reference="/home/me/coco"),  # the same captions elsewhere
        shift("floor", 0.05),  # as much as a device's rounding, and more
        lambda found: (
            points(found),
            found.update(plan={"widths": []}),
        ),  # an adaptive sweep chooses its numbers
    ],
)
def test_what_does_not_matter_is_not_refused(travelled, differ):
    differ(travelled["server"])
    assert len(joined(travelled)["profiles"]) == 6


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda found: found.pop("metrics"), "server.json: 'metrics' is missing"),
        (
            lambda found: found["metrics"].pop("utility"),
            "server.json: metrics: 'utility' is missing",
        ),
        (
            lambda found: found.update(environment="H100"),
            "server.json: environment: found 'H100'; allowed: a table",
        ),
        (
            lambda found: found["profiles"][3]["frechet"]["points"][0].pop("n"),
            "server.json: edge/object: frechet.points: 'n' is missing",
        ),
        (
            lambda found: found.update(profiles=found["profiles"][:3]),
            "server.json: found no edge profile; allowed: a file that holds one",
        ),
    ],
)
def test_files_that_do_not_say_enough_are_refused(travelled, spoil, message):
    spoil(travelled["server"])
    with pytest.raises(InputError, match=f"^{message.replace('.', '[.]')}$"):
        joined(travelled)


def test_the_command_joins_and_the_report_names_both_machines(whole, tmp_path, capsys):
    for name, one in whole.items():
        write_json(tmp_path / f"{name}.json", one)
    (tmp_path / "s.toml").write_text("users = 4\n")
    ue, server, run = tmp_path / "ue.json", tmp_path / "server.json", tmp_path / "run"
    run.mkdir()
    end = [
        "--scenario",
        str(tmp_path / "s.toml"),
        "-o",
        str(run / "problem.json"),
        "--save-profiles",
        str(run / "profiles.json"),
    ]
    assert main(["problem", "--profiles", str(ue), "--profiles", str(server), *end]) == 2
    refused = f"testbed: {ue}, {server}: local/object: found in both; allowed: in one; local=FILE or edge=FILE takes one place of a file\n"
    assert capsys.readouterr().err == refused
    assert not (run / "problem.json").exists()
    assert main(["problem", "--profiles", f"local={ue}", "--profiles", f"edge={server}", *end]) == 0
    assert capsys.readouterr().out == f"{run / 'problem.json'}\n"
    expected = json.loads(
        json.dumps(merge([("", "local", whole["ue"]), ("", "edge", whole["server"])]))
    )
    assert profile.load(run / "profiles.json") == expected
    assert json.loads((run / "problem.json").read_text()) == to_problem(
        expected, Scenario.from_dict({"users": 4})
    )
    assert main(["report", str(run)]) == 0
    assert "Jetson (local), H100 (edge)" in (run / "report.html").read_text()
