"""MLPerf Inference's text-to-image benchmark (SDXL, 5,000 COCO captions): its conditions, and the
ranges that it accepts.

From ``text_to_image`` and ``tools/submission`` of mlcommons/inference: its fp32 reference reaches
an FID of 23.48046692 and a CLIP score of 31.74981837; a closed submission must lie within 2 % and
0.2 % of them. Its images are drawn from one fixed noise, of seed 0.
"""

IMAGES, STEPS = 5000, 20
MODEL = "stabilityai/stable-diffusion-xl-base-1.0"
CONDITIONS = {  # of a task
    "model": MODEL,
    "scheduler": "EulerDiscreteScheduler",
    "guidance": 8.0,
    "seed": 0,
    "negative_prompt": "normal quality, low quality, worst quality, low res, blurry, nsfw, nude",
}
CLIP = "openai/clip-vit-base-patch32"
RANGES = {"frechet": (23.01085758, 23.95007626), "clip_score": (31.68631873, 31.81331801)}


def departures(asked, metrics):
    """In what a measurement departs from the benchmark, one line each; none: its ranges apply.

    ``asked``: of the images of :data:`STEPS` steps, as a record holds it; ``metrics``: of their
    profiles. The captions, and that the reference is COCO's validation set of 2014, cannot be told
    from these.
    """
    found = {name: (asked.get(name), wanted) for name, wanted in CONDITIONS.items()}
    found["steps"] = asked.get("steps"), STEPS
    found["CLIP score"] = metrics["utility"]["model"], CLIP
    found["extractor"] = metrics["frechet"]["extractor"].split(",")[0], "Inception-v3"
    return [
        f"{name}: {'none' if here is None else here}; MLPerf: {wanted}"
        for name, (here, wanted) in found.items()
        if here != wanted
    ]


def verdicts(entry):
    """One row for each of the two values of a profile's images of :data:`STEPS` steps: {quantity,
    value, n, low, high, inside}.

    ``inside`` is None where the value is not of :data:`IMAGES` images: the ranges are for that
    number.
    """
    rows = []
    for quantity, (low, high) in RANGES.items():
        for point in entry[quantity]["points"]:
            if point["steps"] == STEPS:
                inside = low <= point["value"] <= high if point["n"] == IMAGES else None
                rows.append(
                    {
                        "quantity": quantity,
                        "value": point["value"],
                        "n": point["n"],
                        "low": low,
                        "high": high,
                        "inside": inside,
                    }
                )
    return rows
