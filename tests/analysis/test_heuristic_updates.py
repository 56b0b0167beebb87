"""Heuristic weights move by the shrunk lift, within bounds, and say why."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from tests.rules import Rules
from tests.synthetic import execution, hand_frames, query, run_frame, tables_of, wave_plan

KEYS = [
    "heuristic_id", "previous_weight", "weight", "lift", "lift_low", "lift_high", "shrunk_lift", "applied_count",
    "other_count", "is_step_bounded", "weight_bound", "reason", "simulated", "timestamp",
]  # fmt: skip


def lifts(results, evidence, weights=()):
    """Lifts of task results (wave, agent_id, heuristics_applied, residual, planned_success, outcome_variance)."""
    return query(
        "heuristic_lifts",
        {
            "task_results": results,
            "executions": results,
            "agent_evidence": evidence,
            "heuristics": pl.DataFrame(schema={"heuristic_id": pl.String}),
            "previous_weights": pl.DataFrame(
                list(weights), schema={"heuristic_id": pl.String, "weight": pl.Float64}, orient="row"
            ),
            "rules": Rules().frame(),
        },
    )


def updates(applied, others, previous=1.0, rules=None, **run):
    """The update of H on tasks planned at 0.5: outcomes of the tasks with it, and of the others."""
    rows = [
        execution(f"t{i:03}", planned_success=0.5, heuristics_applied=["H"] if i < len(applied) else [],
                  status="completed" if won else "failed")
        for i, won in enumerate([*applied, *others])
    ]  # fmt: skip
    return hand_frames(
        rows,
        [wave_plan(1)],
        previous_weights=pl.DataFrame({"heuristic_id": ["H"], "weight": [previous]}),
        run=run_frame(**run),
        rules=(rules or Rules()).frame(),
    )


def update(tmp_path, *args, **options):
    tables_of(updates(*args, **options), tmp_path, "heuristic_updates", "heuristic_weights")
    rows = [json.loads(line) for line in (tmp_path / "heuristic_updates.jsonl").read_text().splitlines()]
    assert [list(row) for row in rows] == [KEYS]
    weights = json.loads((tmp_path / "heuristic_weights.json").read_text())
    assert list(weights) == ["H", "updated_at"]
    assert weights["H"] == rows[0]["weight"]
    return rows[0]


def test_an_update_by_hand(tmp_path):
    # 3 of 4 against 1 of 4: lift 0.5, standard error sqrt(2 * 0.25 / 4) = 0.35355, n = 2: 0.5 * 2 / 22 = 0.04545.
    row = update(tmp_path, [1, 1, 1, 0], [1, 0, 0, 0])
    half = 1.6448536 * 0.125**0.5
    assert (row["lift"], row["lift_low"], row["lift_high"]) == pytest.approx((0.5, 0.5 - half, 0.5 + half), rel=1e-6)
    assert (row["shrunk_lift"], row["weight"]) == pytest.approx((1 / 22, 1 + 1 / 22))
    assert (row["applied_count"], row["other_count"]) == (4, 4)
    assert (row["is_step_bounded"], row["weight_bound"]) == (False, None)
    assert row["reason"] == (
        "Compared with their forecasts, 4 tasks with it did 50.0 points better than 4 without it (90 % interval "
        "-8.2 to 108.2, not significant). Shrunk for the number of tasks, this is 4.55 points. The weight goes from "
        "1.0000 to 1.0455. The results are simulated, so no later run uses this weight."
    )


def test_a_real_run_says_nothing_of_simulation(tmp_path):
    row = update(tmp_path, [1, 1, 1, 0], [1, 0, 0, 0], is_simulated=False)
    assert row["simulated"] is False
    assert "simulated" not in row["reason"]


@pytest.mark.parametrize(
    ("won", "previous", "weight", "bound", "words"),
    [
        (1, 1.0, 1.05, None, "A run moves a weight by at most 0.05. The weight goes from 1.0000 to 1.0500"),
        (1, 1.48, 1.5, "maximum", "The weight is held at its maximum. The weight goes from 1.4800 to 1.5000"),
        (0, 0.5, 0.5, "minimum", "The weight is held at its minimum. The weight goes from 0.5000 to 0.5000"),
    ],
)
def test_a_step_and_a_weight_stay_within_their_bounds(tmp_path, won, previous, weight, bound, words):
    row = update(tmp_path, [won] * 30, [1 - won] * 30, previous)
    assert (row["weight"], row["is_step_bounded"], row["weight_bound"]) == (pytest.approx(weight), True, bound)
    assert words in row["reason"] and "by at most 0.05" in row["reason"]
    assert "not significant" not in row["reason"]


@pytest.mark.parametrize(
    ("bounds", "won", "weight", "bound"),
    [
        pytest.param((1.1, 1.5), 1, 1.05, None, id="inwards, a step"),
        pytest.param((1.1, 1.5), 0, 1.0, "minimum", id="not further below"),
        pytest.param((0.5, 0.9), 0, 0.95, None, id="inwards from above, a step"),
        pytest.param((0.5, 0.9), 1, 1.0, "maximum", id="not further above"),
    ],
)
def test_bounds_limit_a_move_outwards_only(tmp_path, bounds, won, weight, bound):
    rules = Rules(heuristic_weight_min=bounds[0], heuristic_weight_max=bounds[1])
    row = update(tmp_path, [won] * 30, [1 - won] * 30, rules=rules)
    assert (row["weight"], row["weight_bound"]) == (pytest.approx(weight), bound)
    assert f"weight goes from 1.0000 to {weight:.4f}" in row["reason"]


def test_a_weight_that_is_said_to_stay_stays_out_of_bounds_too(tmp_path):
    row = update(tmp_path, [1, 0], [], rules=Rules(heuristic_weight_min=1.1))
    assert (row["weight"], row["weight_bound"]) == (1.0, None)
    assert "its weight stays" in row["reason"]


@pytest.mark.parametrize(
    ("applied", "others", "words"),
    [([1, 0], [], "Every task that ran used it"), ([], [1, 0], "No task that ran used it")],
)
def test_without_a_comparison_the_weight_stays(tmp_path, applied, others, words):
    row = update(tmp_path, applied, others, 1.2)
    assert (row["weight"], row["lift"], row["lift_low"], row["shrunk_lift"]) == (1.2, None, None, 0.0)
    assert row["reason"].startswith(words)


def test_the_weight_of_a_heuristic_that_is_not_there_this_time_is_kept(tmp_path):
    run = updates([1], [0])
    run["previous_weights"] = pl.DataFrame({"heuristic_id": ["absent"], "weight": [0.9]})
    tables_of(run, tmp_path, "heuristic_weights")
    assert json.loads((tmp_path / "heuristic_weights.json").read_text())["absent"] == 0.9


def test_the_variance_is_that_of_the_outcomes_and_of_what_an_agents_tasks_share():
    """10,000 tasks against the covariance matrix written out, agent by agent."""
    rng = np.random.default_rng(2)
    n = 10_000
    p, wave, agent = rng.uniform(0.05, 0.95, n), rng.integers(1, 11, n), rng.integers(0, 20, n)
    variance = 0.2 * p * (1 - p) * rng.random(n)
    has = {name: rng.random(n) < share for name, share in (("A", 0.5), ("B", 0.02))} | {"C": agent < 4}
    residual = (rng.random(n) < p) - p
    results = pl.DataFrame(
        {
            "wave": wave,
            "agent_id": [f"agent_{a}" for a in agent],
            "heuristics_applied": [[name for name in has if has[name][i]] for i in range(n)],
            "residual": residual,
            "planned_success": p,
            "outcome_variance": p * (1 - p) - variance,
        }
    )
    places = {(w, a): (wave == w) & (agent == a) for w in range(1, 11) for a in range(20)}
    shared = {key: rng.uniform(0.5, 8.0) * variance[at].sum() for key, at in places.items()}
    evidence = pl.DataFrame(
        [{"wave": w, "agent_id": f"agent_{a}", "success_variance": value} for (w, a), value in shared.items()]
    )
    found = {row["heuristic_id"]: row for row in lifts(results, evidence).to_dicts()}
    assert list(found) == ["A", "B", "C"]
    errors = {}
    for name, applied in has.items():
        weight = np.where(applied, 1 / applied.sum(), -1 / (~applied).sum())
        total = (weight**2 * p * (1 - p)).sum()
        alone = total**0.5
        for key, at in places.items():
            covariance = (shared[key] - variance[at].sum()) / (at.sum() * (at.sum() - 1))
            pairs = np.outer(weight[at], weight[at])
            total += covariance * (pairs.sum() - np.trace(pairs))
        row, lift = found[name], weight @ residual
        assert row["lift"] == pytest.approx(lift, rel=1e-9)
        assert row["statistic"] == pytest.approx(lift / total**0.5, rel=1e-9)
        assert row["lift_high"] - row["lift"] == pytest.approx(1.6448536269514722 * total**0.5, rel=1e-9)
        errors[name] = total**0.5 / alone
    # A splits each agent's tasks, so that what they share cancels; C tells agents apart, so that it adds.
    assert errors["A"] < 1.01
    assert errors["C"] > 1.1


def test_the_variance_never_falls_below_the_noise_of_the_outcomes():
    # Two tasks of one agent, p 0.5, V 0.1: shared by both, the doubt cancels and 0.15 a task is left.
    results = pl.DataFrame(
        {
            "wave": [1, 1],
            "agent_id": ["a", "a"],
            "heuristics_applied": [["H"], []],
            "residual": [0.5, -0.5],
            "planned_success": [0.5, 0.5],
            "outcome_variance": [0.15, 0.15],
        }
    )
    evidence = pl.DataFrame({"wave": [1], "agent_id": ["a"], "success_variance": [0.9]})
    row = lifts(results, evidence).row(0, named=True)
    assert row["lift_high"] - row["lift"] == pytest.approx(1.6448536269514722 * 0.3**0.5)


def test_without_evidence_of_agents_tasks_share_nothing():
    results = pl.DataFrame(
        {
            "wave": [1, 1],
            "agent_id": ["a", "a"],
            "heuristics_applied": [["H"], []],
            "residual": [0.5, -0.5],
            "planned_success": [0.5, 0.5],
            "outcome_variance": [0.15, 0.15],
        }
    )
    evidence = pl.DataFrame(schema={"wave": pl.Int64, "agent_id": pl.String, "success_variance": pl.Float64})
    row = lifts(results, evidence, [("H", 1.3), ("absent", 0.9)]).row(0, named=True)
    assert row["heuristic_id"] == "H"
    assert row["lift_high"] - row["lift"] == pytest.approx(1.6448536269514722 * 0.5**0.5)
