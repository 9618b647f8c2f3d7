"""Who is let in, with how many steps, and what is promised."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibration.scenario.scenario import Scenario, Weights
from calibration.scenario.worth import Worth
from calibration.serving.policies import POLICIES, State, Tables
from calibration.serving.quote import Ahead, Quoter, Ratios
from solver.inputs import InputError, check_keys
from testbed.server.engine_thread import EngineThread
from testbed.server.protocol import Generation, Refused, invalid


@dataclass(frozen=True)
class Wish:
    """What is asked for: ``steps``, None for the policy's choice, and the limits it has to meet.

    ``partials``: pictures on the way.
    """

    steps: int | None = None
    deadline: float | None = None
    max_error: float | None = None
    weights: Weights | None = None
    prompt_class: str | None = None
    partials: int = 0

    @classmethod
    def of(cls, body: Generation) -> "Wish":
        """That of a request's body."""
        steps = body.num_inference_steps
        return cls(
            None if steps == "auto" else int(steps),
            body.limit,
            body.max_error,
            body.weights,
            body.prompt_class,
            body.partial_images,
        )


@dataclass(frozen=True)
class Admitted:
    """``steps``, who chose them (``steps_by``), and what was predicted on arrival: ``seconds``
    until decoded, ``low`` to ``high``, before correction ``raw``, the ``price``, the ``deadline``.
    """

    steps: int
    steps_by: str
    seconds: float
    low: float
    high: float
    raw: float
    price: float
    deadline: float | None


class Admission:
    """Lets requests in behind those that ``engine`` has: at most ``queue`` beside the batch.

    ``worth``: what steps are worth. ``policy``: a name in :data:`POLICIES`.
    """

    def __init__(
        self,
        engine: EngineThread,
        worth: Worth,
        scenario: Scenario,
        policy: str = "own_best",
        queue: int = 64,
    ) -> None:
        check_keys("policy", [policy], POLICIES)
        self.engine, self.worth, self.scenario, self.queue = engine, worth, scenario, queue
        self.policy, self.ratios = policy, Ratios()
        self._iterations: dict[int, int] = {}

    @property
    def quoter(self) -> Quoter:
        """What batches cost."""
        return self.engine.quoter

    def tables(self, wish: Wish, before: Sequence[Ahead] = (), alone: bool = False) -> Tables:
        """What the step counts that may be chosen, or the one wished for, come to now; behind
        ``before`` too, or with nobody else present (``alone``).

        Raises :class:`Refused` for steps that the scheduler refuses, and :class:`InputError` for a
        prompt class without a profile.
        """
        ahead, underway = ([], 0.0) if alone else self.engine.ahead()
        steps = self.worth.steps if wish.steps is None else np.array([wish.steps])
        at = np.array([self._taken(int(count)) for count in steps]) - 1
        quote = self.quoter.quote([*ahead, *before], int(at.max()) + 1, underway)
        previews = wish.partials * float(self.quoter.decode[1])
        raw = [values[at] + previews for values in (quote.seconds, quote.low, quote.high)]
        seconds, low, high = self.ratios.correct(*raw)
        energy = (quote.share[at] + previews) * self.worth.watts
        error, utility = self.worth.curves(wish.prompt_class, steps)
        weights = wish.weights or self.scenario.weights
        cost = self.worth.cost(weights, seconds, energy, error, utility)
        price = self.worth.price(weights, quote.others[at])
        return Tables(steps, seconds, low, high, energy, error, utility, cost, price)

    def feasible(self, wish: Wish, before: Sequence[Ahead] = ()) -> Tables:
        """The rows of :meth:`tables` that meet the limits; raises :class:`Refused` for none."""
        tables, most = self.tables(wish, before), wish.max_error or self.scenario.max_error
        if wish.max_error is not None and tables.error is None:
            text = f"max_error: found {most}; allowed: none, as this server has no profiles"
            raise Refused(400, "infeasible", text, "max_error")
        if most is not None and tables.error is not None:
            good, least = tables.error <= most, float(tables.error.min())
            if not good.any():
                text = f"max_error: found {most}; allowed: at least {least:.3g}, the least here"
                raise Refused(400, "infeasible", text, "max_error")
            tables = tables.where(good)
        deadline = wish.deadline or self.scenario.deadline
        if deadline is None or (tables.high <= deadline).any():
            return tables if deadline is None else tables.where(tables.high <= deadline)
        empty = self.tables(wish, alone=True)
        alone = float(empty.high[np.isin(empty.steps, tables.steps)].min())
        found = f"deadline: found {deadline:g} s; allowed: at least"
        if alone > deadline:
            text = f"{found} {alone:.3g} s, with nobody else present"
            raise Refused(400, "infeasible", text, "deadline")
        soonest = float(tables.high.min())
        text = f"{found} {soonest:.3g} s at present, {alone:.3g} s with nobody else"
        raise Refused(429, "deadline", text, "deadline", soonest - deadline)

    def choose(self, tables: Tables, wish: Wish, state: State) -> tuple[int, str]:
        """The steps, and who chose them."""
        if wish.steps is not None:
            return wish.steps, "request"
        return POLICIES[self.policy](tables, state), self.policy

    def admit(self, wish: Wish, images: int, state: State) -> list[Admitted]:
        """Steps and predictions of each of ``images``; raises :class:`Refused`."""
        room, present = self.quoter.cap + self.queue, state.running + state.waiting
        if present + images > room:
            raise Refused(
                429,
                "queue_full",
                f"queue: found {present} requests; allowed: {room - images} before {images} more",
                retry_after=min(state.remaining, default=1) * float(self.quoter.tick[-1]),
            )
        tables = self.feasible(wish)
        steps, by = self.choose(tables, wish, state)
        own, wish = Ahead(self._taken(steps), False), replace(wish, steps=steps)
        deadline, promises = wish.deadline or self.scenario.deadline, []
        for image in range(images):
            if image:
                tables = self.feasible(wish, [own] * image)
            row = int(np.flatnonzero(tables.steps == steps)[0])
            seconds, low, high = (float(v[row]) for v in (tables.seconds, tables.low, tables.high))
            raw, price = seconds / self.ratios.median, float(tables.price[row])
            promises.append(Admitted(steps, by, seconds, low, high, raw, price, deadline))
        return promises

    def _taken(self, steps: int) -> int:
        """Iterations of so many steps."""
        if steps not in self._iterations:
            try:
                self._iterations[steps] = self.engine.engine.iterations(steps)
            except InputError as error:
                raise invalid(InputError(f"num_inference_steps: {error}")) from None
        return self._iterations[steps]
