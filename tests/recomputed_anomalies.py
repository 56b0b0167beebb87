"""Recomputed: what the four tests found, and the anomalies told."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.recomputation import STAMP, Rows, Says, World, recomputes, threshold
from tests.recomputed_tests import before_the_run

TYPES = ("prediction_error", "schedule_drift", "performance_degradation", "optimization_failure")

UNITS = ("planned - actual success", "actual / forecast time", "fall against peers", "share of advantage lost")


def strongest(rows: Rows, chosen: Rows) -> dict[str, Any]:
    """The test furthest beyond its threshold, one that stands before any that does not."""
    return max(chosen or rows, key=lambda row: row["statistic"] - row["threshold"])


@recomputes("anomaly_tests")
def anomaly_tests(world: World) -> Rows:
    rules = world.rules
    error, failure = world.one("prediction_error_tests"), world.one("optimization_failure_tests")
    drifts, falls = world["schedule_drift_tests"], world["performance_degradation_tests"]
    late = [row for row in drifts if row["is_anomaly"]]
    pooled = [row for row in drifts if row["agent_id"] is None]
    beyond = [row for row in falls if row["is_anomaly"]]
    own = [row for row in beyond if row["baseline"] == "run" or not failure["is_anomaly"]]
    # From the middle of the run on, against the record: what the median agent's fall would have to be.
    count = len(world.ran_waves)
    middle = [row for row in falls if row["baseline"] == "record" and row["first_rank"] == count // 2 + 1]
    seen = [row["detectable_effect"] for row in middle]
    record = [row for row in drifts if row["baseline"] == "record"]
    late_seen = float(np.median([row["detectable_effect"] for row in record[:-1]]))
    basis = (
        [f"{error['ran_count']} tasks ran"],
        [f"{record[-1]['duration_count']} timed attempts"],
        [f"{len({row['agent_id'] for row in falls})} agents"],
        ["cannot be told from that"] if error["is_anomaly"] else [f"{failure['information']:.1f} times its noise"],
    )
    # Of the drift tests the stronger pooled one is shown, unless agents are late without it.
    late_pooled = [row for row in pooled if row["is_anomaly"]]
    shown = strongest(pooled, late_pooled) if late_pooled or not late else strongest(late, late)
    told = (
        (error, error["detectable_effect"], error["is_beyond_chance"], error["is_anomaly"]),
        (shown, min(row["detectable_effect"] for row in pooled), bool(late), bool(late)),
        (strongest(falls, own), float(np.median(seen)), bool(beyond), bool(own)),
        (
            failure,
            np.inf if error["is_anomaly"] else failure["detectable_effect"],
            failure["is_beyond_chance"],
            failure["is_anomaly"],
        ),
    )
    faults = (
        [f"{told[0][1] * 100:.1f} points too high"],
        [f"{told[1][1]:.2f} times as long", f"{late_seen:.2f} times"],
        [f"{told[2][1] * 100:.1f} points lower", f"{min(seen) * 100:.1f} points"],
        [f"{told[3][1] * 100:.0f} %"],
    )
    largest = (error["planned_rate"], np.inf, 1.0, 1.0)  # no more can be lost than that
    advantage, agents = ["the failed optimization"], ["the agents that degraded"]
    causes = (
        advantage if failure["is_anomaly"] else agents,
        [],
        advantage,
        ["a loss that all agents share"] if failure["is_shared_loss"] else agents,
    )
    rows = []
    for name, unit, (test, smallest, is_beyond, is_found), base, fault, cause, most in zip(
        TYPES, UNITS, told, basis, faults, causes, largest, strict=True
    ):
        limit, status, missing = min(most, getattr(rules, f"{name}_limit")), "clear", None
        score_text = [f"{test['statistic']:.2f}", f"{test['threshold']:.2f}"]
        if is_found or is_beyond:
            status, reason = "found" if is_found else "explained", [*(cause * (not is_found)), *score_text]
        else:
            if smallest > limit:
                # Twice as many tasks shrink what is beyond the margin to 1 / sqrt(2) of its size.
                sizes = np.log([smallest, limit]) if name == "schedule_drift" else np.array([smallest, limit])
                beyond_margin, room = sizes - getattr(rules, f"{name}_margin")
                status = "not_testable"
                if smallest < np.inf:
                    missing = math.ceil(error["ran_count"] * ((beyond_margin / room) ** 2 - 1))
            sure = [f"{100 * rules.detection_power:.0f} %", *fault]
            shown_score = score_text if status == "clear" else []
            reason = [*base, *shown_score, *(["No problem of a possible size"] if smallest > most else sure)]
        rows.append(
            {
                "anomaly_type": name,
                "status": status,
                **{key: test[key] for key in ("effect", "effect_low", "effect_high")},
                "unit": unit,
                **{key: test[key] for key in ("statistic", "threshold")},
                "detectable_effect": test["detectable_effect"],
                "largest_effect": None if most == np.inf else most,
                "missing_task_count": missing,
                "reason": Says(reason),
            }
        )
    return rows


@recomputes("scheduling_anomalies")
def scheduling_anomalies(world: World) -> Rows:
    details = {
        "prediction_error": _over_promised,
        "schedule_drift": _drifted,
        "performance_degradation": _fell,
        "optimization_failure": _failed,
    }
    rows = []
    for test in world["anomaly_tests"]:
        if test["status"] != "found":
            continue
        name = test["anomaly_type"]
        said = details[name](world)
        size = said.pop("size", test["effect"])
        levels = [getattr(world.rules, f"{name}_{level}") for level in ("medium", "high")]
        rows.append(
            {
                "anomaly_id": f"AN_{len(rows) + 1:03d}",
                "anomaly_type": name,
                "severity": ("low", "medium", "high")[sum(size >= level for level in levels)],
                "description": Says(said["description"]),
                "affected_waves": said["waves"],
                "affected_agents": said["agents"],
                "recommendation": Says(said["recommendation"]),
                "timestamp": STAMP,
                **{key: test[key] for key in ("effect", "statistic", "threshold", "effect_low", "effect_high")},
                "evidence": [Says(line) for line in said["evidence"]],
            }
        )
    return rows


def _shown(world: World, column: str, margin: float) -> tuple[list[int], list[str]]:
    """Waves and agents whose sum of a column lies below what a task's margin allows."""
    ran = world.results

    def is_short(mask: np.ndarray) -> bool:
        return bool(mask.any()) and -float(ran[column][mask].sum()) > margin * mask.sum()

    waves = [wave for wave in world.ran_waves if is_short(ran["wave"] == wave)]
    return waves, [agent for agent in world.agents if is_short(ran["agent_id"] == agent)]


def _agents_that_ran(world: World) -> list[str]:
    return [agent for agent in world.agents if (world.results["agent_id"] == agent).any()]


def late_tests(world: World) -> dict[str | None, dict[str, Any]]:
    """The stronger of each agent's tests that fired, agents in their order, and of the pooled ones (None)."""
    late: dict[str | None, dict[str, Any]] = {}
    for row in world["schedule_drift_tests"]:
        other = late.get(row["agent_id"])
        if row["is_anomaly"] and (other is None or strongest([other, row], []) is row):
            late[row["agent_id"]] = row
    return {agent: late[agent] for agent in (*world.agents, None) if agent in late}


def _short_agents(world: World) -> list[str]:
    """Agents whose own shortfall is beyond chance, by the waves' forecasts or by those made before the run."""
    ran, rules, told = world.results, world.rules, before_the_run(world)
    share = rules.alarm_probability / 2 / len(told)
    short = []
    for agent, first in told.items():
        own = ran["agent_id"] == agent
        allowed = 0.5 + rules.prediction_error_margin * own.sum()
        unknown = sum(world.evidence[wave, agent]["success_variance"] for wave in set(ran["wave"][own].tolist()))
        tests = (
            (
                -ran["residual"][own].sum(),
                ran["outcome_variance"][own].sum() + unknown,
                np.maximum(0, -ran["outcome_third_moment"][own]).sum(),
            ),
            (
                first["planned"] - first["completed"],
                first["noise"] + first["agent_sd"] ** 2 + first["shared_sd"] ** 2,
                first["skew"],
            ),
        )
        if any((gap - allowed) / variance**0.5 > threshold(share, skew, variance) for gap, variance, skew in tests):
            short.append(agent)
    return short


def _over_promised(world: World) -> dict[str, Any]:
    test, ran, told = world.one("prediction_error_tests"), world.results, before_the_run(world)
    waves, _ = _shown(world, "residual", world.rules.prediction_error_margin)
    n, completed, short = test["ran_count"], int(ran["is_completed"].sum()), _short_agents(world)
    is_start = test["baseline"] == "start"
    planned = {
        agent: own["planned"] if is_start else float(ran["planned_success"][ran["agent_id"] == agent].sum())
        for agent, own in told.items()
    }
    worst = max(told, key=lambda agent: planned[agent] - told[agent]["completed"])
    return {
        "waves": waves,
        "agents": short or list(told),
        "description": [
            f"{test['planned_rate'] * 100:.1f} % planned{' before the run' * is_start}",
            f"{completed / n * 100:.1f} % actual",
            f"{n} tasks",
            f"Short by themselves: {', '.join(short)}." if short else "No agent stands out.",
        ],
        "recommendation": [f"{test['effect'] * 100:.1f} points less"],
        "evidence": [
            [f"{test['planned_rate'] * n:.1f} of {n} tasks", f"{completed} did"],
            [f"in {len(waves)} of {len(world.ran_waves)} waves"],
            [
                worst,
                f"{told[worst]['completed']} of its {(ran['agent_id'] == worst).sum()}",
                f"{planned[worst]:.1f} were expected",
            ],
        ],
    }


def duration(ms: float) -> str:
    """A duration in the unit that a person uses."""
    for limit, unit, size in ((999.5, "ms", 1.0), (120e3, "s", 1e3), (7200e3, "min", 60e3), (np.inf, "h", 3600e3)):
        if ms < limit:
            return f"{ms:.3g} ms" if unit == "ms" else f"{ms / size:.1f} {unit}"
    raise AssertionError(ms)


def _drifted(world: World) -> dict[str, Any]:
    late = late_tests(world)
    pooled, own = late.get(None), [row for agent, row in late.items() if agent]
    shown = pooled or strongest(own, own)
    first, effect, is_start = shown["first_wave"], shown["effect"], shown["baseline"] == "start"
    agents = _agents_that_ran(world) if pooled else [row["agent_id"] for row in own]
    apart = [row for row in own if not pooled or row["effect_low"] > pooled["effect_high"]]
    factors = [f"{row['agent_id']} by {row['effect']:.2f}" for row in apart]
    if pooled:
        factors.append(f"all {'others' if apart else 'agents'} by {effect:.2f}")
    before = [world.evidence[wave, agent] for wave in world.ran_waves if wave < first for agent in agents]
    count = sum(row["duration_count"] for row in before)
    earlier = sum(row["log_duration_residual_sum"] for row in before) / count if count else -np.inf
    is_old = is_start or earlier > np.log(effect) / 2
    return {
        "size": effect,
        "waves": [wave for wave in world.ran_waves if is_old or wave >= first],
        "agents": agents,
        "description": [
            "all agents" if pooled else ", ".join(agents),
            f"{effect:.2f} times",
            "before the run" if is_start else "throughout" if is_old else f"wave {first}",
            f"{duration(shown['typical_ms'])} in place of {duration(shown['forecast_ms'])}",
        ],
        "recommendation": factors,
        "evidence": [
            [
                row["agent_id"] or "all agents",
                f"{row['effect']:.2f} times",
                *["before the run"] * (row["baseline"] == "start"),
                f"{row['duration_count']} timed",
                f"{duration(row['typical_ms'])} in place of {duration(row['forecast_ms'])}",
                f"{row['effect_low']:.2f} to {row['effect_high']:.2f}",
            ]
            for row in sorted(late.values(), key=lambda row: row["threshold"] - row["statistic"])[:3]
        ],
    }


def _fell(world: World) -> dict[str, Any]:
    is_failure = world.one("optimization_failure_tests")["is_anomaly"]
    best: dict[str, dict[str, Any]] = {}
    for row in world["performance_degradation_tests"]:
        excess = row["statistic"] - row["threshold"]
        if row["is_anomaly"] and (row["baseline"] == "run" or not is_failure):
            other = best.get(row["agent_id"])
            if other is None or excess > other["excess"]:
                best[row["agent_id"]] = row | {"excess": excess}
    rows = sorted(best.values(), key=lambda row: -row["excess"])
    first, worst = min(row["first_wave"] for row in rows), rows[0]
    against = {"run": "its waves before", "start": "its forecast before the run", "record": "its forecast"}
    agents = [agent for agent in world.agents if agent in best]
    others = ", ".join(agent for agent in agents if agent != worst["agent_id"])
    return {
        "size": worst["effect"],
        "waves": [wave for wave in world.ran_waves if wave >= first],
        "agents": agents,
        "description": [
            f"{worst['agent_id']} completed {worst['completed_count']} of {worst['task_count']} tasks",
            f"wave {worst['first_wave']}",
            f"{worst['planned_rate'] * worst['task_count']:.1f} were expected",
            f"{worst['effect'] * 100:.1f} points below {against[worst['baseline']]}",
            *([f"Also: {others}."] if others else []),
        ],
        "recommendation": ["give their tasks to others"],
        "evidence": [
            [
                row["agent_id"],
                f"{row['effect'] * 100:.1f} points against {against[row['baseline']]}",
                f"{row['task_count']} tasks from wave {row['first_wave']}",
                f"{row['completed_count']} completed",
                f"{row['planned_rate'] * row['task_count']:.1f} expected",
                f"{row['effect_low'] * 100:.1f} to {row['effect_high'] * 100:.1f}",
            ]
            for row in rows[:3]
        ],
    }


def _failed(world: World) -> dict[str, Any]:
    test, ran = world.one("optimization_failure_tests"), world.results
    lost = ran["centred_advantage"] * ran["residual"]
    world.results["advantage_residual"] = lost
    waves, agents = _shown(world, "advantage_residual", 0.0)
    return {
        "waves": waves,
        "agents": agents,
        "description": [f"{test['effect'] * 100:.0f} %"],
        "recommendation": ["Do not assign"],
        "evidence": [
            ["slope", f"{test['slope']:.2f}", f"{1 - test['effect_high']:.2f} to {1 - test['effect_low']:.2f}"],
            [f"in {len(waves)} of {len(world.ran_waves)} waves"],
            [f"{test['information']:.1f} times its noise"],
        ],
    }
