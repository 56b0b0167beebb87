"""Schemas of all frames: each column's dtype, unit and bounds, declared once.

Stages exchange these frames. Frames from outside the package are validated; frames made inside are trusted.
"""

from functools import partial
from typing import Any, Literal, get_args

import polars as pl

from phase19.schema import Column, Schema

RiskLevel = Literal["LOW", "MEDIUM", "HIGH", "UNKNOWN"]
RISK_LEVELS: tuple[str, ...] = get_args(RiskLevel)
STRINGS = pl.List(pl.String)
TIMESTAMP = pl.Datetime("us", "UTC")

# Kinds of column
identifier = partial(Column, pl.String)
text = partial(Column, pl.String, nullable=True)
flag = partial(Column, pl.Boolean)
number = partial(Column, pl.Float64)
rate = partial(Column, pl.Float64, unit="fraction", low=0.0, high=1.0)
scaled = partial(Column, pl.Float64, low=0.0, high=1.0)
change = partial(Column, pl.Float64, unit="fraction", low=-1.0, high=1.0)
milliseconds = partial(Column, pl.Float64, unit="ms", low=0.0)
count = partial(Column, pl.Int64, unit="count", low=0)
strings = partial(Column, STRINGS)
moment = partial(Column, TIMESTAMP)


def choice(doc: str, *values: str, **more: Any) -> Column:
    """Declare a text column with a fixed set of values."""
    return Column(pl.String, doc, values=values, **more)


RAN = ("completed", "failed")  # statuses of tasks that ran


def has_run() -> pl.Expr:
    """Whether a row's task ran, according to its `status`."""
    return pl.col("status").is_in(RAN)


_WAVE, _WAVE_KEY = (count("wave, from 1", low=1, key=is_key) for is_key in (False, True))
_TASK = identifier("task", key=True)
_AGENT = identifier("agent", key=True)
_CATEGORY = text("kind of task; null if none is recorded")
_RISK_LEVEL = choice("LOW, MEDIUM, HIGH or UNKNOWN", *RISK_LEVELS, default="MEDIUM")
_HEURISTICS_APPLIED = strings("ids of the Phase 16 heuristics applied", default=[])
_BOOST = change("what a heuristic adds to the confidence", default=0.0)
_USED_FOR = "forecast: it changes the plan; baseline: the run is compared with it; shown: the report shows it"
_IS_CENSORED = flag("an attempt timed out, so the duration is a lower bound", default=False)

# Inputs

TASKS = Schema(
    "tasks",
    task_id=identifier("unique task id", key=True),
    wave=count("wave the task belongs to, from 1; null until dealt", nullable=True),
    risk_level=_RISK_LEVEL,
    category=_CATEGORY,
    confidence=rate("recorded confidence; null if none is recorded", nullable=True),
    confidence_boost=_BOOST,
    priority=Column(pl.Int64, "Phase 16's rank, 1 first", nullable=True),
    heuristics_applied=_HEURISTICS_APPLIED,
    predicted_success_rate=rate("Phase 16's own prediction", nullable=True),
    predicted_confidence_delta=change("Phase 16's own prediction", nullable=True),
    approval_status=text("Phase 16's approval status; never an approval here"),
    reason=text("why Phase 16 planned it"),
    deadline_ms=milliseconds("deadline from the start of the wave; null if it has none", nullable=True),
    estimated_duration_ms=milliseconds("estimated duration of one attempt", nullable=True),
    required_agents=strings("agents allowed to do it; null or empty for any", nullable=True),
    excluded_agents=strings("agents that may not do it; null or empty for none", nullable=True),
)

ATTEMPTS = Schema(
    "attempts",
    task_id=identifier("task attempted"),
    agent_id=identifier("agent that attempted it; null if not recorded", nullable=True),
    wave=count("wave of the attempt", nullable=True),
    risk_level=choice("risk level; null if not recorded", *RISK_LEVELS, nullable=True),
    category=_CATEGORY,
    is_success=flag("whether the attempt succeeded"),
    confidence_before=rate("confidence before the attempt", nullable=True),
    confidence_after=rate("confidence after the attempt", nullable=True),
    confidence_delta=change("change of confidence", nullable=True),
    confidence_boost=_BOOST,
    duration_ms=milliseconds("execution time; null if not recorded", nullable=True),
    is_censored=_IS_CENSORED,
    attempt=count("number of the attempt, from 1", low=1, high=1000, default=1),
    trial=count("number of the independent repeat; null if not recorded", nullable=True),
    heuristics_applied=_HEURISTICS_APPLIED,
    cost=number("cost of the attempt, in any unit; null if not recorded", nullable=True, low=0.0),
    error_message=text("what went wrong; null if nothing is known"),
    timestamp=moment("end of the attempt", nullable=True),
    source=choice("where the record is from", "phase17", "phase18", "previous", "run"),
)

AGENTS = Schema(
    "agents",
    agent_id=identifier("agent, in natural order", key=True),
    record_count=count("attempts recorded with this agent's id"),
    summary_task_count=count("tasks in agent_performance; null if absent", nullable=True),
    summary_success_rate=rate("success rate in agent_performance", nullable=True),
    summary_retry_rate=rate("retry_rate in agent_performance, share of its tasks", nullable=True),
    summary_duration_ms=milliseconds("avg_execution_time_ms in agent_performance", nullable=True),
    summary_confidence_delta=change("avg_confidence_delta in agent_performance", nullable=True),
    capacity=count("most tasks per wave; null if it has no limit of its own", high=2**31, nullable=True),
    evidence=choice("basis of the agent's forecast: its records, its summary, or none", "records", "summary", "none"),
)

HEURISTICS = Schema(
    "heuristics",
    heuristic_id=identifier("Phase 16 heuristic", key=True),
    category=text("category"),
    rule=text("its rule, as JSON text"),
    confidence=rate("Phase 16's confidence in it", nullable=True),
    expected_improvement=number("Phase 16's expected improvement", nullable=True),
)

SIGNALS = Schema(
    "signals",
    signal_id=identifier("Phase 18 learning signal", key=True),
    type=text("kind of signal"),
    confidence=rate("Phase 18's confidence in it", nullable=True),
    description=text("what it says"),
    agent_id=identifier("agent that it is about", nullable=True),
    success_rate=rate("success rate of that agent", nullable=True),
    risk_level=choice("risk level that the rate is of; null for any", *RISK_LEVELS, nullable=True),
    category=_CATEGORY,
)

STATEMENTS = Schema(
    "statements",
    file=identifier("file that it comes from", key=True),
    number=count("row of the file, from 1", key=True),
    type=text("kind of pattern or signal"),
    description=text("what it says"),
    used_for=choice(_USED_FOR, "forecast", "baseline", "shown", "nothing", default="shown"),
    success_rate=rate("stated success rate", nullable=True),
    confidence=rate("Phase 18's confidence in it; the attempts that it counts as", nullable=True),
)

# A column of numbers for each feature follows, in the order of their names; null where unknown.
FEATURES = Schema("features", task_id=identifier("task that the numbers describe", key=True))

EVIDENCE = STATEMENTS.select(
    "evidence",
    "task_id agent_id risk_level category success_rate confidence",
    task_id=identifier("task; a name of its own for a signal"),
    agent_id=identifier("agent"),
    risk_level=SIGNALS.columns["risk_level"],
    category=_CATEGORY,
)

BASELINES = Schema(
    "baselines",
    phase=count("phase that recorded it", key=True),
    file=identifier("file that it comes from", key=True),
    figure=identifier("what it measures", key=True),
    unit=text("unit"),
    recorded=number("the recorded value"),
)

SOURCES = Schema(
    "sources",
    phase=count("phase whose directory the file is in", key=True),
    file=identifier("file name relative to its phase's directory", key=True),
    row_count=count("rows read from it"),
    status=choice("used, empty, absent (defaults apply), or ignored", "used", "empty", "absent", "ignored"),
    used_for=STATEMENTS.columns["used_for"],
    ignored_fields=strings("ignored fields, which the contract does not define", default=[]),
)

# Decisions, plans and outcomes of a run

DECISIONS = Schema(
    "decisions",
    task_id=_TASK,
    wave=_WAVE,
    risk_level=_RISK_LEVEL,
    confidence=rate("recorded confidence, before any boost", nullable=True),
    decision=choice("what this run did: approved or deferred", "approved", "deferred"),
    live_decision=choice("what a live run would do: approved or deferred", "approved", "deferred"),
    reason=identifier("the rule that decided"),
    relaxed_by=text("heuristic whose lowered threshold the confidence meets; null if none"),
)

UNASSIGNED = Schema(
    "unassigned",
    task_id=identifier("task that no agent got", key=True),
    wave=_WAVE,
    reason=identifier("why it was left out"),
)

PLANS = Schema(
    "plans",
    task_id=_TASK,
    agent_id=identifier("agent it is assigned to"),
    wave=_WAVE,
    priority=count("rank in its wave, 1 first", low=1),
    risk_level=_RISK_LEVEL,
    category=_CATEGORY,
    confidence=rate("recorded confidence, before any boost"),
    confidence_boost=_BOOST,
    updated_confidence=rate("confidence after boosts and the outcomes of earlier waves"),
    heuristics_applied=_HEURISTICS_APPLIED,
    success_probability=rate("probability that the first attempt succeeds"),
    success_low=rate("5 % quantile of the first attempt's success probability"),
    success_high=rate("95 % quantile of the first attempt's success probability"),
    planned_success=rate("probability that the task succeeds within its attempts"),
    planned_success_variance=number("posterior variance of planned_success"),
    baseline_success=rate("planned success averaged over all agents: the expectation of round robin"),
    planned_attempts=number("expected number of attempts", "attempts"),
    max_attempts=count("attempts allowed in the wave", low=1),
    duration_ms_p50=milliseconds("median duration of one attempt; null if no time is known", nullable=True),
    duration_ms_p90=milliseconds("90 % quantile of the duration of one attempt; null like the median", nullable=True),
    planned_duration_ms=milliseconds("expected total time of its attempts; 1,000 ms if no time is known"),
    planned_confidence_delta=number("expected change of confidence", "fraction"),
    success_term=scaled("success term of the score, from 0 to 1"),
    throughput_term=scaled("throughput term of the score, from 0 to 1"),
    confidence_term=scaled("confidence term of the score, from 0 to 1"),
    wave_strategy=identifier("strategy that its wave is planned with"),
    score=number("score of the task with its agent; the plan maximises the sum of a wave's scores"),
    agent_price=number("gain in that sum if its agent could take one more task"),
    runner_up_agent_id=identifier("other agent that would lower that sum least; null if there is none", nullable=True),
    runner_up_score=number("the runner-up's score", nullable=True),
    score_margin=number("loss of that sum if the runner-up did it", nullable=True),
    best_agent_id=identifier("agent with the highest score of those that may do it, full or not"),
    is_best_agent_full=flag("that agent has as many tasks in the wave as it may take"),
    best_score=number("that agent's score"),
    best_margin=number("loss of the sum if that agent did it; null if another task would have no agent", nullable=True),
    scheduled_start_time=milliseconds("planned start, from the start of the wave"),
    scheduled_end_time=milliseconds("planned end, from the start of the wave"),
    record_count=count("recorded attempts of this task by this agent"),
    main_features=strings(
        "up to three features of the task that change success_probability most, the largest change first", default=[]
    ),
    success_without_features=rate(
        "success_probability if all features of the task were average; null if features do not count", nullable=True
    ),
    deadline_ms=TASKS.columns["deadline_ms"],
)

# All that an executor sees of a wave: the assignment, without forecasts.
ORDERS = PLANS.select(
    "orders",
    "wave task_id agent_id priority risk_level category confidence confidence_boost heuristics_applied max_attempts",
)

OUTCOMES = Schema(
    "outcomes",
    task_id=identifier("task, as planned", key=True),
    agent_id=identifier("agent, as planned"),
    status=choice(
        "how the task ended: completed, failed, unobserved (no recorded outcome) or interrupted",
        *RAN,
        "unobserved",
        "interrupted",
    ),
    attempt_count=count("attempts made; 0 if it did not run"),
    actual_duration_ms=milliseconds("total time of its attempts; null if it did not run or is unknown", nullable=True),
    actual_confidence_delta=number("change of confidence; null if it did not run", "fraction", nullable=True),
    is_duration_measured=flag("the time of every attempt is known", default=True),
    is_censored=_IS_CENSORED,
    error_message=text("what went wrong in the last attempt; null if nothing is known"),
)

EXECUTIONS = Schema(
    "executions",
    **PLANS.columns,
    actual_start_time=milliseconds("actual start, from the start of the wave; null if unknown", nullable=True),
    actual_end_time=milliseconds("actual end, from the start of the wave; null if unknown", nullable=True),
    status=OUTCOMES.columns["status"],
    retry_count=count("attempts after the first"),
    **{name: column for name, column in OUTCOMES.columns.items() if name.startswith(("actual_", "is_", "error_"))},
    is_planned_late=flag("the planned end is after the deadline; false without a deadline", default=False),
    is_late=flag(
        "the actual end is after the deadline; false without a deadline, null if the end is unknown", nullable=True
    ),
)

# Files of a run directory: `wave_N/AGENT/scheduled_tasks.jsonl` and `planned_tasks.jsonl`
SCHEDULED_TASKS = EXECUTIONS.select(
    "scheduled_tasks",
    "task_id agent_id wave scheduled_start_time scheduled_end_time actual_start_time actual_end_time priority status "
    "confidence retry_count error_message risk_level category heuristics_applied actual_duration_ms "
    "actual_confidence_delta confidence_after is_duration_measured is_censored deadline_ms is_planned_late "
    "is_late",
    confidence_after=rate("confidence after its attempts; null if it did not run", nullable=True),
)
PLANNED_TASKS = PLANS.without("planned_tasks", "category planned_success_variance")
# `attempts.jsonl`: every attempt of the run, as `--executions` reads it
ATTEMPT_LOG = ATTEMPTS.select(
    "attempt_log",
    "task_id agent_id wave attempt status started_at timestamp execution_time_ms confidence_delta is_censored cost "
    "error_message simulated",
    status=choice("how it ended: success or failed", "success", "failed"),
    started_at=text("start of the attempt, UTC; null if not recorded"),
    timestamp=text("end of the attempt, UTC; null if not recorded"),
    execution_time_ms=ATTEMPTS.columns["duration_ms"],
    simulated=flag("the outcome is that of a dry run"),
)

# Inputs of the analysis besides the executions

# Planned figures come from draws made before the wave ran. They cover the tasks that ran, or all tasks if none ran.
WAVE_PLANS = Schema(
    "wave_plans",
    wave=_WAVE_KEY,
    strategy=identifier("strategy the wave was planned with"),
    planned_makespan_ms=milliseconds("mean over draws of the last agent's end; null if unknown", nullable=True),
    planned_busy_ms=milliseconds("mean over draws of the agents' summed busy time; null if unknown", nullable=True),
    timeline_end_ms=milliseconds("end of the longest scheduled timeline"),
    solver=identifier("algorithm that solved the assignment"),
    objective=number("what the plan maximises: summed scores, or for throughput the negative makespan in ms"),
    upper_bound=number("proved bound on the objective; null if it overflowed", nullable=True),
    gap=number("upper_bound - objective; 0 if the difference is a rounding error; null if unknown", nullable=True),
    capacity_cost=number(
        "planned success of the assignment without capacities, less that with them; null for maximize_throughput",
        "fraction",
        nullable=True,
    ),
    moved_count=count("tasks moved off the optimal assignment to balance the load"),
    is_load_limit_met=flag("all agents keep to --max-load-factor; null if there is no limit", nullable=True),
    unassigned_count=count("tasks of the wave left out for lack of room", default=0),
)

WAVE_DRAWS = Schema(
    "wave_draws",
    wave=_WAVE_KEY,
    draw=count("number of the draw from the plan's predictive distribution", key=True),
    ran_count=count("tasks that actually ran; the draw covers only these"),
    success_rate=rate("success rate in this draw"),
    makespan_ms=milliseconds("last agent's end in this draw; null if no time is known", nullable=True),
    busy_ms=milliseconds("summed busy time in this draw; null if no time is known", nullable=True),
    confidence_delta=number("mean confidence change in this draw"),
    deviation_ms=milliseconds(
        "mean of (|start shift| + |end shift|) / 2 in this draw over the tasks whose actual times are known; "
        "over all tasks that ran if none is",
        nullable=True,
    ),
    expected_success_sum=number("summed success probability under this draw's parameters"),
    expected_advantage_sum=number("sum(centred advantage x success probability) under this draw's parameters"),
)

AGENT_EVIDENCE = Schema(
    "agent_evidence",
    wave=_WAVE_KEY,
    agent_id=_AGENT,
    capacity=count("tasks it may take"),
    slot_worth=number("gain in the wave's score if the agent could take one more task"),
    success_variance=number("variance over draws of the summed success probability of its tasks that ran"),
    advantage_variance=number("variance over draws of sum(centred advantage x success probability) of these tasks"),
    first_planned_success_sum=number("success of its tasks that ran, as forecast before the first wave"),
    first_success_noise=number("variance of their outcomes around it, without the shared errors of this forecast"),
    first_success_skew=number("sum of the third moments that lengthen the tail of a shortfall"),
    first_success_agent_sd=number("standard deviation of this forecast from uncertainty about the agent"),
    first_success_shared_sd=number("standard deviation of this forecast from uncertainty that all agents share"),
    log_duration_sum=number("sum over its timed attempts of log time, in ms"),
    duration_count=count("its attempts with a recorded and a forecast time"),
    first_duration_count=count("its attempts with a recorded time and one forecast before the first wave"),
    **{
        f"{prefix}log_duration_{name}": number(text + forecast)
        for prefix, forecast in (("", ""), ("first_", ", for the forecast made before the first wave"))
        for name, text in (
            ("residual_sum", "sum over these attempts of log time minus its forecast, given the outcome"),
            ("noise", "variance of this sum from scatter and from uncertainty about tasks and pairs"),
            ("agent_sd", "standard deviation of this sum from uncertainty about the agent"),
            ("shared_sd", "standard deviation of this sum from uncertainty that all agents share"),
        )
    },
)

PREVIOUS_WEIGHTS = Schema(
    "previous_weights", heuristic_id=identifier("heuristic", key=True), weight=number("its weight after the run before")
)
