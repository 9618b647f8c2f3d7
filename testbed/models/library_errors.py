"""What libraries raise about a model, as one line."""

import errno
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from solver.inputs import InputError
from testbed.engines.out_of_memory import out_of_memory

_LONGEST = 300  # characters of a library's own words


@contextmanager
def told_in_a_line(where: str, what: str) -> Iterator[None]:
    """Turn whatever a library raises inside into an :class:`InputError` that says: ``where``:
    ``what``, and the library's words. Memory that ran out is told as such.

    A model folder can be wrong in any way, and each library complains by classes of its own. A full
    disk is no matter of the model.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        if out_of_memory(error):
            what = (
                "memory does not suffice; allowed: a smaller dtype or resolution, "
                "memory = 'offload', or device = 'cpu'"
            )
        raise InputError(f"{where}: {what}: {reason(error)}") from None


def reason(error: BaseException) -> str:
    """The words of an error on one line."""
    words = " ".join(str(error).split()) or type(error).__name__
    return textwrap.shorten(words, _LONGEST, placeholder=" ...")
