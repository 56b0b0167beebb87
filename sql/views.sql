-- Question: what do run directories hold, as typed tables for an analyst who has only duckdb?
-- Grain: one view per kind of row; `from views` lists them, and the comment on each view states its grain.
-- Inputs: run directories, with or without `--format parquet`. Before running this file, `set variable runs =
--     ['outputs/phase19', 'archive/monday']`, or `run` for a single one; the default is the current directory. A
--     directory that is not a run is an error. A file that a run does not have is an empty table.
-- Columns: those of the files, declared here, then run (the directory as given, without needless dots and slashes) and
--     run_id. `from view_columns` lists the type, unit and meaning of each column, from the comments on columns.
--     They are declared here, but those of tasks, attempts, plans, decisions and unassigned in phase19/frames.py.
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
                list_transform(getvariable('run_names'), lambda run: path_join(as_pattern(run), 'wave_*/*/*.jsonl')),
                list_transform(getvariable('run_names'), lambda run: path_join(as_pattern(run), '*.parquet')),
                list_transform(getvariable('run_names'), lambda run: path_join(as_pattern(run), 'wave_*/*.parquet'))
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

-- The text of a query for the rows of all Parquet files of one name; it has no rows if there is no file. It is text
-- because read_parquet needs a file, and casts each column to its type in the structure, as read_json does.
create or replace temp macro parquet_query(name, structure) as if(
    getvariable('run_files')[name] is null,
    'select null::varchar as run where false',
    format(
        'select {}, run_of(file) as run, getvariable(''run_ids'')[run_of(file)] as run_id, '
        || 'from read_parquet(getvariable(''run_files'')[''{}''], filename = ''file'')',
        array_to_string(
            list_transform(
                json_keys(to_json(structure)),
                lambda key: format('cast({0} as {1}) as {0}', key, to_json(structure) ->> key)
            ), ', '
        ),
        name
    )
);

-- The rows of tasks or attempts: of the JSONL files of one stem, and of the Parquet files of `--format parquet`.
create or replace temp macro task_rows_of(stem, structure) as table
    from rows_of(stem || '.jsonl', structure)
    union all by name
    from query(parquet_query(stem || '.parquet', structure));

-- The JSON document of one name in each run.
create or replace temp macro documents_of(name, structure) as table
    select
        run_of(filename) as run,
        unnest(json_transform(content, cast(structure as json))),
    from read_text(list_transform(getvariable('run_names'), lambda run: path_join(as_pattern(run), name)));

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
    'run_id': 'varchar',
    'timestamp': 'timestamp',
    'optimization_strategy': 'varchar',
    'executor': 'varchar',
    'simulated': 'boolean',
    'seed': 'bigint',
    'total_waves_optimized': 'bigint',
    'total_agents': 'bigint',
    'total_tasks': 'bigint',
    'overall_metrics': {
        'expected_success_rate': 'double',
        'actual_success_rate': 'double',
        'prediction_accuracy': 'double',
        'expected_throughput': 'double',
        'actual_throughput': 'double',
        'schedule_adherence': 'double'
    },
    'system_health_score': 'double'
});
comment on view runs is 'one row per run: its strategy, size, success, throughput and health';
comment on column runs.run is 'run directory as given, without needless dots and slashes';
comment on column runs.run_id is 'id made of the inputs and options';
comment on column runs.timestamp is 'moment of the run, UTC';
comment on column runs.strategy is 'strategy of the run';
comment on column runs.executor is 'simulate, replay or live';
comment on column runs.simulated is 'the outcomes are those of a dry run';
comment on column runs.seed is 'seed of all random numbers';
comment on column runs.total_waves is 'waves that were planned';
comment on column runs.total_agents is 'agents of the run';
comment on column runs.total_tasks is 'tasks of the run';
comment on column runs.expected_success_rate is 'planned success rate of the tasks that ran [fraction]';
comment on column runs.actual_success_rate is 'completed tasks of those that ran [fraction]';
comment on column runs.prediction_accuracy is '1 - |planned - actual| / planned success rate [fraction]';
comment on column runs.expected_throughput is 'planned throughput [tasks/s]';
comment on column runs.actual_throughput is 'tasks that ran / sum of latest known ends [tasks/s]';
comment on column runs.schedule_adherence is '1 - mean shift of start and end / end of the timeline [fraction]';
comment on column runs.system_health_score is 'health score, 0 to 100';

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

create or replace temp view tasks as
from task_rows_of('scheduled_tasks', {
    'task_id': 'varchar',
    'agent_id': 'varchar',
    'wave': 'bigint',
    'scheduled_start_time': 'double',
    'scheduled_end_time': 'double',
    'actual_start_time': 'double',
    'actual_end_time': 'double',
    'priority': 'bigint',
    'status': 'varchar',
    'confidence': 'double',
    'retry_count': 'bigint',
    'error_message': 'varchar',
    'risk_level': 'varchar',
    'category': 'varchar',
    'heuristics_applied': 'varchar[]',
    'actual_duration_ms': 'double',
    'actual_confidence_delta': 'double',
    'confidence_after': 'double',
    'is_duration_measured': 'boolean',
    'is_censored': 'boolean',
    'deadline_ms': 'double',
    'is_planned_late': 'boolean',
    'is_late': 'boolean'
});
comment on view tasks is 'one row per scheduled task: its planned and actual times, and how it ended';
comment on column tasks.task_id is 'task';
comment on column tasks.agent_id is 'agent it is assigned to';
comment on column tasks.wave is 'wave, from 1';
comment on column tasks.scheduled_start_time is 'planned start, from the start of the wave [ms]';
comment on column tasks.scheduled_end_time is 'planned end, from the start of the wave [ms]';
comment on column tasks.actual_start_time is 'actual start, from the start of the wave; null if unknown [ms]';
comment on column tasks.actual_end_time is 'actual end, from the start of the wave; null if unknown [ms]';
comment on column tasks.priority is 'rank in its wave, 1 first';
comment on column tasks.status is
'how the task ended: completed, failed, unobserved (no recorded outcome) or interrupted';
comment on column tasks.confidence is 'recorded confidence, before any boost [fraction]';
comment on column tasks.retry_count is 'attempts after the first';
comment on column tasks.error_message is 'what went wrong in the last attempt; null if nothing is known';
comment on column tasks.risk_level is 'LOW, MEDIUM, HIGH or UNKNOWN';
comment on column tasks.category is 'kind of task; null if none is recorded';
comment on column tasks.heuristics_applied is 'ids of the Phase 16 heuristics applied';
comment on column tasks.actual_duration_ms is 'total time of its attempts; null if it did not run or is unknown [ms]';
comment on column tasks.actual_confidence_delta is 'change of confidence; null if it did not run [fraction]';
comment on column tasks.confidence_after is 'confidence after its attempts; null if it did not run [fraction]';
comment on column tasks.is_duration_measured is 'the time of every attempt is known';
comment on column tasks.is_censored is 'an attempt timed out, so the duration is a lower bound';
comment on column tasks.deadline_ms is 'deadline from the start of the wave; null if it has none [ms]';
comment on column tasks.is_planned_late is 'the planned end is after the deadline; false without a deadline';
comment on column tasks.is_late is
'the actual end is after the deadline; false without a deadline, null if the end is unknown';

create or replace temp view attempts as
from task_rows_of('attempts', {
    'task_id': 'varchar',
    'agent_id': 'varchar',
    'wave': 'bigint',
    'attempt': 'bigint',
    'status': 'varchar',
    'started_at': 'timestamp',
    'timestamp': 'timestamp',
    'execution_time_ms': 'double',
    'confidence_delta': 'double',
    'is_censored': 'boolean',
    'cost': 'double',
    'error_message': 'varchar',
    'simulated': 'boolean'
});
comment on view attempts is 'one row per attempt: who made it, when, and how it ended';
comment on column attempts.task_id is 'task attempted';
comment on column attempts.agent_id is 'agent that attempted it; null if not recorded';
comment on column attempts.wave is 'wave of the attempt';
comment on column attempts.attempt is 'number of the attempt, from 1';
comment on column attempts.status is 'how it ended: success or failed';
comment on column attempts.started_at is 'start of the attempt, UTC; null if not recorded';
comment on column attempts.timestamp is 'end of the attempt, UTC; null if not recorded';
comment on column attempts.execution_time_ms is 'execution time; null if not recorded [ms]';
comment on column attempts.confidence_delta is 'change of confidence [fraction]';
comment on column attempts.is_censored is 'an attempt timed out, so the duration is a lower bound';
comment on column attempts.cost is 'cost of the attempt, in any unit; null if not recorded';
comment on column attempts.error_message is 'what went wrong; null if nothing is known';
comment on column attempts.simulated is 'the outcome is that of a dry run';

create or replace temp view plans as
from task_rows_of('planned_tasks', {
    'task_id': 'varchar',
    'agent_id': 'varchar',
    'wave': 'bigint',
    'success_probability': 'double',
    'success_low': 'double',
    'success_high': 'double',
    'planned_success': 'double',
    'baseline_success': 'double',
    'planned_attempts': 'double',
    'max_attempts': 'bigint',
    'duration_ms_p50': 'double',
    'duration_ms_p90': 'double',
    'planned_duration_ms': 'double',
    'planned_confidence_delta': 'double',
    'confidence_boost': 'double',
    'updated_confidence': 'double',
    'success_term': 'double',
    'throughput_term': 'double',
    'confidence_term': 'double',
    'wave_strategy': 'varchar',
    'score': 'double',
    'agent_price': 'double',
    'runner_up_agent_id': 'varchar',
    'runner_up_score': 'double',
    'score_margin': 'double',
    'best_agent_id': 'varchar',
    'is_best_agent_full': 'boolean',
    'best_score': 'double',
    'best_margin': 'double',
    'record_count': 'bigint',
    'main_features': 'varchar[]',
    'success_without_features': 'double'
});
comment on view plans is 'one row per scheduled task: the forecast that it was planned with, and the next best agent';
comment on column plans.task_id is 'task';
comment on column plans.agent_id is 'agent it is assigned to';
comment on column plans.wave is 'wave, from 1';
comment on column plans.success_probability is 'probability that the first attempt succeeds [fraction]';
comment on column plans.success_low is '5 % quantile of the first attempt''s success probability [fraction]';
comment on column plans.success_high is '95 % quantile of the first attempt''s success probability [fraction]';
comment on column plans.planned_success is 'probability that the task succeeds within its attempts [fraction]';
comment on column plans.baseline_success is
'planned success averaged over all agents: the expectation of round robin [fraction]';
comment on column plans.planned_attempts is 'expected number of attempts [attempts]';
comment on column plans.max_attempts is 'attempts allowed in the wave';
comment on column plans.duration_ms_p50 is 'median duration of one attempt; null if no time is known [ms]';
comment on column plans.duration_ms_p90 is '90 % quantile of the duration of one attempt; null like the median [ms]';
comment on column plans.planned_duration_ms is 'expected total time of its attempts; 1,000 ms if no time is known [ms]';
comment on column plans.planned_confidence_delta is 'expected change of confidence [fraction]';
comment on column plans.confidence_boost is 'what a heuristic adds to the confidence [fraction]';
comment on column plans.updated_confidence is 'confidence after boosts and the outcomes of earlier waves [fraction]';
comment on column plans.success_term is 'success term of the score, from 0 to 1';
comment on column plans.throughput_term is 'throughput term of the score, from 0 to 1';
comment on column plans.confidence_term is 'confidence term of the score, from 0 to 1';
comment on column plans.wave_strategy is 'strategy that its wave is planned with';
comment on column plans.score is 'score of the task with its agent; the plan maximises the sum of a wave''s scores';
comment on column plans.agent_price is 'gain in that sum if its agent could take one more task';
comment on column plans.runner_up_agent_id is 'other agent that would lower that sum least; null if there is none';
comment on column plans.runner_up_score is 'the runner-up''s score';
comment on column plans.score_margin is 'loss of that sum if the runner-up did it';
comment on column plans.best_agent_id is 'agent with the highest score of those that may do it, full or not';
comment on column plans.is_best_agent_full is 'that agent has as many tasks in the wave as it may take';
comment on column plans.best_score is 'that agent''s score';
comment on column plans.best_margin is 'loss of the sum if that agent did it; null if another task would have no agent';
comment on column plans.record_count is 'recorded attempts of this task by this agent';
comment on column plans.main_features is
'up to three features of the task that change success_probability most, the largest change first';
comment on column plans.success_without_features is
'success_probability if all features of the task were average; null if features do not count [fraction]';

create or replace temp view executions as
select
    tasks.* exclude (run, run_id),
    tasks.status = 'completed' as is_completed,
    plans.* exclude (task_id, agent_id, wave),
from tasks
inner join plans on tasks.run = plans.run and tasks.task_id = plans.task_id
where tasks.status in ('completed', 'failed');
comment on view executions is 'one row per task that ran: all columns of tasks and plans';
comment on column executions.is_completed is 'the task completed';

create or replace temp view comparisons as
from rows_of('schedule_comparisons.jsonl', {
    'wave': 'bigint',
    'planned_success_rate': 'double',
    'actual_success_rate': 'double',
    'planned_throughput': 'double',
    'actual_throughput': 'double',
    'planned_confidence_delta': 'double',
    'actual_confidence_delta': 'double',
    'accuracy_score': 'double',
    'ran_count': 'bigint',
    'success_rate_low': 'double',
    'success_rate_high': 'double',
    'throughput_low': 'double',
    'throughput_high': 'double',
    'throughput_efficiency': 'double',
    'schedule_adherence': 'double',
    'agent_utilization': 'double',
    'brier_score': 'double',
    'log_loss': 'double'
});
comment on view comparisons is 'one row per wave: planned and actual figures';
comment on column comparisons.wave is 'wave, from 1';
comment on column comparisons.planned_success_rate is 'mean planned success [fraction]';
comment on column comparisons.actual_success_rate is 'completed tasks of those that ran [fraction]';
comment on column comparisons.planned_throughput is 'tasks / planned makespan; null if no time is known [tasks/s]';
comment on column comparisons.actual_throughput is 'tasks that ran / latest known end; null if none is known [tasks/s]';
comment on column comparisons.planned_confidence_delta is 'mean expected change of confidence [fraction]';
comment on column comparisons.actual_confidence_delta is 'mean change of confidence [fraction]';
comment on column comparisons.accuracy_score is '1 - |planned - actual| / planned success rate [fraction]';
comment on column comparisons.ran_count is 'tasks that ran';
comment on column comparisons.success_rate_low is '5 % quantile of the success rate under the plan [fraction]';
comment on column comparisons.success_rate_high is '95 % quantile of the success rate under the plan [fraction]';
comment on column comparisons.throughput_low is '5 % quantile of the throughput under the plan [tasks/s]';
comment on column comparisons.throughput_high is '95 % quantile of the throughput under the plan [tasks/s]';
comment on column comparisons.throughput_efficiency is 'actual / planned throughput [ratio]';
comment on column comparisons.schedule_adherence is '1 - mean shift of start and end / end of the timeline [fraction]';
comment on column comparisons.agent_utilization is 'busy time / (agents x makespan) [fraction]';
comment on column comparisons.brier_score is 'mean squared error of planned success';
comment on column comparisons.log_loss is 'mean -log of the probability forecast for each outcome';

create or replace temp view metrics as
from rows_of('optimization_metrics.jsonl', {
    'metric_name': 'varchar',
    'value': 'double',
    'unit': 'varchar',
    'target_value': 'double',
    'threshold_min': 'double',
    'threshold_max': 'double',
    'status': 'varchar',
    'timestamp': 'timestamp',
    'chance_low': 'double',
    'chance_high': 'double'
});
comment on view metrics is 'one row per metric of the run: its value, its bounds and its status';
comment on column metrics.metric_name is 'one of the five metrics';
comment on column metrics.value is 'its value; null without data';
comment on column metrics.unit is 'unit of the value and its bounds';
comment on column metrics.target_value is 'value to aim for';
comment on column metrics.threshold_min is 'least normal value';
comment on column metrics.threshold_max is 'largest normal value';
comment on column metrics.status is 'normal, warning, critical or insufficient_data';
comment on column metrics.timestamp is 'moment of the run, UTC';
comment on column metrics.chance_low is '5 % quantile of the value under the plan';
comment on column metrics.chance_high is '95 % quantile of the value under the plan';

create or replace temp view anomaly_tests as
from rows_of('anomaly_tests.jsonl', {
    'anomaly_type': 'varchar',
    'status': 'varchar',
    'effect': 'double',
    'effect_low': 'double',
    'effect_high': 'double',
    'unit': 'varchar',
    'statistic': 'double',
    'threshold': 'double',
    'detectable_effect': 'double',
    'largest_effect': 'double',
    'missing_task_count': 'bigint',
    'reason': 'varchar'
});
comment on view anomaly_tests is
'one row per anomaly type: what its test found, and the smallest problem that it could detect';
comment on column anomaly_tests.anomaly_type is 'type of anomaly';
comment on column anomaly_tests.status is 'found, explained (by another anomaly), clear or not_testable';
comment on column anomaly_tests.effect is 'measured size [unit]';
comment on column anomaly_tests.effect_low is 'lower end of its 90 % interval [unit]';
comment on column anomaly_tests.effect_high is 'upper end of its 90 % interval [unit]';
comment on column anomaly_tests.unit is 'unit of the effects';
comment on column anomaly_tests.statistic is 'size beyond the margin [standard scores]';
comment on column anomaly_tests.threshold is 'the test fires above it [standard scores]';
comment on column anomaly_tests.detectable_effect is
'smallest size that this run detects, by default 90 % of the time [unit]';
comment on column anomaly_tests.largest_effect is 'largest possible size [unit]';
comment on column anomaly_tests.missing_task_count is
'estimated number of further tasks with which a test that is not_testable would be testable [tasks]';
comment on column anomaly_tests.reason is 'the result as a sentence';

create or replace temp view drift_tests as
from rows_of('schedule_drift_tests.jsonl', {
    'baseline': 'varchar',
    'agent_id': 'varchar',
    'first_wave': 'bigint',
    'duration_count': 'bigint',
    'typical_ms': 'double',
    'forecast_ms': 'double',
    'effect': 'double',
    'effect_low': 'double',
    'effect_high': 'double',
    'statistic': 'double',
    'threshold': 'double',
    'alarm_share': 'double',
    'detectable_effect': 'double',
    'p_value': 'double',
    'is_anomaly': 'boolean'
});
comment on view drift_tests is
'one row per baseline and agent, and one for all agents: whether attempts take longer than forecast';
comment on column drift_tests.baseline is
'record: second half of the run against its waves'' forecasts; start: the whole run against those before it';
comment on column drift_tests.agent_id is 'agent; null for all agents together';
comment on column drift_tests.first_wave is 'first wave of the compared part';
comment on column drift_tests.duration_count is 'attempts with a recorded time';
comment on column drift_tests.typical_ms is 'geometric mean of their times [ms]';
comment on column drift_tests.forecast_ms is 'geometric mean of their forecasts [ms]';
comment on column drift_tests.effect is 'geometric mean of actual / forecast duration [ratio]';
comment on column drift_tests.effect_low is 'lower end of its 90 % interval [ratio]';
comment on column drift_tests.effect_high is 'upper end of its 90 % interval [ratio]';
comment on column drift_tests.statistic is 'log of the effect / its standard error [standard scores]';
comment on column drift_tests.threshold is 'the test fires above it [standard scores]';
comment on column drift_tests.alarm_share is 'its part of the false-alarm probability [fraction]';
comment on column drift_tests.detectable_effect is
'smallest slow-down that this run detects, by default 90 % of the time [ratio]';
comment on column drift_tests.p_value is 'probability of a statistic at least as large without drift';
comment on column drift_tests.is_anomaly is 'the test fired, and the effect exceeds the margin';

create or replace temp view degradation_tests as
from rows_of('performance_degradation_tests.jsonl', {
    'agent_id': 'varchar',
    'baseline': 'varchar',
    'first_wave': 'bigint',
    'task_count': 'bigint',
    'completed_count': 'bigint',
    'planned_rate': 'double',
    'shortfall': 'double',
    'effect': 'double',
    'effect_low': 'double',
    'effect_high': 'double',
    'statistic': 'double',
    'threshold': 'double',
    'detectable_effect': 'double',
    'is_anomaly': 'boolean'
});
comment on view degradation_tests is
'one row per agent, baseline and window of last waves: how far its success rate fell';
comment on column degradation_tests.agent_id is 'agent';
comment on column degradation_tests.baseline is
'record (its forecasts), start (those before the run) or run (its earlier waves)';
comment on column degradation_tests.first_wave is 'first wave of the window';
comment on column degradation_tests.task_count is 'its tasks in the window that ran';
comment on column degradation_tests.completed_count is 'those that completed';
comment on column degradation_tests.planned_rate is 'their planned success rate [fraction]';
comment on column degradation_tests.shortfall is
'planned minus completed tasks, minus its share of the wave''s [tasks]';
comment on column degradation_tests.effect is 'fall of its success rate compared with its peers [fraction]';
comment on column degradation_tests.effect_low is 'lower end of its 90 % interval [fraction]';
comment on column degradation_tests.effect_high is 'upper end of its 90 % interval [fraction]';
comment on column degradation_tests.statistic is 'fall beyond the margin [standard scores]';
comment on column degradation_tests.threshold is 'the test fires above it [standard scores]';
comment on column degradation_tests.detectable_effect is
'smallest fall that this run detects, by default 90 % of the time [fraction]';
comment on column degradation_tests.is_anomaly is 'the test fired';

create or replace temp view anomalies as
from rows_of('scheduling_anomalies.jsonl', {
    'anomaly_id': 'varchar',
    'anomaly_type': 'varchar',
    'severity': 'varchar',
    'description': 'varchar',
    'affected_waves': 'bigint[]',
    'affected_agents': 'varchar[]',
    'recommendation': 'varchar',
    'timestamp': 'timestamp',
    'effect': 'double',
    'statistic': 'double',
    'threshold': 'double',
    'effect_low': 'double',
    'effect_high': 'double',
    'evidence': 'varchar[]'
});
comment on view anomalies is 'one row per problem found: its size, evidence and recommendation';
comment on column anomalies.anomaly_id is 'AN_001, AN_002, ...';
comment on column anomalies.anomaly_type is 'type of anomaly';
comment on column anomalies.severity is 'low, medium or high, by the effect';
comment on column anomalies.description is 'what was found, as a sentence';
comment on column anomalies.affected_waves is 'waves that show it';
comment on column anomalies.affected_agents is 'agents that show it';
comment on column anomalies.recommendation is 'what to do about it';
comment on column anomalies.timestamp is 'moment of the run, UTC';
comment on column anomalies.effect is 'measured size [unit of its test]';
comment on column anomalies.statistic is 'size beyond the margin [standard scores]';
comment on column anomalies.threshold is 'the test fires above it [standard scores]';
comment on column anomalies.effect_low is 'lower end of the effect''s 90 % interval';
comment on column anomalies.effect_high is 'upper end of the effect''s 90 % interval';
comment on column anomalies.evidence is 'counts and rates, as sentences';

create or replace temp view signals as
from rows_of('learning_signals.jsonl', {
    'signal_id': 'varchar',
    'type': 'varchar',
    'confidence': 'double',
    'description': 'varchar',
    'recommendation': 'varchar',
    'feedback_id': 'varchar',
    'feedback_type': 'varchar',
    'supporting_evidence': 'varchar[]',
    'timestamp': 'timestamp',
    'simulated': 'boolean'
});
comment on view signals is 'one row per learning signal for Phases 16 and 18';
comment on column signals.signal_id is 'P19_LS_001, P19_LS_002, ...';
comment on column signals.type is 'type of signal, such as strategy_validation';
comment on column signals.confidence is '1 - p-value; schedule_accuracy for strategy_validation [fraction]';
comment on column signals.description is 'what was learned, as a sentence';
comment on column signals.recommendation is 'what to do about it';
comment on column signals.feedback_id is 'FB_001, FB_002, ...';
comment on column signals.feedback_type is 'the same as type';
comment on column signals.supporting_evidence is 'counts, rates and intervals, as sentences';
comment on column signals.timestamp is 'moment of the run, UTC';
comment on column signals.simulated is 'the outcomes are those of a dry run';

create or replace temp view heuristic_updates as
from rows_of('heuristic_updates.jsonl', {
    'heuristic_id': 'varchar',
    'previous_weight': 'double',
    'weight': 'double',
    'lift': 'double',
    'lift_low': 'double',
    'lift_high': 'double',
    'shrunk_lift': 'double',
    'applied_count': 'bigint',
    'other_count': 'bigint',
    'is_step_bounded': 'boolean',
    'weight_bound': 'varchar',
    'reason': 'varchar',
    'simulated': 'boolean',
    'timestamp': 'timestamp'
});
comment on view heuristic_updates is 'one row per heuristic: its new weight and the reason';
comment on column heuristic_updates.heuristic_id is 'Phase 16 heuristic';
comment on column heuristic_updates.previous_weight is 'weight before the run';
comment on column heuristic_updates.weight is 'weight after the run';
comment on column heuristic_updates.lift is 'mean (outcome - forecast) with it minus that without it [fraction]';
comment on column heuristic_updates.lift_low is 'lower end of the lift''s 90 % interval [fraction]';
comment on column heuristic_updates.lift_high is 'upper end of the lift''s 90 % interval [fraction]';
comment on column heuristic_updates.shrunk_lift is 'lift, shrunk by its number of tasks [fraction]';
comment on column heuristic_updates.applied_count is 'tasks that ran with it';
comment on column heuristic_updates.other_count is 'tasks that ran without it';
comment on column heuristic_updates.is_step_bounded is 'the shrunk lift exceeds the largest step of a weight in a run';
comment on column heuristic_updates.weight_bound is 'minimum or maximum if the weight is held there; else null';
comment on column heuristic_updates.reason is 'why it has its weight, as sentences';
comment on column heuristic_updates.simulated is 'the outcomes are those of a dry run';
comment on column heuristic_updates.timestamp is 'moment of the run, UTC';

create or replace temp view convergence as
from rows_of('convergence.jsonl', {
    'wave': 'bigint',
    'planned_success_rate': 'double',
    'actual_success_rate': 'double',
    'success_rate_error': 'double',
    'chance_error': 'double',
    'standardized_error': 'double',
    'accuracy_score': 'double',
    'brier_score': 'double',
    'log_loss': 'double',
    'ran_count': 'bigint',
    'simulated': 'boolean',
    'timestamp': 'timestamp'
});
comment on view convergence is 'one row per wave: the error of its success forecast';
comment on column convergence.wave is 'wave, from 1';
comment on column convergence.planned_success_rate is 'mean planned success [fraction]';
comment on column convergence.actual_success_rate is 'completed tasks of those that ran [fraction]';
comment on column convergence.success_rate_error is '|planned - actual| [fraction]';
comment on column convergence.chance_error is 'standard deviation of the error if the forecasts are right [fraction]';
comment on column convergence.standardized_error is 'success_rate_error / chance_error';
comment on column convergence.accuracy_score is '1 - |planned - actual| / planned success rate [fraction]';
comment on column convergence.brier_score is 'mean squared error of planned success';
comment on column convergence.log_loss is 'mean -log of the probability forecast for each outcome';
comment on column convergence.ran_count is 'tasks that ran';
comment on column convergence.simulated is 'the outcomes are those of a dry run';
comment on column convergence.timestamp is 'moment of the run, UTC';

create or replace temp view decisions as
from task_rows_of('safety_gate_decisions', {
    'task_id': 'varchar',
    'wave': 'bigint',
    'risk_level': 'varchar',
    'confidence': 'double',
    'decision': 'varchar',
    'live_decision': 'varchar',
    'reason': 'varchar'
});
comment on view decisions is 'one row per task: the decision of the safety gates';
comment on column decisions.task_id is 'task';
comment on column decisions.wave is 'wave, from 1';
comment on column decisions.risk_level is 'LOW, MEDIUM, HIGH or UNKNOWN';
comment on column decisions.confidence is 'recorded confidence, before any boost [fraction]';
comment on column decisions.decision is 'what this run did: approved or deferred';
comment on column decisions.live_decision is 'what a live run would do: approved or deferred';
comment on column decisions.reason is 'the rule that decided';

create or replace temp view unassigned as
from rows_of('unassigned_tasks.jsonl', {
    'task_id': 'varchar',
    'wave': 'bigint',
    'reason': 'varchar'
});
comment on view unassigned is 'one row per task without an agent: why it was left out';
comment on column unassigned.task_id is 'task that no agent got';
comment on column unassigned.wave is 'wave, from 1';
comment on column unassigned.reason is 'why it was left out';

create or replace temp view health as
select
    * exclude (run, component_scores),
    unnest(component_scores),
    run,
    getvariable('run_ids')[run] as run_id,
from documents_of('system_health.json', {
    'overall_health_score': 'double',
    'health_status': 'varchar',
    'component_scores': {
        'optimization_accuracy': 'double',
        'schedule_adherence': 'double',
        'throughput_efficiency': 'double',
        'system_stability': 'double'
    },
    'detected_anomalies': 'bigint',
    'timestamp': 'timestamp'
});
comment on view health is 'one row per run: its health score and what it is made of';
comment on column health.overall_health_score is 'mean of the component scores, 0 to 100';
comment on column health.health_status is 'EXCELLENT, GOOD, FAIR or POOR';
comment on column health.optimization_accuracy is '100 x schedule_accuracy';
comment on column health.schedule_adherence is '100 x schedule_adherence';
comment on column health.throughput_efficiency is '100 x throughput_efficiency, at most 100';
comment on column health.system_stability is '100 minus, by default, 5, 15 or 30 for each low, medium or high anomaly';
comment on column health.detected_anomalies is 'number of anomalies';
comment on column health.timestamp is 'moment of the run, UTC';

create or replace temp view explanations as
with

loads as (
    select
        run,
        wave,
        agent_id,
        count(*) as task_count,
    from plans
    group by run, wave, agent_id
),

planned_waves as (
    select
        run,
        wave,
        cast(sum(task_count) as bigint) as wave_task_count,
    from loads
    group by run, wave
)

select
    decisions.* exclude (run, run_id),
    tasks.* exclude (task_id, wave, run, run_id, risk_level, confidence),
    plans.* exclude (task_id, agent_id, wave, run, run_id),
    unassigned.reason as unassigned_reason,
    planned_waves.wave_task_count,
    loads.task_count as best_agent_task_count,
    runs.simulated,
    runs.run,
    runs.run_id,
from decisions
inner join runs on decisions.run = runs.run
left join tasks on decisions.run = tasks.run and decisions.task_id = tasks.task_id
left join plans on decisions.run = plans.run and decisions.task_id = plans.task_id
left join unassigned on decisions.run = unassigned.run and decisions.task_id = unassigned.task_id
left join planned_waves on decisions.run = planned_waves.run and decisions.wave = planned_waves.wave
left join loads
    on
        decisions.run = loads.run and decisions.wave = loads.wave
        and plans.best_agent_id = loads.agent_id;
comment on view explanations is 'one row per task: its decision, plan and outcome, and what they are compared with';
comment on column explanations.reason is 'the rule that decided';
comment on column explanations.decision is 'what this run did: approved or deferred';
comment on column explanations.live_decision is 'what a live run would do: approved or deferred';
comment on column explanations.unassigned_reason is 'why no agent got it; null if one did';
comment on column explanations.wave_task_count is 'planned tasks of its wave';
comment on column explanations.best_agent_task_count is 'planned tasks of its best agent in its wave';

-- One row per view, in the order of this file: what its rows are.
create or replace temp view views as
select
    view_name as view,
    comment as content,
from duckdb_views()
where database_name = 'temp' and comment is not null
order by view_oid;

-- One row per column of a view, in the order of this file: its type, unit and meaning. Columns without a comment of
-- their own have that of the same name in runs, tasks or plans.
create or replace temp view view_columns as
with

shared as (
    select
        column_name,
        arg_min(comment, table_oid) as comment,
    from duckdb_columns()
    where database_name = 'temp' and table_name in ('runs', 'tasks', 'plans')
    group by column_name
),

described as (
    select
        columns.*,
        coalesce(columns.comment, shared.comment) as text,
    from duckdb_columns() as columns
    left join shared on columns.column_name = shared.column_name
    where columns.database_name = 'temp'
)

select
    described.table_name as view,
    described.column_name as name,
    lower(described.data_type) as type,
    nullif(regexp_extract(described.text, ' \[([^\]]+)\]$', 1), '') as unit,
    regexp_replace(described.text, ' \[[^\]]+\]$', '') as meaning,
from described
inner join views on described.table_name = views.view
order by described.table_oid, described.column_index;
