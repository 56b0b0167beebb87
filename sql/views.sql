-- Question: what do run directories hold, as typed tables for an analyst with nothing but duckdb?
-- Grain: one view for each kind of row; the comment above each view states its grain.
-- Inputs: run directories. Before reading this file, `set variable runs = ['outputs/phase19', 'archive/monday']`, or
--     `run` for a single one; the default is the current directory. A directory that is not a run is an error. A file
--     that a run does not have is an empty table.
-- Columns: those of the files, declared here, then run (the directory as given, without needless dots and slashes) and
--     run_id. Times [ms from the start of the wave], rates [fraction], throughput [tasks per second].
-- The views read the files at every query; the list of files is made when this file is read.

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

-- The rows of all files of one name. Without any file, read_json gets that of the metrics, which every run has.
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

-- The document of one name of each run.
create or replace temp macro documents_of(name, structure) as table
    select
        run_of(filename) as run,
        unnest(json_transform(content, cast(structure as json))),
    from read_text(list_transform(getvariable('run_names'), lambda run: path_join(as_pattern(run), name)));

-- One row a run.
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

-- The run_id of each run, read once so that the views need not read the summaries.
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

-- One row a scheduled task of any status: its planned and actual times.
create or replace temp view tasks as
from rows_of('scheduled_tasks.jsonl', {
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
    'risk_level': 'varchar',
    'category': 'varchar',
    'heuristics_applied': 'varchar[]',
    'actual_duration_ms': 'double',
    'actual_confidence_delta': 'double',
    'confidence_after': 'double',
    'is_duration_measured': 'boolean',
    'is_censored': 'boolean'
});

-- One row a scheduled task: the forecast that it was planned with.
create or replace temp view plans as
from rows_of('planned_tasks.jsonl', {
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
    'score': 'double',
    'agent_price': 'double',
    'runner_up_agent_id': 'varchar',
    'runner_up_score': 'double',
    'score_margin': 'double',
    'record_count': 'bigint'
});

-- One row a task that ran: all columns of tasks and plans.
create or replace temp view executions as
select
    tasks.* exclude (run, run_id),
    tasks.status = 'completed' as is_completed,
    plans.* exclude (task_id, agent_id, wave),
from tasks
inner join plans on tasks.run = plans.run and tasks.task_id = plans.task_id
where tasks.status in ('completed', 'failed');

-- One row a wave: planned and actual figures.
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

-- One row a metric.
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

-- One row a wave, agent and risk level where a task ran: plan, outcome and how unusual it is.
create or replace temp view evidence as
from rows_of('evidence.jsonl', {
    'wave': 'bigint',
    'agent_id': 'varchar',
    'risk_level': 'varchar',
    'task_count': 'bigint',
    'planned_success_count': 'double',
    'actual_success_count': 'bigint',
    'success_sd': 'double',
    'success_low': 'double',
    'success_high': 'double',
    'success_p_value': 'double',
    'planned_busy_ms': 'double',
    'actual_busy_ms': 'double',
    'busy_sd_ms': 'double',
    'busy_low_ms': 'double',
    'busy_high_ms': 'double',
    'busy_p_value': 'double',
    'simulated': 'boolean'
});

-- One row an anomaly type: what its test found, and the smallest problem that it could detect.
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
    'reason': 'varchar'
});

-- One row an agent with timed attempts in the second half of the run, and one for all agents (agent_id null).
create or replace temp view drift_tests as
from rows_of('schedule_drift_tests.jsonl', {
    'agent_id': 'varchar',
    'first_wave': 'bigint',
    'duration_count': 'bigint',
    'effect': 'double',
    'effect_low': 'double',
    'effect_high': 'double',
    'statistic': 'double',
    'threshold': 'double',
    'detectable_effect': 'double',
    'p_value': 'double',
    'is_anomaly': 'boolean'
});

-- One row an agent, baseline and window of last waves: the fall of its success rate compared with its peers.
create or replace temp view degradation_tests as
from rows_of('performance_degradation_tests.jsonl', {
    'agent_id': 'varchar',
    'baseline': 'varchar',
    'first_wave': 'bigint',
    'task_count': 'bigint',
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

-- One row an anomaly.
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

-- One row a learning signal.
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

-- One row a heuristic: its weight and the reason.
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

-- One row a wave of this run and of the runs before it, with the run_id of its own run.
create or replace temp view convergence as
select * exclude (run_id_1),
from rows_of('convergence.jsonl', {
    'run_id': 'varchar',
    'run_rank': 'bigint',
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

-- One row a task: the decision of the safety gates.
create or replace temp view decisions as
from rows_of('safety_gate_decisions.jsonl', {
    'task_id': 'varchar',
    'wave': 'bigint',
    'risk_level': 'varchar',
    'confidence': 'double',
    'decision': 'varchar',
    'live_decision': 'varchar',
    'reason': 'varchar'
});

-- One row a task without an agent: why it was left out.
create or replace temp view unassigned as
from rows_of('unassigned_tasks.jsonl', {
    'task_id': 'varchar',
    'wave': 'bigint',
    'reason': 'varchar'
});

-- One row a run: its health score and its components.
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

-- One row a view, in the order of this file: its columns with their types.
create or replace temp view view_columns as
select
    table_name as view,
    string_agg(column_name || ' ' || lower(data_type), ', ' order by column_index) as columns,
from duckdb_columns()
where not internal and table_name != 'view_columns'
group by table_oid, table_name
order by table_oid;
