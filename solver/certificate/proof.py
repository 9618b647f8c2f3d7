"""What a proof says of an allocation."""

from typing import NamedTuple


class Proof(NamedTuple):
    """``excess`` >= 0 is what the choice costs at most more than the optimum.

    ``complete``: it is no more than that, up to rounding, or within :data:`OPTIMAL`. ``rounding``
    is the part of ``excess`` that only stands for rounding: it refutes no bound.
    """

    excess: float
    complete: bool
    rounding: float = 0.0
