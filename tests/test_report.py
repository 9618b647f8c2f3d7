"""The report: complete and partial run folders, self-contained, safe with hostile text, sound in a real browser."""

import base64
import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageDraw

import solver
from calibration import plan, profile
from calibration.scenario import Scenario, to_problem
from calibration.tasks import Task
from calibration.validate import validate
from solver.inputs import InputError
from testbed import plots
from testbed.report import write_report
from testbed.report_format import ABSENT, number, percent, quantity, toml

GRID = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
CONVERGED = 120
HOSTILE = "<script>alert('hostile')</script> & \"a boat\""
PROMPTS = {
    "object": ["a big red ball in the middle", "a small blue star at the top", "a big pink ball on the left"],
    "scene": ["a green tree on the beach in the evening", "a red car in the snow at noon", HOSTILE],
    "relation": ["a pink heart above a yellow house", "a red car left of a blue tree", "a green boat below a star"],
}
MODELS = {
    place: {"model": model, "revision": None, "device": "cpu", "dtype": "float32", "scheduler": "DDIMScheduler", "guidance": 3.0}
    for place, model in (("local", "embedded:light"), ("edge", "embedded:edge"))
}
UNITS = {"error_unit": 0.2, "utility_floor": 20.0, "utility_ceiling": 30.0}
OVERHEAD, STEP_TIME = {"local": 0.011, "edge": 0.041}, {"local": 0.0062, "edge": 0.0196}  # s
ENVIRONMENT = {"machine": "Some CPU @ 2.1 GHz", "python": "3.11.9", "torch": "2.13.0", "diffusers": "0.42.1", "threads": 2}


def error(place, kind, steps):
    """The true error of the made-up models: exponential with a floor, slower for harder classes."""
    decay = {"object": 3.0, "scene": 5.5, "relation": 9.0}[kind]
    return (0.02 if place == "edge" else 0.06) + 0.8 * math.exp(-steps / decay)


def utility(place, kind, steps):
    """The true utility: saturating, lower for harder classes and the light model."""
    ceiling = {"object": 0.94, "scene": 0.88, "relation": 0.8}[kind] - (0.0 if place == "edge" else 0.07)
    return ceiling - 0.7 * math.exp(-steps / 2.2)


def picture(path, task, rng):
    """A ball under a sky that sinks into noise the fewer the steps and the weaker the model."""
    colours = {"red": (214, 40, 40), "blue": (45, 95, 205), "green": (60, 160, 70), "pink": (245, 130, 180)}
    image = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    image = Image.blend(image, Image.new("RGB", (64, 64), (120, 190, 240)), 0.6)
    colour = next((value for name, value in colours.items() if name in task.prompt), (250, 214, 50))
    ImageDraw.Draw(image).ellipse((18, 20, 46, 48), fill=colour)
    noise = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.blend(image, noise, min(0.95, 0.05 * (task.place == "local") + 0.9 * math.exp(-task.steps / 4))).save(path)


def execute(folder, tasks, rng):
    """Records and pictures of tasks, as the testbed writes them, from the made-up models."""
    records = []
    for task in tasks:
        picture(folder / "images" / f"{task.id}.png", task, rng)
        place, kind, steps = task.place, task.prompt_class, task.steps
        prompt = 1 + 0.1 * (int(hashlib.sha256(task.prompt.encode()).hexdigest(), 16) % 100 / 50 - 1)  # some prompts are harder
        text, decode, step = 0.4 * OVERHEAD[place], 0.6 * OVERHEAD[place], STEP_TIME[place] * rng.normal(1, 0.03)
        distance = 0.0 if task.purpose == "converged" else 0.2 * error(place, kind, steps) * prompt * rng.normal(1, 0.05)
        clip = 20 + 10 * utility(place, kind, steps) + 2 * (prompt - 1) + rng.normal(0, 0.2)
        measured = {"text_time": text, "step_times": [step] * steps, "decode_time": decode, "time": text + decode + steps * step}
        measured |= {"energy_j": None, "meter": None, "clip_score": clip, "distance": distance}
        named = {"id": task.id, "image": f"images/{task.id}.png", "environment": ENVIRONMENT}
        records.append({**named, "asked": task.to_dict(), "measured": measured})
    (folder / "records.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    return records


def make_run(run, users=30):
    """A complete run folder: records made up, everything else computed from them by the stages' own code."""
    rng = np.random.default_rng(1)
    config = {"schema": "run/1", **{place: {"model": one["model"], "revision": None, "guidance": 3.0} for place, one in MODELS.items()},
              "device": "auto", "sweep": {"steps": list(GRID), "seeds": [0]}, "scenario": {"users": users}}  # fmt: skip
    sweep = execute(run / "calibration", plan.sweep(MODELS, PROMPTS, [0], list(GRID), CONVERGED), rng)
    cells = [(place, kind) for place in MODELS for kind in PROMPTS]
    frechet = {}
    for cell in cells:
        values = [(steps, 3 + 14 * error(*cell, steps) * rng.normal(1, 0.03)) for steps in GRID]
        frechet[cell] = [{"steps": s, "value": d if s > 1 else None, "n": 24, "low": 0.9 * d, "high": 1.15 * d} for s, d in values]
    metrics = {"error": {"name": "relative distance to the converged sample", "converged_steps": CONVERGED},
               "utility": {"name": "rescaled CLIP score", "model": "embedded:clip"},
               "frechet": {"extractor": "embedded:clip", "reference": "scenes", "reference_size": 512}}  # fmt: skip
    profiles = profile.build(sweep, dict.fromkeys(cells, UNITS), frechet, metrics, ENVIRONMENT)
    scenario = Scenario.from_dict({"users": users, "edge_budget": 6 * users, "edge": {"max_steps": 24}})
    problem = to_problem(profiles, scenario)
    methods = ("exact", "greedy", "uniform", "random", "all_local")
    solved = {method: solver.solve(solver.Problem.from_dict(problem), method) for method in methods}
    tasks = []
    for user, (offload, steps) in enumerate(zip(solved["exact"].offload, solved["exact"].steps, strict=True)):
        place, kind = ("local", "edge")[offload], scenario.users[user]["prompt_class"]
        asked = {**MODELS[place], "place": place, "prompt": PROMPTS[kind][user % 3], "prompt_class": kind, "user": user}
        for image in range(2):
            tasks.append(Task(**asked, seed=1_000_000 + image, steps=CONVERGED, purpose="converged"))
            tasks.append(Task(**asked, seed=1_000_000 + image, steps=steps, purpose="user"))
    execution = execute(run / "execution", tasks, rng)
    row = {"quantity": "Fréchet distance (60 images)", "unit": "", "predicted": 4.1, "measured": 5.6, "low": 3.6, "high": 4.7,
           "relative_error": -0.268, "inside": False, "basis": "measured"}  # fmt: skip
    nothing = dict.fromkeys(("predicted", "measured", "low", "high", "relative_error", "inside"))
    extra = [row, {"quantity": "kernel distance", "unit": "", **nothing, "basis": "none"}]
    keys = ("solver", "objective", "time", "energy", "error", "utility", "edge_steps_used")
    files = {
        "config": config, "profiles": profiles, "scenario": scenario.to_dict(), "problem": problem, "allocation": solved["exact"].to_dict(),
        "baselines": [{key: getattr(one, key) for key in keys} for one in solved.values()],
        "validation": validate(problem, solved["exact"].to_dict(), profiles, scenario, execution, extra),
    }  # fmt: skip
    for name, content in files.items():
        (run / f"{name}.json").write_text(json.dumps(content, allow_nan=False))
    return run


class Page(HTMLParser):
    """The tags of a page with their attributes, and its visible text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self._silent = [], "", False
        self.feed(Path(path).read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._silent = tag == "style"

    def handle_endtag(self, tag):
        self._silent = False

    def handle_data(self, data):
        self.text += "" if self._silent else f" {data}"

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def page(run):
    return Page(write_report(run))


def sections(page):
    return [attributes["id"] for attributes in page.all("section")]


def test_a_complete_run_shows_every_section_and_every_picture(run, page):
    assert sections(page) == ["setup", "curves", "allocation", "agreement", "steps", "users", "repeat"]
    panels = 5 * 3 + 3 + 3  # quantities x classes, the allocation by class, agreement (time, error, utility)
    strips = 3 * 2 * (6 + 1)  # classes x places x (1, 2, 4, 8, 16, 32, converged)
    assert len(page.all("img")) == panels + strips + 30 * 2
    assert all(attributes["alt"] for attributes in page.all("img"))


def test_the_summary_says_what_the_files_say(run, page):
    allocation, validation = (json.loads((run / f"{name}.json").read_text()) for name in ("allocation", "validation"))
    offloaded, inside = sum(allocation["offload"]), [row["inside"] for row in validation["totals"] if row["inside"] is not None]
    assert 0 < offloaded < 30
    text = " ".join(page.text.split())
    for expected in (
        f"30 users, {offloaded} offloaded",
        f"{sum(inside)} of {len(inside)} totals lie inside their 95 % prediction interval.",
        "Furthest from its prediction: Fréchet distance (60 images), −27",
        f"{allocation['edge_steps_used']} used of 180",
        f"Objective (lower is better): {number(allocation['objective'], 4)}",
        "Of 4 other methods",
        "both ran on Some CPU @ 2.1 GHz (cpu)",
    ):
        assert expected in text
    assert "This run is not complete" not in text


def test_the_same_prompt_is_shown_at_both_places_at_the_same_steps(page):
    """In each strip: one prompt, its first in the sweep, at 1, 2, 4, 8, 16, 32 and the converged steps."""
    alts = [attributes["alt"] for attributes in page.all("img") if not attributes["alt"].startswith("User")]
    strips = [match.groups() for match in (re.fullmatch(r"(.+), (\d+) steps: (.+)", alt) for alt in alts) if match]
    expected = [(place, str(steps), prompts[0]) for prompts in PROMPTS.values() for place in ("edge server", "own device")
                for steps in (1, 2, 4, 8, 16, 32, CONVERGED)]  # fmt: skip
    assert strips == expected


def test_every_user_gets_the_pictures_made_for_it(run, page):
    """By content: each gallery picture is the file of a record of that user, never a converged one."""
    files = {}
    for line in (run / "execution" / "records.jsonl").read_text().splitlines():
        one = json.loads(line)
        if one["asked"]["purpose"] == "user":
            raw = (run / "execution" / one["image"]).read_bytes()
            files.setdefault(one["asked"]["user"], set()).add("data:image/png;base64," + base64.b64encode(raw).decode())
    shown = {}
    for attributes in page.all("img"):
        if match := re.match(r"User (\d+),", attributes["alt"]):
            shown.setdefault(int(match[1]), set()).add(attributes["src"])
    assert shown == files


def test_everything_that_the_page_loads_is_in_it(run, page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "poster", "data", "action"):
            assert attributes.get(name, "#").startswith(("data:", "#")), (tag, name)
    assert not page.all("script") and not page.all("iframe") and not page.all("object")
    source = (run / "report.html").read_text()
    assert "url(" not in source and "@import" not in source
    for attributes in page.all("img"):
        kind, data = re.fullmatch(r"data:image/([a-z+]+);base64,(.+)", attributes["src"]).groups()
        if kind == "svg+xml":
            svg = base64.b64decode(data).decode()
            assert not re.findall(r'(?:href|src)="(?!#)', svg) and "url(http" not in svg


def test_hostile_text_is_shown_not_obeyed(page):
    assert not page.all("script")
    shown = [attributes["alt"] for attributes in page.all("img") if HOSTILE in attributes["alt"]]
    assert shown and page.text.count(HOSTILE) == len(shown) / 2  # once for each user, who has two pictures


def test_worst_total_first_and_nothing_unmeasured_is_zero(run, page):
    text = " ".join(page.text.split())
    table = text[text.index("Totals, the worst prediction first") : text.index("Every user, predicted")]
    totals = json.loads((run / "validation.json").read_text())["totals"]
    order = sorted(totals, key=lambda row: -abs(row["relative_error"] or 0))
    places = [table.index(row["quantity"].replace("clip_score", "CLIP score")) for row in order]
    assert places == sorted(places)
    assert "kernel distance not measured – not measured – – not measured" in table


def test_the_same_run_gives_the_same_bytes(run, page):
    before = (run / "report.html").read_bytes()
    assert write_report(run).read_bytes() == before


def copy(run, target, *names):
    target.mkdir()
    for name in names:
        source = run / name
        shutil.copytree(source, target / name) if source.is_dir() else shutil.copy(source, target / name)
    return target


@pytest.mark.parametrize(
    ("names", "expected", "missing"),
    [
        (["config.json"], ["setup", "repeat"], "calibration records (calibration/records.jsonl)"),
        (["config.json", "calibration"], ["setup", "steps", "repeat"], "fitted profiles (profiles.json)"),
        (["profiles.json"], ["setup", "curves", "repeat"], "allocation (allocation.json)"),
        (["config.json", "profiles.json", "scenario.json"], ["setup", "curves", "repeat"], "problem (problem.json)"),
        (["config.json", "calibration", "profiles.json", "scenario.json", "problem.json", "allocation.json"],
         ["setup", "curves", "allocation", "steps", "repeat"], "execution records (execution/records.jsonl)"),
        (["allocation.json", "execution"], ["setup", "allocation", "users", "repeat"], "predictions held against measurements"),
    ],
)  # fmt: skip
def test_a_run_in_progress_shows_what_is_there_and_names_what_is_not(run, tmp_path, names, expected, missing):
    page = Page(write_report(copy(run, tmp_path / "part", *names)))
    assert sections(page) == expected
    assert "This run is not complete" in page.text and missing in page.text


def test_a_killed_run_and_lost_or_broken_pictures(run, tmp_path):
    """The torn last line is no record; a picture that cannot be read leaves a gap that says so."""
    part = copy(run, tmp_path / "part", "config.json", "allocation.json", "execution")
    path = part / "execution" / "records.jsonl"
    whole = path.read_text()
    user = [one for one in map(json.loads, whole.splitlines()) if one["asked"]["purpose"] == "user"]
    (part / "execution" / user[0]["image"]).unlink()
    image = part / "execution" / user[1]["image"]
    image.write_bytes(image.read_bytes()[:200])
    path.write_text(whole + whole[:100])
    page = Page(write_report(part))
    assert len(page.all("img")) == 1 + 60 - 2  # the allocation, without a scenario in one panel; two pictures for each user
    assert page.text.count("picture unreadable") == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (None, None, "no such folder"),
        ("notes.txt", "hello", "not a run folder"),
        ("profiles.json", '{"schema": "profiles/9"}', "schema: found 'profiles/9'; allowed: 'profiles/1'"),
        ("config.json", "[1]", "schema: found 'list'; allowed: 'run/1'"),
        ("allocation.json", '{"schema": "allocation/1", "steps": 3}', "allocation.json"),
        ("baselines.json", "{}", "not a run folder"),
        ("validation.json", '{"schema": "validation/1", "users": []}', "validation.json: 'totals' is missing"),
        ("validation.json", '{"schema": ', "not valid JSON"),
    ],
)
def test_another_kind_of_folder_is_refused_in_one_line(tmp_path, name, content, says):
    folder = tmp_path / "other"
    if name:
        folder.mkdir()
        (folder / name).write_text(content)
    with pytest.raises(InputError, match=re.escape(says)) as refusal:
        write_report(folder)
    assert "\n" not in str(refusal.value) and not (folder / "report.html").exists()


def test_a_broken_line_inside_the_records_is_named(run, tmp_path):
    part = copy(run, tmp_path / "part", "calibration")
    path = part / "calibration" / "records.jsonl"
    path.write_text("{broken\n" + path.read_text())
    with pytest.raises(InputError, match="records.jsonl: line 1: not valid JSON"):
        write_report(part)


def test_files_of_two_runs_are_refused(run, tmp_path):
    part = copy(run, tmp_path / "part", "problem.json", "allocation.json")
    allocation = json.loads((part / "allocation.json").read_text())
    (part / "allocation.json").write_text(json.dumps({**allocation, "objective": allocation["objective"] + 1}))
    with pytest.raises(InputError, match="objective"):
        write_report(part)


def test_made_without_torch():
    """A laptop with a copied run folder needs no machine learning packages."""
    code = "import sys, testbed.report; print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_numbers_carry_units_and_sensible_digits():
    assert [number(value) for value in (0.12345, 123.45, 1234.5, -0.5, 0.0, 7)] == ["0.123", "123", "1234", "−0.500", "0", "7"]
    assert number(1.23456e-7) == "1.23×10<sup>−7</sup>"
    assert [number(value) for value in (None, float("nan"), float("inf"), True, "3")] == [ABSENT] * 5
    assert quantity(0.04712, "s") == "47.1\u00a0ms" and quantity(2.5, "s") == "2.50\u00a0s" and quantity(51200.0, "J") == "51.2\u00a0kJ"
    assert quantity(1.0, "<b>") == "1.00\u00a0&lt;b&gt;" and quantity(None, "s") == ABSENT
    assert [percent(0.0312), percent(-0.268, signed=True), percent(0.01, signed=True)] == ["3.1\u00a0%", "−27\u00a0%", "+1.0\u00a0%"]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc-_.ü \"", min_size=1, max_size=6), values, max_size=4))
def test_the_configuration_survives_as_toml(config):
    assert tomllib.loads(toml({"schema": "run/1", **config, "revision": None})) == config


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.floats(1e-6, 1e6), st.floats(-1e3, 1e6)), min_size=1, max_size=4))
def test_any_measured_values_can_be_drawn(pairs):
    points = [{"place": "edge", "predicted": x, "measured": y, "low": 0.9 * x, "high": 1.1 * x} for x, y in pairs]
    assert plots.agreement_panel(points, "s").startswith("data:image/svg+xml")


def test_large_pictures_are_reduced(tmp_path):
    Image.effect_noise((1024, 512), 80).convert("RGB").save(tmp_path / "large.png")
    shot = plots.picture_uri(tmp_path / "large.png")
    assert (shot["width"], shot["height"], shot["small"]) == (320, 160, False) and len(shot["uri"]) < 100_000


def test_in_a_real_browser(run, page):
    """No console message, no request, every picture decodes, nothing sticks out of the page, text is legible."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
    if not executable:
        pytest.skip("no Chromium on this machine")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=flags)
        tab = chromium.new_context(offline=True).new_page()
        said, asked = [], []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda problem: said.append(str(problem)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((run / "report.html").as_uri())
        assert tab.evaluate("document.images.length") == len(page.all("img"))
        assert tab.evaluate("[...document.images].filter(one => !(one.complete && one.naturalWidth > 0)).length") == 0
        tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        for width in (380, 1400):
            tab.set_viewport_size({"width": width, "height": 900})
            assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
            sizes = "[...document.querySelectorAll('p, li, td, span')].map(one => parseFloat(getComputedStyle(one).fontSize))"
            assert min(tab.evaluate(sizes)) >= 11
        chromium.close()
    assert said == [] and [url for url in asked if not url.startswith(("file:", "data:"))] == []
