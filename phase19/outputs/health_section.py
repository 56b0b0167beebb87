"""The report's pages on health: what the score is made of, and whether forecasts get better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phase19.errors import plural
from phase19.outputs.rendering import Table
from phase19.outputs.text import number, percent, signed

if TYPE_CHECKING:
    from phase19.publishing.files import Row, RunFiles

__all__ = ["convergence_sentence", "health_blocks", "weights_table"]

MAX_AGENTS = 50  # rows of a table; system_health.json lists them all


def health_blocks(run: RunFiles) -> tuple[str | Table, ...]:
    """The components with their weights, what each anomaly cost, the trend of the forecast error, and who was busy.

    A run of before these were written shows what it has.
    """
    health = run.system_health
    weights = health.get("component_weights", {})
    components = tuple(
        (name.replace("_", " "), number(score, 1), number(weights.get(name), 1))
        for name, score in health["component_scores"].items()
    )
    return (
        Table(("component", "score of 100", "weight"), components),
        *_costs(health.get("anomaly_costs", [])),
        *((convergence_sentence(health["convergence"]),) if "convergence" in health else ()),
        *_utilization(health.get("agent_utilization", [])),
    )


def convergence_sentence(trend: Row) -> str:
    """Whether the forecast error shrinks from wave to wave, and by what figures."""
    kind = "simulated" if trend["simulated"] else "real"
    rests_on = f"{plural(trend['wave_count'], f'{kind} wave')} of {plural(trend['run_count'], 'run')}"
    if trend["slope"] is None:
        return f"Whether forecasts get better cannot be told from {rests_on}: it takes three waves."
    slope, low, high = (signed(trend[key]) for key in ("slope", "slope_low", "slope_high"))
    figures = (
        f"the gap between planned and actual success moves by {slope} standard deviations of chance a wave, "
        f"90 % interval {low} to {high}"
    )
    said = {
        "improving": "Forecasts get better",
        "worsening": "Forecasts get worse",
        "steady": "Forecasts hold steady",
        "insufficient_data": "Whether forecasts get better cannot be told yet",
    }
    return f"{said[trend['verdict']]}: over {rests_on} {figures}."


def weights_table(run: RunFiles) -> str | Table:
    """Each heuristic's weight, what it was before, its lift, and why."""
    updates = run.heuristic_updates
    if updates:
        explained = (
            (u["heuristic_id"], u["reason"], number(u["previous_weight"]), number(u["weight"])) for u in updates
        )
        return Table(("heuristic", "why", "weight before", "weight"), tuple(explained), labels=2)
    weights = {name: value for name, value in run.heuristic_weights.items() if name != "updated_at"}
    rows = tuple((name, number(value)) for name, value in weights.items())
    return Table(("heuristic", "weight"), rows) if rows else "No heuristics were given, so no weights were learned."


def _costs(costs: list[dict[str, Any]]) -> tuple[Table, ...]:
    rows = tuple(
        (f"{row['anomaly_id']} {row['anomaly_type']}", row["severity"], number(row["points"], 1)) for row in costs
    )
    return (Table(("anomaly", "severity", "points off system stability"), rows, labels=2),) if rows else ()


def _utilization(agents: list[dict[str, Any]]) -> tuple[str | Table, ...]:
    if not agents:
        return ()
    rows = tuple(
        (row["agent_id"], f"{row['task_count']:,}", number(row["busy_ms"], 0), percent(row["utilization"]))
        for row in agents[:MAX_AGENTS]
    )
    table = Table(("agent", "tasks", "busy ms", "utilisation"), rows)
    left_out = len(agents) - len(rows)
    return (table, f"And {plural(left_out, 'more agent')} in system_health.json.") if left_out else (table,)
