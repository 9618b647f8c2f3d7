"""The proof that an allocation is optimal, from the problem alone: its maker is not trusted."""

import math

from solver.allocation import OPTIMAL, ROUNDING, Allocation, evaluate
from solver.certificate.proof import Proof
from solver.certificate.several import prove_several
from solver.certificate.single import prove_plain
from solver.inputs import InputError
from solver.problem import Problem

CHECKED = (
    "status",
    "objective",
    "gap",
    "edge_steps_used",
    "time",
    "error",
    "energy",
    "utility",
    "places",
    "edge_steps",
)


def certify(problem: Problem, allocation: Allocation) -> float:
    """How far, at most, the objective is above the optimum: a proven bound >= 0.

    Everything in ``allocation`` is computed again from ``problem``, ``offload`` and ``steps``.
    Raises InputError if the choice is not feasible, a number differs, ``edge_price`` or ``prices``
    are no dual prices of the limits, or ``lower_bound`` exceeds what this proof reaches. Infinite
    without prices.

    First weak duality, for any delta >= 0: optimum >= sum_n min_{r,s} [R~_{n,r}(s) + delta s (r =
    edge)] - delta S_e^max. Where that leaves a gap, a better choice can only use options that lose
    less than it, and leave less budget unused: either no sum of such options differs by less
    (:mod:`solver.exact.lattice`), or dynamic programming tries them all. Where that takes more than
    :data:`solver.limits.PROOF_ADDITIONS`, the gap of weak duality is what is proven, and no
    ``lower_bound`` is refused. Several limits: :mod:`solver.certificate.several`.
    """
    again = evaluate(
        problem,
        allocation.offload,
        allocation.steps,
        lower_bound=allocation.lower_bound,
        edge_price=allocation.edge_price,
        edge_steps=allocation.edge_steps,
        prices=allocation.prices,
    )
    pairs = [(name, getattr(allocation, name), getattr(again, name)) for name in CHECKED]
    if again.used is not None:
        claims = allocation.used or {}
        pairs += [(f"used.{name}", claims.get(name), used) for name, used in again.used.items()]
    for name, claimed, value in pairs:
        if claimed != value and not (
            isinstance(claimed, (int, float))
            and isinstance(value, (int, float))
            and math.isclose(
                claimed, value, rel_tol=1e-9, abs_tol=ROUNDING if name == "gap" else 0.0
            )
        ):
            raise InputError(
                f"allocation: {name}: found {claimed}; allowed: {value}, which the choices give"
            )
    if (again.edge_price if problem.is_plain else again.prices) is None:
        return math.inf
    proof = prove(problem, again)
    if again.lower_bound is not None:
        highest = again.objective - (proof.excess - proof.rounding if proof.complete else 0.0)
        size = max(abs(again.objective), abs(again.lower_bound))
        if again.lower_bound > highest + OPTIMAL * size:
            raise InputError(
                f"allocation: lower_bound: found {again.lower_bound}; "
                f"allowed: at most {highest}, which can be proven"
            )
    return proof.excess


def prove(problem: Problem, allocation: Allocation) -> Proof:
    """The proof for the choice and the prices of an allocation of the problem.

    Raises InputError if these are no dual prices.
    """
    return (prove_plain if problem.is_plain else prove_several)(problem, allocation)
