"""Strategies side by side: the same worlds and luck for all, figures that can be recomputed, and the command."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from phase19.evaluation.candidates import BASELINES, LINES, ROUND_ROBIN, line_up
from phase19.evaluation.compare import Comparison, judge
from phase19.evaluation.compare_report import comparison_tables, headline, legend, rationale, recommendation
from phase19.evaluation.executed import measure, try_out
from phase19.evaluation.simulated import MEASURES, Measures, Outlook, look_ahead
from phase19.execution.replay import ReplayExecutor
from phase19.execution.simulate import SimulateExecutor
from phase19.forecasting.predictive import draw_wave
from phase19.options import OptimizationStrategy as S
from phase19.planning import PlanParameters
from tests.builders import attempts, model, random_attempts

if TYPE_CHECKING:
    from phase19.forecasting.model import ForecastModel

ROOT = Path(__file__).parent.parent
STAMP = ("--seed", "5", "--timestamp", "2026-02-05T12:00:00Z")
FIGURES = [key for name in MEASURES for key in (f"planned_{name}", f"{name}_low", f"{name}_high", f"actual_{name}")]
KEYS = [
    "strategy", "is_baseline", *FIGURES, "observed_share", "is_recommended", "compared_with", "success_margin",
    "success_margin_low", "success_margin_high", "dominated_by", "promises_less_than", "rationale", "executor",
    "simulated", "seed", "timestamp",
]  # fmt: skip


def in_waves(fitted: ForecastModel, count: int) -> ForecastModel:
    """The model's tasks dealt to waves in turn."""
    wave = pl.Series([i % count + 1 for i in range(fitted.tasks.height)], dtype=pl.Int64)
    return replace(fitted, tasks=fitted.tasks.with_columns(wave=wave))


@pytest.fixture(scope="module")
def fitted() -> ForecastModel:
    return in_waves(model(random_attempts(3, 70, task_count=10, agent_count=4), task_count=10, agent_count=4), 2)


class Recorder:
    """Carries orders out in a world, and remembers every attempt."""

    is_simulated = True

    def __init__(self, fitted: ForecastModel, seed: int = 3) -> None:
        ids = fitted.tasks["task_id"], fitted.agents["agent_id"]
        self.inner = SimulateExecutor(fitted.world(seed), *ids)
        self.seen: list[pl.DataFrame] = []

    def execute(self, orders: pl.DataFrame):
        found = self.inner.execute(orders)
        self.seen.append(found.attempts.with_columns(call=pl.lit(len(self.seen))))
        return found


# What is promised


def test_expected_figures_are_sums_of_the_first_forecast(fitted):
    waves = line_up(fitted, PlanParameters())
    found = look_ahead(fitted, waves, seed=1).planned
    n, m = fitted.tasks.height, fitted.agents.height
    for line in range(len(LINES)):
        success = retries = change = 0.0
        for wave in waves:
            for position, agent in enumerate(wave.agent[line]):
                own = slice(None) if line == ROUND_ROBIN else slice(agent, agent + 1)
                agents = np.arange(m)[own]
                task = np.full(agents.size, wave.task[position])
                pairs = fitted.forecast(task, agents, np.full(agents.size, wave.allowed[position]))
                success += pairs.planned_success.mean()
                retries += pairs.planned_attempts.mean() - 1
                change += pairs.planned_confidence_delta.mean()
        assert found.success_rate[line] == pytest.approx(success / n)
        assert found.retry_count[line] == pytest.approx(retries)
        assert found.confidence_delta[line] == pytest.approx(change / n)
    assert found.throughput == pytest.approx(n * 1000 / found.makespan_ms)


def test_draws_agree_with_what_is_expected_and_with_draws_of_one_plan_alone(fitted):
    waves = line_up(fitted, PlanParameters())
    found = look_ahead(fitted, waves, seed=1)
    for name in ("success_rate", "retry_count", "confidence_delta"):
        draws, planned = getattr(found.draws, name), getattr(found.planned, name)
        error = draws.std(axis=1) / np.sqrt(draws.shape[1])
        assert (np.abs(draws.mean(axis=1) - planned) < 4.5 * error + 1e-3).all(), name
    makespan, busy = 0.0, np.zeros((4000, 4))
    task, agent, allowed = np.hstack([[wave.task, wave.agent[0], wave.allowed] for wave in waves])
    busy_ms = draw_wave(fitted, task, agent, allowed, seed=9, wave=1, draws=4000).busy_ms
    for wave in waves:
        own = np.isin(task, wave.task)
        by_agent = np.stack([busy_ms[:, own & (agent == a)].sum(axis=1) for a in range(4)], axis=1)
        makespan, busy = makespan + by_agent.max(axis=1), busy + by_agent
    imbalance = busy.std(axis=1) / busy.mean(axis=1)
    for name, alone in (("makespan_ms", makespan), ("load_imbalance", imbalance)):
        assert getattr(found.planned, name)[0] == pytest.approx(alone.mean(), rel=5 * 1.5 / np.sqrt(512)), name


def test_lines_that_plan_alike_have_the_same_luck_in_every_world(fitted):
    waves = line_up(fitted, PlanParameters())
    auto, success = LINES.index("auto"), LINES.index("maximize_success")
    alike = [
        wave._replace(agent=np.vstack([wave.agent[:auto], wave.agent[:1], wave.agent[auto + 1 :]])) for wave in waves
    ]
    draws = look_ahead(fitted, alike, seed=1).draws
    assert all((getattr(draws, name)[auto] == getattr(draws, name)[success]).all() for name in MEASURES)
    assert (draws.success_rate[success] != draws.success_rate[ROUND_ROBIN]).any()


def test_one_task_given_to_another_agent_changes_no_other_task_s_luck(fitted):
    # Two lines differ in one task of ten: their successes differ by one at most, in every world.
    waves = line_up(fitted, PlanParameters())
    agent = np.repeat(waves[0].agent[:1], len(LINES), axis=0)
    agent[1, 0] = (agent[1, 0] + 1) % 4
    draws = look_ahead(fitted, [waves[0]._replace(agent=agent)], seed=1).draws
    gap = np.abs(draws.success_rate[1] - draws.success_rate[0]) * waves[0].task.size
    assert gap.max() == pytest.approx(1.0)
    assert 0 < (gap > 0.5).mean() < 0.9


@pytest.mark.parametrize("capacity", [None, 4, 10])
@pytest.mark.parametrize("seed", range(5))
def test_most_success_promises_no_less_than_a_baseline_under_the_same_capacity(seed, capacity):
    fitted = in_waves(model(random_attempts(seed, 40, task_count=9, agent_count=4), task_count=9, agent_count=4), 2)
    rate = look_ahead(fitted, line_up(fitted, PlanParameters(capacity=capacity)), seed=0).planned.success_rate
    assert rate[0] == pytest.approx(rate.max(), abs=1e-12)
    assert all(rate[LINES.index(name)] <= rate[0] + 1e-12 for name in BASELINES)


def test_more_agents_than_draws_or_tasks_are_no_trouble():
    fitted = in_waves(model(random_attempts(1, 20), task_count=3, agent_count=40), 1)
    found = look_ahead(fitted, line_up(fitted, PlanParameters()), seed=0)
    assert np.isfinite(found.draws.makespan_ms).all()
    assert (found.draws.makespan_ms > 0).all()


# What came


def test_measures_of_what_came_by_hand():
    # Wave 1: a0 is busy for 30, a1 for 50; wave 2: a0 for 20. Makespans 50 + 20. Busy in all: 50, 50, 0: mean 100 / 3,
    # deviation sqrt(((50 / 3)^2 * 2 + (100 / 3)^2) / 3) = sqrt(5000 / 9).
    columns = ("wave", "agent_id", "status", "retry_count", "actual_duration_ms", "actual_confidence_delta")
    rows = [
        (1, "a0", "completed", 0, 10.0, 0.1),
        (1, "a0", "failed", 2, 20.0, -0.2),
        (1, "a1", "completed", 1, 50.0, 0.4),
        (2, "a0", "completed", 0, 20.0, 0.1),
        (2, "a2", "unobserved", 0, None, None),
    ]
    found = measure(pl.DataFrame(rows, schema=columns, orient="row"), pl.Series(["a0", "a1", "a2"]))
    assert found == pytest.approx(
        {
            "success_rate": 0.75,
            "throughput": 4 / 0.070,
            "makespan_ms": 70.0,
            "load_imbalance": np.sqrt(5000 / 9) / (100 / 3),
            "retry_count": 3.0,
            "confidence_delta": 0.1,
            "observed_share": 0.8,
        }
    )


def test_where_nothing_ran_nothing_is_measured(fitted):
    nobody = ReplayExecutor(attempts({"task_id": "t0", "agent_id": "someone else"}))
    for found in try_out(fitted, nobody, line_up(fitted, PlanParameters()), PlanParameters()):
        assert found == {**dict.fromkeys(MEASURES), "observed_share": 0.0}


def test_the_same_pair_has_the_same_luck_whoever_chose_it(fitted):
    recorder = Recorder(fitted)
    try_out(fitted, recorder, line_up(fitted, PlanParameters()), PlanParameters())
    seen = pl.concat(recorder.seen)
    same = seen.group_by("task_id", "agent_id", "attempt").agg(
        pl.col("call").n_unique(),
        pl.col("is_success", "duration_ms", "confidence_delta").n_unique().name.suffix("_count"),
    )
    assert (same["call"] > 1).sum() > 10
    assert same.select(pl.col("^.*_count$").max()).row(0) == (1, 1, 1)


def test_each_strategy_begins_with_its_own_plan_and_auto_with_the_recommended_one(fitted):
    recorder, waves = Recorder(fitted), line_up(fitted, PlanParameters())
    try_out(fitted, recorder, waves, PlanParameters())
    begun = [found.select("task_id", "agent_id").unique().sort("task_id") for found in recorder.seen[: 2 * len(S) : 2]]
    expected = [fitted.agents["agent_id"].gather(agent).to_list() for agent in waves[0].agent[: len(S)]]
    assert [found["agent_id"].to_list() for found in begun] == expected
    auto = waves[0].agent[LINES.index("auto")].tolist()
    assert auto in waves[0].agent[1:6].tolist() and auto != waves[0].agent[0].tolist()


def test_round_robin_came_to_the_mean_of_its_rotations_and_a_strategy_to_what_its_run_does(fitted):
    recorder = Recorder(fitted)
    found = try_out(fitted, recorder, line_up(fitted, PlanParameters()), PlanParameters())
    # Every pair is played once over the rotations: the mean of rates is the mean over all pairs.
    tasks, agents = (frame.height for frame in (fitted.tasks, fitted.agents))
    last = (
        pl.concat(recorder.seen[2 * len(S) : 2 * len(S) + 2 * agents])
        .group_by("task_id", "agent_id")
        .agg(pl.col("is_success").any(), pl.len(), pl.col("confidence_delta").last())
    )
    assert last.height == tasks * agents
    assert found[ROUND_ROBIN]["success_rate"] == pytest.approx(last["is_success"].mean())
    assert found[ROUND_ROBIN]["retry_count"] == pytest.approx((last["len"].sum() - last.height) / agents)
    own = pl.concat(recorder.seen[:2])
    assert found[0]["success_rate"] == own["is_success"].sum() / tasks
    busy = (
        own.group_by("wave", "agent_id")
        .agg(pl.col("duration_ms").sum())
        .group_by("wave")
        .agg(pl.col("duration_ms").max())
    )
    assert found[0]["makespan_ms"] == pytest.approx(busy["duration_ms"].sum())


# Judging


def outlook(rate, makespan=None, spread=0.0) -> Outlook:
    """Lines of given success and makespan, alike otherwise; `spread` moves the first line's draws up and down."""
    plain = np.ones(len(LINES))
    rates, times = np.array(rate, dtype=float), np.array(makespan or plain, dtype=float)
    planned = Measures(rates, 1000 / times, times, plain, plain, plain)
    draws = np.tile(rates[:, None], (1, 100))
    draws[0] += np.linspace(-spread, spread, 100)
    return Outlook(planned, planned._replace(success_rate=draws))


def verdicts(*arguments, **options):
    rows = judge(outlook(*arguments, **options), 100)
    made = outlook(*arguments, **options).planned
    rows = [
        {"strategy": name, **row, "planned_makespan_ms": float(made.makespan_ms[i])}
        for i, (name, row) in enumerate(zip(LINES, rows, strict=True))
    ]
    return {row["strategy"]: {**row, "rationale": rationale(row, rows)} for row in rows}


RATES = [0.9, 0.85, 0.6, 0.8, 0.7, 0.82, 0.9, 0.7, 0.65]


def test_the_winner_is_held_against_the_runner_up_and_all_others_against_the_winner():
    found = verdicts(RATES, spread=0.1)
    winner, weighted = found["maximize_success"], found["weighted"]
    assert [name for name, row in found.items() if row["is_recommended"]] == ["maximize_success"]
    assert (winner["compared_with"], weighted["compared_with"]) == ("maximize_throughput", "maximize_success")
    margin = [winner[f"success_margin{end}"] for end in ("", "_low", "_high")]
    assert margin == pytest.approx([0.05, -0.04, 0.14])  # 0.05 and the 5 % and 95 % points of -0.1 ... 0.1
    assert [weighted[f"success_margin{end}"] for end in ("", "_low", "_high")] == pytest.approx([-0.08, -0.17, 0.01])
    assert winner["rationale"] == (
        "promises 5.0 points more success than maximize_throughput (90 % interval -4.0 to +14.0), within chance"
    )
    assert found["balance_load"]["promises_less_than"] == list(BASELINES)
    assert winner["promises_less_than"] == []
    assert winner["dominated_by"] == []
    assert "maximize_success" in found["round_robin"]["dominated_by"]


def test_a_margin_that_chance_does_not_explain_is_called_so_and_plans_alike_are_called_alike():
    assert verdicts(RATES)["maximize_success"]["rationale"].endswith("(90 % interval +5.0 to +5.0), beyond chance")
    alike = verdicts([0.9, 0.9, *RATES[2:]])
    assert alike["maximize_success"]["rationale"] == "promises what maximize_throughput does: their plans give the same"


def test_a_faster_equal_is_recommended_and_its_loss_is_told():
    found = verdicts([0.9, 0.896, *RATES[2:]], [2.0, 1.5, 2, 2, 2, 2, 2, 2, 2], spread=0.1)["maximize_throughput"]
    assert found["is_recommended"]
    assert found["success_margin"] == pytest.approx(-0.004)
    assert found["rationale"].endswith("within chance, which counts as equal, and has a makespan 25.0 % shorter")


def test_a_faster_equal_that_promises_less_than_a_baseline_is_not_recommended():
    rates = [0.9, 0.896, *RATES[2:7], 0.898, 0.65]
    assert verdicts(rates, [2.0, 1.5, 2, 2, 2, 2, 2, 2, 2], spread=0.1)["maximize_success"]["is_recommended"]


def test_a_baseline_that_promises_more_is_named():
    found = verdicts([*RATES[:7], 0.95, 0.65])["maximize_success"]
    assert found["is_recommended"]
    assert found["promises_less_than"] == ["round_robin"]
    assert found["dominated_by"] == ["round_robin"]
    assert found["rationale"].endswith("; dominated by round_robin; promises less than round_robin")


def told(**shares) -> Comparison:
    """A comparison whose first line is best where more is better and whose last is where less is."""
    rows = []
    for place, (name, row) in enumerate(verdicts(RATES, spread=0.1).items()):
        figures = dict.fromkeys(FIGURES, (len(LINES) - place) / 10) | {"actual_throughput": None}
        rows.append(
            {**row, **figures, "observed_share": shares.get(name, 1.0), "executor": "replay", "simulated": False}
        )
    return Comparison(rows, 1200, 1, 2, ())


def test_tables_mark_the_best_of_each_column_and_say_the_verdict():
    promised, margins, came = comparison_tables(told())
    assert [row[0] for row in promised.rows] == list(LINES)
    starred = [[name for name, *cells in promised.rows if cells[i].startswith("* ")] for i in range(6)]
    first, last = [LINES[0]], [LINES[-1]]
    assert starred == [first, first, last, last, last, first]
    assert {row[2] for row in came.rows} == {"no data"}
    said = {row[0]: row[1:] for row in margins.rows}
    assert said["maximize_success"] == ("maximize_throughput", "+5.0", "-4.0 to +14.0", "recommended")
    assert said["weighted"] == ("maximize_success", "-8.0", "-17.0 to +1.0", "dominated")
    assert said["auto"] == ("maximize_success", "+0.0", "-9.0 to +9.0", "within chance")
    assert headline(told()) == "Comparison: 1,200 tasks, 1 agent, 2 waves, replay"
    assert recommendation(told()).startswith("Recommended: maximize_success. It promises 5.0 points more")
    assert "ran is" not in legend(told())


def test_what_came_of_other_tasks_is_not_ranked():
    partly = told(weighted=0.25)
    _, _, came = comparison_tables(partly)
    assert came.header[-1] == "ran"
    assert [row[-1] for row in came.rows][4:7] == ["1.00", "0.25", "1.00"]
    assert not any(cell.startswith("*") for row in came.rows for cell in row)
    assert "ran is the share" in legend(partly)


# The command


@pytest.fixture
def inputs(tmp_path):
    for phase in ("phase16", "phase17", "phase18"):
        shutil.copytree(ROOT / "outputs" / phase, tmp_path / phase)
    return tmp_path / "phase18"


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_compare_writes_a_line_a_strategy_beside_the_input_and_recommends_one(run_cli, inputs):
    done = run_cli("compare", "--input", inputs, *STAMP)
    assert (done.returncode, done.stderr) == (0, "")
    target = inputs.parent / "strategy_comparison.jsonl"
    assert sorted(path.name for path in inputs.parent.iterdir()) == ["phase16", "phase17", "phase18", target.name]
    rows = lines(target)
    assert [row["strategy"] for row in rows] == [*S, "round_robin", "best_single_agent_capped"]
    assert [row["strategy"] for row in rows if row["is_baseline"]] == list(BASELINES)
    assert all(list(row) == KEYS for row in rows)
    (chosen,) = [row for row in rows if row["is_recommended"]]
    assert chosen["promises_less_than"] == []
    assert all(row["planned_success_rate"] <= chosen["planned_success_rate"] + 0.005 for row in rows)
    for row in rows:
        assert (row["observed_share"], row["simulated"], row["seed"]) == (1.0, True, 5)
        for name in MEASURES:
            assert row[f"{name}_low"] <= row[f"{name}_high"]
    said = " ".join(done.stdout.split())
    assert f"Recommended: {chosen['strategy']}. It {chosen['rationale']}. Results are in {target}" in said
    assert max(map(len, done.stdout.split("\n\n")[1].splitlines())) <= 100


def test_the_same_command_writes_the_same_bytes_and_prints_them(run_cli, inputs, tmp_path):
    one = run_cli("compare", "--input", inputs, *STAMP, "--output", tmp_path / "one.jsonl", "--json")
    run_cli("compare", "--input", inputs, *STAMP, "--output", tmp_path / "two.jsonl")
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    assert one.stdout == (tmp_path / "one.jsonl").read_text("utf-8")


def test_what_came_of_a_strategy_is_what_its_own_run_does(run_cli, inputs):
    run_cli("compare", "--input", inputs, *STAMP)
    for row in lines(inputs.parent / "strategy_comparison.jsonl")[:2]:
        done = run_cli("--input", inputs, *STAMP, "--strategy", row["strategy"], "--json")
        metrics = json.loads(done.stdout)["overall_metrics"]
        assert row["actual_success_rate"] == pytest.approx(metrics["actual_success_rate"])
        assert row["actual_throughput"] == pytest.approx(metrics["actual_throughput"])


def test_a_replay_tells_how_much_the_records_could_answer(run_cli, inputs):
    records = inputs.parent / "phase17" / "execution_outcomes.jsonl"
    done = run_cli("compare", "--input", inputs, *STAMP, "--executor", "replay", "--executions", records)
    assert (done.returncode, done.stderr) == (0, "")
    rows = lines(inputs.parent / "strategy_comparison.jsonl")
    assert {row["simulated"] for row in rows} == {False}
    assert all(0.0 < row["observed_share"] < 1.0 for row in rows)
    assert "ran is the share of tasks that the records could answer" in " ".join(done.stdout.split())
    _, table = done.stdout.split("in the records")
    assert "*" not in table.split("\n\n")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--executor", "live"], "--executor: expected one of simulate, replay, found 'live'", id="live"),
        pytest.param(["--executor", "replay"], "--executions FILE and --executor replay go together", id="replay"),
        pytest.param(["--strategy", "auto"], "--strategy", id="strategy"),
        pytest.param(["--agents", "1", "--capacity", "2"], "4 tasks for a total capacity of 2", id="capacity"),
        pytest.param(["--output", "{inputs}/x.jsonl"], "is or lies in the input", id="output in input"),
        pytest.param(
            ["--output", "{inputs}/../taken"], "expected a file to write or nothing", id="output is directory"
        ),
    ],
)
def test_what_cannot_be_done_is_one_message_and_leaves_the_last_comparison(run_cli, inputs, arguments, message):
    (inputs.parent / "taken").mkdir()
    last = inputs.parent / "strategy_comparison.jsonl"
    last.write_text("the last one\n")
    done = run_cli("compare", "--input", inputs, *(argument.format(inputs=inputs) for argument in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert last.read_text() == "the last one\n"
    assert sorted(path.name for path in inputs.parent.iterdir()) == [
        "phase16", "phase17", "phase18", last.name, "taken"
    ]  # fmt: skip
