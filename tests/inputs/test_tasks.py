"""Who and when: waves without gaps, even blocks, priorities and names."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phase19 import frames
from phase19.errors import UsageError
from phase19.inputs.tasks import (
    by_priority,
    check_any,
    check_records,
    deal_waves,
    fill_confidence,
    natural_order,
    select_agents,
)
from phase19.options import PriorityStrategy
from tests.builders import agents, attempts, tasks


def waves(frame, *args):
    dealt = deal_waves(frame, *args)
    return dict(zip(dealt["task_id"], dealt["wave"], strict=True))


def order(frame, *args):
    return "".join(by_priority(frame, *args)["task_id"])


def test_recorded_waves_are_renumbered_without_gaps():
    frame = tasks({"task_id": "a", "wave": 7}, {"task_id": "b", "wave": 0}, {"task_id": "c", "wave": 3})
    assert waves(frame, None) == {"a": 3, "b": 1, "c": 2}
    assert waves(frame, None, 9) == {"a": 3, "b": 1, "c": 2}


def test_tasks_are_dealt_in_priority_order_the_first_block_to_wave_1():
    rows = [{"task_id": f"t{i}", "confidence": 0.9 - 0.01 * i} for i in (3, 1, 4, 0, 2, 5)]
    assert waves(tasks(*rows), 3) == {"t0": 1, "t1": 1, "t2": 2, "t3": 2, "t4": 3, "t5": 3}


def test_waves_asked_for_override_recorded_ones():
    rows = [{"task_id": f"t{i}", "confidence": 0.9 - 0.01 * i, "wave": 4 - i} for i in range(4)]
    assert waves(tasks(*rows), 2, 5) == {"t0": 1, "t1": 1, "t2": 2, "t3": 2}


def test_tasks_without_a_wave_are_dealt_over_the_recorded_waves():
    fixed = [{"task_id": "f", "wave": 5}, {"task_id": "g", "wave": 9}]
    loose = [{"task_id": "p", "confidence": 0.9}, {"task_id": "q", "confidence": 0.6}]
    assert waves(tasks(*fixed, *loose), None, 7) == {"f": 1, "g": 2, "p": 1, "q": 2}


def test_without_any_wave_the_summary_or_one_wave_decides():
    assert set(waves(tasks(count=4), None, 2).values()) == {1, 2}
    assert set(waves(tasks(count=4), None, None).values()) == {1}


def test_more_waves_than_tasks_leave_no_empty_wave():
    assert sorted(waves(tasks(count=3), 10).values()) == [1, 2, 3]


def test_no_tasks_have_no_waves():
    assert deal_waves(tasks(), 3).height == 0
    assert deal_waves(tasks(), None).height == 0


def test_a_run_without_tasks_is_refused_and_told_where_they_come_from():
    with pytest.raises(UsageError, match=r"no tasks to schedule: .*tasks\.jsonl.*planned_tasks\.jsonl.*total_tasks"):
        check_any(tasks())
    check_any(tasks(count=1))


@given(st.integers(1, 30), st.integers(1, 12))
def test_blocks_are_even_and_complete(count, wave_count):
    dealt = deal_waves(tasks(count=count), wave_count)
    sizes = dealt["wave"].value_counts().sort("wave")
    assert sizes["wave"].to_list() == list(range(1, min(count, wave_count) + 1))
    assert sizes["count"].max() - sizes["count"].min() <= 1
    assert dealt["task_id"].to_list() == [f"t{i}" for i in range(count)]
    ranks = dict(zip(by_priority(tasks(count=count))["task_id"], range(count), strict=True))
    by_rank = sorted(dealt.select("task_id", "wave").rows(), key=lambda row: ranks[row[0]])
    assert [wave for _, wave in by_rank] == sorted(wave for _, wave in by_rank)


def test_priority_order_of_h16_001():
    frame = tasks(
        {"task_id": "h", "risk_level": "HIGH", "confidence": 0.89},
        {"task_id": "g", "risk_level": "UNKNOWN", "confidence": 0.95},
        {"task_id": "f", "risk_level": "LOW", "confidence": 0.69},
        {"task_id": "e", "risk_level": "HIGH", "confidence": 0.9},
        {"task_id": "d", "risk_level": "MEDIUM", "confidence": 0.75},
        {"task_id": "c", "risk_level": "MEDIUM", "confidence": 0.85},
        {"task_id": "b", "risk_level": "LOW", "confidence": 0.7},
        {"task_id": "a", "risk_level": "LOW", "confidence": 0.85},
    )
    # The last three fit no rule; there the more confident comes first: g .95, h .89, f .69.
    assert order(frame) == "abcdeghf"


def test_ties_fall_to_phase_16s_priority_then_confidence_then_the_id():
    frame = tasks(
        {"task_id": "e", "risk_level": "LOW", "confidence": 0.9},
        {"task_id": "d", "risk_level": "LOW", "confidence": 0.9},
        {"task_id": "c", "risk_level": "LOW", "confidence": 0.95},
        {"task_id": "b", "risk_level": "LOW", "confidence": 0.86, "priority": 2},
        {"task_id": "a", "risk_level": "LOW", "confidence": 0.99, "priority": 3},
    )
    assert order(frame) == "bacde"


def test_a_task_without_confidence_comes_last_of_its_kind():
    frame = tasks(
        {"task_id": "a", "risk_level": "LOW", "confidence": 0.5}, {"task_id": "b", "risk_level": "LOW"}
    ).with_columns(confidence=pl.when(pl.col("task_id") == "a").then("confidence"))
    assert order(frame) == "ab"


def test_deadline_puts_the_earliest_first_and_none_last():
    frame = tasks(
        {"task_id": "a", "risk_level": "LOW", "confidence": 0.9},
        {"task_id": "b", "deadline_ms": 500.0},
        {"task_id": "c", "deadline_ms": 0.0},
        {"task_id": "d", "risk_level": "LOW", "confidence": 0.9, "deadline_ms": 500.0},
    )
    assert order(frame, PriorityStrategy.DEADLINE) == "cdba"


def test_specialization_puts_the_largest_advantage_first():
    frame = tasks(count=3).with_columns(advantage=pl.Series([-0.1, 0.3, 0.2]))
    assert order(frame, PriorityStrategy.AGENT_SPECIALIZATION) == "t1t2t0"


@pytest.mark.parametrize(
    ("confidences", "recorded", "expected"),
    [
        ([0.6, 0.8, None], [0.1], 0.7),  # the mean of the tasks
        ([None, None, None], [0.2, 0.4], 0.3),  # else of the records
        ([None, None, None], [], 0.85),  # else the rate
    ],
)
def test_confidence_not_recorded_is_the_populations(confidences, recorded, expected):
    frame = tasks(count=3).with_columns(confidence=pl.Series(confidences, dtype=pl.Float64))
    records = attempts(*({"task_id": "t0", "confidence_before": value} for value in recorded))
    filled = fill_confidence(frame, records, 0.85)["confidence"]
    assert filled[2] == pytest.approx(expected)
    assert filled[0] == pytest.approx(expected if confidences[0] is None else 0.6)


def test_the_first_agents_are_taken_and_missing_ones_named():
    known = agents("agent_2", "agent_10", "x")
    assert select_agents(known, None)["agent_id"].to_list() == ["agent_2", "agent_10", "x"]
    assert select_agents(known, 2)["agent_id"].to_list() == ["agent_2", "agent_10"]
    more = select_agents(known, 6)
    assert set(more["agent_id"]) == {"agent_2", "agent_10", "x", "agent_0", "agent_1", "agent_3"}
    assert more.filter(pl.col("evidence") == "none")["agent_id"].to_list() == ["agent_0", "agent_1", "agent_3"]


@given(st.sets(st.integers(0, 6)), st.integers(1, 12))
def test_any_number_of_agents_can_be_asked_for(numbers, count):
    chosen = select_agents(agents(*(f"agent_{i}" for i in sorted(numbers))), count)
    assert chosen.height == count
    assert chosen["agent_id"].n_unique() == count


# Natural order


def test_numbers_in_ids_count():
    ids = ["agent_10", "agent_2", "agent_02", "agent", "9", "10", "a10b2", "a10b10", "a9b3"]
    assert natural_order(ids) == ["9", "10", "a9b3", "a10b2", "a10b10", "agent", "agent_02", "agent_2", "agent_10"]


@given(st.lists(st.text(st.sampled_from("ab019²٣"), max_size=6), unique=True), st.randoms())
def test_natural_order_is_total(ids, random):
    shuffled = ids.copy()
    random.shuffle(shuffled)
    assert natural_order(shuffled) == natural_order(ids)
    assert sorted(natural_order(ids)) == sorted(ids)


@given(st.integers(0, 10**30), st.integers(0, 10**30))
def test_natural_order_agrees_with_numbers(first, second):
    ordered = natural_order([f"agent_{first}", f"agent_{second}"])
    assert ordered == [f"agent_{number}" for number in sorted([first, second])]


@pytest.mark.parametrize(
    ("recorded", "categories", "said"),
    [
        pytest.param(["ui"], ["ui", "ui", None], None, id="all known"),
        pytest.param(
            ["ui"], ["ui", "docs", "ops"], "2 tasks to plan, such as 'docs' (the records have 'ui", id="unknown"
        ),
        pytest.param([None], ["ui", "docs", "ops"], None, id="the records have none"),
        pytest.param(["api"], ["ui", "docs", None], "no record names one of the 3 tasks to plan", id="none is shared"),
    ],
)
def test_a_category_without_records_is_pointed_out(recorded, categories, said):
    rows = [{"task_id": f"n{i}", "category": name} for i, name in enumerate(categories)]
    records = attempts(*({"task_id": "t", "category": name} for name in recorded))
    found = check_records(tasks(*rows), records, frames.FEATURES.empty())
    assert len([text for text in found if "has the category of" in text]) == (said is not None and "such as" in said)
    assert said is None or any(said in text for text in found)
    described = pl.DataFrame({"task_id": ["n1"], "size": [1.0]})
    expected = [text.replace("rest on agents and", "rest on agents, features and") for text in found]
    assert check_records(tasks(*rows), records, described) == expected
    # A task with records of its own needs no category.
    same = attempts(*({"task_id": f"n{i}", "category": "ui"} for i in range(3)))
    assert check_records(tasks(*rows), same, frames.FEATURES.empty()) == []
