"""The page in a real browser, against a real server."""

import re

import pytest

from tests.testbed.browser import BROKEN_IMAGES, FONT_SIZES, OVERFLOW, PAINTED, chromium, overlaps
from tests.testbed.server.conftest import serving


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def tab(opened, browser):
    """The page of a server, with all that the browser ``said`` and ``asked`` for."""
    with serving(opened) as server:
        tab = browser.new_page()
        tab.said, tab.asked, tab.server = [], [], server
        tab.on("console", lambda message: tab.said.append(message.text))
        tab.on("pageerror", lambda problem: tab.said.append(str(problem)))
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.goto(server.url)
        tab.wait_for_selector("#health.ok")
        yield tab


def test_an_image_forms_and_its_time_is_held_against_the_prediction(tab):
    tab.wait_for_selector("#model:text-is('embedded:light')")
    tab.select_option("#device", "snapdragon-7-gen-4")
    tab.fill("#steps", "12")
    tab.fill("#seed", "3")
    tab.fill("#deadline", "60")
    shown = []
    tab.expose_function("note", lambda line: shown.append(line))
    tab.evaluate(
        """new MutationObserver(() => note(document.getElementById('said').textContent))
        .observe(document.getElementById('said'), {childList: true})"""
    )
    tab.click("#go")
    tab.wait_for_selector("#said:text-is('12 steps, seed 3')")
    assert [line for line in shown if line.startswith("step ")] == [
        f"step {step} of 12" for step in (3, 6, 9)
    ]
    said = tab.text_content("#took")
    assert re.search(r"Measured [\d.]+ s, predicted [\d.]+ s", said) and "modelled" in said
    assert "deadline was met" in said and tab.evaluate(BROKEN_IMAGES) == 0
    tab.wait_for_selector("#last tr")
    assert tab.text_content("#last tr td:nth-child(2)") == "12"
    assert "snapdragon-7-gen-4" in tab.text_content("#why")
    assert tab.locator("#chart polyline").count() == 2
    assert tab.locator("#places i").count() == tab.server.service.opened.quoter.cap


@pytest.mark.parametrize("width", [380, 1400])
def test_nothing_overlaps_sticks_out_or_is_too_small_to_read(tab, width):
    tab.set_viewport_size({"width": width, "height": 900})
    painted = tab.evaluate(PAINTED)
    assert len(painted) > 30 and overlaps(painted) == []
    assert max(box["right"] for box in painted) <= width
    assert min(box["left"] for box in painted) >= 0
    assert tab.evaluate(OVERFLOW) == 0 and min(tab.evaluate(FONT_SIZES)) >= 11


def test_what_is_refused_is_said_in_the_servers_line(tab):
    tab.fill("#deadline", "0.0001")
    tab.click("#go")
    tab.wait_for_selector("#said.error")
    assert "deadline: found 0.0001 s" in tab.text_content("#said")
    tab.fill("#deadline", "")


def test_the_page_asks_its_own_server_alone_and_says_nothing(tab):
    assert {url.split("?")[0].removeprefix(tab.server.url) for url in tab.asked} <= {
        "/",
        "/health",
        "/v1/models",
        "/v1/quote",
        "/v1/requests",
        "/v1/images/generations",
    } | {url for url in tab.asked if url.startswith("data:")}
    refused = [line for line in tab.said if "400" not in line]  # the browser reports refusals
    assert refused == []


def test_a_key_is_asked_for_where_one_is_needed(opened, browser):
    with serving(opened, key="secret") as server:
        tab = browser.new_page()
        tab.goto(server.url)
        tab.wait_for_selector("#keyrow:not([hidden])")
        tab.fill("#key", "secret")
        tab.dispatch_event("#form", "change")
        tab.wait_for_selector("#health.ok")
