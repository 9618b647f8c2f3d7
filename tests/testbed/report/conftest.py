"""Runs and their pages, each made once."""

import shutil

import pytest

from testbed.report import write_report
from testbed.runs.folder import RunFolder
from tests.conftest import draw_nothing, make_once
from tests.testbed.report.optional_parts import with_optional_parts
from tests.testbed.report.world import Page, make_run


@pytest.fixture(scope="session")
def run(tmp_path_factory, worker_id):
    """A complete run folder with its report, without plots; tests copy what they change."""

    def make(folder):
        with pytest.MonkeyPatch.context() as patch:
            draw_nothing(patch)
            write_report(make_run(folder / "demo"))

    return make_once("reported", make, tmp_path_factory, worker_id) / "demo"


@pytest.fixture(scope="session")
def page(run):
    return Page(run / "report.html")


@pytest.fixture(scope="session")
def profiles(run):
    return RunFolder(run).profiles()


@pytest.fixture(scope="session")
def full_run(run, profiles, tmp_path_factory, worker_id):
    """A complete run with all that a report can show, and its report, with plots."""

    def make(folder):
        path = shutil.copytree(run, folder / "demo")
        folder = RunFolder(path)
        validation = folder.validation()
        folder.save(with_optional_parts(profiles))
        folder.save(validation)
        write_report(path)

    return make_once("full", make, tmp_path_factory, worker_id) / "demo"


@pytest.fixture(scope="session")
def full_page(full_run):
    return Page(full_run / "report.html")
