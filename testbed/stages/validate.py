"""Totals of a run that need its images: the Fréchet distance of what was executed."""

import numpy as np

from calibration.records.task import POINTS
from testbed.data.captioned import Pictures
from testbed.metrics import quality
from testbed.metrics.distances import Reference, shortage

FRECHET_DRAWS = 200


def frechet_total(testbed, store, records, sweep):
    """Fréchet distance of the executed images, against calibration images of the same number and
    mixture.

    Each draw takes, for every executed image, a calibration image of the same place and class at
    the nearest calibrated step count, of a prompt not yet drawn for the class while there are any.
    Drawing n of N without repetition varies less, by 1 - n/N, than n new prompts would, and the N
    are a sample themselves: the 95 % interval of the draws is widened by sqrt((1 + n/N) / (1 -
    n/N)). With n >= N there is no interval.
    """
    executed = [r for r in records if r["asked"]["purpose"] == "user"]
    sets = {
        id(one.features): one.features for one in sweep["reference"].values()
    }  # the classes may share one
    reference = np.concatenate(list(sets.values()))
    measured = quality.frechet(
        testbed.extractor.images(Pictures([r["id"] for r in executed], store.image)), reference
    )
    cells = {}  # (place, class, steps) -> (prompt, seed) -> features
    for record in sweep["records"]:
        asked = record["asked"]
        if asked["purpose"] in POINTS:
            cells.setdefault((asked["place"], asked["prompt_class"], asked["steps"]), {})[
                asked["prompt"], asked["seed"]
            ] = sweep["features"][record["id"]]
    wanted = []
    for asked in (r["asked"] for r in executed):
        there = {
            steps: cell
            for (place, name, steps), cell in cells.items()
            if (place, name) == (asked["place"], asked["prompt_class"])
        }
        enough = (
            max(map(len, there.values())) / 2
        )  # an adaptive sweep leaves some step counts with its pilot's few images
        nearest = min(
            (s for s in there if len(there[s]) >= enough),
            key=lambda s: (abs(np.log(s / asked["steps"])), s),
        )
        wanted.append((asked["prompt_class"], there[nearest]))
    alike = {name: [cell.keys() for of, cell in wanted if of == name] for name, _ in wanted}
    pools = {
        name: [key for key in some[0] if all(key in other for other in some)]
        for name, some in alike.items()
    }
    share = max(len(alike[name]) / len(pool) for name, pool in pools.items())
    against, rng, values = Reference(reference), np.random.default_rng(0), []
    for _ in range(FRECHET_DRAWS):
        decks, drawn = {}, []
        for name, cell in wanted:
            deck = decks.setdefault(name, [])
            if not deck:
                deck.extend(pools[name][i] for i in rng.permutation(len(pools[name])))
            drawn.append(cell[deck.pop()])
        values.append(against.plain_frechet(np.stack(drawn).astype(float)))
    predicted = float(np.median(values))
    half = (
        1.96 * float(np.std(values, ddof=1) * np.sqrt((1 + share) / (1 - share)))
        if share < 1
        else None
    )
    return {
        "quantity": f"Fréchet distance ({len(executed)} images)",
        "unit": "",
        "predicted": predicted,
        "measured": measured,
        "low": half and predicted - half,
        "high": half and predicted + half,
        "relative_error": (predicted - measured) / measured,
        "inside": half and abs(predicted - measured) <= half,
        "basis": "measured",
        "note": shortage(len(executed), len(reference), reference.shape[1]),
    }
