"""The command line: each verb reads files and writes files.

Wrong input is one line on stderr and exit code 2.
"""

import argparse
import errno
import os
import sys
import warnings
from collections.abc import Sequence

from solver.inputs import InputError
from testbed.client.exchange import ServerFault
from testbed.commands import (
    figures,
    fit,
    generate,
    link,
    machine,
    online,
    serve,
    solve,
    stages,
)
from testbed.commands.parsing import Parser
from testbed.environment import launched

DESCRIPTION = (
    "Calibrate two text-to-image models, allocate denoising steps optimally, generate, "
    "and compare with the predictions."
)


#: The verbs whose work several processes share.
SHARED = ("run", "calibrate", "execute", "batch", "validate")


def parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    top: argparse.ArgumentParser = Parser(
        prog="testbed", description=DESCRIPTION, epilog="example: testbed run --out runs/first"
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for module in (stages, solve, online, generate, serve, link, machine, fit, figures):
        module.add_parsers(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns 0 when done, 2 when the input is wrong, 1 on anything else."""
    out, errors = sys.stdout, sys.stderr

    def show(message: object, *_: object) -> None:
        print(f"testbed: warning: {message}", file=sys.stderr)

    shown, warnings.showwarning = warnings.showwarning, show  # type: ignore[assignment]
    try:
        args = parser().parse_args(argv)
        # of several processes that share a run the first one speaks; all of them tell errors
        if args.verb in SHARED and launched()[0] > 0:
            sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")
        return args.function(args) or 0
    except InputError as error:
        print(f"testbed: {error}", file=errors)
        return 2
    except ServerFault as fault:
        print(f"testbed: {fault}", file=errors)
        return 1
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "; what was measured is kept: free some space and run the same command again"
        print(f"testbed: {error}{hint if full else ''}", file=errors)
        return 1
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        print(
            f"testbed: memory does not suffice: {' '.join(str(error).split())[:200]}; what was "
            "measured is kept. A smaller resolution, dtype or sweep.converged_batch, or "
            "memory = 'offload', takes less",
            file=errors,
        )
        return 1
    except KeyboardInterrupt:
        print(
            "testbed: stopped; what was measured is kept: the same command goes on from here",
            file=errors,
        )
        return 1
    finally:
        sys.stdout, sys.stderr, warnings.showwarning = out, errors, shown


def _out_of_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from testbed.engines.out_of_memory import out_of_memory

    return out_of_memory(error)


if __name__ == "__main__":
    sys.exit(main())
