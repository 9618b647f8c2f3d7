"""Links between a user and the edge: published medians, and what a radio costs, with sources.

Rates are those of the data, without headers. A :class:`Radio` is *modelled*: joules and seconds
that others measured on phones. The radios here are those of phones in 2012 (tail power) and 2021
(the rest).
"""

from dataclasses import dataclass

MEGABIT = 1e6

_SIGCOMM = "Narayanan et al., A Variegated Look at 5G in the Wild, SIGCOMM 2021, artifact"
_HUANG = (
    "Huang et al., A Close Examination of Performance and Power Characteristics of 4G LTE "
    "Networks, MobiSys 2012"
)
_OOKLA = "Ookla Speedtest Global Index, medians worldwide, first quarter of 2023"


@dataclass(frozen=True)
class Radio:
    """What sending and receiving costs a phone beside its link's own times.

    ``up``, ``down``: joules a byte; after the last packet the radio stays up for ``tail_time`` s at
    ``tail_watts`` W. After a silence longer than that, the first packet takes ``cold_time`` s more.
    """

    up: float
    down: float
    tail_time: float
    tail_watts: float
    cold_time: float
    source: str

    def joules(self, bytes_up: float, bytes_down: float) -> float:
        """Joules of a request after a long silence, with the tail that follows it."""
        return self.up * bytes_up + self.down * bytes_down + self.tail_time * self.tail_watts


@dataclass(frozen=True)
class Link:
    """A path to the edge: its ``round_trip`` in s, its rates ``up`` and ``down`` in bit/s.

    ``source`` in words; ``radio``: None where it needs none, or none was measured.
    """

    name: str
    round_trip: float
    up: float
    down: float
    source: str
    radio: Radio | None = None


def _radio(up_nj: float, down_nj: float, name: str) -> Radio:
    """``up_nj``, ``down_nj``: nJ a bit."""
    return Radio(
        up=8e-9 * up_nj,
        down=8e-9 * down_nj,
        tail_time=10.7,
        tail_watts=1.06,
        cold_time=0.7,
        source=f"joules a byte: slope of power against throughput, {name} ({_SIGCOMM}, file "
        "MN-Transfer_combined.csv); tail of 10.7 s: connected from 27.22 to 37.90 s in its own "
        "example; cold start: round trips after 12 to 30 s of silence less those of a radio that "
        f"is up, 0.6 to 0.8 s on seven carriers and bands (its RRC-Probe data); tail power: 1.06 W "
        f"of LTE ({_HUANG}; quoted without the paper at hand, and taken for 5G as well)",
    )


def _speedtest(
    name: str, what: str, round_trip_ms: float, up: float, down: float, radio: Radio
) -> Link:
    """Rates in Mbit/s."""
    source = f"medians of {what} ({_SIGCOMM}, Speedtest file, servers within 100 km)"
    return Link(name, round_trip_ms / 1000, up * MEGABIT, down * MEGABIT, source, radio)


LINKS = {
    link.name: link
    for link in (
        _speedtest("lte", "9 tests, Verizon LTE", 22, 34, 82, _radio(77, 12, "LTE")),
        _speedtest(
            "5g-low",
            "46 tests, Verizon 5G NSA low band",
            15,
            61,
            117,
            _radio(32, 12, "5G NSA low band"),
        ),
        _speedtest(
            "5g-mmwave", "122 tests, Verizon 5G mmWave", 7, 87, 1930, _radio(8.9, 1.7, "5G mmWave")
        ),
        Link(
            "wifi",
            0.029,
            34.92 * MEGABIT,
            79.0 * MEGABIT,
            f"rates and 9 ms of a fixed line ({_OOKLA}); 20 ms of the wireless hop, the median on "
            "a campus (Pei et al., WiFi Can Be the Weakest Link of Round Trip Network Latency in "
            "the Wild, INFOCOM 2016)",
        ),
        Link(
            "ethernet",
            0.0005,
            941 * MEGABIT,
            941 * MEGABIT,
            "nominal: 1 Gbit/s (IEEE 802.3ab), of which 1448 of 1538 bytes a frame are data; the "
            "round trip of 0.5 ms is assumed",
        ),
    )
}
