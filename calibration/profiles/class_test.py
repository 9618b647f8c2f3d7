"""Do prompt classes really differ? Profiles are fitted for each class, which costs images; this
says whether it pays.
"""

from collections import Counter, defaultdict

import numpy as np

from calibration.records.task import PLACES, POINTS

#: quantity -> the measured field, and (zero, unit) of its scale from a class's units
QUANTITIES = {
    "time": ("time", lambda units: (0.0, 1.0)),
    "error": ("distance", lambda units: (0.0, units["error_unit"])),
    "utility": (
        "clip_score",
        lambda units: (units["utility_floor"], units["utility_ceiling"] - units["utility_floor"]),
    ),
}
PERMUTATIONS = 999
LEVEL = 0.05


def differences(records, units):
    """One row for each place and quantity: {place, quantity, prompts, p, differ, share}.

    ``records``, ``units``: as :func:`calibration.profiles.build.build` takes them. ``p`` is that of
    a permutation test: how often classes drawn at random among the prompts lie further apart than
    the real ones do, over all step counts together, each in units of its spread among prompts.
    ``share`` is the part of the prompts' variance that lies between the classes. ``differ``: p <
    0.05. Rows without two classes of two prompts, each measured at the step counts that most
    prompts have, are left out.
    """
    rows = []
    for place in PLACES:
        for quantity, (field, scale) in QUANTITIES.items():
            values = defaultdict(lambda: defaultdict(list))  # (class, prompt) -> steps -> values
            for record in records:
                asked, value = record["asked"], record["measured"][field]
                if asked["place"] == place and asked["purpose"] in POINTS and value is not None:
                    zero, unit = scale(units[place, asked["prompt_class"]])
                    values[asked["prompt_class"], asked["prompt"]][asked["steps"]].append(
                        (value - zero) / unit
                    )
            # an adaptive sweep takes few step counts of most prompts; those of half of the prompts
            # decide which prompts can be compared
            often = Counter(steps for found in values.values() for steps in found)
            grid = sorted(steps for steps, times in often.items() if times > len(values) / 2)
            whole = {
                key: [np.mean(found[steps]) for steps in grid]
                for key, found in values.items()
                if found.keys() >= set(grid)
            }
            names = [name for name, _ in whole]
            if len(set(names)) < 2 or min(names.count(name) for name in names) < 2:
                continue
            p, share = _apart(
                np.array(list(whole.values())), np.unique(names, return_inverse=True)[1]
            )
            rows.append(
                {
                    "place": place,
                    "quantity": quantity,
                    "prompts": len(names),
                    "p": p,
                    "differ": p < LEVEL,
                    "share": share,
                }
            )
    return rows


def _apart(curves, kind):
    """(p, share) of curves, shape (prompts, steps), of classes ``kind``, shape (prompts,)."""
    spread = curves.std(axis=0)
    curves = (curves - curves.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    count = np.bincount(kind)

    def between(kind):
        sums = np.zeros((len(count), curves.shape[1]))
        np.add.at(sums, kind, curves)
        return float((sums**2 / count[:, None]).sum())

    rng, found = np.random.default_rng(0), between(kind)
    further = sum(
        between(rng.permutation(kind)) >= found * (1 - 1e-12) for _ in range(PERMUTATIONS)
    )
    return (1 + further) / (1 + PERMUTATIONS), found / max(float((curves**2).sum()), 1e-300)
