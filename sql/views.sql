-- Question: what do run directories hold, as typed tables for an analyst who has only duckdb?
-- Grain: one view per kind of row; the comment above each view states its grain.
-- Inputs: run directories. Before running this file, `set variable runs = ['outputs/phase19', 'archive/monday']`, or
--     `run` for a single one; the default is the current directory. A directory that is not a run is an error. A file
--     that a run does not have is an empty table.
-- Columns: those of the files, declared here, then run (the directory as given, without needless dots and slashes) and
--     run_id. Times [ms from the start of the wave], rates [fraction], throughput [tasks per second].
-- The views read the files at every query. The list of files is made once, when this file runs.

-- Each view declares the columns of its file in one place.
-- noqa: disable=AL03,AM04
set variable run_names = (
    with

    names as (
        select distinct path_join(given, '') as name,
        from unnest(coalesce(getvariable('runs'), [coalesce(getvariable('run'), '.')])) as runs (given)
    )

    select list(name order by length(path_join(name, '_')), name) as names,
    from names
);

-- A pattern that matches only this path, even if it contains characters such as * or [.
create or replace temp macro as_pattern(path) as regexp_replace(path, '([*?\[])', '[\1]', 'g');

-- The run that a file belongs to: the inner one if a run lies inside another.
create or replace temp macro run_of(file) as
list_filter(getvariable('run_names'), lambda run: starts_with(file, left(path_join(run, '_'), -1)))[-1];

-- The files of each name, as patterns.
set variable run_files = (
    with

    patterns as (
        select
            parse_filename(file) as name,
            list(as_pattern(file) order by file) as files,
        from
            glob(list_concat(
                list_transform(getvariable('run_names'), lambda run: path_join(as_pattern(run), '*.jsonl')),
                list_transform(getvariable('run_names'), lambda run: path_join(as_pattern(run), 'wave_*/*/*.jsonl'))
            ))
        group by name
    )

    select map_from_entries(list({'key': name, 'value': files})) as files_by_name,
    from patterns
);

-- The rows of all files of one name. read_json needs a file, so if there is none it gets the metrics file of each run,
-- whose rows the filter removes.
create or replace temp macro rows_of(name, structure) as table
    select
        * exclude (file),
        run_of(file) as run,
        getvariable('run_ids')[run_of(file)] as run_id,
    from
        read_json(
            coalesce(getvariable('run_files')[name], getvariable('run_files')['optimization_metrics.jsonl']),
            columns = structure,
            filename = 'file',
            format = 'newline_delimited'
        )
    where parse_filename(file) = name;

-- The JSON document of one name in each run.
create or replace temp macro documents_of(name, structure) as table
    select
        run_of(filename) as run,
        unnest(json_transform(content, cast(structure as json))),
    from read_text(list_transform(getvariable('run_names'), lambda run: path_join(as_pattern(run), name)));

-- One row per run.
create or replace temp view runs as
select
    run,
    run_id,
    timestamp,
    optimization_strategy as strategy,
    executor,
    simulated,
    seed,
    total_waves_optimized as total_waves,
    total_agents,
    total_tasks,
    unnest(overall_metrics),
    system_health_score,
from documents_of('optimization_summary.json', {
    'run_id': 'varchar',  -- id made of the inputs and options
    'timestamp': 'timestamp',  -- moment of the run, UTC
    'optimization_strategy': 'varchar',  -- strategy of the run
    'executor': 'varchar',  -- simulate, replay or live
    'simulated': 'boolean',  -- the outcomes are those of a dry run
    'seed': 'bigint',  -- seed of all random numbers
    'total_waves_optimized': 'bigint',  -- waves that were planned
    'total_agents': 'bigint',  -- agents of the run
    'total_tasks': 'bigint',  -- tasks of the run
    'overall_metrics': {
        'expected_success_rate': 'double',  -- planned success rate of the tasks that ran [fraction]
        'actual_success_rate': 'double',  -- completed tasks of those that ran [fraction]
        'prediction_accuracy': 'double',  -- 1 - |planned - actual| / planned success rate [fraction]
        'expected_throughput': 'double',  -- planned throughput [tasks/s]
        'actual_throughput': 'double',  -- tasks that ran / sum of latest known ends [tasks/s]
        'schedule_adherence': 'double'  -- 1 - mean shift of start and end / end of the timeline [fraction]
    },
    'system_health_score': 'double'  -- health score, 0 to 100
});

-- The run_id of each run, read once so that the views do not read the summaries.
set variable run_ids = (
    with

    found as (
        select
            coalesce(list(run), []) as names,
            map_from_entries(coalesce(list({'key': run, 'value': run_id}), [])) as ids,
        from runs
    )

    select
        if(
            len(names) = len(getvariable('run_names')),
            ids,
            error('no optimization_summary.json in ' || array_to_string(
                list_filter(getvariable('run_names'), lambda run: not list_contains(names, run)), ', '
            ))
        ) as ids_by_run,
    from found
);

-- One row per scheduled task of any status: its planned and actual times.
create or replace temp view tasks as
from rows_of('scheduled_tasks.jsonl', {
    'task_id': 'varchar',  -- task
    'agent_id': 'varchar',  -- agent it was planned for
    'wave': 'bigint',  -- wave, from 1
    'scheduled_start_time': 'double',  -- planned start [ms]
    'scheduled_end_time': 'double',  -- planned end [ms]
    'actual_start_time': 'double',  -- actual start; null if unknown [ms]
    'actual_end_time': 'double',  -- actual end; null if unknown [ms]
    'priority': 'bigint',  -- rank in its wave, 1 first
    'status': 'varchar',  -- completed, failed, unobserved or interrupted
    'confidence': 'double',  -- recorded confidence, before any boost [fraction]
    'retry_count': 'bigint',  -- attempts after the first
    'error_message': 'varchar',  -- what went wrong in the last attempt; null if nothing is known
    'risk_level': 'varchar',  -- LOW, MEDIUM, HIGH or UNKNOWN
    'category': 'varchar',  -- kind of task; null if none is recorded
    'heuristics_applied': 'varchar[]',  -- ids of the Phase 16 heuristics applied
    'actual_duration_ms': 'double',  -- busy time of all attempts; null if it did not run or is unknown [ms]
    'actual_confidence_delta': 'double',  -- change of confidence; null if it did not run [fraction]
    'confidence_after': 'double',  -- confidence after its attempts; null if it did not run [fraction]
    'is_duration_measured': 'boolean',  -- the time of every attempt is known
    'is_censored': 'boolean',  -- a limit stopped an attempt, which would have lasted longer
    'deadline_ms': 'double',  -- deadline from the start of the wave; null if it has none [ms]
    'is_planned_late': 'boolean',  -- the planned end is after the deadline
    'is_late': 'boolean'  -- the actual end is after the deadline; null if the end is unknown
});

-- One row per attempt of the run.
create or replace temp view attempts as
from rows_of('attempts.jsonl', {
    'task_id': 'varchar',  -- task
    'agent_id': 'varchar',  -- agent that attempted it
    'wave': 'bigint',  -- wave, from 1
    'attempt': 'bigint',  -- number of the attempt, from 1
    'status': 'varchar',  -- success or failed
    'started_at': 'timestamp',  -- start, UTC; null if not recorded
    'timestamp': 'timestamp',  -- end, UTC; null if not recorded
    'execution_time_ms': 'double',  -- duration; null if not recorded [ms]
    'confidence_delta': 'double',  -- change of confidence; null if not recorded [fraction]
    'is_censored': 'boolean',  -- a limit stopped it, so it would have lasted longer
    'cost': 'double',  -- cost, in any unit; null if not recorded
    'error_message': 'varchar',  -- what went wrong; null if nothing is known
    'simulated': 'boolean'  -- the outcome is that of a dry run
});

-- One row per scheduled task: the forecast that it was planned with.
create or replace temp view plans as
from rows_of('planned_tasks.jsonl', {
    'task_id': 'varchar',  -- task
    'agent_id': 'varchar',  -- agent it is assigned to
    'wave': 'bigint',  -- wave, from 1
    'success_probability': 'double',  -- probability that the first attempt succeeds
    'success_low': 'double',  -- 5 % quantile of that probability
    'success_high': 'double',  -- 95 % quantile of that probability
    'planned_success': 'double',  -- probability that one of its attempts succeeds
    'baseline_success': 'double',  -- the same, averaged over all agents: round robin
    'planned_attempts': 'double',  -- expected number of attempts
    'max_attempts': 'bigint',  -- attempts allowed in the wave
    'duration_ms_p50': 'double',  -- median duration of one attempt; null if no time is known [ms]
    'duration_ms_p90': 'double',  -- 90 % quantile of that duration; null like the median [ms]
    'planned_duration_ms': 'double',  -- expected busy time of all attempts [ms]
    'planned_confidence_delta': 'double',  -- expected change of confidence [fraction]
    'confidence_boost': 'double',  -- what a heuristic adds to the confidence [fraction]
    'updated_confidence': 'double',  -- confidence after boosts and the outcomes of earlier waves [fraction]
    'success_term': 'double',  -- success term of the score, scaled to 0 to 1
    'throughput_term': 'double',  -- throughput term of the score, scaled to 0 to 1
    'confidence_term': 'double',  -- confidence term of the score, scaled to 0 to 1
    'score': 'double',  -- score that the assignment maximised
    'agent_price': 'double',  -- score that one more slot at its agent would add to the wave
    'runner_up_agent_id': 'varchar',  -- next best agent; null if no other agent may do it
    'runner_up_score': 'double',  -- score with the next best agent
    'score_margin': 'double',  -- score that the wave would lose with the next best agent
    'record_count': 'bigint'  -- recorded attempts of this task by this agent
});

-- One row per task that ran: all columns of tasks and plans.
create or replace temp view executions as
select
    tasks.* exclude (run, run_id),
    tasks.status = 'completed' as is_completed,
    plans.* exclude (task_id, agent_id, wave),
from tasks
inner join plans on tasks.run = plans.run and tasks.task_id = plans.task_id
where tasks.status in ('completed', 'failed');

-- One row per wave: planned and actual figures.
create or replace temp view comparisons as
from rows_of('schedule_comparisons.jsonl', {
    'wave': 'bigint',  -- wave, from 1
    'planned_success_rate': 'double',  -- mean planned success [fraction]
    'actual_success_rate': 'double',  -- completed tasks of those that ran [fraction]
    'planned_throughput': 'double',  -- tasks / planned makespan; null if no time is known [tasks/s]
    'actual_throughput': 'double',  -- tasks that ran / latest known end; null if none is known [tasks/s]
    'planned_confidence_delta': 'double',  -- mean expected change of confidence [fraction]
    'actual_confidence_delta': 'double',  -- mean change of confidence [fraction]
    'accuracy_score': 'double',  -- 1 - |planned - actual| / planned success rate [fraction]
    'ran_count': 'bigint',  -- tasks that ran
    'success_rate_low': 'double',  -- 5 % quantile of the success rate under the plan [fraction]
    'success_rate_high': 'double',  -- 95 % quantile of the success rate under the plan [fraction]
    'throughput_low': 'double',  -- 5 % quantile of the throughput under the plan [tasks/s]
    'throughput_high': 'double',  -- 95 % quantile of the throughput under the plan [tasks/s]
    'throughput_efficiency': 'double',  -- actual / planned throughput [ratio]
    'schedule_adherence': 'double',  -- 1 - mean shift of start and end / end of the timeline [fraction]
    'agent_utilization': 'double',  -- busy time / (agents x makespan) [fraction]
    'brier_score': 'double',  -- mean squared error of planned success
    'log_loss': 'double'  -- mean -log of the probability forecast for each outcome
});

-- One row per metric.
create or replace temp view metrics as
from rows_of('optimization_metrics.jsonl', {
    'metric_name': 'varchar',  -- one of the five metrics
    'value': 'double',  -- its value; null without data
    'unit': 'varchar',  -- unit of the value and its bounds
    'target_value': 'double',  -- value to aim for
    'threshold_min': 'double',  -- least normal value
    'threshold_max': 'double',  -- largest normal value
    'status': 'varchar',  -- normal, warning, critical or insufficient_data
    'timestamp': 'timestamp',  -- moment of the run, UTC
    'chance_low': 'double',  -- 5 % quantile of the value under the plan
    'chance_high': 'double'  -- 95 % quantile of the value under the plan
});

-- One row per anomaly type: what its test found, and the smallest problem that it could detect.
create or replace temp view anomaly_tests as
from rows_of('anomaly_tests.jsonl', {
    'anomaly_type': 'varchar',  -- type of anomaly
    'status': 'varchar',  -- found, explained (by another anomaly), clear or not_testable
    'effect': 'double',  -- measured size [unit]
    'effect_low': 'double',  -- lower end of its 90 % interval [unit]
    'effect_high': 'double',  -- upper end of its 90 % interval [unit]
    'unit': 'varchar',  -- unit of the effects
    'statistic': 'double',  -- size beyond the margin [standard scores]
    'threshold': 'double',  -- the test fires above it [standard scores]
    'detectable_effect': 'double',  -- smallest size that this run detects, by default 90 % of the time [unit]
    'largest_effect': 'double',  -- largest possible size [unit]
    'reason': 'varchar'  -- the result as a sentence
});

-- Per baseline, one row per agent with timed attempts, and one for all agents (agent_id null). `record` compares the
-- second half of the run with its waves' forecasts, `start` the whole run with the forecasts made before it.
create or replace temp view drift_tests as
from rows_of('schedule_drift_tests.jsonl', {
    'baseline': 'varchar',  -- record (forecasts of the waves) or start (forecasts before the run)
    'agent_id': 'varchar',  -- agent; null for all agents together
    'first_wave': 'bigint',  -- first wave of the compared part
    'duration_count': 'bigint',  -- attempts with a recorded time
    'typical_ms': 'double',  -- geometric mean of their times [ms]
    'forecast_ms': 'double',  -- geometric mean of their forecasts [ms]
    'effect': 'double',  -- geometric mean of actual / forecast duration [ratio]
    'effect_low': 'double',  -- lower end of its 90 % interval [ratio]
    'effect_high': 'double',  -- upper end of its 90 % interval [ratio]
    'statistic': 'double',  -- log of the effect / its standard error [standard scores]
    'threshold': 'double',  -- the test fires above it [standard scores]
    'alarm_share': 'double',  -- its part of the false-alarm probability [fraction]
    'detectable_effect': 'double',  -- smallest slow-down that this run detects, by default 90 % of the time [ratio]
    'p_value': 'double',  -- probability of a statistic at least as large without drift
    'is_anomaly': 'boolean'  -- the test fired, and the effect exceeds the margin
});

-- One row per agent, baseline and window of last waves: the fall of its success rate compared with its peers.
create or replace temp view degradation_tests as
from rows_of('performance_degradation_tests.jsonl', {
    'agent_id': 'varchar',  -- agent
    'baseline': 'varchar',  -- record (its forecasts), start (those before the run) or run (its earlier waves)
    'first_wave': 'bigint',  -- first wave of the window
    'task_count': 'bigint',  -- its tasks in the window that ran
    'completed_count': 'bigint',  -- those that completed
    'planned_rate': 'double',  -- their planned success rate [fraction]
    'shortfall': 'double',  -- planned minus completed tasks, minus its share of the wave's [tasks]
    'effect': 'double',  -- fall of its success rate compared with its peers [fraction]
    'effect_low': 'double',  -- lower end of its 90 % interval [fraction]
    'effect_high': 'double',  -- upper end of its 90 % interval [fraction]
    'statistic': 'double',  -- fall beyond the margin [standard scores]
    'threshold': 'double',  -- the test fires above it [standard scores]
    'detectable_effect': 'double',  -- smallest fall that this run detects, by default 90 % of the time [fraction]
    'is_anomaly': 'boolean'  -- the test fired
});

-- One row per anomaly.
create or replace temp view anomalies as
from rows_of('scheduling_anomalies.jsonl', {
    'anomaly_id': 'varchar',  -- AN_001, AN_002, ...
    'anomaly_type': 'varchar',  -- type of anomaly
    'severity': 'varchar',  -- low, medium or high, by the effect
    'description': 'varchar',  -- what was found, as a sentence
    'affected_waves': 'bigint[]',  -- waves that show it
    'affected_agents': 'varchar[]',  -- agents that show it
    'recommendation': 'varchar',  -- what to do about it
    'timestamp': 'timestamp',  -- moment of the run, UTC
    'effect': 'double',  -- measured size [unit of its test]
    'statistic': 'double',  -- size beyond the margin [standard scores]
    'threshold': 'double',  -- the test fires above it [standard scores]
    'effect_low': 'double',  -- lower end of the effect's 90 % interval
    'effect_high': 'double',  -- upper end of the effect's 90 % interval
    'evidence': 'varchar[]'  -- counts and rates, as sentences
});

-- One row per learning signal.
create or replace temp view signals as
from rows_of('learning_signals.jsonl', {
    'signal_id': 'varchar',  -- P19_LS_001, P19_LS_002, ...
    'type': 'varchar',  -- type of signal, such as strategy_validation
    'confidence': 'double',  -- 1 - p-value; schedule_accuracy for strategy_validation [fraction]
    'description': 'varchar',  -- what was learned, as a sentence
    'recommendation': 'varchar',  -- what to do about it
    'feedback_id': 'varchar',  -- FB_001, FB_002, ...
    'feedback_type': 'varchar',  -- the same as type
    'supporting_evidence': 'varchar[]',  -- counts, rates and intervals, as sentences
    'timestamp': 'timestamp',  -- moment of the run, UTC
    'simulated': 'boolean'  -- the outcomes are those of a dry run
});

-- One row per heuristic: its weight and the reason.
create or replace temp view heuristic_updates as
from rows_of('heuristic_updates.jsonl', {
    'heuristic_id': 'varchar',  -- Phase 16 heuristic
    'previous_weight': 'double',  -- weight before the run
    'weight': 'double',  -- weight after the run
    'lift': 'double',  -- mean (outcome - forecast) with it minus that without it [fraction]
    'lift_low': 'double',  -- lower end of the lift's 90 % interval [fraction]
    'lift_high': 'double',  -- upper end of the lift's 90 % interval [fraction]
    'shrunk_lift': 'double',  -- lift, shrunk by its number of tasks [fraction]
    'applied_count': 'bigint',  -- tasks that ran with it
    'other_count': 'bigint',  -- tasks that ran without it
    'is_step_bounded': 'boolean',  -- the shrunk lift exceeds the largest step of a weight in a run
    'weight_bound': 'varchar',  -- minimum or maximum if the weight is held there; else null
    'reason': 'varchar',  -- why it has its weight, as sentences
    'simulated': 'boolean',  -- the outcomes are those of a dry run
    'timestamp': 'timestamp'  -- moment of the run, UTC
});

-- One row per wave: the error of its success forecast.
create or replace temp view convergence as
from rows_of('convergence.jsonl', {
    'wave': 'bigint',  -- wave, from 1
    'planned_success_rate': 'double',  -- mean planned success [fraction]
    'actual_success_rate': 'double',  -- completed tasks of those that ran [fraction]
    'success_rate_error': 'double',  -- |planned - actual| [fraction]
    'chance_error': 'double',  -- standard deviation of the error if the forecasts are right [fraction]
    'standardized_error': 'double',  -- success_rate_error / chance_error
    'accuracy_score': 'double',  -- 1 - |planned - actual| / planned success rate [fraction]
    'brier_score': 'double',  -- mean squared error of planned success
    'log_loss': 'double',  -- mean -log of the probability forecast for each outcome
    'ran_count': 'bigint',  -- tasks that ran
    'simulated': 'boolean',  -- the outcomes are those of a dry run
    'timestamp': 'timestamp'  -- moment of the run, UTC
});

-- One row per task: the decision of the safety gates.
create or replace temp view decisions as
from rows_of('safety_gate_decisions.jsonl', {
    'task_id': 'varchar',  -- task
    'wave': 'bigint',  -- wave, from 1
    'risk_level': 'varchar',  -- LOW, MEDIUM, HIGH or UNKNOWN
    'confidence': 'double',  -- recorded confidence, before any boost [fraction]
    'decision': 'varchar',  -- approved or deferred, by this run
    'live_decision': 'varchar',  -- approved or deferred, as a live run would decide
    'reason': 'varchar'  -- the rule that decided
});

-- One row per task without an agent: why it was left out.
create or replace temp view unassigned as
from rows_of('unassigned_tasks.jsonl', {
    'task_id': 'varchar',  -- task
    'wave': 'bigint',  -- wave, from 1
    'reason': 'varchar'  -- why no agent got it
});

-- One row per run: its health score and its components.
create or replace temp view health as
select
    * exclude (run, component_scores),
    unnest(component_scores),
    run,
    getvariable('run_ids')[run] as run_id,
from documents_of('system_health.json', {
    'overall_health_score': 'double',  -- mean of the component scores, 0 to 100
    'health_status': 'varchar',  -- EXCELLENT, GOOD, FAIR or POOR
    'component_scores': {
        'optimization_accuracy': 'double',  -- 100 x schedule_accuracy
        'schedule_adherence': 'double',  -- 100 x schedule_adherence
        'throughput_efficiency': 'double',  -- 100 x throughput_efficiency, at most 100
        'system_stability': 'double'  -- 100 minus, by default, 5, 15 or 30 for each low, medium or high anomaly
    },
    'detected_anomalies': 'bigint',  -- number of anomalies
    'timestamp': 'timestamp'  -- moment of the run, UTC
});

-- One row per view, in the order of this file: its columns with their types.
create or replace temp view view_columns as
select
    table_name as view,
    string_agg(column_name || ' ' || lower(data_type), ', ' order by column_index) as columns,
from duckdb_columns()
where database_name = 'temp' and table_name != 'view_columns'
group by table_oid, table_name
order by table_oid;
