-- Question: which functions do the other files share?
-- Grain: one macro per statement. Inputs: none. All results are DOUBLE unless stated.
-- The session adds three functions in phase19/analysis/session.py: upper_tail(z), upper_quantile(p) and
-- upper_t_quantile(p, degrees).

-- a / b, null if b is 0 or so small that the result could be infinite: JSON has no NaN or Infinity.
create macro ratio(a, b) as case when abs(b) > 1e-200 then a / b end;

-- sum(a) / sum(b) over the rows where both are known.
create macro pooled(a, b) as
ratio(sum(case when b is not null then a end), sum(case when a is not null then b end));

-- The sum of a value that belongs to every row, null if the value of a row is unknown.
create macro sum_if_known(value) as case when count(value) = count(*) then sum(value) end;

-- 1 - |planned - actual| / planned, clipped to [0, 1]; with planned 0: 1 if actual is 0, else 0.
create macro accuracy(planned, actual) as
case
    when planned is null or actual is null then null
    when planned = 0 then cast(actual = 0 as double)
    else greatest(0e0, 1e0 - abs(planned - actual) / planned)
end;

-- The value, limited to [low, high]; null for null.
create macro clip(value, low, high) as
case when value is not null then greatest(low, least(high, value)) end;

-- 1 - deviation / end of the timeline, clipped to [0, 1]; with an end of 0: 1 if the deviation is 0, else 0.
create macro adherence(deviation_ms, timeline_end_ms) as
case
    when timeline_end_ms is not null
        then clip(1e0 - coalesce(ratio(deviation_ms, timeline_end_ms), cast(deviation_ms > 0 as double)), 0e0, 1e0)
end;

-- DOUBLE[2]: the 5 % and 95 % quantiles over draws, a 90 % interval.
create macro chance_interval(draws) as quantile_cont(draws, [0.05e0, 0.95e0]);

-- VARCHAR: a timestamp as 2026-02-05T12:00:00Z.
create macro iso_timestamp(moment) as strftime(moment, '%Y-%m-%dT%H:%M:%SZ');

-- VARCHAR: an id such as AN_001.
create macro row_id(prefix, rank) as printf('%s_%03d', prefix, rank);

-- VARCHAR: text by which ids sort in natural order, task_2 before task_10: numbers padded to 40 digits.
create macro natural_key(id) as
case
    -- An id with one number takes a tenth of the time.
    when regexp_full_match(id, '[^0-9]*[0-9]{1,40}[^0-9]*')
        then
            regexp_extract(id, '^[^0-9]*')
            || lpad(regexp_extract(id, '[0-9]+'), 40, '0')
            || regexp_extract(id, '[^0-9]*$')
    else
        regexp_replace(
            regexp_replace(id, '([0-9]+)', repeat('0', 40) || '\1', 'g'), '[0-9]*([0-9]{40})', '\1', 'g'
        )
end;

-- VARCHAR: a number of things, such as 1 task or 2 tasks.
create macro counted(number, noun) as printf('%d %s%s', number, noun, if(number = 1, '', 's'));

-- VARCHAR: a duration with the unit that a person uses, such as 850 ms, 4.1 s, 12.5 min or 3.2 h.
create macro duration_text(ms) as
case
    when ms < 999.5e0 then printf('%.3g ms', ms)
    when ms < 12e4 then printf('%.1f s', ms / 1e3)
    when ms < 72e5 then printf('%.1f min', ms / 6e4)
    else printf('%.1f h', ms / 36e5)
end;

-- VARCHAR: what an agent's success rate is compared with, by the baseline of performance_degradation_tests.
create macro baseline_text(baseline) as
case baseline
    when 'run' then 'its waves before'
    when 'start' then 'its forecast before the run'
    else 'its forecast'
end;

-- VARCHAR: high, medium or low by the size of an effect.
create macro severity_of(effect, medium, high) as
case when effect >= high then 'high' when effect >= medium then 'medium' else 'low' end;

-- Width of the Wilson interval of a rate over n trials, z standard scores on each side.
-- Wilson, Probable inference, the law of succession, and statistical inference, 1927.
create macro wilson_width(rate, n, z) as
ratio(2e0 * z * sqrt(rate * (1e0 - rate) / n + z * z / (4e0 * n * n)), 1e0 + z * z / n);

-- Quantile of a standardised sum with this skewness, given the normal quantile z; never below z. A few failures among
-- confident tasks have a longer tail than the normal distribution. First-order term of Cornish and Fisher, Moments
-- and cumulants in the specification of distributions, 1938.
create macro skewed_score(z, skewness) as
z + (z * z - 1e0) * greatest(skewness, 0e0) / 6e0;

-- Variance [tasks^2] of n outcomes after a fall of their mean rate, from the variance and the rate before the fall. It
-- is at least (half a task)^2, because counts move in whole tasks.
create macro fallen_variance(variance, n, rate, fall) as
greatest(25e-2, variance + n * fall * (2e0 * rate - 1e0 - fall));

-- Fall of the success rate [fraction] at which the expected loss over n tasks exceeds `reach` [tasks] by z standard
-- scores: the larger root of (n fall - reach)^2 = z^2 fallen_variance, and at least reach / n.
create macro detectable_fall(reach, variance, n, rate, z) as
greatest(ratio(reach, n), ratio(
    2e0 * reach + z * z * (2e0 * rate - 1e0) + sqrt(greatest(
        0e0,
        pow(2e0 * reach + z * z * (2e0 * rate - 1e0), 2)
        - 4e0 * (1e0 + ratio(z * z, n)) * (reach * reach - z * z * variance)
    )),
    2e0 * (n + z * z)
));

-- Success that a task loses per unit of success that every attempt loses [ratio]. If n attempts fail with probability f
-- each, the task fails with 1 - p = f^n, so the ratio is n f^(n - 1).
create macro attempt_sensitivity(planned_success, max_attempts) as
max_attempts * pow(1e0 - planned_success, 1e0 - 1e0 / max_attempts);
