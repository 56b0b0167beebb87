"""What a random run's plans say of chance and of the runs before."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl

from phase19 import frames

STRATEGIES = ("maximize_success", "maximize_throughput", "balance_load")

if TYPE_CHECKING:
    import numpy as np


def ran_counts(executions: pl.DataFrame) -> dict[int, int]:
    ran = executions.filter(pl.col("status").is_in(["completed", "failed"]))
    return {w: int((ran["wave"] == w).sum()) for w in sorted(set(executions["wave"]))}


def draws_frame(
    rng: np.random.Generator, executions: pl.DataFrame, draw_count: int, *, is_advantage_real: bool
) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "wave": w,
            "draw": draw,
            "ran_count": count,
            "success_rate": rng.beta(40, 20) if count else 0.0,
            "makespan_ms": rng.uniform(15e3, 25e3) if count else 0.0,
            "busy_ms": rng.uniform(50e3, 90e3) if count else 0.0,
            "confidence_delta": rng.normal(0.02, 0.005) if count else 0.0,
            "deviation_ms": rng.uniform(0, 30e3) if count else 0.0,
            "expected_success_sum": rng.normal(count * 0.6, 0.1 * count**0.5),
            # Where the advantage fails, little is unknown of it: the test can tell.
            "expected_advantage_sum": rng.normal(0, (0.1 if is_advantage_real else 0.02) * count**0.5),
        }
        for w, count in ran_counts(executions).items()
        for draw in range(draw_count)
    ]
    return frames.WAVE_DRAWS.conform(rows)


def agent_evidence_frame(
    rng: np.random.Generator, executions: pl.DataFrame, agents: list[str], wave_count: int, late: float
) -> pl.DataFrame:
    ran = executions.filter(pl.col("status").is_in(["completed", "failed"]))
    counts = Counter(ran.select("wave", "agent_id").rows())
    planned = {key: rows["planned_success"].sum() for key, rows in ran.group_by("wave", "agent_id")}
    rows = []
    for w in range(1, wave_count + 1):
        for position, name in enumerate(agents):
            count = counts[w, name]
            timed = count if rng.random() < 0.9 else 0
            rows.append(
                {
                    "wave": w,
                    "agent_id": name,
                    "capacity": int(rng.integers(1, 9)),
                    "slot_worth": rng.random(),
                    "success_variance": rng.uniform(0, 0.05) * count,
                    "advantage_variance": rng.uniform(0, 0.0002) * count,
                    "first_planned_success_sum": planned.get((w, name), 0.0) + rng.normal(0.0, 0.02) * count,
                    "first_success_noise": rng.uniform(0.1, 0.2) * count,
                    "first_success_skew": rng.uniform(0, 0.1) * count,
                    "first_success_agent_sd": rng.uniform(0, 0.01) * count,
                    "first_success_shared_sd": rng.uniform(0, 0.005) * count,
                    "log_duration_sum": timed * rng.uniform(6.0, 8.0),
                    "duration_count": timed,
                    "first_duration_count": timed if position else 0,
                    **{
                        f"{prefix}log_duration_{part}": value
                        for prefix in ("", "first_")
                        for part, value in (
                            (
                                "residual_sum",
                                timed * late * (0.3 if position < 6 else 1 + position / 10)
                                + rng.normal(0, 0.4) * timed**0.5,
                            ),
                            ("noise", 0.19 * timed),
                            ("agent_sd", rng.uniform(0, 0.01) * timed),
                            ("shared_sd", rng.uniform(0, 0.01) * timed),
                        )
                    },
                }
            )
    return frames.AGENT_EVIDENCE.conform(rows)
