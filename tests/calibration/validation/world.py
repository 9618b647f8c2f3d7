"""Validations and profiles made by hand, for what is judged of them."""

from dataclasses import replace

from calibration.comparison import Comparison, Total
from calibration.validation.validation import UserValidation, Validation

NOTHING = Comparison(predicted=1.0, low=None, high=None)


def row(inside=True, measured=10.0, basis="measured", low=9.0, high=12.0, note=None):
    return Total(
        quantity="time (sum)",
        unit="s",
        predicted=10.5,
        low=low,
        high=high,
        measured=measured,
        inside=inside,
        basis=basis,
        note=note,
    )


def validation(totals=(), inside=30, users=30, basis="measured", drift=None):
    """``inside`` of the time intervals of ``users``, each of another class, hold; the rest was not
    measured.
    """
    people = tuple(
        UserValidation(
            user=index,
            prompt_class=str(index),
            device_class="server-core",
            place="edge",
            steps=8,
            images=1,
            time=replace(NOTHING, inside=index < inside, basis=basis),
            energy=NOTHING,
            error=NOTHING,
            utility=NOTHING,
            clip_score=NOTHING,
            records=(),
        )
        for index in range(users)
    )
    return Validation(people, tuple(totals), {}, {}, {}, drift or {}, ())


def with_classes(profiles, change):
    """``profiles`` with ``change`` (a function of place and profile) made to every class."""
    places = (
        replace(place, classes=tuple(change(place.place, profile) for profile in place.classes))
        for place in profiles.places
    )
    return replace(profiles, places=tuple(places))
