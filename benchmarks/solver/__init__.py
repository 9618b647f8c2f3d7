"""The solvers: speed and proofs, and independent solutions to hold them against."""

import os

from testbed.environment import cpu_name


def machine() -> str:
    """The processor's name, and its cores."""
    return f"{cpu_name()}, {os.cpu_count()} cores"
