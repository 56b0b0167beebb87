"""The score matrix of each strategy, and the best plan of a wave by these scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phase19.assignment.pairs import best_agents
from phase19.assignment.solver import Assignment, solve
from phase19.balancing.capacity import agent_capacity
from phase19.balancing.load_limit import even_out
from phase19.balancing.local_search import busy_time, total
from phase19.balancing.makespan import Makespan, minimize_makespan
from phase19.balancing.ties import share_ties
from phase19.errors import InfeasibleError
from phase19.forecasting.model import Expected
from phase19.options import Capacity, OptimizationStrategy, PlanOptions

BALANCE_TOLERANCE = 0.01  # share of the summed scores that balance_load may give up for even loads
_TIE_BREAK = 1e-7  # weight of success in other strategies, to decide between nearly equal plans
_NAMED = 5  # most tasks and agents named in an error
_EXPLORATION_BONUS = 0.3  # standard deviations of planned success; small, because capacities already cause exploration


class ScoreTerms(NamedTuple):
    """Terms of the score, each scaled to [0, 1], shape (n, m)."""

    success: NDArray[np.float64]
    throughput: NDArray[np.float64]
    confidence: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WaveAssignment:
    """A strategy's plan for a wave of n tasks and m agents.

    Attributes
    ----------
    strategy
        The strategy of the plan.
    assignment
        Best assignment by `scores`. It is the plan itself except for balance_load, which changes it, and for
        maximize_throughput, whose bound it proves.
    capacity
        Tasks each agent may take, shape (m,).
    scores
        Scores of every pair, shape (n, m).
    terms
        Terms of the scores.
    agent_index
        Agent of each task, shape (n,).
    makespan
        Plan and bound of maximize_throughput; None for other strategies.
    capacity_cost
        Mean planned success of the assignment with the largest scores without capacities, less that of `assignment`
        [fraction]; None for maximize_throughput.
    """

    strategy: OptimizationStrategy
    assignment: Assignment
    capacity: NDArray[np.int64]
    scores: NDArray[np.float64]
    terms: ScoreTerms
    agent_index: NDArray[np.int64]
    makespan: Makespan | None = None
    capacity_cost: float | None = None

    @property
    def algorithm(self) -> str:
        """Name of the algorithm that computed the plan, before its load was balanced."""
        return self.assignment.algorithm if self.makespan is None else "makespan_local_search"

    @property
    def upper_bound(self) -> float:
        """Upper bound on the objective of any plan."""
        return self.assignment.upper_bound if self.makespan is None else -self.makespan.lower_bound_ms

    def objective(self, agent_index: NDArray[np.int64], planned_ms: NDArray[np.float64]) -> float:
        """Compute the maximised value: the sum of scores, or the negative makespan [ms] for maximize_throughput.

        Parameters
        ----------
        agent_index
            Agent of each task in a plan, shape (n,).
        planned_ms
            Busy time of every pair in ms, shape (n, m).
        """
        if self.makespan is None:
            return total(self.scores, agent_index)
        return -float(busy_time(planned_ms, agent_index).max(initial=0.0))


def score_terms(forecast: Expected) -> ScoreTerms:
    """Scale success, time and confidence to [0, 1], where larger is better.

    Success stays a probability. Throughput is 1 - duration / longest planned duration. Confidence is the expected
    change, scaled linearly from the smallest (0) to the largest (1).
    """
    longest = forecast.planned_duration_ms.max(initial=0.0)
    gain = forecast.planned_confidence_delta
    low, high = gain.min(initial=np.inf), gain.max(initial=-np.inf)
    return ScoreTerms(
        success=forecast.planned_success,
        throughput=1.0 - forecast.planned_duration_ms / longest if longest > 0 else np.ones_like(gain),
        confidence=(gain - low) / (high - low) if high > low else np.zeros_like(gain),
    )


def score_matrix(forecast: Expected, terms: ScoreTerms, options: PlanOptions) -> NDArray[np.float64]:
    """Score every pair by a strategy, shape (n, m).

    For balance_load the scores give the plan to start from. For maximize_throughput they only choose the tasks to place
    if there is not enough room for all; `minimize_makespan` makes the plan.

    Raises
    ------
    ValueError
        The strategy is `auto`, which chooses among plans.
    """
    match options.strategy:
        case OptimizationStrategy.MAXIMIZE_SUCCESS | OptimizationStrategy.BALANCE_LOAD:
            return terms.success + _exploration_bonus(forecast, options)
        case OptimizationStrategy.MAXIMIZE_THROUGHPUT:
            own = terms.throughput
        case OptimizationStrategy.MINIMIZE_RETRIES:
            retries = forecast.planned_attempts - 1.0
            own = 1.0 - retries / max(float(retries.max(initial=0.0)), 1.0)
        case OptimizationStrategy.CONFIDENCE_OPTIMIZATION:
            own = terms.confidence
        case OptimizationStrategy.WEIGHTED:
            weights = options.weights
            own = np.asarray(
                sum((weights[name] / sum(weights.values())) * getattr(terms, name) for name in terms._fields)
            )
        case OptimizationStrategy.AUTO:
            raise ValueError(f"expected a strategy that scores pairs, found {options.strategy}")
    return own + _TIE_BREAK * terms.success + _exploration_bonus(forecast, options)


def _exploration_bonus(forecast: Expected, options: PlanOptions) -> NDArray[np.float64] | float:
    return _EXPLORATION_BONUS * np.sqrt(forecast.planned_success_variance) if options.explore else 0.0


def allowed_pairs(tasks: pl.DataFrame, agents: pl.DataFrame) -> NDArray[np.bool_] | None:
    """Compute which agents each task allows, shape (n, m); None if every task allows all."""
    required, excluded = tasks["required_agents"], tasks["excluded_agents"]
    is_limited = required.list.len().fill_null(0) > 0
    if not (is_limited | (excluded.list.len().fill_null(0) > 0)).any():
        return None

    def holds(lists: pl.Series, agent_id: str) -> pl.Series:
        return lists.list.contains(agent_id).fill_null(value=False)

    names = agents["agent_id"].to_list()
    return np.column_stack(
        [((holds(required, name) | ~is_limited) & ~holds(excluded, name)).to_numpy() for name in names]
    )


def placed_tasks(
    forecast: Expected,
    options: PlanOptions,
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Choose which of a wave's tasks to place: as many as possible, and among such sets one with the largest score.

    Parameters
    ----------
    forecast
        Of all pairs, shape (n, m); the order of the rows decides between plans that are equal.
    options
        Options whose strategy scores the pairs; maximize_throughput scores by planned time.
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m); all by default.

    Returns
    -------
    numpy.ndarray
        Whether to place each task, shape (n,). If a task is left out, every agent that it allows is full.

    Notes
    -----
    Here the terms of the scores are scaled over all tasks; the plan scales them over the placed tasks. For `weighted`
    the two scales may differ.
    """
    n = forecast.planned_success.shape[0]
    if allowed is None and np.minimum(capacity, n).sum() >= n:
        return np.ones(n, dtype=np.bool_)
    scores = score_matrix(forecast, score_terms(forecast), options)
    return np.asarray(solve(scores, capacity, allowed, allow_unassigned=True).agent_index >= 0)


def optimize(
    forecast: Expected, options: PlanOptions, capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None = None
) -> WaveAssignment:
    """Assign a wave's tasks.

    Parameters
    ----------
    forecast
        Of all pairs, shape (n, m); the order of the rows decides between plans that are equal.
    options
        Strategy, weights and exploration.
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m).

    Returns
    -------
    WaveAssignment
        Optimal for its strategy; for throughput and balance a local optimum among single moves and swaps.

    Raises
    ------
    InfeasibleError
        No assignment keeps to the capacity and the allowed pairs.
    ValueError
        The strategy is `auto`, which chooses among plans (`recommendation.recommend_wave`).
    """
    strategy, terms, planned_ms = options.strategy, score_terms(forecast), forecast.planned_duration_ms
    if strategy is OptimizationStrategy.MAXIMIZE_THROUGHPUT:
        preference = terms.success + _exploration_bonus(forecast, options)
        found = minimize_makespan(planned_ms, capacity, allowed, preference)
        return WaveAssignment(strategy, found.priced, capacity, found.scores, terms, found.agent_index, found)
    scores = score_matrix(forecast, terms, options)
    solved = share_ties(solve(scores, capacity, allowed), planned_ms)
    agent_index = solved.agent_index
    if strategy is OptimizationStrategy.BALANCE_LOAD:
        least_score = (1.0 - BALANCE_TOLERANCE) * solved.objective
        agent_index = even_out(
            agent_index, scores, planned_ms, capacity=capacity, least_score=least_score, allowed=allowed
        )
    without_limit = total(terms.success, best_agents(scores, allowed))
    cost = (without_limit - total(terms.success, solved.agent_index)) / max(scores.shape[0], 1)
    return WaveAssignment(strategy, solved, capacity, scores, terms, agent_index, capacity_cost=cost)


def check_feasible(tasks: pl.DataFrame, agents: pl.DataFrame, limit: Capacity | None) -> None:
    """Check that every wave has a feasible plan.

    Parameters
    ----------
    tasks, agents
        `frames.TASKS` of all waves, and `frames.AGENTS`.
    limit
        Limit for every agent, as in :func:`~phase19.balancing.capacity.agent_capacity`.

    Raises
    ------
    InfeasibleError
        A wave has no feasible plan; names the first such wave, and the tasks and agents in conflict.
    """
    for wave in tasks.partition_by("wave", maintain_order=True):
        allowed = allowed_pairs(wave, agents)
        capacity = agent_capacity(wave.height, agents["capacity"], limit, allowed)
        if allowed is None and np.minimum(capacity, wave.height).sum() >= wave.height:
            continue
        try:
            solve(np.zeros((wave.height, agents.height)), capacity, allowed)
        except InfeasibleError as problem:
            raise name_conflict(problem, wave, agents) from problem


def name_conflict(problem: InfeasibleError, tasks: pl.DataFrame, agents: pl.DataFrame) -> InfeasibleError:
    """Add the wave, the first few tasks and agents in conflict, and advice to an error."""
    named = [_named("task", tasks["task_id"], problem.rows), _named("agent", agents["agent_id"], problem.columns)]
    place = "; ".join([f"wave {tasks['wave'][0]}", *filter(None, named)])
    shorten = "shorten excluded_agents, " if (tasks["excluded_agents"].list.len() > 0).any() else ""
    advice = (
        f"raise --capacity, the agents' own or --agents, widen required_agents, {shorten}or leave tasks out with "
        "--allow-unassigned"
    )
    return InfeasibleError(f"{problem} ({place}); {advice}", problem.rows, problem.columns)


def _named(noun: str, ids: pl.Series, places: Sequence[int]) -> str:
    if not places:
        return ""
    shown = ", ".join(map(repr, ids.gather(list(places[:_NAMED])).to_list()))
    return f"{noun}{'s' if len(places) > 1 else ''} {shown}{', ...' if len(places) > _NAMED else ''}"
