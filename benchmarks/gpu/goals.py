"""What is aimed at, and at how many steps others have measured."""

OVER_STOCK = 3.0  # times as fast as the stock pipeline, one request after another
CEILING = 0.95  # of the speed of the network calls alone
STEPS = 20  # of an image, in the published figures
_DISTILLED = {"sana-sprint": 4}  # to at most so many


def steps_of(name: str) -> int:
    """Steps of an image of the architecture ``name``."""
    return min(STEPS, _DISTILLED.get(name, STEPS))
