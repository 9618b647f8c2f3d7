"""Calibrations: grown, adaptive, of one place at a time, and of prompts of one's own."""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from calibration import fit_curve, load_profiles
from calibration.sweep.outcome import SweepOutcome, SweepRound, SweepWidth
from testbed.cli import main
from testbed.runs.folder import RunFolder
from testbed.stages.calibrate import warn_of_turns
from tests.conftest import ROOT
from tests.testbed.stages.world import few_timings, records


def cells(profiles):
    """The places and prompt classes of profiles, in order."""
    return [(place.place, each.prompt_class) for place in profiles.places for each in place.classes]


def own_prompts(folder, config, sizes, old, new):
    """The configuration names prompts of one class of its own, which are given back, and ``new``
    where it said ``old``.
    """
    words = [
        f"a {size} {colour} {thing} in the middle"
        for size in sizes
        for colour in ("red", "blue", "green")
        for thing in ("ball", "house", "tree", "car")
    ]
    (folder / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": p, "class": "mine"}) + "\n" for p in words)
    )
    text = config.read_text().replace(old, new)
    config.write_text(f'prompts = "{folder / "prompts.jsonl"}"\n' + text)
    return words


@pytest.mark.slow
def test_more_samples_are_added_to_a_finished_sweep_without_losing_any(small_run, tmp_path, capsys):
    run = Path(shutil.copytree(small_run.folder, tmp_path / "run"))
    path, config = run / "calibration" / "records.jsonl", tmp_path / "more.toml"
    before, text = path.read_bytes(), small_run.config.read_text()
    config.write_text(
        text.replace("prompts_per_class = 3", "prompts_per_class = 4").replace(
            "[1, 2, 3, 6]", "[1, 2, 4]"
        )
    )
    with few_timings():
        assert main(["calibrate", str(config), "--out", str(run)]) == 0
    assert path.read_bytes().startswith(before)
    first = RunFolder.read(run).profiles().places[0].classes[0]
    points = {point.steps: point.n for point in first.error.points}
    assert points == {1: 4, 2: 4, 3: 3, 4: 4, 6: 3}
    # the old distances would not belong to it
    config.write_text(text.replace("converged_steps = 12", "converged_steps = 24"))
    assert main(["calibrate", str(config), "--out", str(run)]) == 2
    assert "sweep: this run folder was made with" in capsys.readouterr().err


@pytest.mark.slow
def test_an_adaptive_sweep_goes_on_until_its_intervals_are_narrow_enough(tmp_path, small_config):
    small_config.write_text(small_config.read_text().replace("embedded:edge", "embedded:light"))
    own_prompts(
        tmp_path,
        small_config,
        ("big", "small"),
        "converged_steps = 12",
        "converged_steps = 8\nhalf_width = 0.8",
    )
    with few_timings():
        assert main(["calibrate", str(small_config), "--out", str(tmp_path / "run")]) == 0
    folder = RunFolder.read(tmp_path / "run")
    made = folder.records("calibration")
    for place in folder.profiles().places:
        sweep = place.sweep
        assert sweep.target == 0.8 and len(sweep.rounds) > 1
        assert all(width.reached for width in sweep.widths)
        assert sweep.evaluations == sum(
            record.task.steps for record in made if record.task.place == place.place
        )
    assert {record.task.purpose for record in made} == {"sweep", "converged", "untimed"}


def of_one_place(run, folder, place):
    """A copy of a run as if only ``place`` could be calibrated: the other model is not here.

    Returns the options of that calibration.
    """
    shutil.copytree(run, folder)
    other = {"local": "edge", "edge": "local"}[place]
    for name in ("profiles", "problem", "allocation", "validation"):
        (folder / f"{name}.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    config[other]["model"] = "not/here"
    (folder / "config.json").write_text(json.dumps(config))
    return ["--place", place, f"--{other}", "not/here", "--out", str(folder)]


@pytest.mark.slow
def test_each_place_is_calibrated_without_the_other_models_weights_and_profiles_are_joined(
    small_run, tmp_path
):
    files = []
    for place in ("local", "edge"):
        folder = tmp_path / place
        options = of_one_place(small_run.folder, folder, place)
        if place == "local":  # its images are made anew
            shutil.rmtree(folder / "calibration")
        assert main(["calibrate", str(small_run.config), *options]) == 0
        files += ["--profiles", f"{place}={folder / 'profiles.json'}"]
    (tmp_path / "s.toml").write_text(
        "users = 4\nedge_budget = 9\nlocal = { max_steps = 3 }\nedge = { max_steps = 5 }\n"
    )
    outputs = ["-o", str(tmp_path / "p.json"), "--save-profiles", str(tmp_path / "profiles.json")]
    assert main(["problem", *files, "--scenario", str(tmp_path / "s.toml"), *outputs]) == 0
    joined, whole = (RunFolder(folder).profiles() for folder in (tmp_path, small_run.folder))
    assert cells(joined) == cells(whole)
    for place, name in cells(whole):
        ours, theirs = (profiles.find(place, name) for profiles in (joined, whole))
        for mine, other in (
            (ours.error.points, theirs.error.points),
            (ours.utility.points, theirs.utility.points),
            (ours.frechet, theirs.frechet),
        ):
            assert [point.value for point in mine] == pytest.approx(
                [point.value for point in other], rel=1e-4
            )
    assert joined.get("edge").batch is not None and joined.get("local").batch is None


@pytest.fixture
def edge_alone(small_run, tmp_path):
    """A copy of a run whose profiles hold the edge alone, with a width that its sweep did not
    reach; and a function that calibrates the local place.
    """
    folder = RunFolder(shutil.copytree(small_run.folder, tmp_path / "run"))
    width = SweepWidth("object", "error", "decay", value=0.2, half_width=0.5, reached=False)
    sweep = SweepOutcome(0.1, (SweepRound(9, 99),), 99, 999, (width,))
    profiles = folder.profiles()
    folder.save(replace(profiles, places=(replace(profiles.get("edge"), sweep=sweep),)))

    def calibrate():
        options = ["--place", "local", "--out", str(folder.path)]
        return main(["calibrate", str(small_run.config), *options])

    return folder, calibrate


def test_a_place_calibrated_alone_before_stays_with_all_that_its_sweep_came_to(
    edge_alone, small_run
):
    """The second place once dropped the first one's sweep, so a width that was not reached
    vanished.
    """
    folder, calibrate = edge_alone
    before = folder.profiles().get("edge")
    assert calibrate() == 0
    both = folder.profiles()
    assert [place.place for place in both.places] == ["local", "edge"]
    assert replace(both.get("edge"), environment=None) == replace(before, environment=None)
    assert not both.get("edge").sweep.widths[0].reached
    # the features that this calibration kept are those of its own place
    assert main(["validate", str(folder.path)]) == 0
    kept = RunFolder.read(small_run.folder).features()
    assert set(folder.features().ids) == set(kept.ids)


def test_a_place_of_another_metric_is_not_joined_with_one_calibrated_before(edge_alone, capsys):
    """That one was measured elsewhere, as this folder has no records of it."""
    folder, calibrate = edge_alone
    made = folder.path / "calibration" / "records.jsonl"
    lines = made.read_text().splitlines(True)
    made.write_text("".join(line for line in lines if '"asked": {"place": "local"' in line))
    path = folder.path / "profiles.json"
    path.write_text(path.read_text().replace("rescaled CLIP score", "another score"))
    before = path.read_bytes()
    assert calibrate() == 2
    assert "metrics.utility.name: found" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_the_local_place_alone_has_no_converged_images_of_the_edge(tmp_path, small_config, capsys):
    small_config.write_text(
        small_config.read_text().replace("[quality]", '[quality]\nreference = "converged"')
    )
    out = tmp_path / "refused"
    command = ["calibrate", str(small_config), "--place", "local", "--out", str(out)]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "--place: found local with quality.reference = 'converged'" in said
    assert not out.exists()


def test_a_place_alone_makes_no_split_images(tmp_path, small_config, capsys):
    small_config.write_text(small_config.read_text().replace("[sweep]", "[sweep]\nsplits = [4]"))
    command = ["calibrate", str(small_config), "--place", "edge", "--out", str(tmp_path / "run")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "sweep.splits: found [4] with --place; allowed without it" in said
    assert said.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_prompts_of_ones_own_with_the_edge_models_converged_images_as_reference(
    tmp_path, small_config, capsys
):
    words = own_prompts(
        tmp_path, small_config, ["big"], "[quality]", '[quality]\nreference = "converged"'
    )
    text = small_config.read_text()
    small_config.write_text(
        text.replace("[1, 2, 3, 6]", "[1, 2, 4]")
        .replace("converged_steps = 12", "converged_steps = 8")
        .replace("batches = [1, 2, 4]", "batches = [1, 2]")
    )
    assert main(["calibrate", str(small_config), "--out", str(tmp_path / "run")]) == 0
    profiles = RunFolder(tmp_path / "run").profiles()
    assert cells(profiles) == [("local", "mine"), ("edge", "mine")]
    frechet = profiles.metrics.frechet
    assert frechet.reference == "converged" and frechet.reference_size == 3
    used = {
        record["asked"]["prompt"] for record in records(tmp_path / "run/calibration/records.jsonl")
    }
    assert used == set(words[:3])
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": words[0]}) + "\n")
    assert main(["calibrate", str(small_config), "--out", str(tmp_path / "other")]) == 2
    assert "allowed: at most 0, half of those in" in capsys.readouterr().err


def test_a_curve_that_turns_up_again_is_warned_of():
    """As of a distilled model: best at 4 steps."""
    errors = [0.62, 0.41, 0.33, 0.30, 0.36, 0.43, 0.50]
    turned = fit_curve([1, 2, 3, 4, 6, 8, 10], errors, [0.01] * 7, kind="error")
    profiles = load_profiles(ROOT / "docs" / "profiles.json")
    place = profiles.places[0]
    entry = replace(place.classes[0], error=turned)
    with pytest.warns(UserWarning, match="error: not monotone: it rises from 4 to 10 steps"):
        warn_of_turns(replace(profiles, places=(replace(place, classes=(entry,)),)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_turns(profiles)
