"""``testbed figures``: the paper's Fig. 1 and Fig. 2, and where its claims are true."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from solver.inputs import write_atomic
from testbed import tables
from testbed.commands.parsing import add_verb, check_writable, integer
from testbed.figures import claims, lines
from testbed.figures.lines import Budgets, Unpublished

if TYPE_CHECKING:
    from testbed.commands.parsing import Verbs


def add_parsers(verbs: "Verbs") -> None:
    """Add ``testbed figures``."""
    parser = add_verb(
        verbs,
        "figures",
        lambda args: figures(args.out, args.seeds, Unpublished.parse(args.unpublished)),
        "the paper's Fig. 1 and Fig. 2, and where its claims are true",
        "testbed figures --out figures",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("figures"), help="folder (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds",
        type=integer(1),
        default=100,
        help="runs of the random baseline (default: %(default)s)",
    )
    parser.add_argument(
        "--unpublished",
        default="C1=0.1,C2=0.1,S0=20,S1=50,raised=3",
        help="values it does not publish (default: %(default)s)",
    )


def figures(
    out: Path,
    seeds: int,
    chosen: Unpublished,
    grid: Sequence[Unpublished] = lines.GRID,
    budgets: Budgets = lines.BUDGETS,
) -> None:
    """Write the paper's figures and claims into the folder ``out``, and print the table of the
    claims and the paths. Raises :class:`InputError`, at once, where nothing can be written there.
    """
    check_writable("--out", out / "claims.csv")
    from testbed.figures import plots

    checked: list[claims.CheckedClaim] = []
    for method, unpublished in tqdm(claims.to_check(chosen, grid), desc="figures", unit="set"):
        checked += claims.check(method, unpublished, seeds, budgets)
    table = claims.summary(checked, chosen)
    print(tables.text(claims.by_method(table), widest=50))
    written = [out / "claims.csv", out / "claims.md"]
    tables.write_csv(written[0], [claim.row() for claim in checked])
    write_atomic(written[1], claims.markdown(table, chosen, seeds, grid))
    for name, rows in (
        ("fig1", list(lines.fig1(chosen, seeds, budgets))),
        ("fig2", list(lines.fig2(chosen, budgets))),
    ):
        paths = [out / f"{name}{suffix}" for suffix in (".csv", ".svg", ".png")]
        tables.write_csv(paths[0], [asdict(row) for row in rows])
        getattr(plots, name)(rows, paths[1:])
        written += paths
    print(*written, sep="\n")
