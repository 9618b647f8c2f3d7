"""The report in a real browser: headless Chromium, from a file, at the width of a phone and of a
desk, and in print.
"""

import re

import pytest

from tests.testbed.browser import BROKEN_IMAGES, FONT_SIZES, OVERFLOW, PAINTED, chromium, overlaps

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


@pytest.fixture(scope="module")
def tab(full_run):
    """The report, opened, with all that the browser ``said`` and ``asked`` for."""
    with chromium() as browser:
        tab = browser.new_context(offline=True).new_page()
        tab.said, tab.asked = [], []
        tab.on("console", lambda message: tab.said.append(message.text))
        tab.on("pageerror", lambda problem: tab.said.append(str(problem)))
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.goto((full_run / "report.html").as_uri())
        yield tab


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
