"""The Fréchet distance of users' images is predicted from calibration images made alike."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.records.split import Split
from testbed.stages.frechet_total import frechet_total
from tests.calibration.world import MODELS, record

WIDTH = 4


def records_of(split, seeds, purpose):
    plain = [record(steps=8, purpose=purpose, seed=seed, prompt=f"p {seed}") for seed in seeds]
    tasks = [
        replace(each.task, split=split, local_model=MODELS["local"] if split else None)
        for each in plain
    ]
    return [replace(each, id=task.id, task=task) for each, task in zip(plain, tasks)]


def test_a_prompts_second_seed_is_no_second_prompt():
    """Twins of all calibration images change no prediction: no draw holds a prompt twice."""
    rng = np.random.default_rng(1)
    sweep, reference = records_of(None, range(40), "untimed"), rng.normal(0, 1, (400, WIDTH))
    features = {each.id: rng.normal(0, 1, WIDTH) for each in sweep}
    twins = [replace(each.task, seed=1000 + each.task.seed) for each in sweep]
    twins = [replace(each, id=task.id, task=task) for each, task in zip(sweep, twins)]
    executed = records_of(None, range(100, 140), "user")
    images = rng.normal(0, 1, (40, WIDTH))
    features |= {twin.id: features[each.id] for twin, each in zip(twins, sweep)}
    plain, twice = (
        frechet_total(executed[:36], images[:36], records, features, reference)
        for records in (sweep, sweep + twins)
    )
    assert abs(twice.predicted / plain.predicted - 1) < 0.1
    width, doubled = (total.high - total.low for total in (plain, twice))
    assert abs(doubled / width - 1) < 0.2
    # as many users as prompts leave nothing to draw otherwise
    assert frechet_total(executed, images, sweep + twins, features, reference).low is None


def test_split_images_are_compared_with_images_that_were_split_alike():
    """Those of one model, and those split otherwise, look quite different here."""
    rng, features, sweep = np.random.default_rng(0), {}, []
    centres = {None: 0.0, Split("edge", 4): 5.0, Split("local", 4): -5.0}
    for split, centre in centres.items():
        made = records_of(split, range(40), "split" if split else "untimed")
        sweep += made
        features |= {each.id: rng.normal(centre, 1, WIDTH) for each in made}
    reference = rng.normal(0, 1, (200, WIDTH))
    for split, centre in centres.items():
        executed = records_of(split, range(100, 120), "user")
        images = rng.normal(centre, 1, (20, WIDTH))
        total = frechet_total(executed, images, sweep, features, reference)
        assert total.inside, total
        assert abs(total.predicted - WIDTH * centre**2) < 0.2 * WIDTH * centre**2 + 3


def test_step_counts_that_were_calibrated_with_other_prompts_have_no_prediction():
    """Users of both step counts ended the validation; other seeds alone are no matter."""
    rng, reference = np.random.default_rng(0), np.random.default_rng(1).normal(0, 1, (20, WIDTH))
    executed = [record(steps=n, purpose="user", seed=seed) for seed in (100, 101) for n in (8, 16)]
    images = rng.normal(0, 1, (4, WIDTH))

    def total(prompts, chosen=slice(None)):
        sweep = [
            record(steps=steps, purpose="untimed", seed=steps + seed, prompt=prompts[steps])
            for steps in (8, 16)
            for seed in range(8)
        ]
        features = {each.id: rng.normal(0, 1, WIDTH) for each in sweep}
        return frechet_total(executed[chosen], images[chosen], sweep, features, reference)

    assert total({8: "a", 16: "a"}) is not None
    assert total({8: "a", 16: "b"}, slice(None, None, 2)) is not None
    with pytest.warns(UserWarning, match="prompt class object was calibrated with other prompts"):
        assert total({8: "a", 16: "b"}) is None
