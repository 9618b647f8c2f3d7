"""Requests that arrive seldom: idle time is skipped, not slept through, and no number changes."""

import time
from dataclasses import replace

from solver import solve
from solver.problem import Problem
from testbed import config
from testbed.commands import estimate_cost
from testbed.config import ModelConfig
from testbed.engines.batched import BatchedEngine
from testbed.engines.request import Request
from testbed.models.pipelines import open_pipeline
from testbed.runs.folder import RunFolder
from testbed.runs.products import Baseline
from tests.solver.problems import example
from tests.testbed.runs.world import IMAGE, record
from tests.testbed.stages.test_executor import CPU


def test_idle_time_between_seldom_requests_is_skipped():
    pipeline, _ = open_pipeline(ModelConfig("embedded:light"), CPU)
    requests = [Request("a red ball", i, 2, 3.0, 3600.0 * i) for i in range(4)]
    engine, begun = BatchedEngine(pipeline, 4, skip_idle=True), time.perf_counter()
    done = {finished.index: finished for finished in engine.run(requests)}
    spent = time.perf_counter() - begun
    assert spent < 600 and len(done) == 4
    for index, finished in done.items():
        assert finished.arrival == 3600.0 * index and finished.batch == 1
        assert 0 <= finished.queue_time <= finished.end_to_end_time < spent


def test_the_plan_says_how_long_a_stream_lasts(small_config, capsys):
    text = small_config.read_text()
    assert not any("serving:" in line for line in estimate_cost.say(config.load(small_config)))
    small_config.write_text(text.replace("[execute]", "[execute]\narrival_rate = 0.02"))
    lines = estimate_cost.say(config.load(small_config))
    assert any("serving: at most 6 requests, arriving over about 300 s" in line for line in lines)


def test_images_of_an_earlier_allocation_are_none_of_the_reports(tmp_path, small_config):
    folder = RunFolder.open(config.load(small_config), tmp_path / "run")
    store = folder.store("execution")
    for name in ("old", "new"):
        store.add(record(name), IMAGE)
    assert [made.id for made in folder.of_allocation()] == ["old", "new"]
    (folder.path / "execution" / "tasks.json").write_text('{"tasks": ["new", "missing"]}')
    assert [made.id for made in folder.of_allocation()] == ["new"]


def test_the_methods_of_another_problem_are_removed_with_its_validation(tmp_path):
    problem = Problem.from_dict(example(users=2))
    allocation, folder = solve(problem), RunFolder(tmp_path)
    made = [tmp_path / name for name in ("validation.json", "report.html")]

    def filled():
        folder.adopt(problem, allocation)
        folder.save_baselines([Baseline.of(allocation)])
        for path in made:
            path.touch()

    filled()
    folder.adopt(problem, allocation)
    assert folder.baselines() and all(path.exists() for path in made)
    folder.adopt(problem, replace(allocation, steps=[steps + 1 for steps in allocation.steps]))
    assert folder.baselines() and not any(path.exists() for path in made)
    filled()
    folder.adopt(replace(problem, budgets={"edge": problem.edge_budget + 1}), allocation)
    assert not folder.baselines() and not any(path.exists() for path in made)
