"""The pages of the documentation: their Python runs, and what they name exists."""

import argparse
import re
import shutil
from pathlib import Path

import pytest

from testbed.cli import parser

ROOT = Path(__file__).parent.parent
FOLDERS = (".", "docs", "benchmarks/data", "testbed/embedded/weights")
PAGES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
#: The log tells what was true on its day.
CURRENT = [path for path in PAGES if path.name != "log.md"]
#: Parts of a path that stand for something else.
PLACEHOLDERS = re.compile("CARD|NAME|OUT")

pages = pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)


def text(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    """The fenced code of a language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.DOTALL | re.MULTILINE)


def code(page):
    """Everything in a page that is set as code."""
    return re.findall(r"```.*?```|`[^`]+`", text(page), re.DOTALL)


def anchors(page):
    """The names that a page's headings give to links."""
    headings = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "name", ["README.md", "docs/python.md", "testbed/embedded/weights/README.md"]
)
def test_the_python_of_a_page_runs(name, tmp_path, monkeypatch):
    profiles = ROOT / "docs" / "profiles.json"
    for folder in ("docs", "runs/embedded"):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(profiles, tmp_path / folder)
    (tmp_path / "testbed").symlink_to(ROOT / "testbed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace = {"__name__": name}
    assert blocks(ROOT / name, "python")
    for block in blocks(ROOT / name, "python"):
        exec(compile(block, name, "exec"), namespace)
    assert (tmp_path / "docs" / "profiles.json").read_text() == profiles.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_repository_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


@pages
def test_every_verb_named_is_one(page):
    (verbs,) = (
        action.choices
        for action in parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for piece in code(page):
        for verb in re.findall(r"(?<![\w/.\-])testbed ([a-z]+)", piece):
            assert verb in verbs, piece


@pages
def test_every_script_and_result_named_exists(page):
    for path in re.findall(r"(?<![\w/.])(?:benchmarks|scripts)/[\w./*-]*\w", text(page)):
        assert PLACEHOLDERS.search(path) or list(ROOT.glob(path)), path
    for module in re.findall(r"-m (benchmarks(?:\.\w+)+)", text(page)):
        if not PLACEHOLDERS.search(module):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_the_readme_is_short():
    assert len(text(ROOT / "README.md").splitlines()) <= 160
