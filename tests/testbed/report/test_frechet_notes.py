"""What the report says of Fréchet distances that cannot be compared or carried."""

from testbed.report import curves, setup


def test_the_report_says_what_cannot_be_compared_or_carried():
    def profile(n, **more):
        point = {"steps": 4, "value": 2.0, "n": n, "low": 1.0, "high": 3.0}
        return {
            "place": "edge",
            "prompt_class": "all",
            "frechet": {"points": [{**point, **more}], "note": "general"},
            "kid": {"points": [point]},
        }

    beyond = profile(900, infinity={"value": 1.2345, "low": 1.0, "high": 1.5}, note=None)
    profiles, totals = (
        [profile(8, note="8 cannot"), profile(8, note="8 cannot"), beyond],
        [{"note": "7 cannot"}, {"note": None}, {}],
    )
    extrapolated = (
        "extrapolated to infinitely many pictures, all, edge server, 4 steps: 1.23 [1, 1.5]."
    )
    assert setup.frechet_notes(profiles, totals) == [
        "general",
        "8 cannot",
        "7 cannot",
        extrapolated,
    ]
    assert curves._sizes(profiles, "frechet").endswith(
        "from 8 or 900 pictures; Fréchet distances of different numbers are not comparable."
    )
    assert curves._sizes(profiles, "kid") == " Each point is from 8 or 900 pictures."
    assert (
        curves._sizes(profiles[:2], "frechet") == " Each point is from 8 pictures."
        and curves._sizes(profiles, "time") == ""
    )
    old = [{key: value for key, value in one.items() if key != "kid"} for one in profiles]
    assert "kid" not in curves.quantities(old)
