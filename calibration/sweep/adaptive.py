"""The adaptive sweep: which steps and how many prompts, so that intervals reach a stated width at
the least cost.

The parameters are those of the paper: Δt of eq. (3), ε^avg and C1 of eq. (4), C2 of eq. (7).
Prompts differ much more than images of one prompt do, so images are spent on new prompts, and on
further seeds only when no prompt is left. A pilot of a few prompts at step counts spread over the
grid shows how prompts vary and how their errors are correlated. Then, for each place and prompt
class, the sweep takes the step counts and the number of prompts that are expected to narrow the
intervals enough at the least cost (the time that evaluations of the network take), at most three
times as many prompts as it has, and looks again. Images of the pilot's first prompts, and those
that the time needs, are timed one by one; the others are made in batches.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import ceil
from warnings import warn

import numpy as np

from calibration.records.record import Record
from calibration.records.scale import Scales
from calibration.records.task import ModelSpec, Task
from calibration.sweep.cells import UNSEEN, Cell, cells
from calibration.sweep.costs import EvaluationCosts
from calibration.sweep.grid import check_sweep, draws, grids, in_turns
from calibration.sweep.outcome import SweepOutcome, SweepRound, SweepWidth
from solver.inputs import InputError

CANDIDATES = 10  # step counts of the pilot
#: At least +20 % prompts between looks, at most three times as many: this bounds optional stopping.
LEAST_GROWTH, MOST_GROWTH = 0.2, 3.0


class AdaptiveSweep:
    """Rounds of tasks until every interval's relative half-width is at most ``width``, or there are
    no more prompts and seeds.

    ``models``, ``steps``, ``converged_steps``, ``noise``: as :func:`calibration.sweep.grid.sweep`
    takes them; ``prompts`` and ``seeds``: all that may be used; ``pilot``: with how many prompts of
    a class it begins; ``timed``: see :func:`calibration.sweep.grid.grids`. The next tasks follow
    from the records of the rounds before alone, so a sweep that was killed goes on with the same
    tasks. Raises :class:`InputError` for what is not allowed.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSpec],
        prompts: Mapping[str, Sequence[str]],
        seeds: Sequence[int],
        steps: Sequence[int],
        converged_steps: int,
        pilot: int,
        width: float,
        noise: str = "own",
        timed: int | None = None,
    ) -> None:
        check_sweep(models, prompts, seeds, steps, converged_steps)
        if pilot < 3:
            raise InputError(
                f"sweep.prompts_per_class: found {pilot}; "
                "allowed: at least 3, the pilot of an adaptive sweep"
            )
        needed = ceil(UNSEEN / width)
        for name, texts in prompts.items():
            if len(texts) < needed:
                warn(
                    f"sweep.half_width: {width:g} takes {needed} prompts of '{name}', there are "
                    f"{len(texts)}: its errors will be less sure",
                    stacklevel=2,
                )
        self.models, self.width, self.converged_steps = models, width, converged_steps
        self.steps = spread_out(steps)
        self.prompts = {name: len(texts) for name, texts in prompts.items()}
        self.draws = draws(prompts, seeds, noise)
        #: by class, for each draw so far: {place: {step count: purpose}}
        self.wanted = {
            name: list(
                islice(
                    grids(models, self.steps, converged_steps, prompts[name], timed),
                    min(pilot, len(of_class)),
                )
            )
            for name, of_class in self.draws.items()
        }
        self._cells: list[Cell] = []
        self._rounds: dict[str, list[SweepRound]] = {place: [] for place in models}
        self._tasks: dict[str, Task] = {}

    def tasks(self) -> list[Task]:
        """All tasks so far, round by round; at first those of the pilot."""
        wanted = {
            name: list(zip(self.draws[name], counts, strict=False))
            for name, counts in self.wanted.items()
        }
        for task in in_turns(self.models, wanted):
            self._tasks.setdefault(task.id, task)
        return list(self._tasks.values())

    def grow(
        self,
        records: Sequence[Record],
        scales: Mapping[tuple[str, str], Scales],
        costs: Mapping[str, EvaluationCosts] | None = None,
    ) -> bool:
        """Add a round to the tasks; False if there is none to add.

        ``records``: of all tasks so far; ``scales``: by place and prompt class; ``costs``: by
        place, by default every evaluation costs the same.
        """
        for place, rounds in self._rounds.items():
            steps = [record.task.steps for record in records if record.task.place == place]
            rounds.append(SweepRound(len(steps), sum(steps)))
        self._cells = list(cells(records, scales))
        every = costs or {}
        grown = [
            self._extend(cell, every.get(cell.place, EvaluationCosts()))
            for cell in self._cells
            if cell.half_width() > self.width
        ]
        return any(grown)

    def _extend(self, cell: Cell, costs: EvaluationCosts) -> bool:
        """Add to the tasks what narrows ``cell`` enough; False if there is nothing to add."""
        name, place = cell.prompt_class, cell.place
        wanted = self.wanted[name]
        target = {self.converged_steps: "converged"} if cell.quantity == "error" else {}
        complete = {*target, max(self.steps)}
        have = sum(complete <= counts.get(place, {}).keys() for counts in wanted)
        # Further seeds narrow what comes from sampling, but show no further kinds of prompts.
        seeds_help = cell.sampling_half_width() > self.width
        left = (len(self.draws[name]) if seeds_help else self.prompts[name]) - have
        if left <= 0 and not seeds_help:
            return False
        most = min(left, int(have * (MOST_GROWTH - 1)))
        steps, extra = cell.cheapest(self.width, sum(target) * costs.of_converged, most)
        extra = min(left, max(extra, ceil(have * LEAST_GROWTH)))
        purpose, grown = "sweep" if cell.quantity == "time" else "untimed", False
        for index in range(have + extra):
            if index == len(wanted):
                wanted.append({})
            before = wanted[index].get(place, {})
            counts = target | dict.fromkeys(steps, purpose) | before
            grown |= counts != before
            wanted[index][place] = counts
        return grown

    def forecast(self) -> str:
        """What is expected to be still missing, in a sentence."""
        halves = [cell.half_width() for cell in self._cells]
        wide = [half for half in halves if half > self.width]
        return (
            f"intervals of {len(wide)} of {len(halves)} curves are wider than ±{self.width:.0%} "
            f"(at most ±{max(wide):.0%}): another round"
        )

    def outcome(self) -> dict[str, SweepOutcome]:
        """What came of it, by place."""
        widths: dict[str, list[SweepWidth]] = defaultdict(list)
        uniform: dict[str, dict[str, int]] = defaultdict(dict)
        for cell in self._cells:
            widths[cell.place] += [
                SweepWidth(
                    prompt_class=cell.prompt_class,
                    quantity=cell.quantity,
                    parameter=name,
                    value=value,
                    half_width=half if np.isfinite(half) else None,
                    reached=half <= self.width,
                )
                for name, (value, half) in cell.half_widths().items()
            ]
            evaluations = cell.uniform_evaluations(self.width, self.converged_steps)
            of_place = uniform[cell.place]
            of_place[cell.prompt_class] = max(of_place.get(cell.prompt_class, 0), evaluations)
        return {
            place: SweepOutcome(
                target=self.width,
                rounds=tuple(rounds),
                evaluations=rounds[-1].evaluations,
                uniform_evaluations=sum(uniform[place].values()),
                widths=tuple(widths[place]),
            )
            for place, rounds in self._rounds.items()
        }


def spread_out(steps: Iterable[int], count: int = CANDIDATES) -> list[int]:
    """At most ``count`` of ``steps``, the ends included, evenly spaced in the logarithm."""
    left, chosen = sorted(steps), []
    ideal = np.geomspace(left[0], left[-1], min(count, len(left)))
    for target in (ideal[0], ideal[-1], *ideal[1:-1])[: len(left)]:
        chosen.append(min(left, key=lambda step: abs(np.log(step / target))))
        left.remove(chosen[-1])
    return sorted(chosen)
