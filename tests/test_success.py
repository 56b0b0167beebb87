"""The success model: what is laid out over tasks and agents is what was learned of their levels and categories."""

from __future__ import annotations

import numpy as np
import pytest

from phase19.forecasting.model import ForecastModel
from phase19.forecasting.records import read_records
from phase19.forecasting.success import SuccessPriors
from phase19.forecasting.success_fit import fit_success
from tests.builders import POPULATION, agents, all_pairs, attempts, model, random_attempts, tasks


def test_an_agents_way_with_a_category_or_level_goes_to_new_tasks_of_it_and_no_others():
    """a0 does docs and LOW, a1 code and HIGH; new tasks of each level and category, and of none, are forecast so."""
    rows = [
        {"task_id": f"{name}{k}", "agent_id": f"a{a}", column: name, "is_success": (a == able) or k % 4 == 0}
        for column, name, able in (
            ("category", "docs", 0),
            ("category", "code", 1),
            ("risk_level", "LOW", 0),
            ("risk_level", "HIGH", 1),
        )
        for k in range(30)
        for a in (0, 1)
    ]
    kinds = [(level, kind) for level in ("LOW", "MEDIUM", "HIGH") for kind in ("docs", "code", None)]
    frame = tasks(
        *({"task_id": f"t{i}", "risk_level": level, "category": kind} for i, (level, kind) in enumerate(kinds))
    )
    fitted = ForecastModel.fit(frame, agents("a0", "a1"), attempts(*rows), POPULATION)
    ahead = dict(zip(kinds, -np.diff(fitted.success.pair.mean)[:, 0], strict=True))
    for level in ("LOW", "MEDIUM", "HIGH"):
        assert ahead[level, "docs"] > ahead[level, None] + 0.3 > ahead[level, "code"] + 0.6
    for kind in ("docs", "code", None):
        assert ahead["LOW", kind] > ahead["MEDIUM", kind] + 0.3 > ahead["HIGH", kind] + 0.6
    sd = dict(zip(kinds, fitted.success.pair.sd[:, 0], strict=True))
    # MEDIUM has no records, and a task of no category has nothing of one to be unsure about.
    assert sd["MEDIUM", None] > sd["LOW", None]
    assert sd["LOW", "docs"] > sd["LOW", None]
    again = all_pairs(ForecastModel.fit(frame[::-1], agents("a0", "a1"), attempts(*rows), POPULATION))
    assert again.success_probability[::-1] == pytest.approx(all_pairs(fitted).success_probability, rel=1e-9)


def test_scales_hold_until_the_records_double_and_are_then_chosen_anew():
    rows = random_attempts(4, 260, task_count=20)
    few = model(rows[:10], task_count=20)
    more = few.observe(attempts(*rows[10:99]))
    assert more.success.scales == few.success.scales  # 99 are not twice the least to choose by
    many = more.observe(attempts(*rows[99:120]))
    assert many.success.chosen_on == 120
    assert many.success.scales != few.success.scales
    same = many.observe(attempts(*rows[120:239]))
    assert (same.success.chosen_on, same.success.scales) == (120, many.success.scales)
    assert same.observe(attempts(rows[239])).success.chosen_on == 240


def test_what_few_attempts_choose_is_followed_part_of_the_way():
    priors = SuccessPriors()
    assert [priors.trust(count) for count in (0, 50, 75, 150, 10_000)] == [0.0, 0.0, 0.25, 1.0, 1.0]
    rows = random_attempts(9, 100, task_count=20)
    half, whole = (
        fit_success(read_records(attempts(*rows), tasks(count=20), agents("a0", "a1", "a2"), 12), 0.8, own).scales
        for own in (priors, SuccessPriors(least_attempts=0, full_attempts=100))
    )
    for name, believed in priors.scales().items():  # half of the way on the log scale
        assert half[name] == pytest.approx((believed * whole[name]) ** 0.5)
    assert half != whole
