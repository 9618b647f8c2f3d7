"""Runs and their pages, each made once."""

import shutil

import pytest

from testbed.report import write_report
from testbed.runs.folder import RunFolder
from tests.testbed.report.optional_parts import with_optional_parts
from tests.testbed.report.world import Page, make_run


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A complete run folder with its report; tests copy what they change."""
    path = make_run(tmp_path_factory.mktemp("runs") / "demo")
    write_report(path)
    return path


@pytest.fixture(scope="session")
def page(run):
    return Page(run / "report.html")


@pytest.fixture(scope="session")
def profiles(run):
    return RunFolder(run).profiles()


@pytest.fixture(scope="session")
def full_run(run, profiles, tmp_path_factory):
    """A complete run with all that a report can show, and its report."""
    path = shutil.copytree(run, tmp_path_factory.mktemp("full") / "demo")
    RunFolder(path).save(with_optional_parts(profiles))
    write_report(path)
    return path


@pytest.fixture(scope="session")
def full_page(full_run):
    return Page(full_run / "report.html")
