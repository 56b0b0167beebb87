"""Comparing strategies: the same simulated worlds for all, figures that can be recomputed, and the command."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import phase19
from phase19.errors import UsageError
from phase19.evaluation.compare import (
    BASELINES,
    CANDIDATES,
    MEASURES,
    ROUND_ROBIN,
    compare_success,
    plan_candidates,
    recommendation,
    simulate_candidates,
)
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.predictive import draw_wave
from phase19.optimizer import AdaptiveOptimizer
from phase19.options import OptimizationStrategy as S
from phase19.options import PlanOptions
from phase19.wave import positions
from tests.builders import optimizer, random_attempts

ROOT = Path(__file__).parents[2]
STAMP = ("--seed", "5", "--timestamp", "2026-02-05T12:00:00Z")
FIGURES = [key for name in MEASURES for key in (f"planned_{name}", f"{name}_low", f"{name}_high")]
KEYS = [
    "strategy", "is_baseline", *FIGURES, "is_recommended", "compared_with", "success_margin",
    "success_margin_low", "success_margin_high", "makespan_saving", "makespan_saving_error", "simulated",
    "seed", "timestamp",
]  # fmt: skip


@pytest.fixture(scope="module")
def planner() -> AdaptiveOptimizer:
    return optimizer(random_attempts(3, 70, task_count=10, agent_count=4), task_count=10, agent_count=4, waves=2)


@pytest.fixture(scope="module")
def fitted(planner) -> ForecastModel:
    return planner.model


@pytest.fixture(scope="module")
def plans(planner):
    return plan_candidates(planner)


@pytest.fixture(scope="module")
def simulated(plans):
    return simulate_candidates(plans, seed=1)


def task_of(plans):
    """Index of each planned task in the model."""
    return positions(plans.tasks["task_id"], plans.model.tasks["task_id"])


def starts_of(plans):
    """Position of the first task of each wave but the first."""
    return np.flatnonzero(np.diff(plans.tasks["wave"])) + 1


# Planned measures


def test_expected_measures_are_sums_of_the_first_forecast(fitted, plans, simulated):
    found, n, m = simulated[0], fitted.tasks.height, fitted.agents.height
    for candidate in range(len(CANDIDATES)):
        success = retries = change = 0.0
        for position, agent in enumerate(plans.agent[candidate]):
            own = slice(None) if candidate == ROUND_ROBIN else slice(agent, agent + 1)
            agents = np.arange(m)[own]
            task = np.full(agents.size, task_of(plans)[position])
            pairs = fitted.forecast(task, agents, np.full(agents.size, plans.tasks["max_attempts"][position]))
            success += pairs.planned_success.mean()
            retries += pairs.planned_attempts.mean() - 1
            change += pairs.planned_confidence_delta.mean()
        assert found["success_rate"][candidate] == pytest.approx(success / n)
        assert found["retry_count"][candidate] == pytest.approx(retries)
        assert found["confidence_delta"][candidate] == pytest.approx(change / n)
    assert found["throughput"] == pytest.approx(n * 1000 / found["makespan_ms"])


def test_draws_agree_with_expected_measures_and_with_draws_of_one_plan_alone(fitted, plans, simulated):
    planned, draws = simulated
    for name in ("success_rate", "retry_count", "confidence_delta"):
        error = draws[name].std(axis=1) / np.sqrt(draws[name].shape[1])
        assert (np.abs(draws[name].mean(axis=1) - planned[name]) < 4.5 * error + 1e-3).all(), name
    makespan, busy = 0.0, np.zeros((4000, 4))
    most = plans.tasks["max_attempts"].to_numpy()
    own = draw_wave(fitted, task_of(plans), plans.agent[0], most, seed=9, wave=0, draws=4000)
    for wave in np.split(np.arange(most.size), starts_of(plans)):
        by_agent = [own.busy_ms[:, wave[plans.agent[0, wave] == agent]].sum(axis=1) for agent in range(4)]
        makespan, busy = makespan + np.max(by_agent, axis=0), busy + np.transpose(by_agent)
    imbalance = busy.std(axis=1) / busy.mean(axis=1)
    for name, alone in (("makespan_ms", makespan), ("load_imbalance", imbalance)):
        assert planned[name][0] == pytest.approx(alone.mean(), rel=5 * 1.5 / np.sqrt(512)), name


def test_equal_plans_have_equal_outcomes_in_every_draw(plans):
    auto, success = CANDIDATES.index("auto"), CANDIDATES.index("maximize_success")
    agent = plans.agent.copy()
    agent[auto] = agent[success]
    _, draws = simulate_candidates(plans._replace(agent=agent), seed=1)
    assert all((draws[name][auto] == draws[name][success]).all() for name in MEASURES)
    assert (draws["success_rate"][success] != draws["success_rate"][ROUND_ROBIN]).any()


def test_moving_one_task_changes_the_outcome_of_no_other_task(plans):
    # Two candidates differ in one task of ten: their successes differ by one at most, in every draw.
    agent = np.repeat(plans.agent[:1], len(CANDIDATES), axis=0)
    agent[1, 0] = (agent[1, 0] + 1) % 4
    _, draws = simulate_candidates(plans._replace(agent=agent), seed=1)
    gap = np.abs(draws["success_rate"][1] - draws["success_rate"][0]) * plans.tasks.height
    assert gap.max() == pytest.approx(1.0)
    assert 0 < (gap > 0.5).mean() < 0.9


@pytest.mark.parametrize("capacity", [None, 4, 10])
@pytest.mark.parametrize("seed", range(3))
def test_maximize_success_expects_no_less_than_a_baseline_under_the_same_capacity(seed, capacity):
    records, options = random_attempts(seed, 40, task_count=9, agent_count=4), PlanOptions(capacity=capacity)
    planner = optimizer(records, task_count=9, agent_count=4, waves=2, options=options)
    planned, _ = simulate_candidates(plan_candidates(planner), seed=0)
    rate = planned["success_rate"]
    assert rate[0] == pytest.approx(rate.max(), abs=1e-12)
    assert all(rate[CANDIDATES.index(name)] <= rate[0] + 1e-12 for name in BASELINES)


def test_more_agents_than_draws_or_tasks_are_simulated():
    planner = optimizer(random_attempts(1, 20), task_count=3, agent_count=40)
    _, draws = simulate_candidates(plan_candidates(planner), seed=0)
    assert np.isfinite(draws["makespan_ms"]).all()
    assert (draws["makespan_ms"] > 0).all()


def test_the_best_agent_takes_what_it_may_of_each_wave_and_the_next_best_the_rest(plans):
    success = plans.expected[0].sum(axis=0)
    best_first = np.argsort(-success)
    for _, wave in plans.tasks.with_row_index().sort("task_id").group_by("wave"):
        agents = plans.agent[:, wave["index"]]
        # 5 tasks a wave and 4 agents: at most twice the even share of 2 tasks an agent.
        assert agents[CANDIDATES.index("best_single_agent_capped")].tolist() == [
            *best_first[[0, 0, 0, 0]],
            best_first[1],
        ]
        assert agents[ROUND_ROBIN].tolist() == [0, 1, 2, 3, 0]


def test_a_capacity_beyond_all_tasks_costs_no_memory():
    records, options = random_attempts(0, 40, task_count=9, agent_count=4), PlanOptions(capacity=2**31)
    plans = plan_candidates(optimizer(records, task_count=9, agent_count=4, options=options))
    assert len(set(plans.agent[CANDIDATES.index("best_single_agent_capped")])) == 1


# The recommendation


def verdicts(rate, makespan=None, spread=0.0, noise=0.0):
    """Rows of candidates of given success and makespan; the first one's draws spread that far up and down."""
    rates, times = np.array(rate, dtype=float), np.array(makespan or [1.0] * len(CANDIDATES))
    draws = np.tile(rates[:, None], (1, 100))
    draws[0] += np.linspace(-spread, spread, 100)
    drawn_ms = np.tile(times[:, None], (1, 100))
    drawn_ms[0] += np.tile([-noise, noise], 50)
    planned = {"success_rate": rates, "makespan_ms": times}
    columns = compare_success(planned, {"success_rate": draws, "makespan_ms": drawn_ms})
    table = pl.DataFrame({"strategy": CANDIDATES, "planned_makespan_ms": times} | columns).fill_nan(None)
    return {row["strategy"]: row for row in table.to_dicts()}


RATES = [0.9, 0.85, 0.6, 0.8, 0.7, 0.82, 0.9, 0.95, 0.65]


def test_the_recommended_strategy_is_compared_with_the_runner_up_and_all_others_with_it():
    found = verdicts(RATES, spread=0.1)
    winner, weighted = found["maximize_success"], found["weighted"]
    assert [name for name, row in found.items() if row["is_recommended"]] == ["maximize_success"]
    assert (winner["compared_with"], weighted["compared_with"]) == ("maximize_throughput", "maximize_success")
    margin = [winner[f"success_margin{end}"] for end in ("", "_low", "_high")]
    assert margin == pytest.approx([0.05, -0.04, 0.14])  # 0.05 and the 5 % and 95 % points of -0.1 ... 0.1
    assert [weighted[f"success_margin{end}"] for end in ("", "_low", "_high")] == pytest.approx([-0.08, -0.17, 0.01])
    assert recommendation(list(found.values())) == (
        "Recommended: maximize_success. It expects 5.0 points more success than maximize_throughput "
        "(90 % interval -4.0 to +14.0 points)."
    )


def test_a_faster_strategy_close_to_the_best_is_recommended_and_its_loss_is_stated():
    found = verdicts([0.9, 0.896, *RATES[2:]], [2.0, 1.5, 2, 2, 2, 2, 1, 1, 1], spread=0.1)
    assert found["maximize_throughput"]["is_recommended"]
    assert found["maximize_throughput"]["success_margin"] == pytest.approx(-0.004)
    said = recommendation(list(found.values()))
    assert said == (
        "Recommended: maximize_throughput. It expects as many successes within half a point as maximize_success "
        "(90 % interval -9.4 to +8.6 points), and its makespan is 25.0 % shorter."
    )
    equal = recommendation(list(verdicts([0.9, 0.9, *RATES[2:]]).values()))
    assert equal.startswith("Recommended: maximize_success. It expects as much success as maximize_throughput (")


def test_without_known_times_only_success_decides():
    said = recommendation(list(verdicts([0.9, 0.896, *RATES[2:]], [np.nan] * 9).values()))
    assert said.startswith(
        "Recommended: maximize_success. It expects 0.4 points more success than maximize_throughput ("
    )
    assert said.endswith(" points).")


def test_a_strategy_that_is_hardly_faster_is_not_recommended_but_named():
    found = verdicts([0.9, 0.896, *RATES[2:]], [2.0, 1.96, 1, 2, 2, 2, 1, 1, 1])  # the third has far less success
    assert found["maximize_success"]["is_recommended"]
    said = recommendation(list(found.values()))
    assert said.endswith("points); maximize_throughput is within half a point of it, but only 2.0 % shorter.")


@pytest.mark.parametrize(
    ("makespan", "noise", "recommended", "possible"),
    [
        # The error of the first one's mean makespan of 2.0 is 1.645 * noise / sqrt(100), in parts of that mean.
        pytest.param(1.92, 0.2, "maximize_success", "maximize_throughput", id="4 % shorter, give or take 1.6 %"),
        pytest.param(1.92, 0.1, "maximize_success", None, id="4 % shorter, give or take 0.8 %"),
        pytest.param(1.88, 0.2, "maximize_throughput", "maximize_success", id="6 % shorter, give or take 1.5 %"),
        pytest.param(1.88, 0.1, "maximize_throughput", None, id="6 % shorter, give or take 0.8 %"),
    ],
)
def test_the_recommendation_says_when_the_noise_of_the_simulation_decides(makespan, noise, recommended, possible):
    found = verdicts([0.9, 0.896, *RATES[2:]], [2.0, makespan, 2, 2, 2, 2, 1, 1, 1], noise=noise)
    assert found[recommended]["is_recommended"]
    throughput = found["maximize_throughput"]
    assert throughput["makespan_saving"] == pytest.approx(1 - makespan / 2)
    assert throughput["makespan_saving_error"] == pytest.approx(makespan / 2 * 1.645 * noise / 2 / 10)
    end = f"; makespans are simulated, and another seed may recommend {possible}." if possible else " % shorter."
    assert recommendation(list(found.values())).endswith(end)


def test_of_two_strategies_as_fast_as_each_other_the_noise_may_choose():
    # The first one is 10 % and the second 9.9 % shorter than the best, the third; the first one's makespan has noise.
    found = verdicts([0.897, 0.898, 0.9, *RATES[3:]], [1.8, 1.802, 2, 2, 2, 2, 1, 1, 1], noise=0.1)
    said = recommendation(list(found.values()))
    assert said.startswith(
        "Recommended: maximize_success. It expects as many successes within half a point as balance_load"
    )
    assert said.endswith(
        " 10.0 % shorter; makespans are simulated, and another seed may recommend maximize_throughput."
    )


# The command


@pytest.fixture
def inputs(tmp_path):
    for phase in ("phase16", "phase17", "phase18"):
        shutil.copytree(ROOT / "outputs" / phase, tmp_path / phase)
    return tmp_path / "phase18"


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_compare_writes_a_line_a_candidate_beside_the_input_and_recommends_one(run_cli, inputs):
    done = run_cli("compare", "--input", inputs, *STAMP)
    assert (done.returncode, done.stderr) == (0, "")
    target = inputs.parent / "strategy_comparison.jsonl"
    assert sorted(path.name for path in inputs.parent.iterdir()) == ["phase16", "phase17", "phase18", target.name]
    rows = lines(target)
    assert [row["strategy"] for row in rows] == [*S, "round_robin", "best_single_agent_capped"]
    assert [row["strategy"] for row in rows if row["is_baseline"]] == list(BASELINES)
    assert all(list(row) == KEYS for row in rows)
    (chosen,) = [row for row in rows if row["is_recommended"]]
    assert all(row["planned_success_rate"] <= chosen["planned_success_rate"] + 0.005 for row in rows)
    for row in rows:
        assert (row["simulated"], row["seed"]) == (True, 5)
        for name in MEASURES:
            assert row[f"{name}_low"] <= row[f"{name}_high"]
    printed = " ".join(done.stdout.split())
    assert f"{recommendation(rows)} Results are in {target}" in printed
    tables = done.stdout.split("\n\n")[1:3]
    assert [table.split()[0] for table in tables] == ["planned", "planned"]
    assert all([line.split()[0] for line in table.splitlines()[2:]] == list(CANDIDATES) for table in tables)


def test_a_seed_and_a_timestamp_fix_every_byte_on_the_command_line_and_every_row_in_python(run_cli, inputs, tmp_path):
    for name in ("one.jsonl", "two.jsonl"):
        run_cli("compare", "--input", inputs, *STAMP, "--output", tmp_path / name)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    before = set(tmp_path.rglob("*"))
    found = phase19.compare(input=str(inputs), seed=5, timestamp=STAMP[-1])
    assert set(tmp_path.rglob("*")) == before
    assert found.table.to_dicts() == lines(tmp_path / "one.jsonl")
    assert found.warnings == ()


@pytest.mark.parametrize("setting", [{"strategy": "auto"}, {"previous": "x"}, {"executor": "live"}])
def test_settings_that_compare_does_not_take_are_refused(inputs, setting):
    with pytest.raises(UsageError, match=f"expected an option of the command, found {next(iter(setting))}"):
        phase19.compare(input=inputs, **setting)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--executor", "live"], "--executor", id="executor"),
        pytest.param(["--strategy", "auto"], "--strategy", id="strategy"),
        pytest.param(["--agents", "1", "--capacity", "2"], "4 tasks for a total capacity of 2", id="capacity"),
        pytest.param(["--output", "{inputs}/x.jsonl"], "is or lies in the input", id="output in input"),
        pytest.param(["--output", "{inputs}/../taken"], "expected a file or nothing", id="output is directory"),
    ],
)
def test_bad_usage_of_compare_is_one_message_and_keeps_the_last_comparison(run_cli, inputs, arguments, message):
    (inputs.parent / "taken").mkdir()
    last = inputs.parent / "strategy_comparison.jsonl"
    last.write_text('{"strategy": "the last one"}\n')
    done = run_cli("compare", "--input", inputs, *(argument.format(inputs=inputs) for argument in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert last.read_text() == '{"strategy": "the last one"}\n'
    assert sorted(path.name for path in inputs.parent.iterdir()) == [
        "phase16", "phase17", "phase18", last.name, "taken"
    ]  # fmt: skip
