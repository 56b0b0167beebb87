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
    n, planned, completed = len(ran["residual"]), float(ran["planned_success"].sum()), int(ran["is_completed"].sum())
    unknown = math.fsum(doubt(world, wave, "expected_success_sum") for wave in waves)
    peers = ~np.isin(ran["agent_id"], list(fallen_agents))

    def statistic(short: float, count: int, variance: float) -> float | None:
        return score(short - BY_CHANCE - rules.prediction_error_margin * count, variance)

    def told(
        name: str, planned: float, variance: float, skew: float, peer_short: float, peer_variance: float
    ) -> dict[str, Any]:
        limit, rate = threshold(rules.alarm_probability / 2, skew, variance), planned / n
        effect, allowed = (planned - completed) / n, BY_CHANCE + rules.prediction_error_margin * n
        error = math.sqrt(max(BY_CHANCE**2, fallen(variance, n, rate, effect))) / n
        found = statistic(planned - completed, n, variance)
        peer = statistic(peer_short, int(peers.sum()), peer_variance)
        return {
            "ran_count": n,
            "baseline": name,
            "planned_rate": rate,
            "effect": effect,
            "effect_low": max(-1.0, effect - Z90 * error),
            "effect_high": min(1.0, effect + Z90 * error),
            "statistic": found,
            "threshold": limit,
            "detectable_effect": detectable(
                allowed + limit * math.sqrt(variance), variance, n, rate, rules.detection_power
            ),
            "peer_statistic": peer,
            "is_beyond_chance": found > limit,
            "is_anomaly": found > limit and peer > limit,
        }

    variance = float(ran["outcome_variance"].sum()) + unknown
    base = float((ran["baseline_success"] * (1 - ran["baseline_success"])).sum()) + unknown
    record = told(
        "record",
        planned,
        variance,
        float(np.maximum(0, -ran["outcome_third_moment"]).sum()),
        -float(ran["residual"][peers].sum()),
        float(ran["outcome_variance"][peers].sum())
        + math.fsum(doubt(world, wave, "expected_success_sum", fallen_agents, "success_variance") for wave in waves),
    )
    # Before the run: one forecast for all waves, whose errors an agent's tasks share, and some all agents' do.
    sums = before_the_run(world)
    others = [own for agent, own in sums.items() if agent not in fallen_agents]

    def shared(rows: Iterable[dict[str, float]]) -> float:
        return (
            math.fsum(own["noise"] + own["agent_sd"] ** 2 for own in rows) + sum(own["shared_sd"] for own in rows) ** 2
        )

    start = told(
        "start",
        math.fsum(own["planned"] for own in sums.values()),
        shared(list(sums.values())),
        math.fsum(own["skew"] for own in sums.values()),
        math.fsum(own["planned"] - own["completed"] for own in others),
        shared(others),
    )
    base_statistic = statistic(-float(ran["baseline_residual"].sum()), n, base)
    both = (record, start)
    shown = max(both, key=lambda row: (row["is_anomaly"], row["statistic"] - row["threshold"]))
    is_real = base_statistic > record["threshold"] or not failure["is_anomaly"]
    names = ("peer_statistic", "is_beyond_chance", "is_anomaly")
    return [
        {name: value for name, value in shown.items() if name not in names}
        | {
            "detectable_effect": min(row["detectable_effect"] for row in both),
            "baseline_statistic": base_statistic,
            "peer_statistic": shown["peer_statistic"],
            "is_beyond_chance": any(row["is_beyond_chance"] for row in both),
            "is_anomaly": any(row["is_anomaly"] for row in both) and is_real,
        }
    ]


def before_the_run(world: World) -> dict[str, dict[str, float]]:
    """Of each agent that ran something: what was forecast of its success before the run, and what came."""
    ran, sums = world.results, {}
    for agent in world.agents:
        waves = [wave for wave in world.ran_waves if ((ran["wave"] == wave) & (ran["agent_id"] == agent)).any()]
        if waves:
            rows = [world.evidence[wave, agent] for wave in waves]
            own = {
                name: math.fsum(row[f"first_success_{name}"] for row in rows)
                for name in ("noise", "skew", "agent_sd", "shared_sd")
            }
            sums[agent] = own | {
                "planned": math.fsum(row["first_planned_success_sum"] for row in rows),
                "completed": int(ran["is_completed"][ran["agent_id"] == agent].sum()),
            }
    return sums


@recomputes("optimization_failure_tests")
def optimization_failure_tests(world: World) -> Rows:
    rules, ran, waves = world.rules, world.results, world.ran_waves
    fallen_agents = degraded(world, is_own=False)

    def told(without: set[str]) -> tuple[float, float, float, float]:
        """Sum A^2, what was lost of it, its standard deviation and the skew of its tail, over some agents."""
        mask = ~np.isin(ran["agent_id"], list(without))
        lead = ran["centred_advantage"][mask]
        for wave in waves:
            here = ran["wave"][mask] == wave
            lead[here] -= lead[here].sum() / max(1, here.sum())
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
    margin, places = rules.schedule_drift_margin, {}
    for baseline, prefix, chosen in (("record", "", waves[len(waves) // 2 :]), ("start", "first_", waves)):
        timed = {
            agent: [row for wave in chosen if (row := world.evidence[wave, agent])[f"{prefix}duration_count"]]
            for agent in world.agents
        }
        places[baseline] = prefix, {agent: rows for agent, rows in timed.items() if rows}

    def told(baseline: str, agents: Iterable[str]) -> dict[str, float]:
        """Attempts, lateness and variance of some agents. The errors of one forecast are shared; waves have their own
        forecasts, but before the run there was one."""
        prefix, timed = places[baseline]
        own, all_agents = defaultdict(float), defaultdict(float)
        rows = [row for agent in agents for row in timed[agent]]
        for row in rows:
            forecast = row["wave"] if baseline == "record" else 0
            own[forecast, row["agent_id"]] += row[f"{prefix}log_duration_agent_sd"]
            all_agents[forecast] += row[f"{prefix}log_duration_shared_sd"]
        return {
            "n": sum(row[f"{prefix}duration_count"] for row in rows),
            "log_ms": math.fsum(row["log_duration_sum"] for row in rows),
            "late": math.fsum(row[f"{prefix}log_duration_residual_sum"] for row in rows),
            "variance": math.fsum(row[f"{prefix}log_duration_noise"] for row in rows)
            + math.fsum(sd**2 for sd in (*own.values(), *all_agents.values())),
        }

    def is_late(found: dict[str, float], limit: float) -> bool:
        return bool(found["n"]) and (
            found["late"] / math.sqrt(found["variance"]) > limit and found["late"] / found["n"] > margin
        )

    # Each baseline has half of the alarm probability: 3 / 8 of it for the pooled test, 1 / 8 for its agents'.
    tests = [(name, agent) for name, (_, timed) in places.items() for agent in (*timed, None)]
    shares = {test: 0.375 if test[1] is None else 0.125 / len(places[test[0]][1]) for test in tests}
    limits = {test: threshold(rules.alarm_probability * share, 0.0, 1.0) for test, share in shares.items()}
    late_agents = {agent for name, agent in tests if agent and is_late(told(name, [agent]), limits[name, agent])}
    rows = []
    for test in tests:
        name, agent = test
        timed = places[name][1]
        found, limit = told(name, timed if agent is None else [agent]), limits[test]
        is_anomaly = is_late(found, limit)
        if agent is None:
            others = set(timed) - late_agents
            is_anomaly = is_anomaly and (not others or is_late(told(name, others), limit))
        effect, error = found["late"] / found["n"], math.sqrt(found["variance"]) / found["n"]
        power = stats.norm.ppf(rules.detection_power)
        rows.append(
            {
                "baseline": name,
                "agent_id": agent,
                "agent_position": None if agent is None else world.agents.index(agent) + 1,
                "first_wave": min(row["wave"] for own in timed.values() for row in own),
                "duration_count": found["n"],
                "typical_ms": math.exp(found["log_ms"] / found["n"]),
                "forecast_ms": math.exp((found["log_ms"] - found["late"]) / found["n"]),
                "effect": math.exp(effect),
                "effect_low": math.exp(effect - Z90 * error),
                "effect_high": math.exp(effect + Z90 * error),
                "statistic": effect / error,
                "threshold": limit,
                "alarm_share": shares[test],
                "detectable_effect": math.exp(max(margin, limit * error) + power * error),
                "p_value": float(stats.norm.sf(effect / error)),
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
                    "completed": int(ran["is_completed"][own[agent]].sum()),
                    "planned": float(ran["planned_success"][own[agent]].sum()),
                    "n": n * (1 - share),
                    "short": -sum(part[other] * ran["residual"][own[other]].sum() for other in agents),
                    "variance": sum(part[other] ** 2 * noise[other] for other in agents),
                    # The tail is lengthened by the agent's own failures; its peers' shorten it, and are left out.
                    "moment": (1 - share) ** 3 * np.maximum(0, -ran["outcome_third_moment"][own[agent]]).sum(),
                    **_before(world, wave, part, own),
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
                "completed": sum(row["completed"] for row in after),
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
        # Before the run there was one forecast, so what it did not know of an agent is summed before it is squared.
        sums = {name: math.fsum(row[f"first_{name}"] for row in told) for name in FIRST}
        variance = sums["noise"] + sums["own_sd"] ** 2 + sums["peer_sd"] ** 2 + sums["shared_sd"] ** 2
        if variance > 0:
            tests.append(
                {
                    "agent": agent,
                    "first_rank": 1,
                    "first_wave": told[0]["wave"],
                    "tasks": sum(row["tasks"] for row in told),
                    "completed": sum(row["completed"] for row in told),
                    "rate": sums["planned"] / sum(row["tasks"] for row in told),
                    "n": math.fsum(row["n"] for row in told),
                    "short": sums["short"],
                    "variance": variance,
                    "moment": sums["moment"],
                    "baseline": "start",
                }
            )
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
                "completed_count": test["completed"],
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


FIRST = ("planned", "short", "noise", "moment", "own_sd", "peer_sd", "shared_sd")


def _before(world: World, wave: int, part: dict[str, float], own: dict[str, np.ndarray]) -> dict[str, float]:
    """An agent's shortfall of what was forecast before the run, less its share of the wave's; `part` of each agent."""
    told = {other: world.evidence[wave, other] for other in part}
    agent = max(part, key=lambda other: part[other])  # its own part is the only one that is not negative
    planned = {other: row["first_planned_success_sum"] for other, row in told.items()}
    completed = {other: int(world.results["is_completed"][own[other]].sum()) for other in part}
    peers = [other for other in part if other != agent]
    shares = {other: abs(part[other]) for other in part}
    return {
        "first_planned": planned[agent],
        "first_short": math.fsum(part[other] * (planned[other] - completed[other]) for other in part),
        "first_noise": math.fsum(part[other] ** 2 * told[other]["first_success_noise"] for other in part),
        "first_moment": part[agent] ** 3 * told[agent]["first_success_skew"],
        "first_own_sd": part[agent] * told[agent]["first_success_agent_sd"],
        "first_peer_sd": math.sqrt(math.fsum((shares[o] * told[o]["first_success_agent_sd"]) ** 2 for o in peers)),
        "first_shared_sd": math.fsum(shares[other] * told[other]["first_success_shared_sd"] for other in part),
    }
