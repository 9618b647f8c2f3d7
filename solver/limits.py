"""What the solver may take: memory, processor cores, and additions, which take 2 to 10 ns each."""

import os
from collections.abc import Callable
from typing import TypeVar

from solver.inputs import InputError

#: Additions of the exact method's dynamic programs, all together: about ten seconds.
SEARCH_ADDITIONS = 1_000_000_000
#: Bytes of the choices that one of them remembers.
SEARCH_BYTES = 500_000_000
#: States of the dynamic program over several limits that are kept at a time.
SEARCH_STATES = 100_000
#: Additions of the certificate's dynamic program: a few seconds.
PROOF_ADDITIONS = 1_000_000_000
#: Users whose numbers are looked at together: a few dozen for each fit a cache, and calls are few.
PIECE = 16_384

Result = TypeVar("Result")


def in_pieces(function: Callable[[slice], Result], users: int, size: int) -> list[Result]:
    """``function`` of slices of ``size`` users, in their order, on all processor cores.

    Threads help, as numpy works outside the interpreter's lock.
    """
    if users <= size:  # starting threads takes longer
        return [function(slice(None))]
    from concurrent.futures import ThreadPoolExecutor  # slow to import: only when asked for

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(function, [slice(at, at + size) for at in range(0, users, size)]))


def available_bytes() -> int:
    """Memory that is free, or that the system can free; physical memory where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            sizes = dict(line.split(":", 1) for line in file)
        return 1024 * int(sizes["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError, IndexError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class TooLargeError(InputError):
    """A table exceeds the memory, which says nothing about the problem."""


def check_memory(where: str, numbers: int) -> None:
    """Raise TooLargeError if a table of so many 8-byte numbers, and a copy, exceeds the memory."""
    need, limit = 16 * numbers, available_bytes()
    if need > limit:
        raise TooLargeError(
            f"{where}: users x max_steps: found a table of {need / 1e9:.3g} GB; "
            f"allowed: at most {limit / 1e9:.3g} GB, the memory that is available"
        )
