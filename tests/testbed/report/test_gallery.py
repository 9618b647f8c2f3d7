"""The images of a report: whose they are, at which steps, and those that cannot be read."""

import base64
import json
import re

import pytest
from PIL import Image

from testbed.report import write_report
from testbed.report.gallery import embed
from tests.testbed.report.world import CONVERGED, PROMPTS, Page, copy


def test_the_same_prompt_is_shown_at_both_places_at_the_same_steps(page):
    """In each strip: one prompt, its first in the sweep, at 1, 2, 4, 8, 16, 32 and the converged
    steps.
    """
    alts = [
        attributes["alt"]
        for attributes in page.all("img")
        if not attributes["alt"].startswith("User")
    ]
    matches = (re.fullmatch(r"(.+), (\d+) steps: (.+)", alt) for alt in alts)
    strips = [match.groups() for match in matches if match]
    expected = [
        (place, str(steps), prompts[0])
        for prompts in PROMPTS.values()
        for place in ("edge server", "own device")
        for steps in (1, 2, 4, 8, 16, 32, CONVERGED)
    ]
    assert strips == expected


def test_every_user_gets_the_images_made_for_it(run, page):
    """By content: each image is the file of a record of that user, never a converged one."""
    files = {}
    for line in (run / "execution" / "records.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["asked"]["purpose"] == "user":
            raw = (run / "execution" / record["image"]).read_bytes()
            uri = "data:image/png;base64," + base64.b64encode(raw).decode()
            files.setdefault(record["asked"]["user"], set()).add(uri)
    shown = {}
    for attributes in page.all("img"):
        if match := re.match(r"User (\d+),", attributes["alt"]):
            shown.setdefault(int(match[1]), set()).add(attributes["src"])
    assert shown == files


@pytest.fixture
def part(run, tmp_path):
    """An allocation and its execution alone."""
    return copy(run, tmp_path / "part", "config.json", "allocation.json", "execution")


def user_records(part):
    lines = (part / "execution" / "records.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["asked"]["purpose"] == "user"]


def test_a_killed_run_and_lost_or_broken_images(part, undrawn):
    """The torn last line is no record; an image that cannot be read leaves a gap that says so."""
    path = part / "execution" / "records.jsonl"
    whole = path.read_text()
    first, second, *_ = user_records(part)
    (part / "execution" / first["image"]).unlink()
    image = part / "execution" / second["image"]
    image.write_bytes(image.read_bytes()[:200])
    path.write_text(whole + whole[:100])
    page = Page(write_report(part))
    # the allocation, without a scenario in one panel; two images for each user
    assert len(page.all("img")) == 1 + 60 - 2
    assert page.text.count("image unreadable") == 2


def test_an_image_outside_the_run_is_not_shown(part, undrawn):
    """A record may name any path: only images of the folder get into the page."""
    secret = part.parent / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    lines = []
    for record in user_records(part)[:2]:
        lines.append(json.dumps({**record, "image": "../../secret.png"}) + "\n")
    lines[1] = lines[1].replace("../../secret.png", str(secret))
    (part / "execution" / "records.jsonl").write_text("".join(lines))
    page = Page(write_report(part))
    assert page.text.count("image unreadable") == 2
    assert base64.b64encode(secret.read_bytes()).decode() not in (part / "report.html").read_text()


def test_images_of_another_allocation_are_left_out_and_counted(part, undrawn):
    """An earlier execution in the same folder: its images are nobody's now."""
    path = part / "execution" / "records.jsonl"
    record = user_records(part)[0]
    other = {**record, "id": "other", "asked": {**record["asked"], "steps": 5}}
    assert record["asked"]["steps"] != 5
    path.write_text(path.read_text() + json.dumps(other) + "\n")
    page = Page(write_report(part))
    assert "Then 60 images were really generated as allocated" in page.line()
    assert "1 image of another allocation" in page.line()


def test_large_images_are_reduced(tmp_path):
    Image.effect_noise((1024, 512), 80).convert("RGB").save(tmp_path / "large.png")
    shot = embed(tmp_path / "large.png")
    assert (shot.width, shot.height, shot.small) == (320, 160, False) and len(shot.uri) < 100_000


def test_an_absurdly_large_image_is_unreadable(tmp_path, monkeypatch):
    Image.new("RGB", (64, 64)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert embed(tmp_path / "bomb.png") is None
