"""Split images: one model makes the first steps of an image, the other goes on with its latents."""

from calibration.schema import Schema, frozen, limits
from solver.problem import PLACES

#: Of all steps, those that the first model makes.
SHARES = (0.25, 0.5, 0.75)


@frozen
class Split(Schema):
    """The place that begins (``first``), and how many of an image's steps are made at the edge."""

    first: str = limits(choices=PLACES)
    edge_steps: int = limits(least=1)

    def parts(self, steps: int) -> dict[str, int]:
        """The steps of each place, of ``steps`` in all, in the order in which they are made."""
        own = {"edge": self.edge_steps, "local": steps - self.edge_steps}
        return {place: own[place] for place in sorted(PLACES, key=self.first.__ne__)}

    def name(self, steps: int) -> str:
        """E.g. ``edge 4, then local 12``."""
        return ", then ".join(f"{place} {count}" for place, count in self.parts(steps).items())


@frozen
class HandOver(Schema):
    """Of a split image: seconds at each place, and the ``bytes`` of what is handed over: the
    latents, with what a multistep sampler keeps of its earlier steps.
    """

    local_time: float = limits(least=0)
    edge_time: float = limits(least=0)
    bytes: int = limits(least=0)

    def time(self, place: str) -> float:
        """Seconds at ``place``."""
        return self.local_time if place == "local" else self.edge_time


def split_options(steps: int) -> list[Split]:
    """The ways to share an image of ``steps`` steps: about :data:`SHARES` of them first, in both
    orders.
    """
    firsts = sorted({max(1, min(steps - 1, round(steps * share))) for share in SHARES})
    return [
        Split(first, count if first == "edge" else steps - count)
        for count in firsts
        for first in PLACES
        if steps > 1
    ]
