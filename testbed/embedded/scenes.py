"""Seeded renderer of small captioned picture-book scenes, 64×64 RGB, anti-aliased.

Three prompt classes of growing difficulty:

- ``object``: one object of a colour and size at a place on plain paper;
- ``scene``: an object in a landscape at a time of day;
- ``relation``: two objects in a spatial relation.

Randomness comes from :class:`random.Random` seeded by a string, whose stream Python guarantees,
so that the same caption and seed give the same scene everywhere.
"""

import hashlib
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw

SIZE = 64  # pixels; scenes are square
_SUPERSAMPLE = 4  # drawn at 256×256, box-filtered down: this is the anti-aliasing

Colour = tuple[int, int, int]
Point = tuple[float, float]  # x, y in pixels

OBJECTS = ("ball", "house", "tree", "car", "star", "heart", "mushroom", "boat")
COLOURS: dict[str, Colour] = {
    "red": (214, 40, 40),
    "orange": (245, 135, 30),
    "yellow": (250, 214, 50),
    "green": (60, 160, 70),
    "blue": (45, 95, 205),
    "purple": (130, 60, 170),
    "pink": (245, 130, 180),
}
SIZES = {"small": 11.0, "big": 19.0}  # half-extent in pixels
PLACES: dict[str, Point] = {  # centres
    "in the middle": (32, 32),
    "on the left": (19, 32),
    "on the right": (45, 32),
    "at the top": (32, 20),
    "at the bottom": (32, 44),
}
LANDSCAPES: dict[str, Colour] = {  # phrase -> ground colour by day
    "on a meadow": (120, 190, 90),
    "on the beach": (235, 215, 160),
    "in the snow": (240, 244, 250),
    "in the desert": (225, 150, 90),
}
TIMES: dict[
    str, tuple[Colour, Colour, float]
] = {  # phrase -> (sky at the top, sky at the horizon, light on the ground 0..1)
    "in the morning": ((170, 205, 240), (255, 215, 190), 0.95),
    "at noon": ((90, 165, 235), (170, 215, 245), 1.0),
    "in the evening": ((110, 80, 150), (250, 140, 80), 0.80),
    "at night": ((15, 20, 60), (40, 50, 110), 0.45),
}
RELATIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
CLASSES = ("object", "scene", "relation")
SPLITS = ("train", "calibration", "held-out")


@dataclass(frozen=True)
class Caption:
    """One request of the grammar: its prompt class and the facts that it states."""

    prompt_class: str
    text: str
    facts: tuple[str, ...]


def _split_of(text: str) -> str:
    """Assign a caption to a split by a hash of its words, so that the splits never overlap."""
    bucket = hashlib.sha256(text.encode()).digest()[0]  # 0..255
    return "train" if bucket < 180 else "calibration" if bucket < 218 else "held-out"


@cache
def captions(prompt_class: str, split: str) -> tuple[Caption, ...]:
    """All captions of a class in a split, in a fixed shuffled order.

    Raises ``ValueError`` for an unknown class or split.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown; allowed: {', '.join(SPLITS)}")
    things = itertools.product(COLOURS, OBJECTS)
    if prompt_class == "object":
        everything = [
            Caption("object", f"a {size} {colour} {thing} {place}", (size, colour, thing, place))
            for size, (colour, thing), place in itertools.product(SIZES, things, PLACES)
        ]
    elif prompt_class == "scene":
        everything = [
            Caption(
                "scene",
                f"a {size} {colour} {thing} {land} {time}",
                (size, colour, thing, land, time),
            )
            for size, (colour, thing), land, time in itertools.product(
                SIZES, things, LANDSCAPES, TIMES
            )
        ]
    elif prompt_class == "relation":
        everything = [
            Caption("relation", f"a {c1} {o1} {relation} a {c2} {o2}", (c1, o1, relation, c2, o2))
            for (c1, o1), relation, (c2, o2) in itertools.product(
                list(things), RELATIONS, itertools.product(COLOURS, OBJECTS)
            )
            if c1 != c2 and o1 != o2
        ]
    else:
        raise ValueError(f"prompt class {prompt_class!r} is unknown; allowed: {', '.join(CLASSES)}")
    chosen = [caption for caption in everything if _split_of(caption.text) == split]
    random.Random(f"{prompt_class}/{split}").shuffle(chosen)
    return tuple(chosen)


def vocabulary() -> list[str]:
    """Every word of the grammar, sorted."""
    phrases = [*OBJECTS, *COLOURS, *SIZES, *PLACES, *LANDSCAPES, *TIMES, *RELATIONS, "a"]
    return sorted({word for phrase in phrases for word in phrase.split()})


def render(caption: Caption, seed: int | str, objects: bool = True) -> Image.Image:
    """Draw ``caption`` with the jitter of ``seed``: 64×64, RGB.

    With ``objects=False`` the same background is drawn without the objects on it.
    """
    rng = random.Random(f"{caption.text}/{seed}")
    side = SIZE * _SUPERSAMPLE
    image = Image.new("RGB", (side, side))
    draw = ImageDraw.Draw(image)
    if caption.prompt_class == "scene":
        size, colour, thing, land, time = caption.facts
        horizon = 38 + rng.uniform(-1.5, 1.5)
        _landscape(draw, rng, land, time, horizon)
        radius = SIZES[size] * rng.uniform(0.94, 1.06)
        # objects stand on the ground: their lower edge lies a little below the horizon
        centre = (32 + rng.uniform(-6, 6), 54 - radius + rng.uniform(-1.5, 1.5))
        if objects:
            _draw_object(draw, thing, COLOURS[colour], centre, radius)
    else:
        _paper(draw, rng)
        if caption.prompt_class == "object":
            size, colour, thing, place = caption.facts
            x, y = PLACES[place]
            placed = [(colour, thing, x, y, SIZES[size])]
        else:
            c1, o1, relation, c2, o2 = caption.facts
            dx, dy = RELATIONS[relation]
            placed = [
                (c1, o1, 32 + 15 * dx, 32 + 15 * dy, 12.5),
                (c2, o2, 32 - 15 * dx, 32 - 15 * dy, 12.5),
            ]
        for colour, thing, x, y, radius in placed if objects else []:
            centre = (x + rng.uniform(-1.5, 1.5), y + rng.uniform(-1.5, 1.5))
            _draw_object(draw, thing, COLOURS[colour], centre, radius * rng.uniform(0.94, 1.06))
    return image.resize((SIZE, SIZE), Image.Resampling.BOX)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(channel * factor)) for channel in colour)
    return red, green, blue


def _pale(colour: Colour) -> Colour:
    red, green, blue = (int(255 - (255 - channel) * 0.45) for channel in colour)
    return red, green, blue


def _paper(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    tone = rng.uniform(0.97, 1.0)
    draw.rectangle(
        (0, 0, SIZE * _SUPERSAMPLE, SIZE * _SUPERSAMPLE), fill=_shade((246, 240, 226), tone)
    )


def _landscape(
    draw: ImageDraw.ImageDraw, rng: random.Random, land: str, time: str, horizon: float
) -> None:
    top, low, light = TIMES[time]
    side, edge = SIZE * _SUPERSAMPLE, int(horizon * _SUPERSAMPLE)
    for row in range(edge):
        mix = row / edge
        draw.line((0, row, side, row), fill=tuple(int(a + (b - a) * mix) for a, b in zip(top, low)))
    if time == "at night":
        _disc(draw, (11, 11), 5, (245, 240, 200))  # the moon
    else:
        height = {"in the morning": 26, "at noon": 10, "in the evening": 32}[time]
        _disc(draw, (54, height), 5, (255, 245, 170))  # the sun
    ground = _shade(LANDSCAPES[land], light)
    draw.rectangle((0, edge, side, side), fill=ground)
    if land == "on the beach":  # a strip of sea below the horizon
        draw.rectangle((0, edge, side, edge + 5 * _SUPERSAMPLE), fill=_shade((60, 140, 190), light))
    elif land == "in the desert":  # a dune on the horizon
        x = rng.uniform(8, 20)
        _polygon(
            draw, (x, horizon), [(-16, 0.5), (0, -8), (18, 0.5)], 1, _shade((205, 125, 70), light)
        )
    elif land == "in the snow":  # a snowy hill
        x = rng.uniform(8, 20)
        _ellipse(draw, (x, horizon), 18, 6, ground)


def _ellipse(draw: ImageDraw.ImageDraw, centre: Point, rx: float, ry: float, fill: Colour) -> None:
    x, y = centre
    draw.ellipse([int(v * _SUPERSAMPLE) for v in (x - rx, y - ry, x + rx, y + ry)], fill=fill)


def _disc(draw: ImageDraw.ImageDraw, centre: Point, radius: float, fill: Colour) -> None:
    _ellipse(draw, centre, radius, radius, fill)


def _polygon(
    draw: ImageDraw.ImageDraw, centre: Point, points: Sequence[Point], scale: float, fill: Colour
) -> None:
    x, y = centre
    draw.polygon(
        [
            (int((x + px * scale) * _SUPERSAMPLE), int((y + py * scale) * _SUPERSAMPLE))
            for px, py in points
        ],
        fill=fill,
    )


_STAR: list[Point] = [
    (0, -1),
    (0.25, -0.33),
    (0.95, -0.31),
    (0.40, 0.12),
    (0.59, 0.81),
    (0, 0.42),
    (-0.59, 0.81),
    (-0.40, 0.12),
    (-0.95, -0.31),
    (-0.25, -0.33),
]


def _draw_object(
    draw: ImageDraw.ImageDraw, thing: str, colour: Colour, centre: Point, r: float
) -> None:
    """Draw one object within the square of half-extent ``r`` pixels around ``centre``."""
    x, y = centre
    dark, pale = _shade(colour, 0.68), _pale(colour)
    wood, cream, black = (110, 75, 50), (232, 205, 165), (45, 45, 55)

    def poly(points: Sequence[Point], fill: Colour) -> None:
        _polygon(draw, centre, points, r, fill)

    if thing == "ball":
        _disc(draw, centre, r * 0.95, colour)
        _disc(draw, (x - 0.33 * r, y - 0.35 * r), r * 0.25, pale)
    elif thing == "house":
        poly([(-0.72, -0.15), (0.72, -0.15), (0.72, 1), (-0.72, 1)], colour)
        poly([(-1, -0.1), (0, -1), (1, -0.1)], dark)
        poly([(-0.22, 0.35), (0.22, 0.35), (0.22, 1), (-0.22, 1)], cream)
    elif thing == "tree":
        poly([(-0.17, 0.2), (0.17, 0.2), (0.17, 1), (-0.17, 1)], wood)
        _disc(draw, (x, y - 0.32 * r), r * 0.68, colour)
    elif thing == "car":
        poly([(-0.55, -0.5), (0.4, -0.5), (0.7, 0.05), (-0.8, 0.05)], dark)
        poly([(-1, 0), (1, 0), (1, 0.55), (-1, 0.55)], colour)
        for side in (-0.52, 0.52):
            _disc(draw, (x + side * r, y + 0.58 * r), r * 0.27, black)
    elif thing == "star":
        poly(_STAR, colour)
    elif thing == "heart":
        for side in (-0.46, 0.46):
            _disc(draw, (x + side * r, y - 0.33 * r), r * 0.5, colour)
        poly([(-0.9, -0.12), (0, 0.95), (0.9, -0.12), (0, -0.4)], colour)
    elif thing == "mushroom":
        poly([(-0.27, 0), (0.27, 0), (0.36, 1), (-0.36, 1)], cream)
        draw.pieslice(
            [
                int(v * _SUPERSAMPLE)
                for v in (x - 0.95 * r, y - 0.85 * r, x + 0.95 * r, y + 0.95 * r)
            ],
            180,
            360,
            fill=colour,
        )
        for px, py in ((-0.45, -0.22), (0.12, -0.5), (0.5, -0.15)):
            _disc(draw, (x + px * r, y + py * r), r * 0.15, cream)
    elif thing == "boat":
        poly([(-1, 0.3), (1, 0.3), (0.65, 0.9), (-0.65, 0.9)], colour)
        poly([(-0.06, -1), (0.06, -1), (0.06, 0.3), (-0.06, 0.3)], wood)
        poly([(0.1, -0.9), (0.8, 0.15), (0.1, 0.15)], pale)
        poly([(-0.1, -0.7), (-0.65, 0.15), (-0.1, 0.15)], pale)
    else:
        raise ValueError(f"object {thing!r} is unknown; allowed: {', '.join(OBJECTS)}")
