"""Write docs/reference/outputs.md from the schemas of the files, the comments of sql/views.sql and the tables below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from phase19 import frames
from phase19.schema import Schema
from tests.pages.markdown import anchor, table

Columns = Mapping[str, tuple[str, str, str]]  # kind, unit and meaning of each key

# What no schema and no view declares: a key, its kind, unit and meaning. A line with `=` names the view, or the schema,
# in which the key is declared.
SUMMARY = """
phase | whole number | | always 19
timestamp = runs
total_waves_optimized | whole number | | waves that were planned
total_agents = runs
total_tasks = runs
optimization_strategy | text | | strategy of the run
overall_metrics | object | | figures of the whole run
overall_metrics.expected_success_rate = runs
overall_metrics.actual_success_rate = runs
overall_metrics.prediction_accuracy = runs
overall_metrics.expected_throughput = runs
overall_metrics.actual_throughput = runs
overall_metrics.schedule_adherence = runs
overall_metrics.success_rate_low = comparisons
overall_metrics.success_rate_high = comparisons
overall_metrics.baseline_success_rate | number | fraction | success rate that round robin would expect on the same tasks
overall_metrics.baseline_success_rate_low | number | fraction | 5 % quantile of round robin's success rate
overall_metrics.baseline_success_rate_high | number | fraction | 95 % quantile of round robin's success rate
optimization_results[] | object | | the plan of each wave
optimization_results[].wave = tasks
optimization_results[].strategy = wave_plans
optimization_results[].expected_success_rate | number | fraction | planned success rate of the wave
optimization_results[].agent_assignments | object by agent | | the tasks of each agent, in order
system_health_score = runs
execution_time_ms | number | ms | time that the run took; the only figure that differs between equal runs
schema_version | text | | version of this format
run_id = runs
seed = runs
executor = runs
simulated = runs
inputs[] | object | | each input file, and what it was used for
inputs[].phase = sources
inputs[].file = sources
inputs[].rows | whole number | | rows read from it
inputs[].status = sources
inputs[].used_for = sources
inputs[].ignored_fields = sources
baselines[] | object | | figures that earlier phases recorded, beside those of this run
baselines[].phase = baselines
baselines[].file = baselines
baselines[].figure = baselines
baselines[].unit = baselines
baselines[].recorded = baselines
baselines[].this_run | number | as `unit` | the same figure of this run; null if a run does not measure it
statements[] | object | | coordination patterns and learning signals of Phase 18
statements[].file = statements
statements[].number = statements
statements[].type = statements
statements[].description = statements
statements[].used_for = statements
statements[].success_rate = statements
statements[].confidence = statements
task_counts | object | | the tasks by state; each task is in exactly one
task_counts.total | whole number | tasks | all tasks of the run
task_counts.completed | whole number | tasks | tasks that succeeded
task_counts.failed | whole number | tasks | tasks that failed in every attempt
task_counts.unobserved | whole number | tasks | tasks without a recorded outcome to replay
task_counts.interrupted | whole number | tasks | tasks that a stopped run did not finish
task_counts.deferred | whole number | tasks | tasks that a safety gate held back
task_counts.unassigned | whole number | tasks | tasks without an agent
excluded | object | | what `--exclude-agent` and `--exclude-task` left out
excluded.agents | list of texts | | agents that got no task
excluded.tasks | list of texts | | tasks that were left out
deadlines | object | | tasks with a deadline
deadlines.tasks | whole number | tasks | assigned tasks with a deadline
deadlines.planned_late | whole number | tasks | those whose planned end is after it
deadlines.actual_late | whole number | tasks | those whose actual end is after it; null if no end is known
max_retries | whole number | attempts | retries that the plans count on, at most
least_expected | object | | the task whose outcome was planned to be the least likely; null if nothing ran
least_expected.task_id = tasks
least_expected.agent_id = tasks
least_expected.status = tasks
least_expected.planned_success = plans
forecast_scores | object | | how good the forecasts of success were, over the tasks that ran
forecast_scores.brier_score = comparisons
forecast_scores.log_loss = comparisons
forecast_scores.skill | number | | 1 - Brier score / Brier score of always forecasting the run's success rate
forecast_scores.interval_coverage | number | fraction | waves whose success rate is inside its 90 % interval
tasks_from | text | | the file that lists the tasks, or how they were named
joins | object | | how the names of the files fit together
joins.tasks | whole number | tasks | planned tasks
joins.tasks_with_records | whole number | tasks | those with records
joins.tasks_with_features | whole number | tasks | planned tasks with features
joins.recorded_tasks | whole number | tasks | tasks in the records
joins.recorded_tasks_with_features | whole number | tasks | those with features
joins.other_tasks_with_features | whole number | tasks | tasks with features that are neither planned nor recorded
joins.features | whole number | | number of features
joins.agents | whole number | agents | agents of the run
joins.agents_with_records | whole number | agents | those with records
joins.replayed_rows | whole number | rows | rows of the replayed file; null if nothing is replayed
joins.replayed_rows_in_plan | whole number | rows | those of a planned task and its agent
yardsticks | object | | success rates that the plan is compared with, all with the first forecast
yardsticks.planned_success_rate | number | fraction | of the plan
yardsticks.round_robin_success_rate | number | fraction | of giving the tasks to the agents in turn
yardsticks.best_single_agent_success_rate | number | fraction | of giving every task to the best agent
yardsticks.capacity_cost = wave_plans
solver[] | object | | how each wave was solved
solver[].wave = tasks
solver[].algorithm | text | | algorithm that solved the assignment
solver[].objective = wave_plans
solver[].upper_bound = wave_plans
solver[].gap = wave_plans
solver[].capacity_cost = wave_plans
solver[].moved_count = wave_plans
solver[].is_load_limit_met = wave_plans
previous | object | | the earlier run of `--previous`; null without
previous.run_id | text | | its id
previous.simulated | true or false | | it was a dry run, so its outcomes are not used
previous.attempt_count | whole number | attempts | attempts taken from it
previous.weight_count | whole number | | heuristic weights taken from it
thresholds | object | | the thresholds that differ from the defaults
thresholds.file | text | | the file of `--thresholds`; null without
thresholds.changed | object by threshold | | the new values
"""
RECOMMENDATIONS = """
recommendation_id | text | | REC_WAVE_001, ...
wave = tasks
agent_id = plans
task_ids | list of texts | | its tasks, in order
expected_completion_time_ms | number | ms | planned time of all its tasks, one after another
expected_success_probability | number | fraction | mean planned success of its tasks
rationale | text | | the gain over round robin, as a sentence
confidence | number | fraction | 1 - mean width of the 90 % interval of its first attempts' success
"""
WAVE_SUMMARY = """
wave = tasks
strategy = wave_plans
task_count | whole number | tasks | planned tasks
task_states | object | | the planned tasks by state
task_states.completed | whole number | tasks | tasks that succeeded
task_states.failed | whole number | tasks | tasks that failed in every attempt
task_states.unobserved | whole number | tasks | tasks without a recorded outcome to replay
task_states.interrupted | whole number | tasks | tasks that a stopped run did not finish
retry_count | whole number | attempts | attempts after the first, over all tasks
planned_success_rate = comparisons
actual_success_rate = comparisons
planned_throughput = comparisons
actual_throughput = comparisons
planned_confidence_delta = comparisons
actual_confidence_delta = comparisons
accuracy_score = comparisons
throughput_efficiency = comparisons
schedule_adherence = comparisons
agent_utilization = comparisons
planned_makespan_ms = wave_plans
actual_makespan_ms | number | ms | end of the last agent; null if a time is unknown
timeline_end_ms = wave_plans
solver | object | | how the wave was solved
solver.algorithm | text | | algorithm that solved the assignment
solver.objective = wave_plans
solver.upper_bound = wave_plans
solver.gap = wave_plans
unassigned_count = wave_plans
agents[] | object | | each agent in this wave
agents[].agent_id | text | | agent, in natural order
agents[].task_count | whole number | tasks | its planned tasks
agents[].completed_count | whole number | tasks | those that completed
agents[].planned_success_rate | number | fraction | mean planned success of its tasks that ran; null if none ran
agents[].actual_success_rate | number | fraction | completed tasks of those that ran; null if none ran
agents[].utilization | number | fraction | its busy time / makespan of the wave
agents[].capacity | whole number | tasks | tasks it may take
agents[].slot_worth | number | score | gain in the wave's score if it could take one more task
timestamp = runs
simulated = runs
"""
AGENT_FEEDBACK = """
wave = tasks
agent_id | text | | agent
task_count | whole number | tasks | its planned tasks
ran_count | whole number | tasks | those that ran; the other figures are null if none did
completed_count | whole number | tasks | those that completed
retry_count | whole number | attempts | attempts after the first
planned_success_rate | number | fraction | mean planned success of its tasks that ran
actual_success_rate | number | fraction | completed tasks of those that ran
accuracy_score = comparisons
planned_busy_ms | number | ms | planned time of its tasks that ran
actual_busy_ms | number | ms | their actual time; null if a time is unknown
duration_ratio | number | ratio | actual / planned time
utilization | number | fraction | its busy time / makespan of the wave
deviation_ms | number | ms | mean shift of start and end against the schedule
planned_confidence_delta | number | fraction | mean expected change of confidence
actual_confidence_delta | number | fraction | mean change of confidence
capacity | whole number | tasks | tasks it may take
slot_worth | number | score | gain in the wave's score if it could take one more task
timestamp = runs
simulated = runs
"""
HEALTH = """
overall_health_score = health
health_status = health
component_scores | object | points | the four scores that the overall score is the mean of, 0 to 100; null without data
component_scores.optimization_accuracy = health
component_scores.schedule_adherence = health
component_scores.throughput_efficiency = health
component_scores.system_stability = health
optimization_metrics[] | object | | the five metrics
optimization_metrics[].metric_name = metrics
optimization_metrics[].value = metrics
optimization_metrics[].status = metrics
detected_anomalies = health
timestamp = health
component_weights | object | | weight of each component score in the overall score
component_weights.optimization_accuracy | number | | weight of this score
component_weights.schedule_adherence | number | | weight of this score
component_weights.throughput_efficiency | number | | weight of this score
component_weights.system_stability | number | | weight of this score
anomaly_costs[] | object | | what each anomaly takes from system_stability
anomaly_costs[].anomaly_id = anomalies
anomaly_costs[].anomaly_type = anomalies
anomaly_costs[].severity = anomalies
anomaly_costs[].points | number | points | what it takes
agent_utilization[] | object | | each agent over the run
agent_utilization[].agent_id | text | | agent, in natural order
agent_utilization[].task_count | whole number | tasks | its planned tasks
agent_utilization[].busy_ms | number | ms | its busy time; null if a time is unknown
agent_utilization[].utilization | number | fraction | its busy time / summed makespans; null if a time is unknown
agent_utilization[].success_rate_low | number | fraction | 5 % quantile of its success rate under the plan
agent_utilization[].success_rate_high | number | fraction | 95 % quantile of its success rate under the plan
convergence | object | | whether the error of the success forecasts shrinks from wave to wave
convergence.verdict | text | | improving, worsening, steady or insufficient_data
convergence.wave_count | whole number | waves | waves with a standardized error
convergence.slope | number | standard scores | change of the error per wave
convergence.slope_low | number | standard scores | lower end of the slope's 90 % interval
convergence.slope_high | number | standard scores | upper end of the slope's 90 % interval
convergence.change | number | standard scores | slope times the number of waves after the first
convergence.simulated = runs
alert_counts | object | | the alerts by severity
alert_counts.info | whole number | alerts | worth knowing
alert_counts.warning | whole number | alerts | worth a look
alert_counts.critical | whole number | alerts | need attention now
"""
ALERTS = """
alert_id | text | | AL_001, AL_002, ...
severity | text | | info, warning or critical
source | text | | the file that says it, and the metric, anomaly or column
message | text | | what is the matter, as a sentence
action | text | | what to do about it
timestamp = runs
"""
EFFECTIVENESS = """
strategy | text | | the strategy, as the key above it
waves | list of whole numbers | | waves planned with it
task_count | whole number | tasks | planned tasks
ran_count = comparisons
retry_count | whole number | attempts | attempts after the first, over all tasks
planned_success_rate = comparisons
actual_success_rate = comparisons
prediction_accuracy = runs
baseline_success_rate | number | fraction | success rate that round robin would expect on the same tasks
promised_advantage | number | fraction | planned success rate - that of round robin
realised_advantage | number | fraction | actual success rate - that of round robin
information | number | standard scores | promised advantage / its noise: how well the run can measure the slope
realised_advantage_slope | number | | part of the promised advantage that came true; null if information is too low
slope_low | number | | lower end of the slope's 90 % interval
slope_high | number | | upper end of the slope's 90 % interval
planned_throughput | number | tasks/s | tasks that ran / summed planned makespans
actual_throughput | number | tasks/s | tasks that ran / summed actual makespans
planned_confidence_delta = comparisons
actual_confidence_delta = comparisons
simulated = runs
other_strategies | text | | says that other strategies were not evaluated
"""
PATTERNS = """
pattern_type | text | | strategy
agent_assignments | object by agent | | the tasks of each agent, by wave and start
success_rate | number | fraction | completed tasks of those that ran
confidence | number | fraction | 1 - width of the success rate's 90 % interval; 0 if nothing ran
waves | list of whole numbers | | waves planned with the strategy
task_count | whole number | tasks | planned tasks
simulated = runs
"""
WEIGHTS = """
HEURISTIC | number | | weight of the heuristic with this id, 0.5 to 1.5 by default
updated_at | time | | moment of the run, UTC
"""
TO_PHASE_16 = """
type | text | | always phase19_heuristic_update
heuristic_weights | object by heuristic | | the new weights
simulated = runs
run_id = runs
timestamp = runs
"""
TO_PHASE_18 = """
type | text | | always phase19_coordination_feedback
strategy_effectiveness | object by strategy | | the content of strategy_effectiveness.json
simulated = runs
run_id = runs
timestamp = runs
"""
FEEDBACK = """
feedback_id = signals
feedback_type = signals
confidence = signals
description = signals
recommendation = signals
supporting_evidence = signals
timestamp = signals
simulated = signals
"""
RANKED = "agent_position | whole number | | place of the agent in natural order, from 1; null for all agents together"
MANIFEST = """
files | object by path | | SHA-256 of each other file of the run
"""
SCHEMAS = {each.name: each for each in (frames.WAVE_PLANS, frames.SOURCES, frames.BASELINES, frames.STATEMENTS)}


class File(NamedTuple):
    name: str
    content: str  # "" if the view says it
    source: Schema | str | None = None  # a schema, the name of a view, declared lines, or None for people
    more: str = ""  # declared lines of keys that the view leaves out
    same_as: str = ""


GROUPS = {
    "For people": (
        File("report.html", "the report"),
        File("PHASE_19_AUTONOMOUS_OPTIMIZATION.md", "the report as Markdown, with less detail"),
    ),
    "The run": (
        File("optimization_summary.json", "the whole run in one object: inputs, assignments, figures", SUMMARY),
        File("manifest.json", "what the run wrote: a later run replaces only files that are unchanged", MANIFEST),
    ),
    "Tasks": (
        File("wave_N/AGENT/planned_tasks.jsonl", "", frames.PLANNED_TASKS),
        File("wave_N/AGENT/scheduled_tasks.jsonl", "", frames.SCHEDULED_TASKS),
        File("attempts.jsonl", "", frames.ATTEMPT_LOG),
        File("unassigned_tasks.jsonl", "", "unassigned", "timestamp = runs"),
        File("safety_gate_decisions.jsonl", "", "decisions"),
        File(
            "schedule_recommendations.jsonl",
            "one row per wave and agent: its tasks and what to expect",
            RECOMMENDATIONS,
        ),
    ),
    "Waves and agents": (
        File("schedule_comparisons.jsonl", "", "comparisons"),
        File("convergence.jsonl", "", "convergence"),
        File("wave_N/wave_summary.json", "one object: the wave's plan, its outcome and its agents", WAVE_SUMMARY),
        File(
            "wave_N/AGENT/optimization_feedback.json",
            "one object: how the agent did in the wave, compared with its plan",
            AGENT_FEEDBACK,
        ),
    ),
    "Metrics, checks and health": (
        File("optimization_metrics.jsonl", "", "metrics"),
        File("metrics.jsonl", "", same_as="optimization_metrics.jsonl"),
        File("system_health.json", "one object: the health score and what it is made of", HEALTH),
        File("anomaly_tests.jsonl", "", "anomaly_tests"),
        File("schedule_drift_tests.jsonl", "", "drift_tests", RANKED),
        File(
            "performance_degradation_tests.jsonl",
            "",
            "degradation_tests",
            RANKED
            + "\nfirst_rank | whole number | | number of the window's first wave among the planned waves, from 1",
        ),
        File("scheduling_anomalies.jsonl", "", "anomalies"),
        File("anomalies.jsonl", "", same_as="scheduling_anomalies.jsonl"),
        File(
            "alerts.jsonl",
            "one row per metric out of bounds and anomaly; one for late tasks, and one for tasks planned late",
            ALERTS,
        ),
    ),
    "For other phases": (
        File("learning_signals.jsonl", "", "signals"),
        File("optimization_feedback.jsonl", "the learning signals again, for readers", FEEDBACK),
        File("heuristic_weights.json", "one object: the new weight of each heuristic", WEIGHTS),
        File("heuristic_updates.jsonl", "", "heuristic_updates"),
        File("strategy_effectiveness.json", "an object by strategy; each value has these keys", EFFECTIVENESS),
        File("coordination_patterns.json", "a list with an object for each strategy", PATTERNS),
        File("feedback/phase16_feedback.jsonl", "one row for Phase 16", TO_PHASE_16),
        File("feedback/phase18_feedback.jsonl", "one row for Phase 18", TO_PHASE_18),
    ),
}
FILES = {file.name: file for files in GROUPS.values() for file in files}
VIEWS = {"planned_tasks": "plans", "scheduled_tasks": "tasks", "attempt_log": "attempts"}
KINDS = {
    "double": "number",
    "bigint": "whole number",
    "varchar": "text",
    "boolean": "true or false",
    "timestamp": "time",
    "varchar[]": "list of texts",
    "bigint[]": "list of whole numbers",
    pl.Float64: "number",
    pl.Int64: "whole number",
    pl.String: "text",
    pl.Boolean: "true or false",
    frames.STRINGS: "list of texts",
}
INTRODUCTION = """# Output files

A run writes these files into its directory, `outputs/phase19` by default. This page lists every file and every key. It
is made from the declarations in the code, and a test compares it with the files of a run.

- In a file whose name ends in `.jsonl`, every line is one JSON object, here called a row. All text is UTF-8.
- `wave_N` is the directory of a wave, `AGENT` that of an agent: its id, with other characters than letters, digits,
  `.`, `_` and `-` percent-encoded.
- Rates are fractions from 0 to 1. Times in milliseconds count from the start of the wave. Timestamps are UTC, such as
  `2026-02-05T12:00:00Z`. Null means unknown or does not apply; it is never written as 0.
- In keys, a dot leads into an object, `[]` into each item of a list.
- `"simulated": true` marks what comes from a dry run.
- The same inputs, options, seed and timestamp give the same files, except for `execution_time_ms`.

With `--format parquet`, the files that have a row for every task or attempt are Parquet files with the same columns and
values; points in time are text here too. Every command and function reads both forms. For 100,000 tasks, the run
directory takes 28 MB instead of 233 MB.

| JSON lines | Parquet |
| --- | --- |
| `wave_N/AGENT/planned_tasks.jsonl` | `wave_N/planned_tasks.parquet`, the rows of all agents of the wave |
| `wave_N/AGENT/scheduled_tasks.jsonl` | `wave_N/scheduled_tasks.parquet`, the rows of all agents of the wave |
| `attempts.jsonl` | `attempts.parquet` |
| `safety_gate_decisions.jsonl` | `safety_gate_decisions.parquet` |

[Query with DuckDB](../how-to/query-with-duckdb.md) shows how to ask questions about these files, and
[Metrics](metrics.md) explains the figures.

"""


def page(columns: pl.DataFrame, views: pl.DataFrame) -> str:
    """Return the page.

    Parameters
    ----------
    columns, views
        The views `view_columns` and `views` of any run.
    """
    content = dict(views.select("view", "content").rows())
    described = {name: of_view(columns, name) for name in content}
    contents, sections = [], []
    for group, files in GROUPS.items():
        rows, parts = [], []
        for file in files:
            view = VIEWS.get(getattr(file.source, "name", ""), file.source)
            text = file.content or content.get(str(view), f"the same as `{file.same_as}`")
            is_described = file.source is not None
            rows.append((f"[`{file.name}`](#{anchor(file.name)})" if is_described else f"`{file.name}`", text))
            if is_described:
                keys = keys_of(file, described)
                shown = [(f"`{key}`", *declared) for key, declared in keys.items()]
                parts.append(
                    f"### {file.name}\n\n{sentence(text)}\n\n{table(('key', 'type', 'unit', 'meaning'), shown)}"
                )
        contents.append(f"**{group}**\n\n{table(('file', 'content'), rows)}")
        if parts:
            sections.append(f"## {group}\n\n" + "\n".join(parts))
    return INTRODUCTION + "\n".join([*contents, *sections])


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def keys_of(file: File, views: Mapping[str, Columns]) -> Columns:
    """The kind, unit and meaning of each key of a file."""
    if isinstance(file.source, Schema):
        return of_schema(file.source)
    if file.source in views:
        found = {key: value for key, value in views[file.source].items() if key not in {"run", "run_id"}}
        return found | dict(of_lines(file.more, views))
    return dict(of_lines(file.source or "", views))


def of_schema(schema: Schema) -> Columns:
    return {
        name: (KINDS[column.dtype], "" if column.unit == "count" else column.unit, column.doc)
        for name, column in schema.columns.items()
    }


def of_view(columns: pl.DataFrame, view: str) -> Columns:
    return {
        name: (KINDS.get(kind, kind), unit or "", meaning)
        for name, kind, unit, meaning in columns.filter(view=view).select("name", "type", "unit", "meaning").rows()
    }


def of_lines(lines: str, views: Mapping[str, Columns]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    for line in lines.strip().splitlines():
        key, _, place = line.partition(" = ")
        if place and "|" not in key:
            known = of_schema(SCHEMAS[place]) if place in SCHEMAS else views[place]
            yield key, known[key.rsplit(".", 1)[-1]]
        else:
            key, kind, unit, meaning = (part.strip() for part in line.split("|", 3))
            yield key, (kind, unit, meaning)


def keys_in(value: Any, kinds: Mapping[str, str], key: str = "") -> Iterable[str]:
    """Yield the keys of a JSON value, as the page names them."""
    if isinstance(value, dict):
        for name, inner in value.items():
            inner_key = f"{key}.{name}" if key else name
            if f"{inner_key}[]" in kinds or (isinstance(inner, list) and any(isinstance(item, dict) for item in inner)):
                inner_key += "[]"
            yield inner_key
            if not kinds.get(inner_key, "").startswith("object by"):
                yield from keys_in(inner, kinds, inner_key)
    elif isinstance(value, list):
        for item in value:
            yield from keys_in(item, kinds, key)
