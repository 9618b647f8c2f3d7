"""A page in a real browser: headless Chromium, and what it paints where."""

import shutil
from contextlib import contextmanager

import pytest

# What is painted: a rectangle for every line of text and every image, cut to the boxes that it
# scrolls in. A text's rectangle is taken to be the middle 70 % of its line, as the boxes of
# neighbouring lines may touch.
PAINTED = """() => {
  const painted = [], known = new Map();
  const views = node => {  // the boxes that it and what it lies in scroll in
    if (!node) return [];
    if (!known.has(node)) {
      const scrolls = getComputedStyle(node).overflowX !== 'visible';
      const own = scrolls ? [node.getBoundingClientRect()] : [];
      known.set(node, own.concat(views(node.parentElement)));
    }
    return known.get(node);
  };
  const add = (box, element, what, shrink) => {
    let {left, right, top, bottom} = box;
    for (const view of views(element)) {
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


@contextmanager
def chromium():
    """A browser; the test is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((path for path in map(shutil.which, names) if path), None)
    if not executable:
        pytest.skip("no Chromium on this machine")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=flags)
        yield browser
        browser.close()
