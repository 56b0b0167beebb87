"""Makespan compared with other solvers on the same durations: `python -m benchmarks makespan`.

Durations are log-normal with effects of task, agent and pair (standard deviations 0.6, 0.4 and 0.3). An agent may take
1.5 times its even share of the tasks. `phase19` is `minimize_makespan`, whose lower bound is the linear relaxation.
`longest first` is the classical heuristic (Graham, Bounds on multiprocessing timing anomalies, 1969). `CP-SAT` is
OR-Tools with one worker and 10 s, without the time to build its model: one Boolean per pair, exactly one per task, and
durations as integers, in ten-thousandths of their mean. It is left out above 300,000 pairs, where it finds no plan in
that time. Each makespan is given as its distance above the bound, so the figures of a row are comparable. The table
goes to docs/benchmarks.md.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks._document import machine, missed_aims, replace_section, table
from phase19.balancing.local_search import busy_time
from phase19.balancing.makespan import minimize_makespan

MEANING = """How close a plan comes to the shortest possible time until all tasks are done; less is better, and 0 %
would be as short as a bound that few plans can reach. `time` is how long the planning takes. `longest first` is a
simple rule, and CP-SAT a solver that searches for 10 s."""
ROOT = Path(__file__).resolve().parent.parent

SIZES = ((12, 4), (40, 8), (100, 4), (500, 10), (1_000, 20), (5_000, 100), (10_000, 100), (100_000, 100))
LIMIT_S, CP_SAT_PAIRS, GRID = 10.0, 300_000, 10_000
LARGEST_GAP, FEWEST_TASKS = 0.01, 50  # aim: gap as a share of the bound, from this number of tasks per agent on
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def durations(n: int, m: int) -> np.ndarray:
    """Durations in ms, shape (n, m)."""
    rng = np.random.default_rng(19)
    return 1000.0 * np.exp(rng.normal(0, 0.6, (n, 1)) + rng.normal(0, 0.4, m) + rng.normal(0, 0.3, (n, m)))


def longest_first(planned: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    """Assign tasks, the longest (on its fastest agent) first, to the agent that would finish it first; shape (n,)."""
    chosen, room = np.zeros(planned.shape[0], dtype=np.int64), capacity.copy()
    load = np.zeros(planned.shape[1])
    for task in np.argsort(-planned.min(axis=1), kind="stable").tolist():
        agent = int((load + planned[task]).argmin())
        chosen[task] = agent
        room[agent] -= 1
        load[agent] = load[agent] + planned[task, agent] if room[agent] else np.inf
    return chosen


def by_cp_sat(planned_ms: np.ndarray, capacity: np.ndarray) -> tuple[np.ndarray | None, bool]:
    """Return the agent of each task, None if no plan was found in time, and whether it is proved optimal."""
    from ortools.sat.python import cp_model

    n, m = planned_ms.shape
    whole = np.rint(planned_ms / planned_ms.mean() * GRID).astype(np.int64)
    model = cp_model.CpModel()
    chosen = [[model.new_bool_var("") for _ in range(m)] for _ in range(n)]
    makespan = model.new_int_var(0, int(whole.max(axis=1).sum()), "makespan")
    for row in chosen:
        model.add_exactly_one(row)
    for j in range(m):
        own = [row[j] for row in chosen]
        model.add(cp_model.LinearExpr.weighted_sum(own, whole[:, j].tolist()) <= makespan)
        model.add(cp_model.LinearExpr.sum(own) <= int(capacity[j]))
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds, solver.parameters.num_workers = LIMIT_S, 1
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None, False
    found = np.array([[solver.boolean_value(pair) for pair in row] for row in chosen])
    return found.argmax(axis=1), status == cp_model.OPTIMAL


def main() -> int:
    has_cp_sat = importlib.util.find_spec("ortools") is not None
    if not has_cp_sat:
        print("ortools is not installed and is skipped: `uv sync --group bench` or `pip install --group bench`")
    head = ["tasks", "agents", "bound, ms", "phase19", "time", "longest first", "CP-SAT 10 s"]
    rows, missed = [], []
    for n, m in SIZES:
        planned, capacity = durations(n, m), np.full(m, -(-3 * n // (2 * m)))
        began = time.perf_counter()
        found = minimize_makespan(planned, capacity)
        seconds = time.perf_counter() - began
        assert (np.bincount(found.agent_index, minlength=m) <= capacity).all()
        bound = found.lower_bound_ms

        def above(plan: np.ndarray | None, planned: np.ndarray = planned, bound: float = bound) -> float | None:
            return None if plan is None else float(busy_time(planned, plan).max()) / bound - 1.0

        own, simple = above(found.agent_index), above(longest_first(planned, capacity))
        other = "-"
        if has_cp_sat and n * m <= CP_SAT_PAIRS:
            plan, is_optimal = by_cp_sat(planned, capacity)
            other = "none found" if plan is None else f"{above(plan):.2%}" + (", proved best" if is_optimal else "")
        rows.append([f"{n:,}", f"{m:,}", f"{bound:,.0f}", f"{own:.2%}", f"{seconds:.2f} s", f"{simple:.1%}", other])
        print("  ".join(f"{cell:>14}" for cell in rows[-1]), flush=True)
        if n >= FEWEST_TASKS * m and own > LARGEST_GAP:
            missed.append(f"{n:,} x {m:,}: {own:.2%} above the bound, aim {LARGEST_GAP:.0%}")
        if own > simple:
            missed.append(f"{n:,} x {m:,}: worse than longest first")
    lines = [
        machine("ortools"),
        "Each makespan is given as its distance above the lower bound from the linear relaxation.",
        "",
        *table(head, rows),
        "",
        missed_aims(missed),
    ]
    replace_section("Makespan", "makespan", MEANING, lines)
    print(*missed, sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    if all(os.environ.get(name) == value for name, value in ONE_THREAD.items()):
        sys.exit(main())
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
    sys.exit(subprocess.run([sys.executable, __file__], env=environment, check=False).returncode)
