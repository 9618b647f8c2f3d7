"""Links and radios: each with its source, and what a radio costs."""

import pytest

from calibration.links import LINKS


def test_every_link_says_where_its_numbers_are_from():
    for name, link in LINKS.items():
        assert name == link.name and len(link.source) > 20
        assert 0 < link.round_trip < 1 and min(link.up, link.down) > 1e6
        if link.radio:
            assert "tail" in link.radio.source and link.radio.up > link.radio.down


def test_a_radios_joules():
    """The published slopes: LTE 0.61 J a MB up, 0.09 down; a tail of about 11 J."""
    radio = LINKS["lte"].radio
    tail = radio.joules(0, 0)
    assert tail == pytest.approx(10.7 * 1.06)
    assert radio.joules(1e6, 0) - tail == pytest.approx(0.61, abs=0.01)
    assert radio.joules(0, 1e6) - tail == pytest.approx(0.09, abs=0.01)
