-- Question: what does a run directory hold, as typed tables for an analyst with nothing but duckdb?
-- Grain: one view a kind of row; each states its own.
-- Inputs: a run directory: the current one, or `set variable run = 'outputs/phase19'` before reading this file.
-- Columns: explicit and typed, so that an empty file is an empty table. Times [ms from the start of the wave], rates
--     [fraction], throughput [tasks per second]. The views read the files anew each time; the list of agents' files is
--     taken when this file is read.
set variable run = coalesce(getvariable('run'), '.');

-- A path as a pattern that matches it alone, whatever characters of a pattern it holds.
create or replace temp macro as_pattern(path) as regexp_replace(path, '([*?\[])', '[\1]', 'g');
set variable run_pattern = as_pattern(getvariable('run'));

-- A pattern that matches no file is an error to read_json: a run without tasks stands on its empty decisions instead.
set variable scheduled_files = (
    select
        coalesce(
            list(as_pattern(file) order by file), [getvariable('run_pattern') || '/safety_gate_decisions.jsonl']
        ),
    from glob(getvariable('run_pattern') || '/wave_*/*/scheduled_tasks.jsonl')
);
set variable planned_files = (
    select
        coalesce(
            list(as_pattern(file) order by file), [getvariable('run_pattern') || '/safety_gate_decisions.jsonl']
        ),
    from glob(getvariable('run_pattern') || '/wave_*/*/planned_tasks.jsonl')
);

-- One row a scheduled task, every state, with its wall-clock plan and what came.
create or replace temp view tasks as
select
    task_id,
    agent_id,
    wave,
    scheduled_start_time,
    scheduled_end_time,
    actual_start_time,
    actual_end_time,
    priority,
    status,
    confidence,
    retry_count,
    risk_level,
    category,
    heuristics_applied,
    actual_duration_ms,
    actual_confidence_delta,
    confidence_after,
from
    read_json(
        getvariable('scheduled_files'),
        format = 'newline_delimited',
        columns = {
            task_id: 'varchar',
            agent_id: 'varchar',
            wave: 'bigint',
            scheduled_start_time: 'double',
            scheduled_end_time: 'double',
            actual_start_time: 'double',
            actual_end_time: 'double',
            priority: 'bigint',
            status: 'varchar',
            confidence: 'double',
            retry_count: 'bigint',
            risk_level: 'varchar',
            category: 'varchar',
            heuristics_applied: 'varchar[]',
            actual_duration_ms: 'double',
            actual_confidence_delta: 'double',
            confidence_after: 'double'
        }
    )
where agent_id is not null;

-- One row a scheduled task: the forecast it was planned on.
create or replace temp view plans as
select
    task_id,
    agent_id,
    wave,
    success_probability,
    success_low,
    success_high,
    planned_success,
    baseline_success,
    planned_attempts,
    max_attempts,
    duration_ms_p50,
    duration_ms_p90,
    planned_duration_ms,
    planned_confidence_delta,
    confidence_boost,
    updated_confidence,
    success_term,
    throughput_term,
    confidence_term,
    score,
    agent_price,
    runner_up_agent_id,
    runner_up_score,
    score_margin,
    record_count,
from
    read_json(
        getvariable('planned_files'),
        format = 'newline_delimited',
        columns = {
            task_id: 'varchar',
            agent_id: 'varchar',
            wave: 'bigint',
            success_probability: 'double',
            success_low: 'double',
            success_high: 'double',
            planned_success: 'double',
            baseline_success: 'double',
            planned_attempts: 'double',
            max_attempts: 'bigint',
            duration_ms_p50: 'double',
            duration_ms_p90: 'double',
            planned_duration_ms: 'double',
            planned_confidence_delta: 'double',
            confidence_boost: 'double',
            updated_confidence: 'double',
            success_term: 'double',
            throughput_term: 'double',
            confidence_term: 'double',
            score: 'double',
            agent_price: 'double',
            runner_up_agent_id: 'varchar',
            runner_up_score: 'double',
            score_margin: 'double',
            record_count: 'bigint'
        }
    )
where agent_id is not null;

-- One row a task that ran, with its forecast beside its outcome.
create or replace temp view executions as
select
    tasks.task_id,
    tasks.agent_id,
    tasks.wave,
    tasks.risk_level,
    tasks.category,
    tasks.status = 'completed' as is_completed,
    tasks.retry_count,
    tasks.actual_start_time,
    tasks.actual_end_time,
    tasks.actual_duration_ms,
    tasks.actual_confidence_delta,
    plans.planned_success,
    plans.baseline_success,
    plans.planned_duration_ms,
    plans.planned_confidence_delta,
from tasks
left join plans on tasks.task_id = plans.task_id
where tasks.status in ('completed', 'failed');

-- One row a wave: planned against actual.
create or replace temp view comparisons as
select
    wave,
    planned_success_rate,
    actual_success_rate,
    planned_throughput,
    actual_throughput,
    planned_confidence_delta,
    actual_confidence_delta,
    accuracy_score,
    ran_count,
    success_rate_low,
    success_rate_high,
    throughput_low,
    throughput_high,
    throughput_efficiency,
    schedule_adherence,
    agent_utilization,
    brier_score,
    log_loss,
from read_json(
    getvariable('run_pattern') || '/schedule_comparisons.jsonl',
    format = 'newline_delimited',
    columns = {
        wave: 'bigint',
        planned_success_rate: 'double',
        actual_success_rate: 'double',
        planned_throughput: 'double',
        actual_throughput: 'double',
        planned_confidence_delta: 'double',
        actual_confidence_delta: 'double',
        accuracy_score: 'double',
        ran_count: 'bigint',
        success_rate_low: 'double',
        success_rate_high: 'double',
        throughput_low: 'double',
        throughput_high: 'double',
        throughput_efficiency: 'double',
        schedule_adherence: 'double',
        agent_utilization: 'double',
        brier_score: 'double',
        log_loss: 'double'
    }
);

-- One row a metric.
create or replace temp view metrics as
select
    metric_name,
    value,
    unit,
    target_value,
    threshold_min,
    threshold_max,
    status,
    timestamp,
    chance_low,
    chance_high,
from read_json(
    getvariable('run_pattern') || '/optimization_metrics.jsonl',
    format = 'newline_delimited',
    columns = {
        metric_name: 'varchar',
        value: 'double',
        unit: 'varchar',
        target_value: 'double',
        threshold_min: 'double',
        threshold_max: 'double',
        status: 'varchar',
        timestamp: 'timestamp',
        chance_low: 'double',
        chance_high: 'double'
    }
);

-- One row an anomaly.
create or replace temp view anomalies as
select
    anomaly_id,
    anomaly_type,
    severity,
    description,
    affected_waves,
    affected_agents,
    recommendation,
    timestamp,
    effect,
    statistic,
    threshold,
from read_json(
    getvariable('run_pattern') || '/scheduling_anomalies.jsonl',
    format = 'newline_delimited',
    columns = {
        anomaly_id: 'varchar',
        anomaly_type: 'varchar',
        severity: 'varchar',
        description: 'varchar',
        affected_waves: 'bigint[]',
        affected_agents: 'varchar[]',
        recommendation: 'varchar',
        timestamp: 'timestamp',
        effect: 'double',
        statistic: 'double',
        threshold: 'double'
    }
);

-- One row a learning signal.
create or replace temp view signals as
select
    signal_id,
    type,
    confidence,
    description,
    recommendation,
    feedback_id,
    supporting_evidence,
    timestamp,
    simulated,
from read_json(
    getvariable('run_pattern') || '/learning_signals.jsonl',
    format = 'newline_delimited',
    columns = {
        signal_id: 'varchar',
        type: 'varchar',
        confidence: 'double',
        description: 'varchar',
        recommendation: 'varchar',
        feedback_id: 'varchar',
        supporting_evidence: 'varchar[]',
        timestamp: 'timestamp',
        simulated: 'boolean'
    }
);

-- One row a task: what the safety gates decided.
create or replace temp view decisions as
select
    task_id,
    wave,
    risk_level,
    confidence,
    decision,
    live_decision,
    reason,
from read_json(
    getvariable('run_pattern') || '/safety_gate_decisions.jsonl',
    format = 'newline_delimited',
    columns = {
        task_id: 'varchar',
        wave: 'bigint',
        risk_level: 'varchar',
        confidence: 'double',
        decision: 'varchar',
        live_decision: 'varchar',
        reason: 'varchar'
    }
);

-- One row, the run.
create or replace temp view health as
select
    overall_health_score,
    health_status,
    component_scores.optimization_accuracy,
    component_scores.schedule_adherence,
    component_scores.throughput_efficiency,
    component_scores.system_stability,
    detected_anomalies,
    timestamp,
from read_json(
    getvariable('run_pattern') || '/system_health.json',
    columns = {
        overall_health_score: 'double',
        health_status: 'varchar',
        component_scores: 'struct(
            optimization_accuracy double,
            schedule_adherence double,
            throughput_efficiency double,
            system_stability double
        )',
        detected_anomalies: 'bigint',
        timestamp: 'timestamp'
    }
);
