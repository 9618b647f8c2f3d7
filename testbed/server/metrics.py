"""Prometheus metrics, under vLLM-Omni's names where it has them."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.exposition import generate_latest

from testbed.engines.request import Log
from testbed.server.answers import ImageMetrics

PREFIX = "testbed:"
_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counts of one server. ``running``, ``waiting`` and ``price`` are asked for when read."""

    def __init__(
        self,
        running: Callable[[], float],
        waiting: Callable[[], float],
        price: Callable[[], float],
    ) -> None:
        self._registry = registry = CollectorRegistry()
        for name, what, read in (
            (
                "num_requests_running",
                "Images in the running batch; a request of n images counts n",
                running,
            ),
            ("num_requests_waiting", "Images that wait for the batch", waiting),
            (
                "price",
                "What the policy charges for one more step now, in units of eq. (8)'s cost",
                price,
            ),
        ):
            Gauge(PREFIX + name, what, registry=registry).set_function(read)
        self._e2e = Histogram(
            f"{PREFIX}e2e_request_latency_s",
            "Seconds from arrival until the image was encoded",
            registry=registry,
            buckets=_SECONDS,
        )
        self._queue = Histogram(
            f"{PREFIX}queue_s",
            "Seconds from arrival until the batch took the image",
            registry=registry,
            buckets=_SECONDS,
        )
        self._batch = Histogram(
            f"{PREFIX}batch_size",
            "Images in an iteration of the batch",
            registry=registry,
            buckets=_SIZES,
        )
        self._tick = Summary(
            f"{PREFIX}tick_s",
            "Seconds of an iteration, by the images in it",
            ["batch"],
            registry=registry,
        )
        self._counters = {
            name: Counter(PREFIX + name, what, registry=registry)
            for name, what in (
                ("steps", "Denoising iterations, counted for each image in the batch"),
                ("deadline_met", "Images that met their deadline"),
                ("deadline_missed", "Images that missed their deadline"),
                ("prediction_inside", "Images done inside the interval predicted on arrival"),
                ("prediction_outside", "Images done outside the interval predicted on arrival"),
                ("joules", "Joules of served images, of their answers' energy_basis"),
            )
        }
        self._ended = Counter(
            f"{PREFIX}requests_success",
            "Images that ended: stop (made), abort (client left), error",
            ["finished_reason"],
            registry=registry,
        )
        self._rejected = Counter(
            f"{PREFIX}rejected",
            "Requests refused, by the error's code",
            ["code"],
            registry=registry,
        )

    def calls(self, log: Log) -> None:
        """The calls of an iteration."""
        for size, seconds in log.tick:
            self._batch.observe(size)
            self._tick.labels(size).observe(seconds)
            self._counters["steps"].inc(size)

    def served(self, image: ImageMetrics) -> None:
        """An image was made."""
        self._ended.labels("stop").inc()
        self._e2e.observe(image.completion + image.encode)
        self._queue.observe(image.queue)
        self._counters["joules"].inc(image.energy_j)
        self._counters["prediction_inside" if image.inside else "prediction_outside"].inc()
        if image.deadline_met is not None:
            self._counters["deadline_met" if image.deadline_met else "deadline_missed"].inc()

    def ended(self, reason: str, count: int = 1) -> None:
        """Images were not made: ``abort``, their client left, or ``error``."""
        self._ended.labels(reason).inc(count)

    def rejected(self, code: str) -> None:
        """A request was refused."""
        self._rejected.labels(code).inc()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
