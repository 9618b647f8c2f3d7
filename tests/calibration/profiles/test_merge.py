"""Profiles of a user from one machine and of the edge from another: joined where they may be
compared, refused by name where not.
"""

import json
from dataclasses import replace

import pytest

from calibration.profiles.merge import Part, merge
from calibration.profiles.profile import DistancePoint, Distances, MetricDefinition, Metrics
from calibration.profiles.store import load, parse, save
from calibration.scenario.problem import to_problem
from calibration.scenario.scenario import Scenario
from calibration.sweep.outcome import SweepOutcome, SweepWidth
from solver import solve
from solver.inputs import InputError
from testbed.cli import main
from tests.calibration.world import World, profiles, scales

CLASSES = ("object", "scene")
SHARES = {"prompt_classes": dict.fromkeys(CLASSES, 1)}
PROMPTS = {"prompts": "/data/prompts.jsonl", "prompts_sha256": "aaaa"}
METRICS = Metrics(
    error=MetricDefinition("relative distance", converged_steps=96, **PROMPTS),
    utility=MetricDefinition(
        "rescaled CLIP score", model="openai/clip", model_sha256="cccc", **PROMPTS
    ),
    frechet=MetricDefinition(
        extractor="CLIP features",
        extractor_sha256="cccc",
        reference="/data/coco",
        reference_size=512,
        reference_sha256="bbbb",
    ),
    kid=MetricDefinition("cubic kernel"),
    cmmd=MetricDefinition("Gaussian kernel"),
)
ENVIRONMENTS = {
    "ue": {"machine": "Jetson", "python": "3.11", "idle_watts": 4.0},
    "server": {"machine": "H100", "python": "3.11", "gpus": 1},
}


def measured(seed, environment, **world):
    """What one machine measured: both places, both classes."""
    points = tuple(DistancePoint(steps, 9.0 / steps, None, None, 6) for steps in (1, 4, 8))
    return profiles(
        World(seed=seed, **world).calibrate(CLASSES, prompts=4, steps=[1, 2, 4, 8, 32]),
        CLASSES,
        distances={key: Distances(points) for key in scales(CLASSES)},
        metrics=METRICS,
        environment=environment,
    )


@pytest.fixture(scope="module")
def made():
    return {
        "ue": measured(1, ENVIRONMENTS["ue"], slower=3.0),
        "server": measured(2, ENVIRONMENTS["server"], watts=300.0),
    }


def joined(ue, server):
    return merge([Part("ue.json", "local", ue), Part("server.json", "edge", server)])


def test_one_file_stays_as_it_is(made):
    assert merge([Part("ue.json", None, made["ue"])]) is made["ue"]


def test_one_place_of_a_file_can_be_taken(made):
    taken = merge([Part("ue.json", "edge", made["ue"])])
    assert taken == replace(made["ue"], places=made["ue"].places[1:])


def test_each_place_comes_from_its_machine(made):
    both = joined(**made)
    for place, origin in (("local", "ue"), ("edge", "server")):
        entry = both.get(place)
        assert entry.environment == ENVIRONMENTS[origin]
        assert replace(entry, environment=None) == made[origin].get(place)
        assert [profile.prompt_class for profile in entry.classes] == sorted(CLASSES)
        assert entry.class_differences
    assert [entry.place for entry in both.places] == ["local", "edge"]
    assert both.environment == {
        "machine": "Jetson (local), H100 (edge)",
        "python": "3.11",
        "idle_watts": "4.0 (local)",
        "gpus": "1 (edge)",
    }
    assert parse(json.loads(json.dumps(both.to_dict()))) == both


def test_the_problem_of_joined_profiles_is_of_both_machines(made):
    scenario = Scenario.from_dict({**SHARES, "device_classes": {"server-core": 1}})
    problem, ue, server = (
        to_problem(source, scenario) for source in (joined(**made), made["ue"], made["server"])
    )
    assert (problem.local.step_time == ue.local.step_time).all()
    assert (problem.edge.step_time == server.edge.step_time).all()
    assert solve(problem).status == "optimal"


def test_joined_profiles_can_be_joined_again(made):
    again = merge(
        [
            Part("joined.json", "edge", joined(**made)),
            Part("c.json", "local", replace(made["ue"], environment={"machine": "phone"})),
        ]
    )
    assert [entry.environment["machine"] for entry in again.places] == ["phone", "H100"]
    assert again.environment["machine"] == "phone (local), H100 (edge)"


def test_a_place_measured_later_keeps_what_the_other_came_to(made):
    """A width that one place did not reach is still said after the other was calibrated."""
    width = SweepWidth("object", "error", "scale", 0.4, 0.2, False)
    outcomes = {
        place: SweepOutcome(0.1, (), 9, 90, (replace(width, half_width=half, reached=half < 0.1),))
        for place, half in (("local", 0.2), ("edge", 0.05))
    }
    local, edge = (
        replace(made["ue"], places=(replace(made["ue"].get(place), sweep=outcomes[place]),))
        for place in ("local", "edge")
    )
    both = merge([Part("profiles.json", None, local), Part("calibration", None, edge)])
    assert {entry.place: entry.sweep for entry in both.places} == outcomes
    assert both == replace(made["ue"], places=(*local.places, *edge.places))
    assert all(entry.environment is None for entry in both.places), "one machine measured both"


def change(metric, **values):
    def changed(source):
        definition = replace(getattr(source.metrics, metric), **values)
        return replace(source, metrics=replace(source.metrics, **{metric: definition}))

    return changed


def of_profiles(changed):
    """A change of every class's profile."""
    return lambda source: replace(
        source,
        places=tuple(
            replace(place, classes=tuple(changed(profile) for profile in place.classes))
            for place in source.places
        ),
    )


def shift(field, by):
    def changed(profile):
        utility = profile.scales.utility
        utility = replace(utility, **{field: getattr(utility, field) + by})
        return replace(profile, scales=replace(profile.scales, utility=utility))

    return of_profiles(changed)


@of_profiles
def other_number(profile):
    first, second, *rest = profile.frechet
    return replace(profile, frechet=(first, replace(second, n=7), *rest))


def with_sweep(source):
    outcome = SweepOutcome(0.1, (), 9, 90, ())
    return replace(source, places=tuple(replace(place, sweep=outcome) for place in source.places))


def with_model(source):
    other = {"model": "small", "device": "cuda", "dtype": "float16"}
    return replace(source, places=tuple(replace(place, **other) for place in source.places))


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
        (shift("zero", 0.5), "prompt class object: utility.floor: found 60.0 and 60.5"),
        (shift("full", -0.5), "prompt class object: utility.ceiling: found 90.0 and 89.5"),
        (other_number, "prompt class object: frechet: images at 4 steps: found 6 and 7"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(made, spoil, message):
    with pytest.raises(InputError) as caught:
        joined(made["ue"], spoil(made["server"]))
    allowed = "allowed: the same in all profiles that are joined"
    assert str(caught.value) == f"ue.json, server.json: {message}; {allowed}"


@pytest.mark.parametrize(
    "differ",
    [
        with_model,
        change("utility", model="/models/clip"),  # the same weights in a folder
        change("frechet", reference="/home/me/coco"),  # the same captions elsewhere
        shift("zero", 0.05),  # as much as a device's rounding, and more
        lambda source: with_sweep(other_number(source)),  # an adaptive sweep chooses its numbers
    ],
)
def test_what_does_not_matter_is_not_refused(made, differ):
    assert len(joined(made["ue"], differ(made["server"])).places) == 2


def test_a_place_comes_from_one_file(made):
    parts = [Part("a.json", None, made["ue"]), Part("b.json", "edge", made["server"])]
    message = "^a.json, b.json: edge: found in both; allowed: in one; local=FILE or edge=FILE takes"
    with pytest.raises(InputError, match=message):
        merge(parts)


def test_a_place_that_a_file_has_not_is_named(made):
    alone = replace(made["server"], places=made["server"].places[:1])
    message = "^server.json: found no edge profile; allowed: a file that holds one$"
    with pytest.raises(InputError, match=message):
        joined(made["ue"], alone)


def test_the_command_joins_and_the_report_names_both_machines(made, tmp_path, capsys, undrawn):
    for name, source in made.items():
        save(tmp_path / f"{name}.json", source)
    (tmp_path / "s.toml").write_text("users = 4\nprompt_classes = {object = 1, scene = 1}\n")
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
    refused = (
        f"testbed: {ue}, {server}: local: found in both; allowed: in one; "
        "local=FILE or edge=FILE takes one place of a file\n"
    )
    assert capsys.readouterr().err == refused
    assert not (run / "problem.json").exists()
    assert main(["problem", "--profiles", f"local={ue}", "--profiles", f"edge={server}", *end]) == 0
    assert capsys.readouterr().out == f"{run / 'problem.json'}\n"
    both = joined(**made)
    assert load(run / "profiles.json") == both
    expected = to_problem(both, Scenario.from_dict({**SHARES, "users": 4})).to_dict()
    assert json.loads((run / "problem.json").read_text()) == json.loads(json.dumps(expected))
    assert main(["report", str(run)]) == 0
    assert "Jetson (local), H100 (edge)" in (run / "report.html").read_text()
