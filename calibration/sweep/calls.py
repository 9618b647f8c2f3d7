"""Which images are made together: calls of a pipeline, and groups for continuous batching.

An image depends in its last bits on what it is computed with. The calls follow from the whole list
of tasks, not from what is missing, so that an interrupted run makes the same images as one that was
not.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from calibration.records.split import Split
from calibration.records.task import Task

#: Purposes of images whose time is not used.
UNTIMED = ("converged", "untimed", "split")
#: Untimed images of a group for continuous batching, over those that fit in a batch. The last
#: iterations of a group leave room in the batch; a group that was interrupted is made again.
GROUP = 8


@dataclass(frozen=True)
class Call:
    """``tasks`` of one place, made together: one alone and timed (``single``), several by one call
    of the pipeline (``stock``), or by continuous batching (``batched``).
    """

    kind: Literal["single", "stock", "batched"]
    tasks: tuple[Task, ...]

    @property
    def place(self) -> str:
        """The place whose pipeline makes the images."""
        return self.tasks[0].place

    @property
    def split(self) -> Split | None:
        """How two models share the images, if they do."""
        return self.tasks[0].split

    @property
    def key(self) -> tuple[str, str, bool]:
        """Equal for calls that work alike: place, kind, and whether two models share the images."""
        return self.place, self.kind, self.split is not None

    @property
    def evaluations(self) -> int:
        """How often a denoiser is evaluated for the images."""
        return sum(task.steps for task in self.tasks)


def plan(
    tasks: Sequence[Task], cap: int, batched: Collection[str]
) -> tuple[list[Call], list[Call]]:
    """The calls of ``tasks``: those of converged images, and then those that need them.

    Split images of one kind are made together, by both models in turn.

    ``cap``: images in a batch; ``batched``: places whose pipelines are served by continuous
    batching. Timed images are spread over the time that the untimed ones take, so that they see
    what the speed of the machine does meanwhile.
    """
    converged = _together(tasks, "converged", cap, batched)
    single = [Call("single", (task,)) for task in tasks if task.purpose not in UNTIMED]
    split = _together(tasks, "split", cap, ())
    return converged, _spread(single, _together(tasks, "untimed", cap, batched), split)


def shares(calls: Iterable[Call], processes: int) -> list[list[Call]]:
    """The calls dealt to ``processes``, each to the one with the fewest evaluations so far."""
    dealt: list[list[Call]] = [[] for _ in range(processes)]
    load = [0] * processes
    for call in calls:
        least = load.index(min(load))
        dealt[least].append(call)
        load[least] += call.evaluations
    return dealt


def _together(
    tasks: Sequence[Task], purpose: str, cap: int, batched: Collection[str]
) -> list[Call]:
    """The calls of the untimed images of a ``purpose``.

    One call of a pipeline makes images of one step count. Continuous batching mixes them: the
    longest go first, so that short ones fill the batch at the end.
    """
    alike: dict[tuple[object, ...], list[Task]] = defaultdict(list)
    for task in tasks:
        if task.purpose == purpose:
            stock = (task.model, task.steps, task.guidance, task.negative_prompt, task.split)
            alike[task.place, *(() if task.place in batched else stock)].append(task)
    calls = []
    for (place, *_), group in alike.items():
        mixed = place in batched
        size = cap * GROUP if mixed and purpose == "untimed" else cap
        for start in range(0, len(group), size):
            part = group[start : start + size]
            if mixed:
                part.sort(key=lambda task: -task.steps)
            calls.append(Call("batched" if mixed else "stock", tuple(part)))
    return calls


def _spread(*lists: Sequence[Call]) -> list[Call]:
    """The calls of all ``lists``, each evenly over the whole."""
    placed = [
        ((index + 0.5) / len(calls), number, index, call)
        for number, calls in enumerate(lists)
        for index, call in enumerate(calls)
    ]
    return [call for *_, call in sorted(placed, key=lambda item: item[:3])]
