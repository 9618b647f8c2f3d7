"""Curves fitted to measured points: every family of a kind, the one chosen, and their average."""

from collections.abc import Sequence
from dataclasses import replace

from numpy.typing import ArrayLike

from calibration.checks import whole
from calibration.fitting import prediction
from calibration.fitting.curve_fit import (
    TABLE,
    CurveFit,
    CurvePoint,
    CurveReport,
    FamilyFit,
    LeftOut,
)
from calibration.fitting.discrepancy import discrepancy
from calibration.fitting.families import PAPER, families
from calibration.fitting.family_fit import fit_family
from calibration.fitting.interpolation import Violation, interpolate
from calibration.fitting.points import Numbers, Points, checked_points
from calibration.fitting.selection import Candidate, choose, least_held_out_error, weights
from solver.inputs import InputError

# Interpolation replaces the families only if its held-out error is smaller by this factor.
_TABLE_MARGIN = 2.0


def fit_curve(
    steps: Numbers,
    values: Numbers,
    sd: Numbers | None = None,
    kind: str = "error",
    covariance: ArrayLike | None = None,
    dof: int | None = None,
    replicates: ArrayLike | None = None,
    force: bool = False,
) -> CurveFit:
    """Fit every family of ``kind`` to points by weighted least squares.

    ``steps``, ``values``, ``sd``: shape (n,). Without standard errors ``sd`` a point of an error
    curve is uncertain in proportion to its value (such curves span decades), and the points of a
    utility curve are equally uncertain. ``covariance``, shape (n, n): of points that were measured
    on the same prompts and seeds, so that their errors are correlated; ``sd`` still sets the
    weights. ``dof``: degrees of freedom of ``sd`` (None: it is exact); without ``sd`` those of the
    residuals count. ``replicates``, shape (b, n): the points of bootstrap samples, for
    ``bootstrap_intervals``.

    **Refusal.** An estimate that the points do not support goes to ``left_out`` with its numbers
    and is not chosen. That is a family with as many parameters as there are step counts, a flat
    curve, or a floor or ceiling that is not reached. (The last still count in the average, because
    a family without a floor would assert a floor of 0.) ``force`` refuses none.

    **Choice.** The family of the lowest AICc is chosen among those whose leave-one-out error is
    within a factor 1.5 of the least. If AICc is not defined for all, the least leave-one-out error
    decides. Interpolation (``table``) is chosen if its leave-one-out error is under half the best
    family's, if the points are not monotone beyond their noise, or if no family is left.
    Predictions rest on the average of the families by ``weight`` (see
    :mod:`calibration.fitting.selection`).

    Raises :class:`InputError` for fewer than 3 different step counts or a value that is not
    allowed.
    """
    points = checked_points(steps, values, sd, kind, covariance, dof)
    delta = discrepancy(points)
    widened = points.with_discrepancy(delta)
    tried = [fit_family(family, widened, replicates) for family in families(kind)]
    supported = [candidate for candidate in tried if force or candidate.supported]
    listed = [
        candidate
        for candidate in tried
        if candidate in supported or candidate.fit.family == PAPER[kind]
    ]
    table, violation = interpolate(points)
    if violation or not supported or _predicts_better(table, supported):
        supported = [table]
        listed.append(table)
    fits = [candidate.fit for candidate in supported]
    accepted = [fit for fit in fits if force or fit.refused is None]
    weight = weights(supported, len(points.s))
    return CurveFit(
        kind=kind,
        points=_curve_points(points),
        families=tuple(
            replace(candidate.fit, weight=weight.get(candidate.fit.family, 0.0))
            for candidate in listed
        ),
        left_out=tuple(_left_out(candidate.fit) for candidate in tried if candidate.fit.refused),
        chosen=choose(accepted or fits),
        paper=PAPER[kind],
        discrepancy=delta,
        monotone=violation is None,
        notes=(_note(violation, kind),) if violation else (),
    )


def fit_report(
    points: Sequence[CurvePoint],
    predict: Sequence[int] = (),
    kind: str | None = None,
    force: bool = False,
    where: str = "points",
) -> CurveReport:
    """Fit ``points`` and predict at the steps ``predict``.

    ``kind`` None: falling values are fitted as an error, rising ones as a utility. The standard
    errors count only if all points have one. Raises :class:`InputError` for points or steps that
    are not allowed, and, unless ``force``, if the points do not support the estimate of the family
    that predicts left-out points best; ``where`` names their source in it.
    """
    for count in predict:
        whole("predict", count, 1)
    steps, values = [point.steps for point in points], [point.value for point in points]
    sd = [point.se for point in points if point.se is not None]
    if kind is None:
        kind = "utility" if _rises(steps, values) else "error"
    fit = fit_curve(steps, values, sd if len(sd) == len(points) else None, kind, force=force)
    reasons = "; ".join(f"{estimate.family}: {estimate.reason}" for estimate in fit.left_out)
    # points that are not monotone are interpolated, so that no estimate is needed
    if fit.monotone and not force and isinstance(_best_predictor(fit), LeftOut):
        raise InputError(f"{where}: {reasons}; to take it anyway: --anyway")
    notes = (*fit.notes, f"taken anyway: {reasons}") if reasons and force else fit.notes
    return CurveReport(
        **vars(replace(fit, notes=notes)), predictions=prediction.predict(fit, predict)
    )


def _predicts_better(table: Candidate, candidates: Sequence[Candidate]) -> bool:
    least = least_held_out_error(candidate.fit for candidate in candidates)
    return least_held_out_error([table.fit]) * _TABLE_MARGIN < least


def _curve_points(points: Points) -> tuple[CurvePoint, ...]:
    errors = [None] * len(points.s) if points.sd is None else points.sd.tolist()
    return tuple(
        CurvePoint(int(count), value, se=error)
        for count, value, error in zip(points.s, points.y.tolist(), errors, strict=True)
    )


def _left_out(fit: FamilyFit) -> LeftOut:
    assert fit.refused is not None and isinstance(fit.parameters, dict)
    return LeftOut(fit.family, fit.refused, fit.parameters, fit.intervals, fit.held_out_error)


def _note(violation: Violation, kind: str) -> str:
    wrong = "falls" if kind == "utility" else "rises"
    change = f"{abs(violation.change):.4g} (sd {violation.sd:.2g})"
    return f"not monotone: it {wrong} from {violation.start} to {violation.end} steps by {change}"


def _rises(steps: Sequence[int], values: Sequence[float]) -> bool:
    from scipy.stats import spearmanr  # half a second to import: only when asked for

    varied = len(set(values)) > 1 and len(set(steps)) > 1
    return varied and spearmanr(steps, values).statistic > 0


def _best_predictor(fit: CurveFit) -> LeftOut | FamilyFit | None:
    """The family with the least held-out error, as what was left out where it was refused."""
    estimates: tuple[LeftOut | FamilyFit, ...] = (*fit.left_out, *fit.families)
    tried = [
        (estimate.held_out_error, estimate)
        for estimate in estimates
        if estimate.held_out_error is not None and estimate.family != TABLE
    ]
    return min(tried, key=lambda pair: pair[0])[1] if tried else None
