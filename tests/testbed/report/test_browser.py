"""The report in a real browser: headless Chromium, from a file, at the width of a phone and of a
desk, and in print.
"""

import re
import shutil

import pytest

# What is painted: a rectangle for every line of text and every image, cut to the boxes that it
# scrolls in. A text's rectangle is taken to be the middle 70 % of its line, as the boxes of
# neighbouring lines may touch.
PAINTED = """() => {
  const painted = [];
  const add = (box, element, what, shrink) => {
    let {left, right, top, bottom} = box;
    for (let node = element; node; node = node.parentElement)
      if (getComputedStyle(node).overflowX !== 'visible') {
        const view = node.getBoundingClientRect();
        left = Math.max(left, view.left);
        right = Math.min(right, view.right);
        top = Math.max(top, view.top);
        bottom = Math.min(bottom, view.bottom);
      }
    const trim = shrink * (bottom - top);
    if (right - left > 1 && bottom - top > 1)
      painted.push({left, right, top: top + trim, bottom: bottom - trim, what});
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode, element = text.parentElement;
    const visible = element.checkVisibility({contentVisibilityAuto: true});
    if (!text.data.trim() || !visible || element.closest('svg')) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const what = text.data.trim().slice(0, 40);
    for (const box of range.getClientRects()) add(box, element, what, 0.15);
  }
  for (const image of document.images) {
    const box = image.getBoundingClientRect();
    if (image.checkVisibility()) add(box, image, image.alt.slice(0, 40), 0);
  }
  return painted;
}"""

BROKEN_IMAGES = """[...document.images]
  .filter(image => !(image.complete && image.naturalWidth > 0)).length"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
FONT_SIZES = """[...document.querySelectorAll('p, li, td, th, span')]
  .filter(node => node.checkVisibility())
  .map(node => parseFloat(getComputedStyle(node).fontSize))"""
# in print, details are open but for the numbers behind plots
WRONGLY_SHOWN = """[...document.querySelectorAll('details')]
  .filter(node => node.checkVisibility() == node.classList.contains('behind')).length"""
HIDDEN_CONTENT = """[...document.querySelectorAll('details:not(.behind)')]
  .filter(node => [...node.querySelectorAll('table, pre, ul')]
    .some(inner => !inner.checkVisibility({contentVisibilityAuto: true}))).length"""
CUT_PANELS = """[...document.querySelectorAll('figure, .strip')]
  .filter(node => getComputedStyle(node).breakInside !== 'avoid').length"""
RIGHTMOST = """Math.max(...[...document.querySelectorAll('table, figure, pre, p')]
  .map(node => node.getBoundingClientRect().right))"""
HEADINGS = "[...document.querySelectorAll('h2')].map(node => node.textContent)"
OPEN_ALL = """wanted => document.querySelectorAll('details')
  .forEach(node => { node.open = wanted })"""


def overlaps(boxes, least=1.0):
    """Pairs of rectangles that share more than ``least`` px in both directions."""
    pairs, above = [], []
    for box in sorted(boxes, key=lambda box: box["top"]):
        above = [other for other in above if other["bottom"] > box["top"] + least]
        pairs += [
            (other["what"], box["what"])
            for other in above
            if min(other["right"], box["right"]) - max(other["left"], box["left"]) > least
            and min(other["bottom"], box["bottom"]) - box["top"] > least
        ]
        above.append(box)
    return pairs


@pytest.fixture(scope="module")
def tab(full_run):
    """The report, opened, with all that the browser ``said`` and ``asked`` for."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((path for path in map(shutil.which, names) if path), None)
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
        tab.goto((full_run / "report.html").as_uri())
        yield tab
        chromium.close()


def open_all(tab, wanted):
    tab.evaluate(OPEN_ALL, wanted)


def test_every_image_loads_nothing_is_asked_for_and_nothing_is_said(full_page, tab):
    open_all(tab, True)
    assert tab.evaluate("document.images.length") == len(full_page.all("img")) > 100
    assert tab.evaluate(BROKEN_IMAGES) == 0
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
    assert max(box["right"] for box in painted) <= width
    assert min(box["left"] for box in painted) >= 0
    assert tab.evaluate(OVERFLOW) == 0
    assert min(tab.evaluate(FONT_SIZES)) >= 11


def test_an_overlap_would_be_found(tab):
    """One caption pushed up into its image is enough."""
    tab.set_viewport_size({"width": 1400, "height": 900})
    open_all(tab, False)
    tab.add_style_tag(content="#moved { position: relative; top: -60px; }")
    tab.evaluate("document.querySelector('.behind').id = 'moved'")
    assert overlaps(tab.evaluate(PAINTED))
    tab.evaluate("document.querySelector('.behind').id = ''")
    assert overlaps(tab.evaluate(PAINTED)) == []


def test_the_numbers_behind_a_plot_are_a_click_away(full_run, tab):
    open_all(tab, False)
    tab.locator("#curves details.behind summary").first.click()
    link = tab.locator("#curves details.behind a").first
    assert link.is_visible() and (full_run / link.get_attribute("href")).is_file()


def test_the_print_holds_every_section_and_cuts_no_panel(tab):
    """The PDF's outline has every heading; no details are lost, and no table sticks out."""
    open_all(tab, False)
    printed = tab.pdf(format="A4", outline=True, tagged=True)
    assert printed.startswith(b"%PDF-")
    titles = [title.decode("latin-1") for title in re.findall(rb"/Title \((.*?)\)", printed)]
    titles = [title.replace("'", "") for title in titles]
    headings = [heading.replace("'", "") for heading in tab.evaluate(HEADINGS)]
    assert len(headings) == 8
    assert all(any(heading in title for title in titles) for heading in headings)
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 688, "height": 1000})  # A4 less its margins, at 96 px an inch
    assert tab.evaluate(WRONGLY_SHOWN) == 0
    assert tab.evaluate(HIDDEN_CONTENT) == 0
    assert tab.evaluate(CUT_PANELS) == 0
    assert tab.evaluate(RIGHTMOST) <= 688
    assert overlaps(tab.evaluate(PAINTED)) == []
