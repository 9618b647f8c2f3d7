"""The report in a real browser: headless Chromium, from a file, at the width of a phone and of a
desk, and in print.
"""

import json
import re
import shutil

import pytest

from testbed.report import write_report
from tests.testbed.report.world import Page, make_run, with_optional_parts

# What is painted: a rectangle for every line of text and every picture, cut to the boxes that it
# scrolls in. A text's rectangle is taken to be the middle 70 % of its line, as the boxes of
# neighbouring lines may touch.
PAINTED = """() => {
  const found = [];
  const add = (box, element, what, shrink) => {
    let {left, right, top, bottom} = box;
    for (let one = element; one; one = one.parentElement)
      if (getComputedStyle(one).overflowX !== 'visible') {
        const view = one.getBoundingClientRect();
        [left, right, top, bottom] = [Math.max(left, view.left), Math.min(right, view.right), Math.max(top, view.top), Math.min(bottom, view.bottom)];
      }
    const trim = shrink * (bottom - top);
    if (right - left > 1 && bottom - top > 1) found.push({left, right, top: top + trim, bottom: bottom - trim, what});
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode, element = text.parentElement;
    if (!text.data.trim() || !element.checkVisibility({contentVisibilityAuto: true}) || element.closest('svg')) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    for (const box of range.getClientRects()) add(box, element, text.data.trim().slice(0, 40), 0.15);
  }
  for (const image of document.images)
    if (image.checkVisibility()) add(image.getBoundingClientRect(), image, image.alt.slice(0, 40), 0);
  return found;
}"""


def overlaps(boxes, least=1.0):
    """Pairs of rectangles that share more than ``least`` px in both directions."""
    boxes, found, open_ones = sorted(boxes, key=lambda box: box["top"]), [], []
    for box in boxes:
        open_ones = [one for one in open_ones if one["bottom"] > box["top"] + least]
        found += [
            (one["what"], box["what"])
            for one in open_ones
            if min(one["right"], box["right"]) - max(one["left"], box["left"]) > least
            and min(one["bottom"], box["bottom"]) - box["top"] > least
        ]
        open_ones.append(box)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A complete run with all that a report can show."""
    run = make_run(tmp_path_factory.mktemp("runs") / "demo")
    profiles = json.loads((run / "profiles.json").read_text())
    (run / "profiles.json").write_text(json.dumps(with_optional_parts(profiles)))
    write_report(run)
    return run


@pytest.fixture(scope="module")
def tab(run):
    """The report, opened, with all that the browser ``said`` and ``asked`` for."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(
        (
            path
            for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
            if path
        ),
        None,
    )
    if not executable:
        pytest.skip("no Chromium on this machine")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=flags)
        tab = chromium.new_context(offline=True).new_page()
        tab.said, tab.asked = [], []
        tab.on("console", lambda message: tab.said.append(message.text))
        tab.on("pageerror", lambda problem: tab.said.append(str(problem)))
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.goto((run / "report.html").as_uri())
        yield tab
        chromium.close()


def open_all(tab, wanted):
    tab.evaluate(
        "wanted => document.querySelectorAll('details').forEach(one => { one.open = wanted })",
        wanted,
    )


def test_every_picture_loads_nothing_is_asked_for_and_nothing_is_said(run, tab):
    open_all(tab, True)
    assert tab.evaluate("document.images.length") == len(Page(run / "report.html").all("img")) > 100
    assert (
        tab.evaluate(
            "[...document.images].filter(one => !(one.complete && one.naturalWidth > 0)).length"
        )
        == 0
    )
    assert [url for url in tab.asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in tab.asked if url.startswith("file:")]) == 1
    assert tab.said == []


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("width", [380, 1400])
def test_nothing_overlaps_sticks_out_or_is_too_small_to_read(tab, width, opened):
    tab.set_viewport_size({"width": width, "height": 900})
    open_all(tab, opened)
    painted = tab.evaluate(PAINTED)
    assert len(painted) > (1500 if opened else 500)
    assert overlaps(painted) == []
    assert (
        max(box["right"] for box in painted) <= width and min(box["left"] for box in painted) >= 0
    )
    assert (
        tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        == 0
    )
    sizes = "[...document.querySelectorAll('p, li, td, th, span')].filter(one => one.checkVisibility()).map(one => parseFloat(getComputedStyle(one).fontSize))"
    assert min(tab.evaluate(sizes)) >= 11


def test_an_overlap_would_be_found(tab):
    """One caption pushed up into its picture is enough."""
    tab.set_viewport_size({"width": 1400, "height": 900})
    open_all(tab, False)
    tab.add_style_tag(content="#moved { position: relative; top: -60px; }")
    tab.evaluate("document.querySelector('.behind').id = 'moved'")
    assert overlaps(tab.evaluate(PAINTED))
    tab.evaluate("document.querySelector('.behind').id = ''")
    assert overlaps(tab.evaluate(PAINTED)) == []


def test_the_numbers_behind_a_plot_are_a_click_away(run, tab):
    open_all(tab, False)
    tab.locator("#curves details.behind summary").first.click()
    link = tab.locator("#curves details.behind a").first
    assert link.is_visible() and (run / link.get_attribute("href")).is_file()


def test_the_print_holds_every_section_and_cuts_no_panel(tab):
    """The PDF's outline has every heading; in print, details are open but for the numbers behind
    plots, and no table sticks out.
    """
    open_all(tab, False)
    printed = tab.pdf(format="A4", outline=True, tagged=True)
    assert printed.startswith(b"%PDF-")
    titles = [title.decode("latin-1") for title in re.findall(rb"/Title \((.*?)\)", printed)]
    headings = tab.evaluate("[...document.querySelectorAll('h2')].map(one => one.textContent)")
    assert len(headings) == 8 and all(
        any(heading.replace("'", "") in title.replace("'", "") for title in titles)
        for heading in headings
    )
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 688, "height": 1000})  # A4 less its margins, at 96 px an inch
    assert (
        tab.evaluate(
            "[...document.querySelectorAll('details')].filter(one => one.checkVisibility() == one.classList.contains('behind')).length"
        )
        == 0
    )
    hidden = "one => [...one.querySelectorAll('table, pre, ul')].some(inner => !inner.checkVisibility({contentVisibilityAuto: true}))"
    assert (
        tab.evaluate(
            f"[...document.querySelectorAll('details:not(.behind)')].filter({hidden}).length"
        )
        == 0
    )
    assert (
        tab.evaluate(
            "[...document.querySelectorAll('figure, .strip')].filter(one => getComputedStyle(one).breakInside !== 'avoid').length"
        )
        == 0
    )
    assert (
        tab.evaluate(
            "Math.max(...[...document.querySelectorAll('table, figure, pre, p')].map(one => one.getBoundingClientRect().right))"
        )
        <= 688
    )
    assert overlaps(tab.evaluate(PAINTED)) == []
