"""The adaptive sweep: which steps and how many prompts, so that intervals reach a stated width at
the least cost.

The parameters are those of the paper: Δt of eq. (3), ε^avg and C1 of eq. (4), C2 of eq. (7).
Prompts differ much more than images of one prompt do, so images are spent on new prompts, and on
further seeds only when there are none left. A pilot of a few prompts at step counts spread over the
grid tells how prompts vary and err together; then, for each place and prompt class, the sweep takes
the step counts and the number of prompts that narrow the intervals enough at the least number of
network evaluations, at most three times as many prompts as it has, and looks again. The pilot's
images tell the time, one by one; later ones are made in batches.
"""

from collections import defaultdict
from itertools import chain, combinations
from math import ceil
from warnings import warn

import numpy as np

from calibration.costs.time import fit_time
from calibration.fitting.families import FAMILIES, PAPER
from calibration.fitting.least_squares import minimise, response
from calibration.fitting.prediction import t_quantile
from calibration.fitting.profile_likelihood import best
from calibration.records.prompt_means import sample, weights
from calibration.records.task import POINTS
from calibration.sweep import grid as plan
from solver.inputs import InputError

CANDIDATES = 10  # step counts of the pilot
LEAST_STEPS = 5  # of them that go on after it: what a form misses must stay visible
LEAST_GROWTH, MOST_GROWTH = (
    0.2,
    3.0,
    # of the prompts in a round: few looks at an interval, as one of many looks is a lucky one; and no
    # leaps
)
UNIFORM = np.arange(1.0, 51.0)  # the grid that people use
# Of n prompts none was of a kind whose share is 3 / n or more, with 95 % (the rule of three); the
# others that err three times as much as the rest shift the mean error by up to 2 * 3 / n, which a
# lucky few prompts do not show.
UNSEEN = 6.0


class AdaptiveSweep:
    """Rounds of tasks until every interval's relative half-width is at most ``width``, or there are
    no more samples.

    ``models``, ``steps``, ``converged_steps``, ``noise``: as :func:`calibration.sweep.grid.sweep`
    takes them; ``prompts`` and ``seeds``: all that may be used, ``pilot``: with how many prompts of
    a class it begins. What comes next follows from the records of the rounds before alone, so a
    sweep that was killed goes on with the same tasks. Raises :class:`InputError` for what is not
    allowed.
    """

    def __init__(self, models, prompts, seeds, steps, converged_steps, pilot, width, noise="own"):
        plan.check(models, prompts, seeds, steps, converged_steps)
        for name, texts in prompts.items():
            if len(texts) < (needed := ceil(UNSEEN / width)):
                there = f"{width:g} takes {needed} prompts of '{name}', there are {len(texts)}"
                warn(f"sweep.half_width: {there}: its errors will be less sure", stacklevel=2)
        if pilot < 3:
            raise InputError(
                f"sweep.prompts_per_class: found {pilot}; allowed: at least 3, the pilot of an adaptive sweep"
            )
        self.models, self.width, self.converged_steps = models, width, converged_steps
        self.prompts = {name: len(texts) for name, texts in prompts.items()}
        self.steps = spread_out(steps)
        self.supply = plan.samples(prompts, seeds, noise)
        every = plan.whole(models, self.steps, converged_steps)
        self.wanted = {
            name: [dict(every) for _ in some[:pilot]] for name, some in self.supply.items()
        }
        self.rounds, self._tasks = [], {}

    def tasks(self):
        """All tasks so far, round by round; at first those of the pilot."""
        samples = {
            name: [(*one, counts) for one, counts in zip(self.supply[name], some)]
            for name, some in self.wanted.items()
        }
        wanted = plan.in_turns(self.models, samples)
        self._tasks |= {task.id: task for task in wanted if task.id not in self._tasks}
        return list(self._tasks.values())

    def grow(self, records, units):
        """Add a round to the tasks; False if there is none to add. ``records``: of all tasks so
        far; ``units``: as :func:`calibration.profiles.build.build` takes them.
        """
        self.rounds.append(
            {
                "images": len(records),
                "evaluations": sum(record["asked"]["steps"] for record in records),
            }
        )
        self.cells, grown = list(cells(records, units)), False
        for cell in self.cells:
            if cell.half_width() <= self.width:
                continue
            some, once = (
                self.wanted[cell.prompt_class],
                {self.converged_steps: "converged"} if cell.quantity == "error" else {},
            )
            have = sum({*once, max(self.steps)} <= one.get(cell.place, {}).keys() for one in some)
            # further seeds narrow what comes from sampling, but show no kind of prompt that was not
            # there
            seeds_help = cell.sampled() > self.width
            left = (
                len(self.supply[cell.prompt_class])
                if seeds_help
                else self.prompts[cell.prompt_class]
            ) - have
            if left <= 0 and not seeds_help:
                continue
            steps, extra = cell.cheapest(
                self.width, sum(once), min(left, int(have * (MOST_GROWTH - 1)))
            )
            extra = min(left, max(extra, ceil(have * LEAST_GROWTH)))
            for index in range(have + extra):
                if index == len(some):
                    some.append({})
                before = some[index].get(cell.place, {})
                counts = (
                    once
                    | dict.fromkeys(steps, "sweep" if cell.quantity == "time" else "untimed")
                    | before
                )
                grown |= counts != before
                some[index][cell.place] = counts
        return grown

    def forecast(self):
        """What is expected to be still missing, in a sentence."""
        wide = [cell for cell in self.cells if cell.half_width() > self.width]
        widest = max(cell.half_width() for cell in wide)
        return f"intervals of {len(wide)} of {len(self.cells)} curves are wider than ±{self.width:.0%} (at most ±{widest:.0%}): another round"

    def outcome(self):
        """What came of it: {target, rounds, evaluations, uniform_evaluations (modelled: what the
        uniform grid over 1…50 would take for the same width), widths: [{place, prompt_class,
        quantity, parameter, value, half_width, reached}]}.
        """
        widths, uniform = [], defaultdict(int)
        for cell in self.cells:
            for name, (value, half) in cell.half_widths().items():
                row = {
                    "parameter": name,
                    "value": value,
                    "half_width": half if np.isfinite(half) else None,
                    "reached": bool(half <= self.width),
                }
                widths.append(
                    {
                        "place": cell.place,
                        "prompt_class": cell.prompt_class,
                        "quantity": cell.quantity,
                        **row,
                    }
                )
            key = cell.place, cell.prompt_class
            uniform[key] = max(uniform[key], cell.uniform(self.width, self.converged_steps))
        last = self.rounds[-1]["evaluations"]
        return {
            "target": self.width,
            "rounds": self.rounds,
            "evaluations": last,
            "uniform_evaluations": sum(uniform.values()),
            "widths": widths,
        }


def spread_out(steps, count=CANDIDATES):
    """At most ``count`` of ``steps``, the ends among them, evenly apart in the logarithm."""
    left, chosen = sorted(steps), []
    ideal = np.geomspace(left[0], left[-1], min(count, len(left)))
    for one in (ideal[0], ideal[-1], *ideal[1:-1])[: len(left)]:
        chosen.append(min(left, key=lambda step: abs(np.log(step / one))))
        left.remove(chosen[-1])
    return sorted(chosen)


def cells(records, units):
    """What each place and class tells of each quantity: :class:`Timed` and :class:`Curved`."""
    groups = defaultdict(list)
    for record in records:
        groups[record["asked"]["place"], record["asked"]["prompt_class"]].append(record)
    for (place, name), some in groups.items():
        unit = units[place, name]
        made = [record for record in some if record["asked"]["purpose"] in POINTS]
        floor, span = unit["utility_floor"], unit["utility_ceiling"] - unit["utility_floor"]
        yield Timed(
            place, name, [record for record in made if record["asked"]["purpose"] == "sweep"]
        )
        yield Curved(place, name, "error", sample(made, "distance", 0.0, unit["error_unit"]))
        yield Curved(place, name, "utility", sample(made, "clip_score", floor, span))


class Timed:
    """Δt of one place and class, and what more images would tell of it."""

    quantity = "time"

    def __init__(self, place, prompt_class, records):
        self.place, self.prompt_class = place, prompt_class
        self.steps = [record["asked"]["steps"] for record in records]
        self.fit = fit_time(self.steps, [record["measured"]["time"] for record in records])

    def half_widths(self):
        """{parameter: (value, relative half-width of its 95 % interval)}."""
        fit = self.fit
        half = t_quantile(fit["freedom"]) * fit["covariance"][1][1] ** 0.5
        return {
            "step_time": (fit["step_time"], half / fit["step_time"] if fit["step_time"] else np.inf)
        }

    def half_width(self):
        return self.half_widths()["step_time"][1]

    def sampled(self):
        """The half-width that comes from sampling: all of it."""
        return self.half_width()

    def cheapest(self, width, once, most):
        """(step counts, further prompts, at most ``most``): the ends tell a slope, and the error
        falls with the root of the images.
        """
        have = self.steps.count(max(self.steps))
        return [min(self.steps), max(self.steps)], min(
            most, ceil(have * ((self.half_width() / width) ** 2 - 1))
        )

    def uniform(self, width, once):
        """As :meth:`Curved.uniform`; the images that the curves need are many more."""
        return 0


class Curved:
    """Error or utility of one place and class: the paper's curve through its points, and what other
    samples would tell of it.

    Half-widths are those that come from sampling. What the form misses of the points is no matter
    of sampling: no number of images narrows that, and the fit's own intervals hold it. An error is
    never known better than to ``UNSEEN`` / prompts.
    """

    def __init__(self, place, prompt_class, quantity, found):
        self.place, self.prompt_class, self.quantity, self.found = (
            place,
            prompt_class,
            quantity,
            found,
        )
        self.family, self.unseen = FAMILIES[PAPER[quantity]], UNSEEN if quantity == "error" else 0.0
        self.steps, values = (
            np.array([point[name] for point in found.points], float) for name in ("steps", "value")
        )
        self.counts = np.array([point["prompts"] for point in found.points])
        sd = weights(found.points, quantity)
        self.known = (
            sd is not None and found.covariance is not None
        )  # else all alike, or nothing in common: nothing to go by
        if self.known:
            family, starts = self.family, best(self.family, self.steps, values[None], 1 / sd[None])
            bounds = tuple(np.transpose(family.bounds))
            self.p = minimise(
                lambda p: family.function(self.steps, p),
                lambda p: family.gradient(self.steps, p),
                values,
                sd,
                starts,
                bounds,
            )
            self.spread = found.covariance * np.maximum.outer(
                self.counts, self.counts
            )  # of single prompts, between step counts

    def half_widths(self):
        """{parameter: (value, relative half-width of its 95 % interval)}; infinite where there is
        nothing to go by.
        """
        return self._half_widths(self.counts.max())

    def sampled(self):
        """The widest without what the prompts so far may not have shown."""
        return max(half for _, half in self._half_widths(np.inf).values())

    def _half_widths(self, prompts):
        if not self.known:
            return dict.fromkeys(self.family.parameters, (None, np.inf))
        half = self._half(self.steps, self.found.covariance, self.found.freedom, prompts)
        return {
            name: (float(value), float(one))
            for name, value, one in zip(self.family.parameters, self.p, half, strict=True)
        }

    def half_width(self):
        """The widest of them."""
        return max(half for _, half in self.half_widths().values())

    def cheapest(self, width, once, most):
        """(step counts, further prompts, at most ``most``) expected to reach ``width`` at the
        fewest evaluations.

        ``once``: evaluations of a prompt beside those of its step counts. If no choice suffices:
        all step counts, and ``most`` prompts.
        """
        whole = range(len(self.steps))
        if not self.known or most <= 0:
            return self.steps.astype(int).tolist(), max(0, most)
        sizes = range(min(LEAST_STEPS, len(whole)) - 2, len(whole) - 1)
        designs = [
            [0, *some, len(whole) - 1]
            for some in chain(*(combinations(whole[1:-1], size) for size in sizes))
        ]
        least, found = np.inf, (list(whole), most)
        for chosen in sorted(designs, key=lambda some: self.steps[some].sum()):
            if (
                once + self.steps[chosen].sum()
            ) > least:  # one prompt of it costs more than all of the best
                break
            low, high = 0, most
            if self._cost(chosen, low, once) >= least or self._expected(chosen, high) > width:
                continue
            while low < high:
                middle = (low + high) // 2
                low, high = (
                    (low, middle) if self._expected(chosen, middle) <= width else (middle + 1, high)
                )
            if self._cost(chosen, low, once) < least:
                least, found = self._cost(chosen, low, once), (chosen, low)
        return self.steps[found[0]].astype(int).tolist(), found[1]

    def _cost(self, chosen, extra, once):
        have = self.counts.max()
        return extra * once + float((have + extra - self.counts[chosen]) @ self.steps[chosen])

    def _expected(self, chosen, extra):
        counts = self.counts.copy()
        counts[chosen] = self.counts.max() + extra
        freedom = int(counts @ (counts - 1) / counts.sum())
        return self._half(
            self.steps, self.spread / np.maximum.outer(counts, counts), freedom, counts.max()
        ).max()

    def uniform(self, width, once):
        """Evaluations that the uniform grid would take for the same width, from the spread at the
        measured step counts.
        """
        if not self.known:
            return 0
        shares = np.stack(
            [
                np.interp(np.log(UNIFORM), np.log(self.steps), one)
                for one in np.eye(len(self.steps))
            ],
            axis=1,
        )
        half = self._half(UNIFORM, shares @ self.spread @ shares.T, None, np.inf).max()
        return max(ceil((half / width) ** 2), ceil(self.unseen / width)) * (
            once + int(UNIFORM.sum())
        )

    def _half(self, steps, covariance, freedom, prompts):
        """Relative half-widths, shape (k,), from points at ``steps`` whose means over at most
        ``prompts`` prompts have this ``covariance``.
        """
        sd = np.sqrt(np.maximum(np.diag(covariance), 1e-24))
        inverse, _ = response(self.family.gradient(steps, self.p) / sd[:, None])
        variance = np.diag(inverse @ (covariance / np.outer(sd, sd)) @ inverse.T)
        half = (
            t_quantile(freedom)
            * np.sqrt(np.maximum(variance, 0.0))
            / np.maximum(np.abs(self.p), 1e-12)
        )
        return np.maximum(half, self.unseen / prompts)
