"""Distances of feature sets: values against torchmetrics and plain sums, intervals against known
Gaussians.
"""

import numpy as np
import pytest

from solver.inputs import InputError
from testbed.metrics.distances import ReferenceDistances, frechet
from tests.testbed.metrics.oracles import kernel_distance

T = np.linalg.cholesky(
    np.diag(np.linspace(0.3, 1.5, 8)) + 0.1
)  # of the generated features in all the worlds here


def draw(rng, n, width=8):
    return rng.normal(size=(n, width)) @ T[:width, :width].T + 0.2


def true_distance(reference, width=8):
    """From the closed form: the Fréchet distance of draw()'s distribution to the moments of
    ``reference``.
    """
    a, b = T[:width, :width] @ T[:width, :width].T, np.cov(reference.T)
    cross = np.sqrt(np.maximum(np.linalg.eigvals(a @ b).real, 0)).sum()
    return ((reference.mean(0) - 0.2) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * cross


@pytest.mark.parametrize("n, width", [(5, 8), (9, 8), (60, 8)])
def test_the_own_frechet_formula_is_torchmetrics(n, width):
    rng = np.random.default_rng(n)
    x, y = (
        rng.normal(size=(n, width)).astype(np.float32),
        (2 * rng.normal(size=(40, width)) + 1).astype(np.float32),
    )
    assert ReferenceDistances(y).plain_frechet(x.astype(float)) == pytest.approx(
        frechet(x, y), rel=1e-5
    )


def test_kid_is_torchmetrics_where_both_sets_are_of_one_size():
    rng = np.random.default_rng(0)
    x, y = (rng.normal(shift, 1, size=(70, 8)).astype(np.float32) for shift in (0.3, 0))
    assert ReferenceDistances(y).kid(x).value == pytest.approx(kernel_distance(x, y), rel=1e-4)


def test_cmmd_is_the_plain_sum_over_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.5, 1, size=(6, 5)), rng.normal(size=(9, 5))
    u, v = (a / np.linalg.norm(a, axis=1)[:, None] for a in (x, y))

    def mean(a, b, same):
        return np.mean(
            [
                np.exp(-((p - q) ** 2).sum() / 200)
                for i, p in enumerate(a)
                for j, q in enumerate(b)
                if not (same and i == j)
            ]
        )

    expected = 1000 * (mean(u, u, True) + mean(v, v, True) - 2 * mean(u, v, False))
    cmmd = ReferenceDistances(y).cmmd(x)
    assert cmmd.value == pytest.approx(expected, rel=1e-9) and cmmd.n == 6


@pytest.mark.parametrize("name", ["kid", "cmmd"])
def test_kernel_distances_of_equal_distributions_are_zero_on_average(name):
    rng = np.random.default_rng(2)
    values = [
        getattr(ReferenceDistances(draw(rng, 50)), name)(draw(rng, 12)).value for _ in range(200)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


@pytest.mark.parametrize(
    "name, n, times",
    [
        ("frechet", 8, 200),  # fewer images than features + 1
        *((name, 12, 200) for name in ("frechet", "kid", "cmmd")),  # a sweep's number
        ("frechet", 60, 60),  # groups of several prompts
        *((name, 90, 100) for name in ("kid", "cmmd")),
        *(
            pytest.param(name, 90, 300, marks=pytest.mark.slow)
            for name in ("frechet", "kid", "cmmd")
        ),
    ],
)
def test_intervals_cover_the_expected_distance(name, n, times):
    """What 95 % intervals cover, so many times, is the mean distance of as many images to the same
    reference; without bias it is that of more images, too.
    """
    rng = np.random.default_rng(n)
    reference = ReferenceDistances(rng.normal(size=(200, 8)))
    measure = getattr(reference, name)
    if name == "frechet":
        expected = np.mean([reference.plain_frechet(draw(rng, n)) for _ in range(5 * times)])
    else:  # unbiased, so that it is the same for any number of images
        expected = np.mean([measure(draw(rng, 400)).value for _ in range(30)])
    estimates = [measure(draw(rng, n)) for _ in range(times)]
    ends = [(estimate.low, estimate.high) for estimate in estimates]
    coverage = np.mean([low <= expected <= high for low, high in ends])
    print(f"{name}, n = {n}: coverage {coverage:.3f}")
    assert 0.90 <= coverage <= (0.995 if times >= 200 else 1.0)


def test_a_bootstrap_would_lie_beside_the_expected_distance():
    """Why the intervals are no bootstrap: its samples lie above the expectation by the bias once
    more.
    """
    rng = np.random.default_rng(0)
    reference = ReferenceDistances(rng.normal(size=(200, 8)))
    expected = np.mean([reference.plain_frechet(draw(rng, 12)) for _ in range(500)])
    low = []
    for _ in range(40):
        x = draw(rng, 12)
        low.append(
            np.quantile(
                [reference.plain_frechet(x[rng.integers(12, size=12)]) for _ in range(100)], 0.025
            )
        )
    assert np.mean(np.array(low) > expected) > 0.3


def test_images_of_one_prompt_are_not_independent():
    """Four equal images a prompt: by prompts the interval is that of the prompts, by images it
    would be much narrower.
    """
    rng = np.random.default_rng(3)
    reference, x = ReferenceDistances(rng.normal(size=(100, 8))), draw(rng, 15)
    four, names = np.repeat(x, 4, axis=0), np.repeat(np.arange(15), 4)
    by_prompt, by_image, alone = (
        reference.cmmd(four, names),
        reference.cmmd(four),
        reference.cmmd(x),
    )
    assert by_image.high - by_image.low < 0.6 * (by_prompt.high - by_prompt.low)
    assert by_prompt.high - by_prompt.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_what_too_few_images_cannot_carry_is_flagged():
    rng = np.random.default_rng(0)
    wide, thin = (
        ReferenceDistances(rng.normal(size=(9, 8))),
        ReferenceDistances(rng.normal(size=(8, 8))),
    )
    assert wide.frechet(draw(rng, 9)).carried and wide.frechet(draw(rng, 9)).note is None
    few = wide.frechet(draw(rng, 8))
    assert not few.carried and few.infinity is None
    assert (
        few.note
        == few.infinity_note
        == "8 images cannot carry a Fréchet distance over 8 features; needed: more than 8"
    )
    assert thin.frechet(draw(rng, 99)).note.startswith("8 reference images cannot carry")
    short = wide.frechet(draw(rng, 63))
    assert short.carried and short.infinity is None
    assert (
        short.infinity_note
        == "found 63 images of 63 prompts; needed: 64 (8 for each feature) of 20"
    )
    assert wide.frechet(draw(rng, 64)).infinity is not None
    assert (
        wide.frechet(draw(rng, 64), np.arange(64) // 4).infinity_note
        == "found 64 images of 16 prompts; needed: 64 (8 for each feature) of 20"
    )


def test_two_prompts_have_no_interval():
    reference = ReferenceDistances(np.random.default_rng(0).normal(size=(20, 4)))
    x = draw(np.random.default_rng(1), 4, 4)
    for measure in (reference.frechet, reference.kid):
        estimate = measure(x, ["a", "a", "b", "b"])
        assert (estimate.low, estimate.high, estimate.n) == (None, None, 4)


def test_the_extrapolation_covers_the_true_distance_where_the_plain_value_is_above_it():
    rng = np.random.default_rng(5)
    y = rng.normal(size=(300, 4))
    reference, true = ReferenceDistances(y), true_distance(y, 4)
    estimates = [reference.frechet(draw(rng, 40, 4)) for _ in range(60)]
    ends = np.array([(at.infinity.low, at.infinity.high) for at in estimates])
    values, infinite = np.array([(at.value, at.infinity.value) for at in estimates]).T
    coverage = np.mean((ends[:, 0] <= true) & (true <= ends[:, 1]))
    error = infinite.std() / np.sqrt(len(estimates))
    bias = f"bias {infinite.mean() - true:+.4f} ± {1.96 * error:.4f}"
    print(f"FID∞: coverage {coverage:.3f}, {bias}; at n = 40 {values.mean() - true:+.4f}")
    assert 0.90 <= coverage <= 1.0
    assert abs(infinite.mean() - true) < 4 * error < 0.5 * (values.mean() - true)


def test_shapes_that_do_not_fit_are_refused():
    reference = ReferenceDistances(np.zeros((3, 4)) + np.eye(3, 4))
    for x, prompts, message in (
        (np.zeros((1, 4)), None, "at least 2"),
        (np.zeros((5, 3)), None, r"\(5, 3\)"),
        (np.ones((5, 4)), [1, 2], "one for each image"),
    ):
        with pytest.raises(InputError, match=message):
            reference.kid(x, prompts)
    with pytest.raises(InputError, match="at least 2 images"):
        ReferenceDistances(np.zeros((1, 4)))


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("name", ["kid", "cmmd"])
def test_images_are_no_nearer_for_being_like_their_own_converged_ones(name, seeds):
    """Of one distribution, distances are 0 on average, though each image has a twin in the
    reference, and images of one prompt are alike; below where the prompts are not known.
    """
    rng, prompts = np.random.default_rng(9), np.repeat([f"p {n}" for n in range(10)], seeds)
    told, untold = [], []
    for _ in range(80):
        of_prompt = np.repeat(draw(rng, 10), seeds, axis=0) - 0.2
        of_seed, fresh = (draw(rng, 10 * seeds) - 0.2 for _ in range(2))
        converged = 0.2 + 0.6 * of_prompt + 0.8 * of_seed
        images = 0.2 + 0.6 * of_prompt + 0.8 * (0.8 * of_seed + 0.6 * fresh)
        for values, known in ((told, prompts.tolist()), (untold, None)):
            reference = ReferenceDistances(converged, known)
            values.append(getattr(reference, name)(images, prompts.tolist()).value)
    error = np.std(told) / np.sqrt(len(told))
    assert abs(np.mean(told)) < 3 * error
    assert np.mean(untold) < -5 * error
