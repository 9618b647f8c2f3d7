"""Which splits are dominated, and what each gains: predicted from half of the captions."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.images.embedded_quality import Mean
from calibration.records.split import split_options
from calibration.schema import Schema, frozen
from calibration.statistics import t_critical, t_quantile
from solver.problem import PLACES

_LEVEL = 0.05  # of all comparisons together
_HALVINGS = 200


@frozen
class Option(Schema):
    """``first`` makes ``before`` steps of ``total``, the other place the rest."""

    first: str
    before: int
    total: int

    def steps(self, place: str) -> int:
        """Steps that a place makes."""
        return self.before if place == self.first else self.total - self.before

    @property
    def name(self) -> str:
        """E.g. ``edge 8, local 8``; of one model alone ``edge 16``."""
        places = sorted(PLACES, key=self.first.__ne__)
        return ", ".join(f"{each} {self.steps(each)}" for each in places if self.steps(each))


#: Values of each option, one a caption.
Scores: TypeAlias = Mapping[Option, NDArray[np.float64]]


@frozen
class Point(Schema):
    """An option's images: means, each with half its 95 % interval.

    ``score``: CLIP score, 0 to 100, of all and of each prompt class; ``error``: distance to the
    edge's converged image, in units of that between converged images of different captions.
    ``dominated_by``: options that take no more steps at either place, with a better score beyond
    chance; ``gain``: how much better the first of them is.
    """

    option: Option
    score: Mean
    classes: dict[str, Mean]
    error: Mean
    dominated_by: tuple[str, ...]
    gain: float | None


@frozen
class Gain(Schema):
    """What a split scores more in a prompt class than the better of its two parts alone, ``over``.

    ``predicted``: the mean of half of the captions, with half of the 95 % interval in which it puts
    that of the others, ``executed``; ``held``: whether it lies there.
    """

    option: Option
    over: str
    prompt_class: str
    predicted: Mean
    executed: float
    held: bool


def options(totals: Sequence[int]) -> list[Option]:
    """Each total split both ways, and each model alone with every count of steps that occurs."""
    splits = [
        Option(how.first, how.parts(total)[how.first], total)
        for total in totals
        for how in split_options(total)
    ]
    counts = sorted({*totals, *(option.steps(place) for option in splits for place in PLACES)})
    return [Option(place, count, count) for place in PLACES for count in counts] + splits


def dominance(option: Option, scores: Scores) -> list[tuple[float, Option]]:
    """The (gain, option) of those that need no more steps at either place and score better, the
    best first. Pairs are of the same captions; the level holds for all comparisons together.
    """
    cheaper = [
        other
        for other in scores
        if other != option and all(other.steps(p) <= option.steps(p) for p in PLACES)
    ]
    better = []
    for other in cheaper:
        gain = scores[other] - scores[option]
        limit = t_critical(len(gain) - 1, 1 - _LEVEL / max(1, len(cheaper) * len(scores)))
        if gain.mean() > limit * gain.std(ddof=1) / len(gain) ** 0.5:
            better.append((float(gain.mean()), other))
    return sorted(better, key=lambda pair: -pair[0])


def gains(scores: Scores, texts: Sequence[str], kinds: Sequence[str]) -> list[Gain]:
    """The gain of each split in each class; ``texts`` and ``kinds``: of the captions, which take
    turns at predicting and executing, a repeated one always for the same.
    """
    return [
        _gain(option, kind, means)
        for kind, means in _means(scores, texts, kinds).items()
        for option in means
        if option.before < option.total
    ]


def coverage(scores: Scores, texts: Sequence[str], kinds: Sequence[str]) -> dict[str, float]:
    """By class, the share of intervals that hold the executed gain over random halves of the
    captions: in one pair of halves all splits have the same luck.
    """
    rng, shares = np.random.default_rng(0), {}
    for kind, means in _means(scores, texts, kinds).items():
        splits, held = [option for option in means if option.before < option.total], []
        for _ in range(_HALVINGS):
            order = rng.permutation(len(means[splits[0]]))
            mixed = {option: values[order] for option, values in means.items()}
            held += [_gain(option, kind, mixed).held for option in splits]
        shares[kind] = float(np.mean(held))
    return shares


def _means(
    scores: Scores, texts: Sequence[str], kinds: Sequence[str]
) -> dict[str, dict[Option, NDArray[np.float64]]]:
    """By class, the mean of each caption, in the order in which they first come."""
    by_class = {}
    for kind in dict.fromkeys(kinds):
        own = np.flatnonzero(np.array(kinds) == kind)
        _, first, number = np.unique(np.array(texts)[own], return_index=True, return_inverse=True)
        number = np.argsort(np.argsort(first))[number]
        by_class[kind] = {
            option: np.bincount(number, values[own]) / np.bincount(number)
            for option, values in scores.items()
        }
    return by_class


def _gain(option: Option, kind: str, means: Scores) -> Gain:
    alone = [Option(place, option.steps(place), option.steps(place)) for place in PLACES]
    over = max(alone, key=lambda each: float(means[each][::2].mean()))
    gain = means[option] - means[over]
    known, new = gain[::2], gain[1::2]
    sd = known.std(ddof=1) * (1 / len(known) + 1 / len(new)) ** 0.5
    half = float(t_quantile(len(known) - 1) * sd)
    predicted, executed = float(known.mean()), float(new.mean())
    held = bool(abs(executed - predicted) <= half)
    return Gain(option, over.name, kind, (predicted, half), executed, held)
