"""The whole chain on the embedded models: real generation, killed in the middle, gone on with,
compared.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import solver
from solver.inputs import InputError
from testbed import config
from testbed.cli import main
from testbed.stages import run as chain

ROOT = Path(__file__).parent.parent


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "testbed.cli", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(process, path, count):
    """Return as soon as ``path`` holds ``count`` lines."""
    deadline = time.monotonic() + 600
    while len(path.read_bytes().splitlines() if path.exists() else []) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill_when(process, path, count):
    """kill -9 ``process`` as soon as ``path`` holds ``count`` lines."""
    wait_for(process, path, count)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A whole run, finished in one go."""
    from tests.conftest import SMALL

    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "small.toml").write_text(SMALL)
    process = start("run", folder / "small.toml", "--out", folder / "run")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return folder / "run", out


def test_a_run_ends_with_the_path_of_its_report(undisturbed):
    run, out = undisturbed
    assert out.splitlines()[-1] == str(run / "report.html")
    assert (run / "report.html").stat().st_size > 50_000


def test_every_stage_left_its_file(undisturbed):
    run, _ = undisturbed
    schemas = {
        name: json.loads((run / f"{name}.json").read_text())["schema"]
        for name in ("config", "profiles", "scenario", "problem", "allocation", "validation")
    }
    assert schemas == {
        "config": "run/1",
        "profiles": "profiles/1",
        "scenario": "scenario/1",
        "problem": "problem/1",
        "allocation": "allocation/1",
        "validation": "validation/1",
    }


def test_the_offloaded_users_were_served_in_batches_and_their_completion_predicted(undisturbed):
    run, _ = undisturbed
    serving, offload = (
        json.loads((run / f"{name}.json").read_text()) for name in ("serving", "allocation")
    )
    assert (
        serving["users"] == [user for user, there in enumerate(offload["offload"]) if there] != []
    )
    assert (
        serving["images"]["compared"] == len(serving["users"])
        and serving["images"]["largest_difference"] <= 1
    )
    assert all(
        row["low"] <= row["predicted"] <= row["high"] and row["measured"] > 0
        for row in serving["requests"]
    )
    totals = {
        row["quantity"] for row in json.loads((run / "validation.json").read_text())["totals"]
    }
    assert {"edge in batches: makespan", "edge in batches: time (sum)"} <= totals
    assert "Completion, edge in batches" in (run / "report.html").read_text()
    timings = json.loads((run / "calibration" / "batches.json").read_text())["timings"]
    assert set(timings["tick"][0]) == {1, 2, 4, 8, 16}


def test_every_user_got_its_images_as_allocated(undisturbed):
    run, _ = undisturbed
    allocation = json.loads((run / "allocation.json").read_text())
    made = [
        r for r in records(run / "execution" / "records.jsonl") if r["asked"]["purpose"] == "user"
    ]
    assert [(r["asked"]["place"], r["asked"]["steps"]) for r in made] == [
        (("local", "edge")[a], s) for a, s in zip(allocation["offload"], allocation["steps"])
    ]
    for record in made:
        assert (run / "execution" / record["image"]).is_file()
        assert len(record["measured"]["step_times"]) == record["asked"]["steps"]
        assert record["measured"]["distance"] > 0 and 0 <= record["measured"]["clip_score"] <= 100
        assert record["measured"]["energy_j"] is None or record["measured"]["energy_j"] > 0


def test_execution_uses_prompts_and_seeds_that_calibration_did_not(undisturbed):
    run, _ = undisturbed
    calibrated, executed = (
        records(run / "calibration" / "records.jsonl"),
        records(run / "execution" / "records.jsonl"),
    )
    executed = [r for r in executed if r["asked"]["purpose"] != "anchor"]
    for field in ("prompt", "seed"):
        assert not {r["asked"][field] for r in calibrated} & {r["asked"][field] for r in executed}


def test_the_allocation_is_the_proven_optimum_of_the_problem(undisturbed):
    run, _ = undisturbed
    problem = solver.Problem.load(run / "problem.json")
    allocation = solver.Allocation.load(run / "allocation.json")
    assert allocation.status == "optimal"
    assert solver.solve(problem, "milp").objective == pytest.approx(allocation.objective, rel=1e-7)


def test_the_error_falls_with_the_steps(undisturbed):
    profiles = json.loads((undisturbed[0] / "profiles.json").read_text())["profiles"]
    for profile in profiles:
        values = [point["value"] for point in profile["error"]["points"]]
        assert values[-1] < 0.7 * values[0], profile["place"]


def test_a_killed_run_goes_on_and_ends_with_the_same_images_and_values(undisturbed, tmp_path):
    run, _ = undisturbed
    config = run.parent / "small.toml"
    out = tmp_path / "run"
    calibration, execution = (
        out / "calibration" / "records.jsonl",
        out / "execution" / "records.jsonl",
    )
    kept = {}
    for path, count in ((calibration, 20), (execution, 5)):
        kill_when(start("run", config, "--out", out), path, count)
        kept[path] = path.read_bytes()[: path.read_bytes().rfind(b"\n") + 1]
    allocation = (out / "allocation.json").read_bytes()
    assert main(["run", str(config), "--out", str(out)]) == 0
    # what had been finished was not done again, in either stage
    assert all(path.read_bytes().startswith(lines) for path, lines in kept.items())
    ids = [r["id"] for r in records(calibration) + records(execution)]
    assert len(ids) == len(set(ids))
    # nothing that was decided changed by being interrupted
    old, new = json.loads(allocation), json.loads((out / "allocation.json").read_bytes())
    assert {**old, "seconds": 0} == {**new, "seconds": 0}
    # the images and their values are those of the undisturbed run
    by_id = {r["id"]: r for r in records(run / "calibration" / "records.jsonl")}
    mine = records(calibration)
    assert {r["id"] for r in mine} == set(by_id)
    for record in mine:
        other = by_id[record["id"]]
        mine_and_other = [
            np.asarray(Image.open(path / "calibration" / one["image"]), int)
            for path, one in ((out, record), (run, other))
        ]
        assert np.abs(np.diff(mine_and_other, axis=0)).max() == 0, record["asked"]
        for value in ("clip_score", "distance"):
            assert record["measured"][value] == other["measured"][value]


def test_two_processes_make_what_one_makes_and_one_that_dies_costs_only_what_it_had_not_finished(
    undisturbed, tmp_path
):
    run, out = undisturbed[0], tmp_path / "run"
    path = out / "calibration" / "records.jsonl"
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "testbed.cli",
    ]
    command = [*launch, "run", str(run.parent / "small.toml"), "--out", str(out)]
    first = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_for(first, path, 20)
    workers = [
        child for child in psutil.Process(first.pid).children() if "testbed.cli" in child.cmdline()
    ]
    assert len(workers) == 2
    workers[1].kill()
    first.communicate(timeout=120)
    assert first.returncode != 0
    kept = path.read_bytes()[: path.read_bytes().rfind(b"\n") + 1]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert (
        again.stdout.splitlines()[-1] == str(out / "report.html")
        and again.stdout.count("report.html") == 1
    )
    assert path.read_bytes().startswith(kept)
    mine, theirs = (
        {r["id"]: r for r in records(folder / "calibration" / "records.jsonl")}
        for folder in (out, run)
    )
    assert mine.keys() == theirs.keys() and len(mine) == len(records(path))
    for key, record in mine.items():
        images = [
            np.asarray(Image.open(folder / "calibration" / record["image"]), int)
            for folder in (out, run)
        ]
        assert np.abs(images[0] - images[1]).max() <= 1, record[
            "asked"
        ]  # torchrun gives each process one thread: sums round otherwise
        assert record["measured"]["clip_score"] == pytest.approx(
            theirs[key]["measured"]["clip_score"], abs=0.5
        )
    made = records(out / "execution" / "records.jsonl")
    assert len({r["id"] for r in made}) == len(made)
    frechet = [
        [
            p["frechet"]["points"]
            for p in json.loads((folder / "profiles.json").read_text())["profiles"]
        ]
        for folder in (out, run)
    ]
    values = [[point["value"] for points in some for point in points] for some in frechet]
    assert values[0] == pytest.approx(values[1], rel=0.01)


def test_more_samples_are_added_to_a_finished_sweep_without_losing_any(
    undisturbed, tmp_path, capsys
):
    run = Path(shutil.copytree(undisturbed[0], tmp_path / "run"))
    path, config = run / "calibration" / "records.jsonl", tmp_path / "more.toml"
    before, text = path.read_bytes(), (undisturbed[0].parent / "small.toml").read_text()
    config.write_text(
        text.replace("prompts_per_class = 3", "prompts_per_class = 4").replace(
            "[1, 2, 3, 6]", "[1, 2, 6, 9]"
        )
    )
    assert main(["calibrate", str(config), "--out", str(run)]) == 0
    assert path.read_bytes().startswith(before)
    points = {
        p["steps"]: p["n"]
        for p in json.loads((run / "profiles.json").read_text())["profiles"][0]["error"]["points"]
    }
    assert points == {1: 4, 2: 4, 3: 3, 6: 4, 9: 4}
    config.write_text(
        text.replace("converged_steps = 12", "converged_steps = 24")
    )  # the old distances would not belong to it
    assert main(["calibrate", str(config), "--out", str(run)]) == 2
    assert "sweep: this run folder was made with" in capsys.readouterr().err


def test_a_run_folder_of_before_prompts_had_noises_of_their_own_is_not_mixed_with_them(
    tmp_path, small_config
):
    out = chain.open_run(config.load(small_config), tmp_path / "run")
    before = json.loads((out / "config.json").read_text())
    del before["sweep"]["noise"]
    (out / "config.json").write_text(json.dumps(before))
    with pytest.raises(
        InputError, match="sweep: this run folder was made with .*'noise': 'shared'"
    ):
        chain.open_run(config.load(small_config), out)
    small_config.write_text(
        small_config.read_text().replace(
            "converged_steps = 12", 'converged_steps = 12\nnoise = "shared"'
        )
    )
    assert chain.open_run(config.load(small_config), out) == out


def test_an_adaptive_sweep_goes_on_until_its_intervals_are_narrow_enough(tmp_path, small_config):
    small_config.write_text(
        small_config.read_text().replace(
            "converged_steps = 12", "converged_steps = 12\nhalf_width = 0.8"
        )
    )
    assert main(["calibrate", str(small_config), "--out", str(tmp_path / "run")]) == 0
    plan = json.loads((tmp_path / "run" / "profiles.json").read_text())["plan"]
    made = records(tmp_path / "run" / "calibration" / "records.jsonl")
    assert (
        plan["target"] == 0.8
        and len(plan["rounds"]) > 1
        and all(row["reached"] for row in plan["widths"])
    )
    assert plan["evaluations"] == sum(
        r["asked"]["steps"] for r in {r["id"]: r for r in made}.values()
    )
    assert {r["asked"]["purpose"] for r in made} == {"sweep", "converged", "untimed"}


def test_a_finished_run_does_nothing_again(undisturbed, tmp_path, capsys):
    run = Path(shutil.copytree(undisturbed[0], tmp_path / "run"))
    before = {path: path.read_bytes() for path in run.glob("*/records.jsonl")}
    assert main(["run", str(undisturbed[0].parent / "small.toml"), "--out", str(run)]) == 0
    assert {path: path.read_bytes() for path in run.glob("*/records.jsonl")} == before
    assert capsys.readouterr().out.strip() == str(run / "report.html")


def test_a_prediction_that_fails_is_named_and_with_strict_the_exit_code_says_so(
    undisturbed, tmp_path, capsys
):
    """The same run, but its images took ten times as long."""
    run = Path(shutil.copytree(undisturbed[0], tmp_path / "run"))
    path = run / "execution" / "records.jsonl"
    slow = [
        {**one, "measured": {**one["measured"], "time": 10 * one["measured"]["time"]}}
        for one in records(path)
    ]
    path.write_text("".join(json.dumps(one) + "\n" for one in slow))
    command = ["run", str(run.parent / "small.toml"), "--out", str(run)]
    shutil.copy(undisturbed[0].parent / "small.toml", run.parent)
    assert main(command) == 0 and main([*command, "--strict"]) == 1
    said = capsys.readouterr()
    assert said.err.count("FAIL: time (sum): predicted ") == 2 and said.out.splitlines()[-1] == str(
        run / "report.html"
    )


def test_each_stage_runs_alone_on_the_files(undisturbed, tmp_path, small_config, capsys):
    run, _ = undisturbed
    scenario = tmp_path / "s.toml"
    scenario.write_text(
        "users = 4\nedge_budget = 9\nlocal = { max_steps = 3 }\nedge = { max_steps = 5 }\n"
    )
    problem, allocation, out = tmp_path / "p.json", tmp_path / "a.json", tmp_path / "execution"
    assert (
        main(
            [
                "problem",
                "--profiles",
                str(run / "profiles.json"),
                "--scenario",
                str(scenario),
                "-o",
                str(problem),
            ]
        )
        == 0
    )
    assert main(["solve", str(problem), "-o", str(allocation)]) == 0
    assert (
        main(
            [
                "execute",
                "--allocation",
                str(allocation),
                "--problem",
                str(problem),
                str(small_config),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "execution" / "records.jsonl")
    made = [
        r for r in records(out / "execution" / "records.jsonl") if r["asked"]["purpose"] == "user"
    ]
    assert [r["asked"]["steps"] for r in made] == solver.Allocation.load(allocation).steps


def test_each_place_is_calibrated_alone_where_the_other_models_weights_are_not_and_the_profiles_joined(
    undisturbed, tmp_path, small_config, capsys
):
    files = []
    for place, other in (("local", "edge"), ("edge", "local")):
        assert (
            main(
                [
                    "calibrate",
                    str(small_config),
                    "--place",
                    place,
                    f"--{other}",
                    "not/here",
                    "--out",
                    str(tmp_path / place),
                ]
            )
            == 0
        )
        files += ["--profiles", f"{place}={tmp_path / place / 'profiles.json'}"]
    (tmp_path / "s.toml").write_text(
        "users = 4\nedge_budget = 9\nlocal = { max_steps = 3 }\nedge = { max_steps = 5 }\n"
    )
    assert (
        main(
            [
                "problem",
                *files,
                "--scenario",
                str(tmp_path / "s.toml"),
                "-o",
                str(tmp_path / "p.json"),
                "--save-profiles",
                str(tmp_path / "j.json"),
            ]
        )
        == 0
    )
    joined, whole = (
        json.loads(path.read_text())["profiles"]
        for path in (tmp_path / "j.json", undisturbed[0] / "profiles.json")
    )
    assert [(one["place"], one["prompt_class"]) for one in joined] == [
        (one["place"], one["prompt_class"]) for one in whole
    ]
    for mine, one in zip(joined, whole):
        for quantity in ("error", "utility", "frechet"):
            assert [point["value"] for point in mine[quantity]["points"]] == pytest.approx(
                [point["value"] for point in one[quantity]["points"]], rel=1e-4
            )
        assert bool(mine.get("batching")) == (mine["place"] == "edge")
    for place in ("edge", "local"):  # one after the other into one folder
        assert (
            main(
                ["calibrate", str(small_config), "--place", place, "--out", str(tmp_path / "both")]
            )
            == 0
        )
    both = json.loads((tmp_path / "both" / "profiles.json").read_text())
    assert [(one["place"], one["prompt_class"]) for one in both["profiles"]] == [
        (one["place"], one["prompt_class"]) for one in whole
    ]
    small_config.write_text(
        small_config.read_text().replace("[quality]", '[quality]\nreference = "converged"')
    )
    assert (
        main(
            ["calibrate", str(small_config), "--place", "local", "--out", str(tmp_path / "refused")]
        )
        == 2
    )
    assert (
        "--place: found local with quality.reference = 'converged'" in capsys.readouterr().err
        and not (tmp_path / "refused").exists()
    )


def test_prompts_of_ones_own_with_the_edge_models_converged_images_as_reference(
    tmp_path, small_config, capsys
):
    words = [
        f"a big {colour} {thing} in the middle"
        for colour in ("red", "blue", "green")
        for thing in ("ball", "house", "tree", "car")
    ]
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": p, "class": "mine"}) + "\n" for p in words)
    )
    text = f'prompts = "{tmp_path / "prompts.jsonl"}"\n' + small_config.read_text().replace(
        "[quality]", '[quality]\nreference = "converged"'
    )
    small_config.write_text(
        text.replace("[1, 2, 3, 6]", "[1, 2, 4]").replace(
            "converged_steps = 12", "converged_steps = 8"
        )
    )
    assert main(["calibrate", str(small_config), "--out", str(tmp_path / "run")]) == 0
    profiles = json.loads((tmp_path / "run" / "profiles.json").read_text())
    assert [(p["place"], p["prompt_class"]) for p in profiles["profiles"]] == [
        ("local", "mine"),
        ("edge", "mine"),
    ]
    assert (
        profiles["metrics"]["frechet"]["reference"] == "converged"
        and profiles["metrics"]["frechet"]["reference_size"] == 3
    )
    used = {
        r["asked"]["prompt"] for r in records(tmp_path / "run" / "calibration" / "records.jsonl")
    }
    assert used == set(words[:3])
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": words[0]}) + "\n")
    assert main(["calibrate", str(small_config), "--out", str(tmp_path / "other")]) == 2
    assert "allowed: at most 0, half of those in" in capsys.readouterr().err
