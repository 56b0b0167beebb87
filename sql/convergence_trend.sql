-- Question: does the forecast error shrink from wave to wave, over the run?
-- Grain: one row.
-- Inputs: convergence, run, rules.
-- Columns: wave_count = waves with a standardized error. slope = change of that error per wave by least squares, with
--     its 90 % interval (Student's t). change = slope times the number of waves after the first. verdict = improving or
--     worsening if the interval excludes 0; steady if no change in the interval exceeds the rules' margin; else
--     insufficient_data. simulated = whether the outcomes are those of a dry run.
with

waves as (
    select
        standardized_error as error,
        cast(row_number() over (order by wave) as double) as position,
    from convergence
    where standardized_error is not null
),

centres as (
    select
        avg(position) as position,
        avg(error) as error,
    from waves
),

moments as (
    select
        count(*) as wave_count,
        sum(power(waves.position - centres.position, 2)) as position_square,
        sum((waves.position - centres.position) * (waves.error - centres.error)) as product,
        sum(power(waves.error - centres.error, 2)) as error_square,
    from waves
    cross join centres
),

slopes as (
    select
        wave_count,
        case when wave_count > 2 then ratio(product, position_square) end as slope,
        upper_t_quantile(0.05e0, greatest(1, wave_count - 2)) * sqrt(
            ratio(
                greatest(0e0, error_square - ratio(product * product, position_square)),
                (wave_count - 2) * position_square
            )
        ) as margin,
    from moments
)

select
    slopes.wave_count,
    slopes.slope,
    slopes.slope - slopes.margin as slope_low,
    slopes.slope + slopes.margin as slope_high,
    slopes.slope * (slopes.wave_count - 1) as change,
    case
        when slopes.slope + slopes.margin < 0 then 'improving'
        when slopes.slope - slopes.margin > 0 then 'worsening'
        when
            greatest(slopes.margin - slopes.slope, slopes.margin + slopes.slope) * (slopes.wave_count - 1)
            <= rules.convergence_margin then 'steady'
        else 'insufficient_data'
    end as verdict,
    run.is_simulated as simulated,
from slopes
cross join rules
cross join run
order by run.run_id
