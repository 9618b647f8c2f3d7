"""What an adaptive sweep came to at one place."""

from calibration.schema import Schema, frozen


@frozen
class SweepRound(Schema):
    """Images made by the end of a round, and evaluations of the denoiser."""

    images: int
    evaluations: int


@frozen
class SweepWidth(Schema):
    """A parameter's ``value``, and the relative ``half_width`` of its 95 % interval.

    None where they are not known.
    """

    prompt_class: str
    quantity: str
    parameter: str
    value: float | None
    half_width: float | None
    reached: bool


@frozen
class SweepOutcome(Schema):
    """``target``: the half-width asked for; ``evaluations`` of the denoiser.

    ``uniform_evaluations`` (modelled): those that the uniform grid over 1 to 50 would take for the
    same width. ``rounds`` is empty and the evaluations are None in profiles of the format
    ``profiles/1`` of two places, which told only their sums.
    """

    target: float
    rounds: tuple[SweepRound, ...]
    evaluations: int | None
    uniform_evaluations: int | None
    widths: tuple[SweepWidth, ...]
