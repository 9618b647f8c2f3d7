"""The allocation: each user's place, steps and images, and what other solvers come to."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from calibration.records.record import Record
from calibration.records.split import Split
from calibration.scenario.scenario import Scenario
from calibration.validation.validation import UserValidation, Validation
from solver import Allocation, Problem
from solver.problem import PLACES
from testbed.plot_style import INK
from testbed.report.format import Cell, Table, file_name
from testbed.report.gallery import GeneratedImage
from testbed.report.plots import COLOURS, Panel, svg_uri
from testbed.runs.products import Baseline


@dataclass(frozen=True)
class AllocatedUser:
    """A user, served at a ``place`` with ``steps`` steps of at most ``limit``; None: not known.

    ``records`` and ``images``: what was generated as allocated; ``validation``: how it compares
    with the predictions. Of a ``split`` the place is the edge, which shares the steps.
    """

    user: int
    prompt_class: str
    device_class: str | None
    place: str
    steps: int
    limit: int | None
    records: Sequence[Record] = ()
    images: Sequence[GeneratedImage] = ()
    validation: UserValidation | None = None
    split: Split | None = None

    @property
    def shared(self) -> str | None:
        """Who makes which steps of a split image."""
        return self.split.name(self.steps) if self.split else None

    def columns(self) -> dict[str, Cell]:
        """The row of its table."""
        return {
            "user": self.user,
            "place": self.place,
            "steps": self.steps,
            "limit": self.limit,
        }


@dataclass(frozen=True, kw_only=True)
class AllocationPanel(Panel):
    """The users of a prompt class, of whom ``offloaded`` are."""

    prompt_class: str
    users: Sequence[AllocatedUser]
    offloaded: int


@dataclass(frozen=True)
class ComparedBaseline:
    """Another solver's result; its objective is ``above`` that of the allocation by so much."""

    baseline: Baseline
    above: float


def allocated_users(
    allocation: Allocation,
    problem: Problem | None,
    scenario: Scenario | None,
    validation: Validation | None,
    execution: Iterable[Record],
    classes: Sequence[str],
) -> list[AllocatedUser]:
    """The users without their images: by prompt class, in each the edge and the most steps first.

    Without a scenario they are as the problem's labels have them, or else of the first of
    ``classes``.
    """
    count, labels = len(allocation.offload), (problem.labels if problem else None) or {}
    prompts = labels.get("prompt_class", [classes[0]] * count)
    devices = labels.get("device_class")
    made: dict[int | None, list[Record]] = defaultdict(list)
    for record in execution:
        if record.task.purpose == "user":
            made[record.task.user].append(record)
    compared = {user.user: user for user in validation.users} if validation else {}
    edge_steps = allocation.edge_steps or allocation.steps
    users = []
    for index, (offload, steps) in enumerate(
        zip(allocation.offload, allocation.steps, strict=True)
    ):
        about = scenario.users[index] if scenario else None
        shared = problem.splits.get(problem.names[offload]) if problem else None
        user = AllocatedUser(
            user=index,
            prompt_class=about.prompt_class if about else prompts[index],
            device_class=about.device_class if about else devices[index] if devices else None,
            place=PLACES[min(offload, 1)],
            steps=steps,
            limit=_limit(problem, problem.names[offload], index) if problem else None,
            validation=compared.get(index),
            split=Split(shared.first, edge_steps[index]) if shared else None,
        )
        users.append(replace(user, records=[each for each in made[index] if _serves(each, user)]))
    return sorted(
        users,
        key=lambda user: (
            classes.index(user.prompt_class),
            user.place != "edge",
            -user.steps,
            user.user,
        ),
    )


def _limit(problem: Problem, place: str, user: int) -> int | None:
    if place in problem.splits:
        return None
    return int(np.broadcast_to(problem.place(place).max_steps, problem.users)[user])


def _serves(record: Record, user: AllocatedUser) -> bool:
    """Whether a record is of an image as allocated, not of an earlier allocation in the folder."""
    task = record.task
    return (task.place, task.steps, task.split) == (user.place, user.steps, user.split) and (
        user.device_class is None or task.prompt_class == user.prompt_class
    )


def allocation_panels(users: Sequence[AllocatedUser]) -> list[AllocationPanel]:
    """Steps per user: one panel for each prompt class, all to one scale."""
    top = max((max(user.steps, user.limit or 0) for user in users), default=0)
    panels = []
    for prompt_class, group in groupby(users, key=lambda user: user.prompt_class):
        own = list(group)
        offloaded = sum(user.place == "edge" for user in own)
        rows = [user.columns() for user in own]
        if any(user.split for user in users):
            rows = [row | {"split": user.shared} for row, user in zip(rows, own, strict=True)]
        panels.append(
            AllocationPanel(
                prompt_class=prompt_class,
                users=own,
                offloaded=offloaded,
                alt=f"Denoising steps of the {len(own)} users of prompt class {prompt_class}; "
                f"{offloaded} of them are offloaded",
                uri=_plot(own, top),
                table=Table(file_name("allocation", prompt_class), rows, rows),
            )
        )
    return panels


def compared_baselines(
    allocation: Allocation, baselines: Iterable[Baseline]
) -> list[ComparedBaseline]:
    """The other solvers' results, best first."""
    rounding = 1e-9 * max(1.0, abs(allocation.objective))  # the same sum in another order
    compared = []
    for baseline in baselines:
        if baseline.solver != allocation.solver:
            above = baseline.objective - allocation.objective
            compared.append(ComparedBaseline(baseline, 0.0 if abs(above) < rounding else above))
    return sorted(compared, key=lambda row: row.above)


def _plot(users: Sequence[AllocatedUser], top: float) -> str:
    """Bars coloured by place, each user's limit as a dash; ``top``: the largest in any panel."""
    labelled = len(users) <= 24

    def draw(axes: Axes) -> None:
        at = np.arange(len(users))
        colours = [COLOURS[user.place] for user in users]
        axes.bar(at, [user.steps for user in users], width=0.72, color=colours)
        for index, user in enumerate(users):
            if user.split:
                own = user.steps - user.split.edge_steps
                bottom = 0 if user.split.first == "local" else user.split.edge_steps
                axes.bar(index, own, width=0.72, bottom=bottom, color=COLOURS["local"])
            if user.limit is not None:
                axes.hlines(user.limit, index - 0.36, index + 0.36, color="#9aa3ad", linewidth=1.2)
            if labelled:
                high = user.steps >= 0.12 * top  # room for the number inside the bar
                axes.annotate(
                    str(user.steps),
                    (index, user.steps),
                    xytext=(0, -2 if high else 2),
                    textcoords="offset points",
                    ha="center",
                    va="top" if high else "bottom",
                    fontsize=7.5,
                    color="white" if high else INK,
                )
        axes.set_ylim(0, top * 1.1)
        axes.grid(axis="x", visible=False)
        axes.set_xlim(-0.7, len(users) - 0.3)
        axes.xaxis.set_major_locator(FixedLocator(at.tolist() if labelled else []))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: str(users[int(at)].user)))
        axes.tick_params(axis="x", length=0, labelsize=7.5)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("user" if labelled else f"{len(users)} users")
        axes.set_ylabel("denoising steps")

    return svg_uri(draw)
