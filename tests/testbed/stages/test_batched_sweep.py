"""Images whose time is not wanted go through continuous batching, and a killed sweep makes the same
ones.
"""

import warnings
from collections import Counter

import numpy as np
import pytest
import torch

from calibration.records.task import ModelSpec
from calibration.sweep.grid import sweep
from testbed.config import ModelConfig
from testbed.engines.stock import Generated
from testbed.engines.threads import Threads
from testbed.metering.meters import NoMeter
from testbed.models.pipelines import open_pipeline
from testbed.runs.store import RecordStore
from testbed.stages import executor as execution
from testbed.stages.executor import Executor
from tests.testbed.pipelines_world import Unscored

CPU = torch.device("cpu")
LIGHT = ModelSpec("embedded:light", device="cpu", dtype="float32", scheduler="DDIM", guidance=3.0)
PROMPTS = {"object": [f"a big {colour} ball" for colour in ("red", "blue", "green", "yellow")]}


def tasks(timed):
    return sweep({"local": LIGHT}, PROMPTS, [0], [1, 2, 3], 5, timed=timed)


@pytest.fixture(scope="module")
def pipeline():
    return open_pipeline(ModelConfig(model="embedded:light"), CPU)[0]


@pytest.fixture(scope="module")
def executor(pipeline):
    return Executor({"local": pipeline}, Unscored(), CPU, 4)


@pytest.fixture(scope="module")
def finished(executor, tmp_path_factory):
    """A sweep of which one prompt is timed, in one go."""
    store = RecordStore(tmp_path_factory.mktemp("finished"))
    executor.run(tasks(1), store, "test")
    return store


class Killed(BaseException):
    pass


class Dying(RecordStore):
    """A store whose process dies after so many records."""

    left = 0

    def add(self, record, image):
        if not self.left:
            raise Killed
        self.left -= 1
        super().add(record, image)


def content(store):
    return {key: (store.image(key).tobytes(), store[key].measured.distance) for key in store}


def test_images_in_batches_are_those_that_are_made_alone(executor, finished, tmp_path):
    alone = RecordStore(tmp_path)
    executor.run(tasks(None), alone, "test")
    images = {(r.task.target_key, r.task.steps): alone.image(r.id) for r in alone.records()}
    kinds = Counter()
    for record in finished.records():
        other = images[record.task.target_key, record.task.steps].astype(int)
        assert np.abs(finished.image(record.id) - other).max() <= 1
        measured = record.measured
        kinds[record.task.purpose, measured.engine] += 1
        assert (measured.batch > 1.5) == (record.task.purpose != "sweep")
        assert len(measured.step_times) == record.task.steps
    assert kinds == {("converged", "batched"): 4, ("untimed", "batched"): 9, ("sweep", None): 3}
    assert RecordStore(finished.folder).records() == finished.records(), "read as written"


@pytest.mark.parametrize("first, second", [(2, 4), (11, 3)])
def test_a_sweep_killed_in_a_group_makes_the_same_images_and_none_twice(
    executor, finished, tmp_path, first, second
):
    """Each record is there when its image is finished; the group is made again for the others."""
    for count in (first, second):
        store = Dying(tmp_path)
        store.left = count
        with pytest.raises(Killed):
            executor.run(tasks(1), store, "test")
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert len(RecordStore(tmp_path)) == first + second
    executor.run(tasks(1), store := RecordStore(tmp_path), "test")
    assert content(store) == content(finished)
    after = (tmp_path / "records.jsonl").read_text().splitlines()
    assert after[: len(lines)] == lines
    assert sum('"attempts"' not in line for line in after) == len(tasks(1))


def test_a_pipeline_that_takes_no_continuous_batching_is_called_for_several_images(
    pipeline, finished, tmp_path, monkeypatch
):
    monkeypatch.setattr(execution, "takes_batches", lambda _: False)
    store = RecordStore(tmp_path)
    Executor({"local": pipeline}, Unscored(), CPU, 4).run(tasks(1), store, "test")
    sizes = Counter((r.task.purpose, r.measured.engine, r.measured.batch) for r in store.records())
    assert sizes == {("converged", None, 4): 4, ("untimed", None, 3): 9, ("sweep", None, 1): 3}
    for key in store:
        assert np.abs(store.image(key).astype(int) - finished.image(key)).max() <= 1


def test_records_say_with_how_many_threads_each_image_was_made(pipeline, tmp_path, monkeypatch):
    before, store = torch.get_num_threads(), RecordStore(tmp_path)
    single, untimed = tasks(1)[1], tasks(0)[1]
    threads = {"local": Threads(1, 2, {})}
    both = Executor({"local": pipeline}, Unscored(), CPU, 1, NoMeter(), threads)
    monkeypatch.setattr(both, "_warm_up", lambda *_: 1.0)
    both.run([single, untimed], store, "test")
    used = {record.task.purpose: record.environment["threads"] for record in store.records()}
    assert used == {"sweep": 1, "untimed": 2} and torch.get_num_threads() == before


@pytest.fixture
def times(executor, monkeypatch):
    """The step times of the next calls of the pipeline, in turn; the last one stays."""
    queue = []

    def generate(_pipeline, prompts, *_):
        steps = queue.pop(0) if len(queue) > 1 else queue[0]
        return Generated(np.zeros((len(prompts), 8, 8, 3)), prompts, 0.01, steps, 0.01, None)

    monkeypatch.setattr(execution, "generate", generate)
    monkeypatch.setattr(executor, "_warm_up", lambda *_: 1.0)
    return queue


QUIET, HIT, WORSE = [0.02] * 4, [0.02, 0.02, 0.02, 0.3], [0.02, 0.02, 0.02, 0.5]


@pytest.mark.usefixtures("timed_again")
@pytest.mark.parametrize(
    "attempts, times_of_lines, tried",
    [
        ([QUIET], [QUIET], [1]),
        ([HIT, QUIET], [HIT, QUIET], [1, 2]),
        ([WORSE, HIT, WORSE, QUIET], [WORSE, HIT, HIT], [1, 2, 3]),
        ([HIT, WORSE, WORSE, QUIET], [HIT, HIT, HIT], [1, 2, 3]),
    ],
)
def test_a_disturbed_image_is_timed_again_at_most_twice_and_the_least_disturbed_time_counts(
    executor, times, tmp_path, attempts, times_of_lines, tried
):
    """A pause of the machine once stood in the record, and in the fit, as the image's own time."""
    times += attempts
    task = next(task for task in tasks(1) if task.purpose == "sweep" and task.steps == 3)
    (record,) = executor.run([task], RecordStore(tmp_path), "test")
    path = tmp_path / "records.jsonl"
    lines = [line for line in path.read_text().splitlines() if line]
    assert len(lines) == len(tried) and record.measured.attempts == tried[-1]
    assert [f'"step_times": {spent}' in line for spent, line in zip(times_of_lines, lines)] == [
        True
    ] * len(lines)
    assert [
        f'"attempts": {n}' in line if n > 1 else "attempts" not in line
        for n, line in zip(tried, lines)
    ] == [True] * len(lines)
    assert record == RecordStore(tmp_path)[task.id] and record.measured.clip_score == 50.0
    path.write_text(lines[0] + "\n")  # killed before the second attempt, and resumed
    times[:] = [QUIET]
    (resumed,) = executor.run([task], RecordStore(tmp_path), "test")
    assert list(resumed.measured.step_times) == QUIET and resumed.measured.clip_score == 50.0


def test_a_process_that_takes_part_of_the_machine_is_named_once(pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "machine_load", lambda: 99.0)
    monkeypatch.setattr(execution, "SETTLED", -1.0)
    quick = Executor({"local": pipeline}, Unscored(), CPU, 4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quick.run(tasks(1), RecordStore(tmp_path), "test")
    said = [str(warning.message) for warning in caught if "takes part of" in str(warning.message)]
    assert len(said) == 1 and "the load is 99.0" in said[0]
