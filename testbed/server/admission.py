"""Who is let in, with how many steps, and what is promised."""

import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from calibration.scenario.scenario import Scenario, Weights
from calibration.scenario.worth import Worth
from calibration.serving.quote import Ahead, Quoter
from calibration.serving.quotes import Quotes
from solver.inputs import InputError
from solver.online import DEFAULT, Policy, Setting, Snapshot, State, charge, find_policy
from solver.online.backlog import Options
from testbed.server.engine_thread import EngineThread
from testbed.server.forecast import Forecast
from testbed.server.protocol import Generation, Refused, invalid

Answer = TypeVar("Answer")


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

    def limits(self, scenario: Scenario) -> tuple[float | None, float | None]:
        """Deadline, s, and largest error: its own, or else the scenario's."""
        return self.deadline or scenario.deadline, self.max_error or scenario.max_error


@dataclass(frozen=True)
class Queue:
    """Requests ``running`` in the batch and ``waiting``, the iterations ``remaining`` of each in
    order, the ``cap`` of the batch, and arrivals a second of late.
    """

    running: int
    waiting: int
    remaining: tuple[int, ...]
    cap: int
    arrival_rate: float


@dataclass(frozen=True)
class Admitted:
    """``steps``, who chose them (``steps_by``), and what was predicted on arrival: ``seconds``
    until decoded, ``low`` to ``high``, before correction ``raw``, the ``price``, the ``deadline``.
    ``met``: what it met, as :class:`Quotes` has it; ``weight``: what a second of delay costs.
    """

    steps: int
    steps_by: str
    seconds: float
    low: float
    high: float
    raw: float
    met: NDArray[np.float64]
    price: float
    deadline: float | None
    weight: float


class Admission:
    """Lets requests in behind those that ``engine`` has: at most ``queue`` beside the batch.

    ``worth``: what steps are worth. ``policy``: a name that :func:`find_policy` knows.
    """

    def __init__(
        self,
        engine: EngineThread,
        worth: Worth,
        scenario: Scenario,
        policy: str = DEFAULT,
        queue: int = 64,
    ) -> None:
        self._tables = worth.tables(scenario.weights)
        self._policy = find_policy(policy, Setting(self._tables, engine.quoter.calls))
        self.engine, self.worth, self.scenario, self.queue = engine, worth, scenario, queue
        self.policy, self.quotes = policy, Quotes()
        self._iterations: dict[int, int] = {}

    @property
    def quoter(self) -> Quoter:
        """What batches cost."""
        return self.engine.quoter

    def forecast(
        self, wish: Wish, before: Sequence[Ahead] = (), alone: bool = False
    ) -> tuple[Forecast, State]:
        """What the step counts that may be chosen, or the one wished for, come to now, and what a
        policy sees of it; behind ``before`` too, or with nobody else present (``alone``).

        Raises :class:`Refused` for steps that the scheduler refuses and where a policy of one's own
        fails, and :class:`InputError` for a prompt class without a profile.
        """
        ahead, underway = ([], 0.0) if alone else self.engine.ahead()
        ahead, pace = [*ahead, *before], self.engine.pace
        if alone:  # where it is slow now, it may be quicker later
            pace = min(pace, 1.0)
        steps = np.array(self._offered if wish.steps is None else [wish.steps])
        at = np.array([self._taken(int(count)) for count in steps])
        error, utility = self.worth.curves(wish.prompt_class, steps)
        quote = self.quoter.quote(ahead, int(at.max()), underway, pace)
        backlog = self.quoter.backlog(ahead, underway, pace)
        # by steps, and not by iterations; what is not asked about is not allowed below
        columns = np.ones(max(self._tables.most_steps, int(steps.max())) + 1, int)
        columns[0], columns[steps] = 0, at
        options = Options(*(v[columns] for v in backlog.options(0.0, int(at.max()))))
        previews = pace * wish.partials * float(self.quoter.calls.decode[1])
        told = np.array(
            [each[at - 1] + previews for each in (quote.seconds, quote.low, quote.high)]
        )
        left = sum(request.iterations for request in ahead)
        factors = self.quotes.factors(_met(len(ahead), left, at), told / told[0])
        seconds, low, high = told[0] * factors
        options.seconds[steps] = seconds
        now, kind = self.engine.engine.now(), self.worth.kind(wish.prompt_class)
        tables = self.worth.tables(wish.weights) if wish.weights else self._tables
        if (more := len(columns) - 1 - tables.most_steps) > 0:  # asked for, beyond the profiles
            wider = np.pad(tables.fixed, ((0, 0), (0, more)), constant_values=np.inf)
            tables = replace(tables, fixed=wider)
        seen = Snapshot(self.quoter.calls, len(ahead), options, left, pace)
        state = State(tables, seen, kind, now, now)
        shared = options.shared[steps] + previews
        return Forecast(
            steps,
            seconds,
            low,
            high,
            shared * self.worth.watts,
            error,
            utility,
            tables.cost(np.full(len(steps), kind), True, steps, seconds, shared),
            options.harm[steps],
            self._charge(state)[steps],
        ), state

    def feasible(self, wish: Wish, before: Sequence[Ahead] = ()) -> tuple[Forecast, State]:
        """The rows of :meth:`forecast` that meet the limits; raises :class:`Refused` for none."""
        rows, state = self.forecast(wish, before)
        deadline, most = wish.limits(self.scenario)
        if wish.max_error is not None and rows.error is None:
            text = f"max_error: found {most}; allowed: none, as this server has no profiles"
            raise Refused(400, "infeasible", text, "max_error")
        if most is not None and rows.error is not None:
            good, least = rows.error <= most, float(rows.error.min())
            if not good.any():
                text = f"max_error: found {most}; allowed: at least {least:.3g}, the least here"
                raise Refused(400, "infeasible", text, "max_error")
            rows = rows.where(good)
        if deadline is None or (rows.high <= deadline).any():
            return (rows if deadline is None else rows.where(rows.high <= deadline)), state
        empty, _ = self.forecast(wish, alone=True)
        alone = float(empty.high[np.isin(empty.steps, rows.steps)].min())
        refused = f"deadline: found {deadline:g} s; allowed: at least"
        if alone > deadline:
            text = f"{refused} {alone:.3g} s, with nobody else present"
            raise Refused(400, "infeasible", text, "deadline")
        soonest = float(rows.high.min())
        text = f"{refused} {soonest:.3g} s at present, {alone:.3g} s with nobody else"
        raise Refused(429, "deadline", text, "deadline", soonest - deadline)

    def choose(self, rows: Forecast, state: State, only_asked: bool = False) -> int:
        """The policy's choice of the steps of ``rows``. ``only_asked``: nobody comes, so that it
        does not remember it.

        Raises :class:`Refused` where a policy of one's own fails.
        """
        policy = self._copy() if only_asked else self._policy
        fixed, kind = np.full_like(state.tables.fixed, np.inf), state.kind
        fixed[kind, rows.steps] = state.tables.fixed[kind, rows.steps]
        return _asked(policy, replace(state, tables=replace(state.tables, fixed=fixed)))

    def admit(self, wish: Wish, images: int, present: Queue) -> list[Admitted]:
        """Steps and predictions of each of ``images``; raises :class:`Refused`."""
        room, count = self.quoter.cap + self.queue, present.running + present.waiting
        if images > room:
            text = f"n: found {images}; allowed: at most {room}, as many as batch and queue hold"
            raise Refused(400, "invalid_value", text, "n")
        if count + images > room:
            raise Refused(
                429,
                "queue_full",
                f"queue: found {count} requests; allowed: {room - images} before {images} more",
                retry_after=min(present.remaining, default=1)
                * self.engine.pace
                * float(self.quoter.calls.tick[-1]),
            )
        rows, state = self.feasible(wish)
        steps, by = wish.steps, "request"
        if steps is None:
            steps, by = self.choose(rows, state), self.policy
        weight = float(state.tables.time_weight[state.kind])
        (deadline, _), promises = wish.limits(self.scenario), list[Admitted]()
        own = Ahead(self._taken(steps), False, weight, np.inf if deadline is None else deadline)
        wish = replace(wish, steps=steps)
        for image in range(images):
            if image:
                rows, state = self.feasible(wish, [own] * image)
            row = int(np.flatnonzero(rows.steps == steps)[0])
            seconds, low, high, price = (
                float(values[row]) for values in (rows.seconds, rows.low, rows.high, rows.price)
            )
            seen = state.backlog
            met = _met(seen.present, seen.left, np.array([self._taken(steps)]))
            raw = seconds / float(self.quotes.factors(met, np.ones((3, 1)))[0, 0])
            promises.append(
                Admitted(steps, by, seconds, low, high, raw, met[0], price, deadline, weight)
            )
        return promises

    def _charge(self, state: State) -> NDArray[np.float64]:
        """What the policy charges for each step count if it is asked now; it remembers nothing."""
        policy: Any = self._policy
        if hasattr(policy, "see"):  # its price follows the clock
            policy = self._copy()
            policy.see(state)
        return _asked(partial(charge, policy), state)

    def _copy(self) -> Policy:
        """The policy, to be asked without remembering it; raises :class:`Refused`."""
        try:
            return copy.deepcopy(self._policy)
        except Exception as error:  # noqa: BLE001 one of one's own may hold what has no copy
            text = f"{self.policy}: cannot be copied, to be asked for a quote: {error}"
            raise Refused(500, "policy_failed", text) from None

    @cached_property
    def _offered(self) -> list[int]:
        """The step counts that may be chosen: of :attr:`worth`, those that the scheduler takes."""
        offered = []
        for steps in self.worth.steps.tolist():
            with contextlib.suppress(Refused):
                self._taken(steps)
                offered.append(steps)
        return offered or self.worth.steps.tolist()

    def _taken(self, steps: int) -> int:
        """Iterations of so many steps."""
        if steps not in self._iterations:
            try:
                self._iterations[steps] = self.engine.engine.iterations(steps)
            except InputError as error:
                raise invalid(InputError(f"num_inference_steps: {error}")) from None
        return self._iterations[steps]


def _met(present: int, left: int, iterations: NDArray[np.int_]) -> NDArray[np.float64]:
    """What requests of so many ``iterations`` meet, shape (n, 3); see :class:`Quotes`."""
    many = np.full(len(iterations), present + 1)
    return np.column_stack([many, iterations, left + iterations]).astype(float)


def _asked(function: Callable[[State], Answer], state: State) -> Answer:
    """What a policy answers; raises :class:`Refused` where one's own fails."""
    try:
        return function(state)
    except InputError as error:
        raise Refused(500, "policy_failed", str(error)) from None
