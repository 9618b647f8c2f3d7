"""What the head of a page says of a run: what is left out of it, and what nobody asked for."""

from collections import defaultdict

from calibration.profiles.profile import Profiles
from testbed.config import Config, defaults
from testbed.report.curves.quantities import PLACES


def left_out(profiles: Profiles | None, config: Config | None) -> list[str]:
    """What was not measured, and why, in sentences; and what one would not expect."""
    said = [f"{notice}." for notice in defaults.notices(config)] if config else []
    if profiles is None:
        return said
    where: dict[str, list[str]] = defaultdict(list)
    for place in profiles.places:
        for profile in place.classes:
            if note := profile.scales.utility_note:
                where[note].append(f"{profile.prompt_class}, {PLACES[place.place]}")
    said += [
        f"Utility of {'; '.join(cells)}: {note}. It has weight 0 in the objective."
        for note, cells in where.items()
    ]
    if not any(profile.frechet for place in profiles.places for profile in place.classes):
        said.append("Fréchet distance, KID and CMMD: nothing compares images with a reference.")
    said += [
        f"Continuous batching on the {PLACES[place.place]}: {place.batch_note}."
        for place in profiles.places
        if place.batch_note
    ]
    return said
