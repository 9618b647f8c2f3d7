"""What the users of a total share, and what of it they do not."""

import numpy as np
import pytest

from calibration.fitting.prediction import degrees_of_freedom, evaluate
from calibration.scenario.sites import sites
from calibration.statistics import t_quantile
from calibration.validation import totals
from calibration.validation.estimates import estimate_users
from tests.calibration.world import World


def cell_of(term):
    return term.assignment.user.prompt_class, term.place


def test_users_with_as_many_steps_share_a_row_of_the_curves_covariance(setting, monkeypatch):
    """Matrices of all users by all users, of thousands of them, took gigabytes."""
    records = World(seed=3).execute(setting.scenario, setting.allocation, images=1)
    served = sites(setting.profiles, setting.scenario)
    users = estimate_users(setting.problem, setting.allocation, served, records)
    asked = []

    def recording(fit, steps, *rest):
        asked.append(list(steps))
        return evaluate(fit, steps, *rest)

    monkeypatch.setattr(totals, "evaluate", recording)
    terms = totals._terms(users, "error")
    half = totals._sum("error", terms).half
    assert asked and all(len(set(steps)) == len(steps) for steps in asked)

    own = sum(t_quantile(term.estimate.dof) ** 2 * term.estimate.own for term in terms)
    shared = {}
    for key in dict.fromkeys(map(cell_of, terms)):
        alike = [term.assignment for term in terms if cell_of(term) == key]
        fit, steps = alike[0].service.profile.error, [each.steps for each in alike]
        assert len(steps) > len(set(steps))
        quantile = t_quantile(degrees_of_freedom(fit))
        among_all = quantile * np.sqrt(evaluate(fit, steps)[1].sum())
        shared[key[0]] = shared.get(key[0], 0.0) + among_all
    assert half == pytest.approx(np.sqrt(own + sum(part**2 for part in shared.values())))
