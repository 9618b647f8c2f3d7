"""The report of a run folder: ``write_report(folder)``."""

from pathlib import Path


def write_report(run_folder: str | Path) -> Path:
    """Write ``report.html``; see :func:`testbed.report.page.write_report`."""
    from testbed.report.page import write_report  # matplotlib and jinja2 are slow to import

    return write_report(run_folder)
