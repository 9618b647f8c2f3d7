"""Energy against steps, E = overhead + step * s joules, and the paper's law: power = k f³, E = k f³
T.
"""

import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from calibration.costs.line import AFFINE_LEVEL, LackOfFit, MedianPoint, fit_line
from calibration.schema import Schema, limits
from calibration.statistics import Matrix, r_squared

PAPER_COEFFICIENT = 0.01  # k in W/GHz³, as the paper sets it
CLOCK_RANGE = 0.05  # the law is tested where the clock varied by at least this share of itself
_LEAST_FREEDOM = 20  # images beyond the parameters, for the law's exponent
_DISTURBED = 6  # standard deviations from the median time
# relative standard error, by the counters' coarseness alone, from which a step count counts as not
# measured
_COARSE = 0.25


@dataclass(frozen=True)
class Power(Schema):
    """``watts`` of a place while it computes, and one image's relative sd about that.

    Without a meter both are None and ``basis`` is "none".
    """

    watts: float | None = limits(least=0)
    relative_sd: float | None = limits(least=0)
    meter: str | None
    basis: str


@dataclass(frozen=True)
class ClockRange(Schema):
    """Clock frequencies in Hz: the median, and between ``low`` and ``high`` 95 % of the images."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class ConstantPower(Schema):
    """Has the overhead the steps' power, as in E = k f³ T? See :func:`constant_power`."""

    excess_j: float
    low: float
    high: float
    p: float
    holds: bool
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None


@dataclass(frozen=True)
class PowerLaw(Schema):
    """Power against the clock frequency, held against the paper's k f³. See :func:`law`."""

    # owner of this room: the fields of law()'s dict, in its order


@dataclass(frozen=True)
class PaperEnergy(Schema):
    """The paper's k in W/GHz³, and the f in GHz with which k f³ T is the energy measured."""

    coefficient: float
    frequency_ghz: float


@dataclass(frozen=True)
class EnergyFit(Schema):
    """Joules of an image, ``overhead_j + step_j * steps``; see :func:`fit_energy`."""

    meter: str
    basis: str
    overhead_j: float = limits(least=0)
    step_j: float = limits(least=0)
    covariance: Matrix = limits(shape=(2, 2))
    dof: int = limits(key="freedom")
    r2: float
    n: int
    points: tuple[MedianPoint, ...]
    lack_of_fit: LackOfFit | None
    idle_watts: float | None
    dynamic_overhead_j: float | None
    dynamic_step_j: float | None
    clock_hz: ClockRange | None
    constant_power: ConstantPower | None
    law: PowerLaw | None
    paper: PaperEnergy


@dataclass(frozen=True)
class Metered:
    """Images that one ``meter`` measured, undisturbed; arrays of shape (n,).

    ``joules`` are as counted, right on average only where windows are not much longer than the
    counters' ``period`` (s between two updates, 0 if not known). ``clock`` Hz and ``idle`` W are
    NaN where they were not measured; ``spread`` is the relative standard deviation of an image's
    ``seconds`` about the median of its ``steps``.
    """

    meter: str
    steps: np.ndarray
    joules: np.ndarray
    seconds: np.ndarray
    clock: np.ndarray
    idle: np.ndarray
    period: float
    spread: float


def metered(records):
    """The :class:`Metered` images of ``records``, or None if no joule was counted.

    Of several meters, which would count different things, the one of most records is taken. Images
    whose time is far from the median of their step count, because the machine paused, are left out:
    the joules of a pause are not theirs. What a meter counted in windows too short to stand alone
    (``energy_j`` null) counts here, since leaving out those without an update would leave the
    others too high.
    """
    joules = [_counted(record["measured"]) for record in records]
    meters = Counter(
        record["measured"]["meter"] for record, one in zip(records, joules) if one is not None
    )
    if not meters:
        return None
    meter = meters.most_common(1)[0][0]
    rows = [
        (record, one)
        for record, one in zip(records, joules)
        if one is not None and record["measured"]["meter"] == meter
    ]
    measured, about = ([record[part] for record, _ in rows] for part in ("measured", "environment"))
    columns = [
        np.array([record["asked"]["steps"] for record, _ in rows]),
        np.array([one for _, one in rows], float),
        np.array([one["time"] for one in measured], float),
        np.array([one.get("clock_hz") for one in measured], float),  # None becomes NaN
        np.array([one.get("idle_watts") for one in about], float),
    ]
    steps, _, seconds, *_ = columns
    counts, where, images = np.unique(steps, return_inverse=True, return_counts=True)
    off = (
        seconds / np.array([np.median(seconds[where == i]) for i in range(len(counts))])[where] - 1
    )
    repeated = off[images[where] > 1]
    spread = MAD_SD * float(np.median(np.abs(repeated))) if len(repeated) else 0.0
    kept = np.abs(off) <= _DISTURBED * spread if spread > 0 else np.full(len(off), True)
    period = max(one.get("meter_period_s") or 0.0 for one in about)
    found = Metered(meter, *(column[kept] for column in columns), period, spread)
    return found if found.joules.sum() > 0 else None


def _counted(measured):
    parts = measured.get("energy_parts_j")
    return measured["energy_j"] if parts is None else sum(parts.values())


def power(images):
    """Joules over seconds of the :class:`Metered` ``images``, and one image's relative sd about
    that; no watts for None.
    """
    if images is None:
        return {"watts": None, "relative_sd": None, "meter": None, "basis": "none"}
    watts = float(images.joules.sum() / images.seconds.sum())
    spread = float(np.std(images.joules / (watts * images.seconds)))
    return {"watts": watts, "relative_sd": spread, "meter": images.meter, "basis": "measured"}


def fit_energy(images, time):
    """Fit E = overhead_j + step_j * s to :class:`Metered` ``images``; ``time`` is the fit of their
    times (:func:`fit_time`).

    A step count's joules are its mean power (all its joules over all its seconds, so that the
    counters' coarseness averages out) times its median time; the line through them is fitted as the
    time's is. Returns None for None, and, with a warning, where fewer than two step counts could be
    measured; else a dict:

    ``meter``, ``basis``; ``overhead_j``, ``step_j``, their ``covariance`` (2, 2) and its
    ``freedom``; ``r2``; ``n`` images; ``points`` [{steps, median (J), n}]; ``lack_of_fit`` as in
    the time's; ``idle_watts`` (None: not measured) and ``dynamic_overhead_j``, ``dynamic_step_j``,
    what goes beyond idling as long; ``clock_hz`` {median, low, high} (95 % of the images) or None;
    ``constant_power``, :func:`constant_power`; ``law``, :func:`law`; ``paper`` {coefficient
    (W/GHz³), frequency_ghz}: the paper's k, and the f with which k f³ T is the energy measured.
    """
    if images is None:
        return None
    counts, where, n = np.unique(images.steps, return_inverse=True, return_counts=True)
    joules, seconds = (np.bincount(where, column) / n for column in (images.joules, images.seconds))
    watts = joules / seconds
    # A window of length T holds T/period updates, rounded up or down: a variance of period²/6 over
    # the moments at which it may start.
    coarse = (images.period / seconds) ** 2 / 6
    with np.errstate(divide="ignore", invalid="ignore"):
        scatter = (images.joules - watts[where] * images.seconds) / joules[where]
    good = (np.sqrt(coarse / n) <= _COARSE) & (joules > 0)
    if good.sum() < 2:
        warnings.warn(
            f"energy: measured at {good.sum()} step count(s), 2 are needed; no energy per step",
            stacklevel=2,
        )
        return None
    inside, freedom = good[where], int((n[good] - 1).sum())
    known = freedom > 0 and (scatter[inside] ** 2).sum() > 1e-18
    own = (
        max(0.0, (scatter[inside] ** 2).sum() - ((n - 1) * coarse)[good].sum()) / freedom
        if known
        else 1.0
    )
    relative = np.sqrt((own + coarse) / n)[good]  # standard error of the mean power
    medians = np.array([np.median(images.seconds[where == i]) for i in np.flatnonzero(good)])
    counts, values, n = counts[good], watts[good] * medians, n[good]
    expected = values
    for _ in range(
        3
        # relative to the line, not to the values: those that are low by chance must not weigh more for
        # it
    ):
        sd = expected * np.hypot(relative, MEDIAN_SE * images.spread / np.sqrt(n) * known)
        line, covariance, lack = fit_line(counts, values, sd, freedom if known else None)
        expected = line[0] + line[1] * counts

    idle = float(np.nanmedian(images.idle)) if not np.isnan(images.idle).all() else None
    clock = images.clock[~np.isnan(images.clock)]
    watts_of_all = power(images)["watts"]
    return {
        "meter": images.meter,
        "basis": "measured",
        "overhead_j": float(line[0]),
        "step_j": float(line[1]),
        "covariance": covariance.tolist(),
        "freedom": freedom if known else max(1, len(counts) - 2),
        "r2": r_squared(values, expected),
        "n": int(n.sum()),
        "points": [
            {"steps": int(s), "median": float(v), "n": int(k)}
            for s, v, k in zip(counts, values, n, strict=True)
        ],
        "lack_of_fit": lack,
        "idle_watts": idle,
        "dynamic_overhead_j": None if idle is None else float(line[0] - idle * time["overhead"]),
        "dynamic_step_j": None if idle is None else float(line[1] - idle * time["step_time"]),
        "clock_hz": dict(
            zip(("low", "median", "high"), np.quantile(clock, (0.025, 0.5, 0.975)).tolist())
        )
        if len(clock)
        else None,
        "constant_power": constant_power(
            seconds[good], joules[good], relative * expected, freedom if known else None, time
        ),
        "law": law(images),
        "paper": {
            "coefficient": PAPER_COEFFICIENT,
            "frequency_ghz": float(np.cbrt(watts_of_all / PAPER_COEFFICIENT)),
        },
    }


def constant_power(seconds, joules, sd, freedom, time):
    """Is energy power times time, with one power for the overhead and the steps, as in E = k f³ T?

    ``seconds``, ``joules``, ``sd`` of the joules: means of each step count, shape (n,). E = c + P T
    is fitted; with one power c is 0. Returns {``excess_j`` c, its 95 % interval ``low``, ``high``;
    ``p`` of c = 0; ``holds``: p >= 0.01; ``ratio``, the overhead's power over the steps',
    ``ratio_low``, ``ratio_high``, None without overhead}; None where there is nothing to tell the
    scatter from.
    """
    spare = len(seconds) - 2
    if freedom is None and spare < 1:
        return None
    design = np.stack([np.ones_like(seconds), seconds], axis=1) / sd[:, None]
    inverse = np.linalg.inv(design.T @ design)
    excess, watts = inverse @ design.T @ (joules / sd)
    chi2 = np.sum((joules / sd - design @ [excess, watts]) ** 2)
    reduced = chi2 / spare if spare else 0.0
    error = np.sqrt(inverse[0, 0] * (reduced if freedom is None else max(1.0, reduced)))
    degrees = spare if freedom is None else freedom
    quantile = student.ppf(0.975, degrees)
    p = (
        float(2 * student.sf(abs(excess) / error, degrees))
        if error > 0
        else float(abs(excess) < 1e-9 * joules.max())
    )
    found = {
        "excess_j": float(excess),
        "low": float(excess - quantile * error),
        "high": float(excess + quantile * error),
        "p": p,
    }
    found |= {"holds": p >= AFFINE_LEVEL, **dict.fromkeys(("ratio", "ratio_low", "ratio_high"))}
    overhead = time["overhead"]
    if overhead > 0:
        share = excess / (watts * overhead)
        half = quantile * np.hypot(
            error / (watts * overhead), share * np.sqrt(time["covariance"][0][0]) / overhead
        )
        found |= {
            "ratio": float(1 + share),
            "ratio_low": float(1 + share - half),
            "ratio_high": float(1 + share + half),
        }
    return found


def law(images):
    """Power against clock frequency f, held against the paper's k f³; None where no clock was read.

    ``watts``: the mean power that the law is about: without idling if that was measured
    (``dynamic``), else all of it; ``coefficient``: the k in W/GHz³ with which k f³ T is its energy.
    ``clock_range``: by what share of itself the clock varied between images of equal steps (95 % of
    them). From 5 % on, and with idling known, the law is ``tested``: log power is regressed on log
    f among images of equal steps, so that what differs with the steps cannot pass for the clock:
    ``exponent``, its 95 % interval ``low`` to ``high``, and whether 3 lies in it (``cubic``).
    Otherwise these are None and ``reason`` says why.
    """
    read = ~np.isnan(images.clock)
    if not read.any():
        return None
    steps, joules, seconds, ghz = (
        column[read] for column in (images.steps, images.joules, images.seconds, images.clock / 1e9)
    )
    idle = images.idle[read]
    dynamic = not np.isnan(idle).any()
    joules = joules - idle * seconds if dynamic else joules
    counts, where, n = np.unique(steps, return_inverse=True, return_counts=True)

    def within(values):
        return values - (np.bincount(where, values) / n)[where]

    x = within(np.log(ghz))
    varied = float(np.expm1(np.diff(np.quantile(x, (0.025, 0.975)))[0]))
    spare = len(x) - len(counts) - 1
    reason = None
    if not dynamic:
        reason = "the idle power, which no clock changes, was not measured"
    elif varied < CLOCK_RANGE:
        reason = (
            f"the clock varied by {varied:.1%} of itself; at least {CLOCK_RANGE:.0%} are needed"
        )
    elif spare < _LEAST_FREEDOM:
        reason = f"{len(x)} images at {len(counts)} step counts; at least {_LEAST_FREEDOM} more images than step counts are needed"
    elif (joules <= 0).any():
        reason = f"{(joules <= 0).sum()} of {len(x)} images took no more than idling would have"
    found = {
        "watts": float(joules.sum() / seconds.sum()),
        "dynamic": dynamic,
        "coefficient": float(joules.sum() / np.sum(ghz**3 * seconds)),
        "clock_range": varied,
        "n": len(x),
        "tested": reason is None,
        "reason": reason,
    }
    if reason:
        return {**found, **dict.fromkeys(("exponent", "low", "high", "cubic"))}
    y, xx = within(np.log(joules / seconds)), np.sum(x**2)
    exponent = np.sum(x * y) / xx
    # The scatter may differ between step counts (coarse counters, short images): the slope's error
    # comes from each image's own residual (HC3).
    leverage = x**2 / xx + 1 / n[where]
    alone = n[where] > 1
    error = np.sqrt(np.sum((x * (y - exponent * x))[alone] ** 2 / (1 - leverage[alone]) ** 2)) / xx
    half = student.ppf(0.975, spare) * error
    low, high = exponent - half, exponent + half
    return {
        **found,
        "exponent": float(exponent),
        "low": float(low),
        "high": float(high),
        "cubic": bool(low <= 3 <= high),
    }
