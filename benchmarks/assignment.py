"""Exact assignment compared with other solvers on the same scores: `python -m benchmarks assignment`.

Each case runs in its own process with one thread. The solvers take turns, and the best time of each counts. From 10^6
pairs on, every solver has a process of its own; HiGHS always has, because its library does not load beside OR-Tools'. A
peer that takes more than 60 s is stopped, and left out of larger cases with the same family and number of agents. Times
include building the model and are CPU times, which other processes disturb less. All solvers get the same float64
scores. OR-Tools' min-cost flow needs integer costs, so it gets the scores times 1e9, rounded; its plan is judged by the
true scores. `linear_sum_assignment` and `lapjv` get one column per slot of an agent, HiGHS one variable per pair, POT's
network simplex a task for spare capacity. `proof` is the time for prices and bound, and `gap` the distance to the
bound. `MB` is the peak memory of the solver above what its process held before. Solvers that are not installed are
skipped with a message. The table goes to docs/benchmarks.md.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks._document import machine, missed_aims, replace_section, table
from benchmarks._figures import calibrate, compare
from phase19.assignment.solver import solve

MEANING = """How long each solver takes to find the assignment of tasks to agents with the highest total score; less is
better. `proof` is the time to prove that no assignment scores higher, and `gap` how far the plan may be from the best
one: 0, or a rounding error, means that it is the best. `MB` is the memory that it needs, and `family` the kind of
scores: `forecast` is like the forecasts of a run, where tasks of a category are nearly alike and there is room for
twice as many, `skill` is like real agents, `uniform` is random, `rounded` and `classes` have many ties."""
ROOT = Path(__file__).resolve().parent.parent

LIMIT_S = 60.0
FAMILIES = ("forecast", "skill", "uniform", "rounded", "classes")
SIZES = (
    (4, 4),
    (100, 10),
    (1_000, 20),
    (10_000, 100),
    (10_000, 1_000),
    (100_000, 100),
    (100_000, 1_000),
    (1_000_000, 4),
    (1_000_000, 100),
)
SOLVERS = {"phase19": "", "or-tools": "ortools", "scipy": "scipy", "lapx": "lapx", "highs": "highspy", "pot": "ot"}
CELLS = {
    "or-tools": 2 * 10**7,
    "scipy": 2 * 10**6,
    "lapx": 2 * 10**6,
    "highs": 3 * 10**5,
    "pot": 10**6,
}  # most pairs that a peer gets
AIMS = (  # tasks, agents, peer, families, smallest ratio of the peer's time to ours
    (1_000, 20, "or-tools", FAMILIES, 1 / 1.5),
    (10_000, 100, "or-tools", FAMILIES, 3.0),
    (100_000, 100, "or-tools", FAMILIES, 10.0),
    (1_000, 20, "scipy", ("skill",), 30.0),
)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def scores_of(family: str, n: int, m: int) -> np.ndarray:
    """Draw the scores of a family, shape (n, m)."""
    rng = np.random.default_rng(19)
    if family == "uniform":
        return rng.random((n, m))
    if family == "forecast":
        level = rng.normal(3.0, 0.5, m) + rng.normal(0.0, 0.6, (6, m))  # log odds by category
        difficulty, loading = rng.normal(size=n).round(3), rng.normal(1.0, 0.03, m)
        return 1.0 / (1.0 + np.exp(np.outer(difficulty, loading) - level[rng.integers(6, size=n)]))
    rows = 20 if family == "classes" else n
    scores = rng.normal(size=(rows, m))
    scores *= -0.5
    scores -= rng.normal(size=m)
    scores += rng.normal(size=(rows, 1))
    np.exp(scores, out=scores)
    scores += 1.0
    np.reciprocal(scores, out=scores)  # sigmoid(ability - difficulty + noise)
    if family == "rounded":
        np.round(scores, 2, out=scores)
    return scores[rng.integers(rows, size=n)] if family == "classes" else scores


def by_ortools(scores: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    from ortools.graph.python import min_cost_flow

    n, m = scores.shape
    flow = min_cost_flow.SimpleMinCostFlow()
    task, agent = np.repeat(np.arange(n, dtype=np.int32), m), np.tile(np.arange(n, n + m, dtype=np.int32), n)
    cost = np.rint(scores.ravel() * -1e9).astype(np.int64)
    arcs = flow.add_arcs_with_capacity_and_unit_cost(task, agent, np.ones(n * m, np.int64), cost)
    ends = np.arange(n, n + m, dtype=np.int32), np.full(m, n + m, dtype=np.int32)
    flow.add_arcs_with_capacity_and_unit_cost(*ends, capacity, np.zeros(m, np.int64))
    supply = np.concatenate([np.ones(n, np.int64), np.zeros(m, np.int64), [-n]])
    flow.set_nodes_supplies(np.arange(n + m + 1, dtype=np.int32), supply)
    assert flow.solve() == flow.OPTIMAL
    return flow.flows(arcs).reshape(n, m).argmax(axis=1)


def by_scipy(scores: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment

    slots = np.repeat(np.arange(capacity.size), capacity)
    return slots[linear_sum_assignment(scores[:, slots], maximize=True)[1]]


def by_lapx(scores: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    import lap

    slots = np.repeat(np.arange(capacity.size), capacity)
    return slots[lap.lapjv(-scores[:, slots], extend_cost=True)[1]]


def by_highs(scores: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    import highspy

    n, m = scores.shape
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = n * m, n + m
    model.col_cost_ = -scores.ravel()
    model.col_lower_, model.col_upper_ = np.zeros(n * m), np.ones(n * m)
    model.row_lower_ = np.concatenate([np.ones(n), np.zeros(m)])
    model.row_upper_ = np.concatenate([np.ones(n), capacity.astype(float)])
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_ = np.arange(0, 2 * n * m + 1, 2)
    model.a_matrix_.index_ = np.column_stack([np.repeat(np.arange(n), m), np.tile(np.arange(n, n + m), n)]).ravel()
    model.a_matrix_.value_ = np.ones(2 * n * m)
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.passModel(model)
    solver.run()
    return np.array(solver.getSolution().col_value).reshape(n, m).argmax(axis=1)


def by_pot(scores: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    import ot

    n, m = scores.shape
    mass = np.append(np.ones(n), capacity.sum() - n)  # the last row takes the spare capacity
    cost = np.append(-scores, np.zeros((1, m)), axis=0)
    return ot.emd(mass, capacity.astype(np.float64), cost, numItermax=10**8)[:n].argmax(axis=1)


PEERS = {"or-tools": by_ortools, "scipy": by_scipy, "lapx": by_lapx, "highs": by_highs, "pot": by_pot}


def memory_mb(field: str) -> float:
    """Read a memory figure of this process [MB], such as VmRSS or VmHWM."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def measure(family: str, n: int, m: int, names: list[str]) -> None:
    """Print a JSON line for the first turn of each solver, then one for its best time over repeated turns if fast."""
    scores, capacity = scores_of(family, n, m), np.full(m, (2 if family == "forecast" else 1) * -(-n // m))
    run = {"phase19": lambda s, c: solve(s, c).agent_index} | PEERS
    tiny = np.random.default_rng(0).random((100, 2)), np.array([50, 50])
    best: dict[str, float] = {}
    for name in names:
        run[name](*tiny)  # imports
        Path("/proc/self/clear_refs").write_text("5")  # the peak is from here on
        held = memory_mb("VmRSS")
        began = time.process_time()
        chosen = run[name](scores, capacity)
        best[name] = time.process_time() - began
        peak = memory_mb("VmHWM") - held
        assert (np.bincount(chosen, minlength=m) <= capacity).all()
        objective = float(scores[np.arange(n), chosen].sum())
        print(json.dumps({"solver": name, "seconds": best[name], "mb": peak, "objective": objective}), flush=True)
        if name == "phase19":
            assignment = solve(scores, capacity)
            began = time.process_time()
            gap = assignment.gap
            spent = time.process_time() - began
            assert gap <= 1e-12 * n
            print(json.dumps({"solver": name, "gap": gap, "proof": spent}), flush=True)
    for _ in range(50 if n <= 1_000 else 4):
        for name in names:
            if best[name] < 5.0:
                began = time.process_time()
                run[name](scores, capacity)
                best[name] = min(best[name], time.process_time() - began)
    for name in names:
        print(json.dumps({"solver": name, "seconds": best[name]}), flush=True)


def case(family: str, n: int, m: int, names: list[str]) -> dict[str, dict[str, float]]:
    """Run a case; return the results of each solver, without those that were stopped."""
    found: dict[str, dict[str, float]] = {}
    together = [name for name in names if name != "highs"] if n * m < 10**6 else []
    groups = [group for group in [together, *([name] for name in names if name not in together)] if group]
    for group in groups:
        call = [sys.executable, str(Path(__file__)), family, str(n), str(m), *group]
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
        patience = 6.0 * LIMIT_S if len(group) > 1 or group == ["phase19"] else LIMIT_S + 20.0
        try:
            done = subprocess.run(call, capture_output=True, text=True, env=environment, timeout=patience, check=False)
            out = done.stdout
            if done.returncode:
                print(done.stderr, file=sys.stderr)
        except subprocess.TimeoutExpired as stopped:
            out = (stopped.stdout or b"").decode()
        for line in out.splitlines():
            seen = json.loads(line)
            found.setdefault(seen.pop("solver"), {}).update(seen)
    return found


def shown(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return (
        f"{seconds * 1e6:.0f} us"
        if seconds < 1e-3
        else f"{seconds * 1e3:.1f} ms"
        if seconds < 1
        else f"{seconds:.1f} s"
    )


def main() -> int:
    absent = [
        name
        for name, module in SOLVERS.items()
        if module and not importlib.util.find_spec({"lapx": "lap"}.get(module, module))
    ]
    for name in absent:
        print(f"{name} is not installed and is skipped: `uv sync --group bench` or `pip install --group bench`")
    names = [name for name in SOLVERS if name not in absent]
    rows, missed, gave_up, spent, before = [], [], set(), {}, calibrate()
    head = ["family", "tasks", "agents", *names, "proof", "gap", "MB"]
    for family in FAMILIES:
        for n, m in SIZES:
            asked = [p for p in names if p == "phase19" or (n * m <= CELLS[p] and (p, family, m) not in gave_up)]
            if "scipy" in asked and n > 1_000:
                asked = [name for name in asked if name not in ("scipy", "lapx")]  # cubic: minutes
            found = case(family, n, m, asked)
            own = found["phase19"]
            gave_up |= {(name, family, m) for name in asked if "seconds" not in found.get(name, {})}
            for name, seen in found.items():
                if "objective" in seen:
                    assert abs(seen["objective"] - own["objective"]) <= 2e-9 * n, (family, n, m, name)
            if n >= 100_000 and m == 100:
                spent[f"{family}, {n:,} tasks"] = own["seconds"]
            cells = [shown(found.get(name, {}).get("seconds")) for name in names]
            rows.append(
                [family, f"{n:,}", f"{m:,}", *cells, shown(own["proof"]), f"{own['gap']:.1g}", f"{own['mb']:.0f}"]
            )
            print("  ".join(f"{cell:>10}" for cell in rows[-1]), flush=True)
            for tasks, agents, peer, families, factor in AIMS:
                if (tasks, agents) == (n, m) and family in families and "seconds" in found.get(peer, {}):
                    ratio = found[peer]["seconds"] / own["seconds"]
                    if ratio < factor:
                        missed.append(f"{family} {n:,} x {m:,}: {ratio:.1f} times as fast as {peer}, aim {factor:.1f}")
            if (n, m) == (4, 4) and "scipy" in found and (above := own["seconds"] - found["scipy"]["seconds"]) > 30e-6:
                missed.append(f"{family} 4 x 4: {above * 1e6:.0f} us above scipy, aim 30 us")
            if (n, m) == (1_000_000, 100) and (own["seconds"] > 10.0 or own["mb"] > 500.0):
                missed.append(
                    f"{family} {n:,} x {m:,}: {own['seconds']:.1f} s and {own['mb']:.0f} MB, aim 10 s and 500 MB"
                )
    missed += compare("assignment", spent, before)
    lines = [
        machine("ortools", "lapx", "highspy", "pot"),
        f"`-`: the solver was stopped after {LIMIT_S:.0f} s, or left out because the problem is too large for it.",
        "",
        *table(head, rows),
        "",
        missed_aims(missed),
    ]
    replace_section("Exact assignment", "assignment", MEANING, lines)
    print(*missed, sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    else:
        sys.exit(main())
