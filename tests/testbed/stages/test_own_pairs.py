"""A user's own pair ends in a report, with random weights and whatever scorer there is."""

import json
import re
import shutil

import pytest
from safetensors.torch import load_file, save_file

from testbed.cli import main
from testbed.models.pipelines import WEIGHTS
from testbed.report.run import missing
from testbed.runs.folder import RunFolder
from tests.testbed.own_pairs import BUILDERS, SETTINGS, configuration, save, write_prompts
from tests.testbed.stages.world import few_timings

SWEEP = "[sweep]\nsteps = [1, 2, 3]\nconverged_steps = 4\nbatches = [1, 2]\n[scenario]\nusers = 2\n"
EMBEDDED = '[quality]\nclip = "embedded:clip"\n'
NONE = '[quality]\nclip = "none"\n'


@pytest.fixture(scope="module", autouse=True)
def hurried():
    with few_timings():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with prompts in two classes, and in one; and the small Stable Diffusion."""
    folder = tmp_path_factory.mktemp("own")
    write_prompts(folder / "prompts.jsonl", each=4)
    write_prompts(folder / "things.jsonl", ["thing"], each=4)
    save("sd", folder / "sd")
    return folder


def run(world, name, text, *verb):
    """Run a configuration of that text; returns the run's folder."""
    config = world / f"{name}.toml"
    config.write_text(text)
    verb = verb or ("run",)
    assert main([verb[0], str(config), *verb[1:], "--out", str(world / f"run-{name}")]) == 0
    return RunFolder.read(world / f"run-{name}")


def text_of(folder):
    """The words of a report, without its style and pictures."""
    page = re.sub(r"<style>.*?</style>", "", folder.report_path.read_text(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@pytest.fixture(scope="module")
def unmatched(world):
    """A whole run whose scorer says that captions and pictures do not match."""
    guided = "guidance = 3.0\n"
    text = configuration("prompts.jsonl", "sd", extra=EMBEDDED + SWEEP, settings=guided)
    return run(world, "unmatched", text)


def test_captions_that_match_nothing_leave_utility_out_and_the_rest_goes_on(unmatched):
    """Once the sweep ended with `utility_ceiling above utility_floor`, and all was lost."""
    profiles, problem = unmatched.profiles(), unmatched.problem()
    assert missing(unmatched) == []
    for place in profiles.places:
        for profile in place.classes:
            assert profile.utility is None and profile.scales.utility is None
            assert "fit their own images no better" in profile.scales.utility_note
            assert profile.error.points and profile.clip_score and profile.frechet
    assert problem.weights["utility"].tolist() == [0.0, 0.0]
    assert {total.quantity for total in unmatched.validation().totals} >= {
        "time (sum)",
        "error (mean)",
        "objective",
    }
    assert not any("utility" in total.quantity for total in unmatched.validation().totals)


def test_the_head_of_the_report_names_what_is_left_out_and_what_was_by_default(unmatched):
    page = text_of(unmatched)
    head = page[: page.index("1 Verdicts")]
    assert "Left out of this run, or other than expected:" in head
    assert "Utility of thing, own device; thing, edge server: the captions of 2 ref" in head
    assert "It has weight 0 in the objective." in head
    assert "quality.reference = &#34;converged&#34;" in head
    assert "quality.clip" in head and "quality.clip =" not in head  # that one was given
    columns = (unmatched.path / "report" / "equal-time-thing.csv").read_text().splitlines()[0]
    assert columns.endswith(",edge_steps,edge_error,edge_error_gain") and "utility" not in columns


@pytest.mark.slow
def test_nothing_but_prompts_and_two_models_ends_in_a_report(world, monkeypatch, capsys):
    """With no network: the default scorer cannot be had, which is said before anything is made.
    Time and error alone need none.
    """

    def opened(*_):
        raise AssertionError("a scorer was opened")

    monkeypatch.setattr("testbed.metrics.quality.Clip", opened)
    save("turbo", world / "turbo")
    folder = run(world, "bare", configuration("things.jsonl", "turbo"))
    said = capsys.readouterr().err
    assert "openai/clip-vit-large-patch14 was neither in the hub's cache nor to be fetched" in said
    assert "is left out: " not in said  # once is enough
    config, profiles = folder.config(), folder.profiles()
    assert config.quality.clip == "none" and config.sweep.prompts_per_class == 2
    assert config.sweep.steps == (1, 2, 3, 4, 6, 8) and config.sweep.converged_steps == 16
    assert len(folder.scenario().users) == 2  # half of the prompts
    assert missing(folder) == []
    assert profiles.metrics.utility.name is None and profiles.metrics.frechet.extractor is None
    assert not profiles.find("edge", "thing").clip_score
    assert "quality.clip = &#34;none&#34;: nothing scores images" in text_of(folder)
    assert not (folder.path / "calibration" / "features.npz").exists()


#: Local and edge: each kind of model is at one of the places; at the edge it is timed and served in
#: batches, too.
PAIRS = [("checked", "lcm"), ("turbo", "sdxl"), ("pixart", "flux"), ("sd3-without-t5", "sd3")]


def test_every_kind_of_model_is_in_a_pair():
    assert {"sd"}.union(*PAIRS) == BUILDERS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("local, edge", PAIRS)
def test_every_kind_of_model_ends_in_a_report(world, local, edge):
    models = (save(model, world / model) for model in (local, edge))
    settings = (SETTINGS.get(model, "") for model in (local, edge))
    text = configuration("things.jsonl", *models, NONE + SWEEP, *settings)
    assert missing(run(world, f"pair-{local}-{edge}", text)) == []


@pytest.mark.slow
def test_one_class_is_left_out_and_the_other_is_not(world, capsys):
    """The embedded models follow captions of scenes, and of nothing else."""
    lines = [
        {"prompt": f"a big {colour} {thing} in the middle", "class": "big"}
        for colour in ("red", "blue")
        for thing in ("ball", "house")
    ]
    lines += [{"prompt": f"{word} qua", "class": "odd"} for word in "zq xj vk qz".split()]
    (world / "odd.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = configuration(
        "odd.jsonl",
        "embedded:light",
        "embedded:edge",
        SWEEP.replace("users = 2", "users = 2\ntime_unit = 1.0").replace(
            "_steps = 4", "_steps = 8"
        ),
    )
    folder = run(world, "odd", text)
    without = {
        profile.prompt_class
        for place in folder.profiles().places
        for profile in place.classes
        if profile.utility is None
    }
    assert without == {"odd"}
    classes = folder.problem().labels["prompt_class"]
    weights = folder.problem().weights["utility"].tolist()
    assert weights == [0.0 if name == "odd" else 0.5 for name in classes]
    assert "weight in the problem is 0" in capsys.readouterr().err
    compared = {user.prompt_class: user.utility for user in folder.validation().users}
    assert compared["odd"] is None and compared["big"].measured is not None
    assert "A user of class odd, whose utility is left out, counts as 0" in text_of(folder)


@pytest.fixture(scope="module")
def edge_alone(world):
    """The edge calibrated alone, and the file that travels to the device."""
    text = configuration("prompts.jsonl", "missing/model", "sd", EMBEDDED + SWEEP)
    folder = run(world, "server", text, "calibrate", "--place", "edge")
    return folder, shutil.copy(folder.reference_path, world / "carried.npz")


def of_device(file, local="sd"):
    extra = EMBEDDED + f'reference = "{file}"\n' + SWEEP
    return configuration("prompts.jsonl", local, "missing/model", extra)


@pytest.mark.slow
def test_a_device_is_calibrated_alone_and_joined_with_the_edge_later(world, edge_alone):
    server, file = edge_alone
    device = run(world, "user", of_device("carried.npz"), "calibrate", "--place", "local")
    assert device.profiles().metrics.frechet == server.profiles().metrics.frechet
    assert file.stat().st_size < 20_000
    (world / "s.toml").write_text("users = 2\nlocal = {max_steps = 3}\nedge = {max_steps = 3}\n")
    files = [
        f"--profiles={place}={folder.path / 'profiles.json'}"
        for place, folder in (("local", device), ("edge", server))
    ]
    problem, allocation = str(world / "problem.json"), str(world / "allocation.json")
    assert main(["problem", *files, "--scenario", str(world / "s.toml"), "-o", problem]) == 0
    assert main(["solve", problem, "-o", allocation]) == 0
    both = world / "both.toml"
    both.write_text(configuration("prompts.jsonl", "sd", "sd", EMBEDDED + SWEEP))
    joined = str(world / "joined")
    command = ["--allocation", allocation, "--problem", problem, str(both), "--out", joined]
    assert main(["execute", *command]) == 0
    assert "fitted profiles (profiles.json)" in " ".join(missing(RunFolder.read(joined)))
    assert main(["validate", joined, *files, "--scenario", str(world / "s.toml")]) == 0
    assert main(["report", joined]) == 0
    assert RunFolder.read(joined).validation().totals
    page = text_of(RunFolder.read(joined))
    assert "calibration records (calibration/records.jsonl): `testbed calibrate`" in page
    assert "same command again" not in page


def test_the_places_of_one_machine_are_calibrated_one_after_the_other(world, edge_alone):
    server, _ = edge_alone
    folder = RunFolder(shutil.copytree(server.path, world / "run-turns"))
    text = configuration("prompts.jsonl", "missing/model", "sd", EMBEDDED + SWEEP)
    (world / "turns.toml").write_text(text)
    command = ["calibrate", str(world / "turns.toml"), "--out", str(folder.path)]
    assert main([*command, "--place", "local", "--local", str(world / "sd")]) == 2  # another model
    config = json.loads((folder.path / "config.json").read_text())
    config["local"]["model"] = str(world / "sd")
    (folder.path / "config.json").write_text(json.dumps(config))
    assert main([*command, "--place", "local", "--local", str(world / "sd")]) == 0
    assert [place.place for place in folder.profiles().places] == ["local", "edge"]


def refused(world, capsys, text):
    """The last line of what a calibration of the device says that is refused."""
    (world / "refused.toml").write_text(text)
    command = ["calibrate", str(world / "refused.toml"), "--place", "local"]
    assert main([*command, "--out", str(world / "refused")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "carried.npz" in said
    return said


def test_a_reference_of_other_classes_or_another_scorer_is_refused(world, edge_alone, capsys):
    write_prompts(world / "others.jsonl", ["stranger"], each=4)
    text = of_device("carried.npz")
    said = refused(world, capsys, text.replace("prompts.jsonl", "others.jsonl"))
    assert "prompt class: 'stranger' is unknown; allowed: thing, place" in said
    shutil.copytree(WEIGHTS / "clip", world / "clip")
    weights = load_file(world / "clip" / "model.safetensors")
    weights["logit_scale"] += 1.0
    save_file(weights, world / "clip" / "model.safetensors", {"format": "pt"})
    assert "clip: found '" in refused(world, capsys, text.replace("embedded:clip", "clip"))


def test_without_the_edges_reference_a_device_is_told_what_to_bring(world, capsys):
    (world / "alone.toml").write_text(configuration("prompts.jsonl", "sd", extra=EMBEDDED + SWEEP))
    command = ["calibrate", str(world / "alone.toml"), "--place", "local"]
    assert main([*command, "--out", str(world / "alone")]) == 2
    assert "calibration/reference.npz" in capsys.readouterr().err
    assert not (world / "alone").exists()
