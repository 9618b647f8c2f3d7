"""Several limits at once: prices, a choice nearby, and the users that the prices leave open.

At prices p an option loses what it costs, priced, more than its user's cheapest; a choice costs
what its options lose, and p for each unit of a limit that it leaves unused, more than the bound of
weak duality. So an option that alone loses more than some known choice costs above the bound is
part of no better one. The others are tried by dynamic programming over the sums of their weights,
for a few users first, until all that are open are in.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solver.allocation import Allocation
from solver.columnar import FloatArray, IntArray
from solver.exact.dual import Dual, solve_dual
from solver.exact.duplicates import hashes
from solver.exact.dynamic_program import Allowance
from solver.exact.exchange import exchanged
from solver.exact.lattice import quantum
from solver.exact.losses import EPS, Losses
from solver.exact.sums import Program, best_sums
from solver.inputs import InputError
from solver.knapsack import evaluated
from solver.limits import check_memory
from solver.options import Menu, Options
from solver.problem import Problem
from solver.problem.refusal import check_served

#: Moves that mend a rounded choice, at most.
MOST_MOVES = 2000
#: Limits up to which dynamic programming over their sums proves most problems.
FEW_LIMITS = 3
#: Additions that take as long as a cutting plane.
CUT = 200_000


class Found(NamedTuple):
    """``choice``, the entry of each user, costs at most ``excess`` more than the optimum, proven.

    None: nothing keeps the limits, or, if not ``proven``, nothing that was tried does.
    """

    choice: IntArray | None
    excess: float
    proven: bool


def several_limits(problem: Problem, options: Options, allowance: Allowance) -> Allocation:
    """The optimum under several limits, with a proven bound, within an allowance of additions.

    Raises InputError if the problem is infeasible, or no choice was found that keeps the limits.
    """
    menu = Menu.of(options.weight)
    check_memory(problem.where, 2 * problem.users * (len(options.place) + 2 * len(menu.weight)))
    cost, option = menu.cheapest(options.cost(problem))
    check_limits(problem, options, menu, cost)
    dual = solve_dual(cost, menu.weight, options.capacity)
    allowance.additions -= CUT * len(dual.choices)
    if not dual.infeasible:
        ended = search(cost, menu.weight, options.capacity, dual, allowance)
        if ended.choice is not None:
            chosen = np.take_along_axis(option, ended.choice[:, None], axis=1)[:, 0]
            prices = options.prices(dual.price)
            return evaluated(problem, options.chosen(chosen), "exact", prices, ended.excess)
        if not ended.proven:
            priced = cost + menu.weight @ dual.price
            raise UndecidedError(
                f"{problem.where}: no choice was found that keeps {_named(options)}, "
                "nor a proof that there is none",
                float(priced.min(axis=1).sum() - dual.price @ options.capacity),
            )
    raise InputError(
        f"{problem.where}: no choice keeps {_named(options)} together, though each alone can be"
    )


def prices_of(problem: Problem) -> dict[str, float]:
    """What one more of each limit is worth, by name; makespans must not depend on the longest."""
    options = Options.of(problem)
    menu = Menu.of(options.weight)
    cost, _ = menu.cheapest(options.cost(problem))
    return options.prices(solve_dual(cost, menu.weight, options.capacity).price)


class UndecidedError(InputError):
    """Whether a choice keeps the limits was not found out within :mod:`solver.limits`; any that
    does costs at least ``lower``.
    """

    def __init__(self, message: str, lower: float) -> None:
        super().__init__(message)
        self.lower = lower


def check_limits(problem: Problem, options: Options, menu: Menu, cost: FloatArray) -> None:
    """Raise InputError for a user without an option, and a limit that no choice keeps alone."""
    check_served(problem, np.asarray(np.isfinite(cost).any(axis=1)))
    for index, capacity in enumerate(options.capacity):
        weight = np.where(np.isfinite(cost), menu.weight[:, index], np.inf).min(axis=1)
        if weight.sum() > capacity:
            options.refuse(index, int(weight.sum()), int((weight > 0).sum()), problem.where)


def _named(options: Options) -> str:
    return " and ".join(
        f"{options.limits[index].name} {options.limits[index].capacity}" for index in options.stated
    )


def search(
    cost: FloatArray, weight: IntArray, capacity: IntArray, dual: Dual, allowance: Allowance
) -> Found:
    """The cheapest choice of one entry for each user, within ``capacity``, and what is proven.

    ``cost`` has shape (users, entries), inf: not allowed, and ``weight`` (entries, limits).
    """
    rows = np.arange(len(cost))
    start = _rounded(weight, dual)
    losses = Losses.of(cost, weight, capacity, dual.price, start)
    start = _mended(losses)
    losses = Losses.of(cost, weight, capacity, dual.price, start)
    best: IntArray | None = start if (losses.spare >= 0).all() else None
    if best is None:  # more than any choice can lose
        largest = np.where(np.isfinite(losses.loss), losses.loss, 0.0).max(axis=1)
        gap = float(largest.sum() + dual.price @ capacity) + 1.0
    else:
        gap = float(losses.own.sum() + dual.price @ losses.spare)
    if (better := exchanged(losses, gap)) is not None:
        best = start = better
        losses = Losses.of(cost, weight, capacity, dual.price, start)
        gap = float(losses.own.sum() + dual.price @ losses.spare)
    change = cost - cost[rows, start][:, None]
    step = quantum(change[np.isfinite(change)]) * (1 - 1e-6)
    # sums of many limits are too many to try all: what a fifth does not prove, the rest would not
    additions, size = allowance.additions // (1 if len(capacity) <= FEW_LIMITS else 5), 24
    while True:
        noise = losses.margin + 4 * EPS * gap
        if best is not None and gap + noise < step:
            return Found(best, 0.0, True)
        negligible = 1e-15 * abs(float(cost[rows, losses.start].sum()))
        is_open = losses.loss <= gap + noise
        members = np.flatnonzero(is_open.sum(axis=1) > 1)
        if best is not None and (gap <= negligible or not len(members)):
            return Found(best, max(gap, 0.0) + noise + losses.rounding, True)
        if not len(members):
            return Found(None, 0.0, True)
        others = losses.loss[members]
        others[np.arange(len(members)), losses.start[members]] = np.inf
        # of users that are alike a few come first: all do much the same
        turn = _turn(hashes([cost[members], losses.start[members]])) // (size // 8)
        core = members[np.lexsort((others.min(axis=1), turn))[:size]]
        program = Program.of(losses, core, is_open)
        rest = float(losses.own.sum() - losses.own[core].sum())
        answer = best_sums(program, gap - rest - noise, additions)
        additions -= answer.additions
        allowance.additions -= answer.additions
        whole = len(core) == len(members)
        improved = answer.entries is not None
        if answer.entries is not None:
            best = losses.start.copy()
            best[core] = answer.entries
            losses = Losses.of(cost, weight, capacity, dual.price, best)
            gap = float(losses.own.sum() + dual.price @ losses.spare)
        if whole and answer.floor == np.inf:
            doubt = noise * (1 + len(core)) + losses.rounding
            return Found(best, 0.0 if doubt < step else doubt, True)
        if additions <= 0 or (whole and not improved):
            if best is None:
                return Found(None, 0.0, False)
            # in `whole` every choice that was dropped loses at least the floor
            least = min(gap, answer.floor + rest) if whole else 0.0
            doubt = noise * (1 + len(core)) + losses.rounding
            return Found(best, max(gap - max(least, 0.0), 0.0) + doubt, True)
        size *= 4


def _turn(kind: NDArray[np.uint64]) -> IntArray:
    """How many of the same kind come before, shape (users,)."""
    order = np.argsort(kind, kind="stable")
    first = np.flatnonzero(np.diff(kind[order], prepend=kind[order][:1] + np.uint64(1)))
    turn = np.empty(len(kind), dtype=np.int64)
    turn[order] = np.arange(len(kind)) - np.repeat(first, np.diff(first, append=len(kind)))
    return turn


def _rounded(weight: IntArray, dual: Dual) -> IntArray:
    """One entry for each user, so that the sums stay close to the relaxed optimum's."""
    used = dual.shares > 1e-12
    shares, choices = dual.shares[used], dual.choices[used]
    start = choices[shares.argmax()].copy()
    differ = np.flatnonzero((choices != choices[0]).any(axis=0))
    size = np.maximum(weight.max(axis=0, initial=1), 1)
    ahead = np.zeros(weight.shape[1])  # of the relaxed optimum, up to the user before
    for user in differ:
        options = weight[choices[:, user]] / size
        after = ahead + options - shares @ options
        pick = int((after**2).sum(axis=1).argmin())
        start[user], ahead = choices[pick, user], after[pick]
    return start


def _mended(losses: Losses) -> IntArray:
    """The start, with moves that lose least for what they give back until the limits are kept."""
    start, weight = losses.start.copy(), losses.weight
    size = np.maximum(losses.capacity, 1).astype(float)
    used = weight[start].sum(axis=0)
    own = losses.own.copy()
    for _ in range(MOST_MOVES):
        over = np.maximum(used - losses.capacity, 0)
        if not over.any():
            break
        relief = np.zeros(losses.loss.shape)
        for limit in range(weight.shape[1]):
            move = weight[:, limit] - weight[start, limit][:, None]
            after = np.maximum(used[limit] + move - losses.capacity[limit], 0)
            relief += (over[limit] - after) / size[limit]
        more = losses.loss - own[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.where(relief > 0, (more + 1e-300) / relief, np.inf)
        user, entry = np.unravel_index(int(rate.argmin()), rate.shape)
        if not np.isfinite(rate[user, entry]):
            break
        used = used + weight[entry] - weight[start[user]]
        start[user], own[user] = entry, losses.loss[user, entry]
    return start
