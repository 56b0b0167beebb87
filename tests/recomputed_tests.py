"""Recomputed: the four tests for anomalies."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, stats

from tests.recomputation import Z90, Rows, World, recomputes, score, threshold

if TYPE_CHECKING:
    from collections.abc import Iterable

BY_CHANCE = 0.5  # a count moves in whole tasks: half a one is what rounding may do


def fallen(variance: float, n: float, rate: float, fall: float) -> float:
    """Variance of n outcomes of a mean rate once that has fallen: p (1 - p) has changed by as much for each."""
    return variance + n * ((rate - fall) * (1 - rate + fall) - rate * (1 - rate))


def detectable(reach: float, variance: float, n: float, rate: float, power: float) -> float:
    """The fall whose sum lies further than `reach` with the rules' power, found by bisection."""
    z = stats.norm.ppf(power)

    def missing(fall: float) -> float:
        return n * fall - reach - z * math.sqrt(max(0.0, fallen(variance, n, rate, fall)))

    if missing(reach / n) >= 0:  # nothing scatters any more once the rate has fallen so far
        return reach / n
    return float(optimize.brentq(missing, reach / n, reach / n + 100 + 10 * z * variance**0.5 / n, xtol=1e-14))


def doubt(world: World, wave: int, column: str, without: Iterable[str] = (), own: str = "") -> float:
    """Variance over a wave's draws of an expected sum, less what agents left out have in it."""
    left = math.fsum(world.evidence[wave, agent][own] for agent in without)
    return max(0.0, float(world.draws(wave, column).var(ddof=1)) - left)


def degraded(world: World, *, is_own: bool) -> set[str]:
    """Agents whose fall is beyond chance; their own where a failed advantage does not explain it."""
    is_failure = is_own and world.one("optimization_failure_tests")["is_anomaly"]
    rows = world["performance_degradation_tests"]
    return {row["agent_id"] for row in rows if row["is_anomaly"] and (row["baseline"] == "run" or not is_failure)}


@recomputes("prediction_error_tests")
def prediction_error_tests(world: World) -> Rows:
    rules, ran, waves = world.rules, world.results, world.ran_waves
    failure, fallen_agents = world.one("optimization_failure_tests"), degraded(world, is_own=True)
    n, planned = len(ran["residual"]), float(ran["planned_success"].sum())
    rate = planned / n
    unknown = math.fsum(doubt(world, wave, "expected_success_sum") for wave in waves)

    def statistic(residual: np.ndarray, variance: float) -> float | None:
        allowed = BY_CHANCE + rules.prediction_error_margin * len(residual)
        return score(-float(residual.sum()) - allowed, variance)

    short = -float(ran["residual"].sum())
    variance = float(ran["outcome_variance"].sum()) + unknown
    base = float((ran["baseline_success"] * (1 - ran["baseline_success"])).sum()) + unknown
    peers = ~np.isin(ran["agent_id"], list(fallen_agents))
    peer_variance = float(ran["outcome_variance"][peers].sum()) + math.fsum(
        doubt(world, wave, "expected_success_sum", fallen_agents, "success_variance") for wave in waves
    )
    skew = float(np.maximum(0, -ran["outcome_third_moment"]).sum())
    limit = threshold(rules.alarm_probability, skew, variance)
    effect, allowed = short / n, BY_CHANCE + rules.prediction_error_margin * n
    scores = [
        statistic(ran["residual"], variance),
        statistic(ran["residual"][peers], peer_variance),
        statistic(ran["baseline_residual"], base),
    ]
    error = math.sqrt(max(BY_CHANCE**2, fallen(variance, n, rate, effect))) / n
    is_beyond = scores[0] > limit
    return [
        {
            "ran_count": n,
            "planned_rate": rate,
            "effect": effect,
            "effect_low": max(-1.0, effect - Z90 * error),
            "effect_high": min(1.0, effect + Z90 * error),
            "statistic": scores[0],
            "threshold": limit,
            "detectable_effect": detectable(
                allowed + limit * math.sqrt(variance), variance, n, rate, rules.detection_power
            ),
            "baseline_statistic": scores[2],
            "baseline_lead_statistic": score(float(ran["baseline_residual"].sum()), base),
            "peer_statistic": scores[1],
            "is_beyond_chance": is_beyond,
            "is_anomaly": is_beyond and scores[1] > limit and (scores[2] > limit or not failure["is_anomaly"]),
        }
    ]


@recomputes("optimization_failure_tests")
def optimization_failure_tests(world: World) -> Rows:
    rules, ran, waves = world.rules, world.results, world.ran_waves
    fallen_agents = degraded(world, is_own=False)

    def told(without: set[str]) -> tuple[float, float, float, float]:
        """Sum A^2, what was lost of it, its standard deviation and the skew of its tail, over some agents."""
        mask = ~np.isin(ran["agent_id"], list(without))
        lead = ran["centred_advantage"][mask]
        noise = float((lead**2 * ran["outcome_variance"][mask]).sum())
        unknown = [doubt(world, wave, "expected_advantage_sum", without, "advantage_variance") for wave in waves]
        return (
            float((lead**2).sum()),
            -float((lead * ran["residual"][mask]).sum()),
            math.sqrt(noise + math.fsum(unknown)),
            float(np.maximum(0, -(lead**3) * ran["outcome_third_moment"][mask]).sum()),
        )

    square, lost, sd, moment = told(set())
    peer_square, peer_lost, peer_sd, _ = told(fallen_agents)
    margin, limit = rules.optimization_failure_margin, threshold(rules.alarm_probability, moment, sd**2)
    effect, error = lost / square, sd / square
    statistic = (lost - margin * square) / sd
    peer_statistic = (peer_lost - margin * peer_square) / peer_sd
    smallest = margin + (limit + stats.norm.ppf(rules.detection_power)) * error
    is_testable = smallest <= rules.optimization_failure_limit
    is_beyond = is_testable and statistic > limit
    both = np.column_stack([ran["centred_advantage"], ran["centred_sensitivity"]])
    without = -float(np.linalg.lstsq(both, ran["residual"])[0][0])
    return [
        {
            "slope": 1 - effect,
            "effect": effect,
            "effect_low": effect - Z90 * error,
            "effect_high": effect + Z90 * error,
            "statistic": statistic,
            "peer_statistic": peer_statistic,
            "threshold": limit,
            "information": square / sd,
            "detectable_effect": float(smallest),
            "is_testable": bool(is_testable),
            "is_beyond_chance": bool(is_beyond),
            "effect_without_shared_loss": without,
            "is_shared_loss": without < 0.5,
            "is_anomaly": bool(is_beyond and peer_statistic > limit and without >= 0.5),
        }
    ]


@recomputes("schedule_drift_tests")
def schedule_drift_tests(world: World) -> Rows:
    rules, waves = world.rules, world.ran_waves
    later = waves[len(waves) // 2 :]
    first, margin = later[0], rules.schedule_drift_margin
    timed = {
        agent: [row for wave in later if (row := world.evidence[wave, agent])["duration_count"]]
        for agent in world.agents
    }
    timed = {agent: rows for agent, rows in timed.items() if rows}
    probability = rules.alarm_probability / 2

    def told(agents: Iterable[str]) -> dict[str, float]:
        """Attempts, lateness, variance and third moment of some agents; of a wave, outcomes' doubt is shared by all."""
        rows = [row for agent in agents for row in timed[agent]]
        shared = defaultdict(float)
        for row in rows:
            shared[row["wave"]] += row["log_duration_outcome_sd"]
        return {
            "n": sum(row["duration_count"] for row in rows),
            "late": math.fsum(row["log_duration_residual_sum"] for row in rows),
            "variance": math.fsum(row["log_duration_variance"] for row in rows)
            + math.fsum(sd**2 for sd in shared.values()),
        }

    def is_late(found: dict[str, float], limit: float) -> bool:
        return bool(found["n"]) and (
            found["late"] / math.sqrt(found["variance"]) > limit and found["late"] / found["n"] > margin
        )

    rows, late_agents = [], set()
    for agent in [*timed, None]:
        found = told(timed if agent is None else [agent])
        share = probability if agent is None else probability / len(timed)
        limit = threshold(share, 0.0, found["variance"])
        is_anomaly = is_late(found, limit)
        if agent is None:
            others = set(timed) - late_agents
            is_anomaly = is_anomaly and (not others or is_late(told(others), limit))
        elif is_anomaly:
            late_agents.add(agent)
        effect, error = found["late"] / found["n"], math.sqrt(found["variance"]) / found["n"]
        statistic = effect / error
        power = stats.norm.ppf(rules.detection_power)
        rows.append(
            {
                "agent_id": agent,
                "agent_position": None if agent is None else world.agents.index(agent) + 1,
                "first_wave": first,
                "duration_count": found["n"],
                "effect": math.exp(effect),
                "effect_low": math.exp(effect - Z90 * error),
                "effect_high": math.exp(effect + Z90 * error),
                "statistic": statistic,
                "threshold": limit,
                "detectable_effect": math.exp(max(margin, limit * error) + power * error),
                "p_value": float(stats.norm.sf(statistic)),
                "is_anomaly": is_anomaly,
            }
        )
    return rows


@recomputes("performance_degradation_tests")
def performance_degradation_tests(world: World) -> Rows:
    rules, ran, waves = world.rules, world.results, world.ran_waves
    places: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for rank, wave in enumerate(waves, 1):
        here = ran["wave"] == wave
        agents = [agent for agent in world.agents if (here & (ran["agent_id"] == agent)).any()]
        own = {agent: here & (ran["agent_id"] == agent) for agent in agents}
        noise = {
            agent: float(ran["outcome_variance"][own[agent]].sum()) + world.evidence[wave, agent]["success_variance"]
            for agent in agents
        }
        for agent in agents:
            n, share = int(own[agent].sum()), own[agent].sum() / here.sum()
            # The shortfall is (1 - s) of the agent's own less s of each peer's.
            part = {other: (1 - share) if other == agent else -share for other in agents}
            places[agent].append(
                {
                    "rank": rank,
                    "wave": wave,
                    "tasks": n,
                    "planned": float(ran["planned_success"][own[agent]].sum()),
                    "n": n * (1 - share),
                    "short": -sum(part[other] * ran["residual"][own[other]].sum() for other in agents),
                    "variance": sum(part[other] ** 2 * noise[other] for other in agents),
                    # The tail is lengthened by the agent's own failures; its peers' shorten it, and are left out.
                    "moment": (1 - share) ** 3 * np.maximum(0, -ran["outcome_third_moment"][own[agent]]).sum(),
                }
            )
    firsts = {len(waves) - math.ceil(len(waves) / 2**halving) + 1 for halving in range(32)}
    tests = []
    for agent, told in places.items():
        for first in sorted(firsts):
            after, before = [row for row in told if row["rank"] >= first], [row for row in told if row["rank"] < first]

            def total(rows: Rows, name: str) -> float:
                return math.fsum(row[name] for row in rows)

            if not after or total(after, "variance") <= 0:
                continue
            plain = {
                "agent": agent,
                "first_rank": first,
                "first_wave": after[0]["wave"],
                "tasks": sum(row["tasks"] for row in after),
                "rate": total(after, "planned") / total(after, "tasks"),
                "n": total(after, "n"),
            }
            own = {name: total(after, name) for name in ("short", "variance", "moment")}
            tests.append(plain | own | {"baseline": "record"})
            if before and total(before, "variance") > 0:
                c = total(after, "n") / total(before, "n")
                then = {
                    "short": own["short"] - c * total(before, "short"),
                    "variance": own["variance"] + c**2 * total(before, "variance"),
                    "moment": own["moment"],
                }
                tests.append(plain | then | {"baseline": "run"})
    rows = []
    for test in tests:
        n, variance, rate = test["n"], test["variance"], test["rate"]
        limit = threshold(rules.alarm_probability / len(tests), test["moment"], variance)
        allowed = BY_CHANCE + rules.performance_degradation_margin * n
        effect, statistic = test["short"] / n, (test["short"] - allowed) / math.sqrt(variance)
        error = math.sqrt(max(BY_CHANCE**2, fallen(variance, n, rate, effect))) / n
        reach = allowed + limit * math.sqrt(variance)
        rows.append(
            {
                "agent_id": test["agent"],
                "agent_position": world.agents.index(test["agent"]) + 1,
                "baseline": test["baseline"],
                "first_rank": test["first_rank"],
                "first_wave": test["first_wave"],
                "task_count": test["tasks"],
                "planned_rate": rate,
                "shortfall": test["short"],
                "effect": effect,
                "effect_low": effect - Z90 * error,
                "effect_high": effect + Z90 * error,
                "statistic": statistic,
                "threshold": limit,
                "detectable_effect": detectable(reach, variance, n, rate, rules.detection_power),
                "is_anomaly": bool(statistic > limit),
            }
        )
    return sorted(rows, key=lambda row: (row["agent_position"], row["first_rank"], row["baseline"]))
