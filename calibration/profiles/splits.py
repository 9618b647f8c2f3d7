"""The quality of split images, from their records."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from calibration.fitting.curve_fit import CurvePoint
from calibration.profiles.profile import SharedLatents, SplitPoint, Splits
from calibration.records.prompt_means import prompt_means
from calibration.records.record import Record
from calibration.records.scale import Scale, Scales
from calibration.records.split import Split
from solver.inputs import InputError


def fit_splits(
    records: Sequence[Record],
    scales: Mapping[tuple[str, str], Scales],
    shared: SharedLatents,
) -> Splits:
    """The means of each kind of split images of each class, on the ``scales`` of the edge.

    ``scales``: by place and prompt class. Raises :class:`InputError` where there are no such
    images.
    """
    groups: dict[tuple[str, Split], list[Record]] = defaultdict(list)
    for record in records:
        if record.task.purpose == "split" and record.task.split:
            groups[record.task.prompt_class, record.task.split].append(record)
    if not groups:
        raise InputError("records: found no split image; allowed: some of each prompt class")
    points: dict[str, list[SplitPoint]] = defaultdict(list)
    for (name, split), group in groups.items():
        scale = scales["edge", name]
        errors = _means(group, scale.error)
        utilities = _means(group, scale.utility) if scale.utility else {}
        points[name] += [SplitPoint(split, at, utilities.get(at.steps)) for at in errors.values()]
    handed_over = [each.measured.handover for of in groups.values() for each in of]
    return Splits(
        shared,
        max(each.bytes for each in handed_over if each),
        {name: tuple(sorted(of, key=_order)) for name, of in sorted(points.items())},
    )


def _means(records: Sequence[Record], scale: Scale) -> dict[int, CurvePoint]:
    return {point.steps: point for point in prompt_means(records, scale).points}


def _order(point: SplitPoint) -> tuple[int, int, str]:
    return point.steps, point.split.edge_steps, point.split.first
