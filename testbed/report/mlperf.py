"""MLPerf Inference's text-to-image benchmark (SDXL, 5,000 COCO captions): its conditions, and the
ranges that it accepts.

From ``text_to_image`` and ``tools/submission`` of mlcommons/inference: its fp32 reference reaches
an FID of 23.48046692 and a CLIP score of 31.74981837, and a closed submission must lie within 2 %
and 0.2 % of them. All its images begin with the same noise, of seed 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from calibration.profiles.profile import ClassProfile, Metrics
from calibration.records.record import Record
from calibration.records.task import POINTS, Task

IMAGES, STEPS = 5000, 20
MODEL = "stabilityai/stable-diffusion-xl-base-1.0"
CONDITIONS: dict[str, str | float] = {  # of a task
    "model": MODEL,
    "scheduler": "EulerDiscreteScheduler",
    "guidance": 8.0,
    "seed": 0,
    "negative_prompt": "normal quality, low quality, worst quality, low res, blurry, nsfw, nude",
}
CLIP = "openai/clip-vit-base-patch32"
RANGES = {"frechet": (23.01085758, 23.95007626), "clip_score": (31.68631873, 31.81331801)}


@dataclass(frozen=True)
class Range:
    """A ``quantity`` of ``n`` images of :data:`STEPS` steps, and the range accepted.

    ``inside`` is None where n is not :data:`IMAGES`, for which alone the ranges hold.
    """

    quantity: str
    value: float
    n: int | None
    low: float
    high: float
    inside: bool | None


def departures(task: Task, metrics: Metrics) -> list[str]:
    """How a measurement departs from the benchmark's conditions, one line each.

    ``task``: of an image of :data:`STEPS` steps. Without departures the ranges apply, provided that
    the captions and the reference are those of COCO's validation set of 2014, which cannot be told
    from the arguments.
    """
    extractor = metrics.frechet.extractor or ""
    compared: list[tuple[str, object, object]] = [
        *((name, getattr(task, name), wanted) for name, wanted in CONDITIONS.items()),
        ("steps", task.steps, STEPS),
        ("CLIP score", metrics.utility.model, CLIP),
        ("extractor", extractor.split(",")[0], "Inception-v3"),
    ]
    return [
        f"{name}: {'none' if here is None else here}; MLPerf: {wanted}"
        for name, here, wanted in compared
        if here != wanted
    ]


def ranges(profile: ClassProfile) -> list[Range]:
    """The profile's Fréchet distance and CLIP score at :data:`STEPS` steps."""
    rows = []
    for quantity, points in (("frechet", profile.frechet), ("clip_score", profile.clip_score)):
        low, high = RANGES[quantity]
        for point in points:
            if point.steps == STEPS:
                inside = low <= point.value <= high if point.n == IMAGES else None
                rows.append(Range(quantity, point.value, point.n, low, high, inside))
    return rows


def notes(
    records: Iterable[Record], profiles: Sequence[ClassProfile], metrics: Metrics
) -> list[str]:
    """How the accepted ranges compare with the profiles of the edge, in sentences.

    ``records``: of the calibration; without the benchmark's model among them there are none.
    """
    task = next((record.task for record in records if _of_its_model(record.task)), None)
    if task is None:
        return []
    sentences = [
        _sentence(profile.prompt_class, row) for profile in profiles for row in ranges(profile)
    ]
    departed = departures(task, metrics)
    if sentences and departed:
        sentences.append("Not MLPerf's conditions: " + "; ".join(departed) + ".")
    return sentences


def _of_its_model(task: Task) -> bool:
    return (
        task.place == "edge"
        and task.model == MODEL
        and task.steps == STEPS
        and task.purpose in POINTS
    )


def _sentence(prompt_class: str, row: Range) -> str:
    verdict = {
        None: f"which holds for {IMAGES} images only",
        True: "inside",
        False: "outside",
    }[row.inside]
    return (
        f"{row.quantity.replace('_', ' ')}, {prompt_class}, {row.n} images: {row.value:.4g}; "
        f"MLPerf accepts {row.low:.4f} to {row.high:.4f}: {verdict}."
    )
