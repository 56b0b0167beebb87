"""Strict decoding of lines and documents, held against Python's own JSON as an independent reader."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from datetime import datetime

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phase19.errors import InputError
from phase19.inputs import decoding, wire
from phase19.inputs.decoding import decode_document, decode_lines, decode_text

KNOWN = [field.encode_name for field in msgspec.structs.fields(wire.TASK_OUTCOMES.struct)]
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=5)
scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(0, 1) | st.text('a":\\{}é', max_size=4)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2))
outcomes = st.fixed_dictionaries(
    {"task_id": texts, "agent_id": texts, "status": st.sampled_from(["success", "failed"])},
    optional={
        "wave": st.none() | st.integers(0, 2**63 - 1),
        "error_message": st.none() | st.text('a":\\{}é\n', max_size=6),
        "execution_time_ms": st.none() | st.floats(0, 1e15) | st.integers(0, 10**15),
        "heuristics_applied": st.none() | st.lists(texts, max_size=3),
        "is_censored": st.none() | st.booleans(),
    },
)
strangers = st.dictionaries(texts.filter(lambda name: name not in KNOWN), anything, max_size=3)


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("wire") / "rows.jsonl"


def compact_or_spaced(row, is_spaced, is_ascii):
    return json.dumps(row, separators=(" , ", " :\t") if is_spaced else (",", ":"), ensure_ascii=is_ascii)


@given(st.lists(st.tuples(outcomes, strangers), max_size=5), st.booleans(), st.booleans())
def test_lines_become_the_columns_another_reader_finds(path, rows, is_spaced, is_ascii):
    lines = [compact_or_spaced(known | unknown, is_spaced, is_ascii) for known, unknown in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    decoded = decode_lines(path, wire.TASK_OUTCOMES)
    frame = decoded.value
    for name in ("task_id", "agent_id", "status", "wave", "error_message", "heuristics_applied", "is_censored"):
        assert frame[name].to_list() == [known.get(name) for known, _ in rows]
    assert frame["execution_time_ms"].to_list() == [known.get("execution_time_ms") for known, _ in rows]
    assert decoded.unknown == Counter(name for _, unknown in rows for name in unknown)
    assert decoded.digest == hashlib.sha256(path.read_bytes()).digest()


@given(st.lists(outcomes, min_size=1, max_size=3), outcomes, strangers, st.data())
def test_a_key_that_stands_twice_is_always_found(path, rows, row, unknown, data):
    members = list((row | unknown).items())
    repeated = data.draw(st.sampled_from(members))
    members.insert(data.draw(st.integers(0, len(members))), repeated)
    line = "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in members) + "}"
    path.write_text("\n".join([*map(json.dumps, rows), line]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        decode_lines(path, wire.TASK_OUTCOMES)
    assert (caught.value.line, caught.value.field) == (len(rows) + 1, repeated[0])
    assert caught.value.expected == "each key only once"


@given(
    st.one_of(st.binary(max_size=30), anything.map(lambda value: json.dumps(value).encode()), st.text().map(str.encode))
)
def test_whatever_stands_in_a_file_it_is_read_or_refused_with_a_message(path, data):
    path.write_bytes(data)
    for read in (lambda: decode_lines(path, wire.TASK_ROWS), lambda: decode_document(path, wire.Population)):
        message = str(path)
        try:
            read()
        except InputError as error:
            message = str(error)
        assert message.startswith(str(path))


TOKENS = [
    *("NaN", "Infinity", "1e999", "-1e999", "1e-999", "1e15", "1.0", "-0", "-0.0", "01", "1.", ".5", "+1", "5"),
    *("0.30000000000000004", "123456789012345678", "1234567890123456789", "9223372036854775807", "9223372036854775808"),
    *("179769313486231580793728971405301e276", "0." + "3" * 400, "7" * 400, "2.2250738585072011e-308", "1" * 5000),
    *("null", "true", "false", "True", "tru", "[]", "{}", '""', '"5"', '"true"', '"null"', '"LOW"', '"low"'),
    *('["a", "b"]', '[ "a"]', '["a","a",]', '[""]', '["a\\u0041"]', '["a" "b"]', '[["a"]]', "[null]", '["]"]'),
    *('"\\u00e9"', '"\\ud800"', '"a\tb"', '"a\x7fb"', '"a\x85b"', '"\u2028"', '"é"', '"\\"', '"\\\\"', '"{}"', "'a'"),
    *('"2026-02-05T12:00:00Z"', '"2026-02-05T12:00:00"', '"2026-02-05T12:00:00.1234567Z"', '"2026-02-05t12:00:00z"'),
    *('"2026-02-30T12:00:00Z"', '"2026-02-05T24:00:00Z"', '"2026-02-05T12:00:60Z"', '"0000-01-01T00:00:00Z"'),
    *('"2026-13-05T12:00:00Z"', '"2026-02-05T12:00:00+00:00"', '"2026-02-05T12:00:00.5-00:00"', '"20260205T120000Z"'),
    *('"2024-02-29T23:59:59.999999Z"', '"2026-02-05T12:00Z"', '"2026-02-05 12:00:00Z"', "1770292800", '{"x": NaN}'),
]  # fmt: skip
members = st.tuples(st.sampled_from([*KNOWN, "mood", "task_id ", "Wave", "é"]), st.sampled_from(TOKENS))


@st.composite
def changed_lines(draw):
    """Lines that are valid, but for a few changes of members or characters."""
    lines = []
    shape = draw(outcomes)
    for own in draw(st.lists(outcomes, min_size=1, max_size=4)):
        row = {name: own.get(name, value) for name, value in shape.items()} if draw(st.booleans()) else own
        parts = [(name, json.dumps(value, ensure_ascii=draw(st.booleans()))) for name, value in row.items()]
        for name, token in draw(st.lists(members, max_size=2)):
            places = [place for place, (other, _) in enumerate(parts) if other == name]
            if places and draw(st.booleans()):
                parts[places[0]] = (name, token)
            else:
                parts.insert(draw(st.integers(0, len(parts))), (name, token))
        colon, comma = draw(st.sampled_from([(":", ","), (": ", ", "), (" :\t", " , ")]))
        line = "{" + comma.join(f'"{name}"{colon}{token}' for name, token in parts) + "}"
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
            at = draw(st.integers(0, len(line)))
            line = (
                line[:at]
                + draw(st.sampled_from([*'"{}[],:\\ \r\n\t0e-', "", "\x00", "é"]))
                + line[at + draw(st.integers(0, 1)) :]
            )
        lines.append(line)
    return "\n".join(lines).encode() + draw(st.sampled_from([b"", b"\n", b"\r\n", b"\n\n", b"\xff", b"{}"]))


def read_by(path, shape, pattern_bytes):
    errors = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "PATTERN_BYTES", pattern_bytes)
        try:
            decoded = decode_lines(path, shape, report=lambda error: errors.append(str(error)))
        except InputError as error:
            return str(error)
    frame = decoded.value
    return frame.to_dicts(), frame.schema, errors, decoded.unknown, decoded.naive_count, decoded.digest


STRICT, BY_PATTERNS = 1 << 40, 0  # least bytes of a block that patterns read
SHAPES = (wire.TASK_OUTCOMES, wire.EXECUTION_OUTCOMES, wire.TASK_ROWS)


@settings(max_examples=50)
@given(changed_lines())
def test_patterns_accept_what_the_strict_decoder_accepts_and_find_the_same_values(path, data):
    path.write_bytes(data)
    for shape in SHAPES:
        assert read_by(path, shape, BY_PATTERNS) == read_by(path, shape, STRICT)


@pytest.mark.parametrize("shape", SHAPES, ids=["task_outcomes", "execution_outcomes", "tasks"])
def test_patterns_accept_the_same_values_of_each_field_as_the_strict_decoder(path, shape):
    for name in (*shape.struct.__struct_encode_fields__, "mood"):
        lines = []
        for number, token in enumerate(TOKENS):
            row = {"task_id": f'"{number}"', "agent_id": '"a"', "status": '"failed"'} | {name: token}
            lines.append("{" + ",".join(f'"{key}": {value}' for key, value in row.items()) + "}")
        path.write_text("\n".join(lines), encoding="utf-8")
        assert read_by(path, shape, BY_PATTERNS) == read_by(path, shape, STRICT), name


def test_rows_across_blocks_keep_their_order_and_line_numbers(path, monkeypatch):
    row = '{"task_id": "%d", "agent_id": "a", "status": "failed", "heuristics_applied": ["%d"]}'
    text = "".join(row % (i, i % 3) + ("\n\n" if i % 7 == 0 else "\n") for i in range(100))
    path.write_text(text)
    whole = decode_lines(path, wire.TASK_OUTCOMES)
    monkeypatch.setattr(decoding, "BLOCK_BYTES", 200)
    parts = decode_lines(path, wire.TASK_OUTCOMES)
    assert parts.value.equals(whole.value)
    assert parts.digest == whole.digest
    assert parts.value["task_id"].to_list() == [str(i) for i in range(100)]
    assert parts.value["line"].to_list() == [i + 1 for i, line in enumerate(text.splitlines()) if line]
    assert parts.value.n_chunks() == 1
    path.write_text(text + '{"task_id": "a"}')
    with pytest.raises(InputError) as caught:
        decode_lines(path, wire.TASK_OUTCOMES)
    assert caught.value.line == text.count("\n") + 1
    path.write_bytes(text.encode() + b"\xff")
    with pytest.raises(InputError) as caught:
        decode_lines(path, wire.TASK_OUTCOMES)
    assert caught.value.line == text.count("\n") + 1


def test_an_empty_file_is_an_empty_frame_of_the_same_columns(path):
    path.write_text('{"task_id": "a", "agent_id": "b", "status": "failed"}')
    full = decode_lines(path, wire.TASK_OUTCOMES).value
    for data in (b"", b"\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"):
        path.write_bytes(data)
        empty = decode_lines(path, wire.TASK_OUTCOMES).value
        assert empty.schema == full.schema
        assert empty.height == 0


@pytest.mark.parametrize(
    ("shape", "dtypes"),
    [
        (wire.TASK_ROWS, {"task_id": pl.String, "wave": pl.Int64, "confidence": pl.Float64, "risk_level": pl.String,
                            "required_agents": pl.List(pl.String)}),
        (wire.TASK_OUTCOMES, {"is_censored": pl.Boolean, "timestamp": pl.Datetime("us", "UTC"), "line": pl.UInt32}),
        (wire.EXECUTION_OUTCOMES, {"confidence_before": pl.Float64, "confidence_after": pl.Float64}),
        (wire.HEURISTIC_ROWS, {"rule": pl.String}),
    ],
)  # fmt: skip
def test_columns_have_the_dtype_of_their_field(path, shape, dtypes):
    path.write_bytes(b"")
    schema = decode_lines(path, shape).value.schema
    assert {name: schema[name] for name in dtypes} == dtypes


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-02-05T12:00:00Z", "2026-02-05T12:00:00"),
        ("2026-02-05T12:00:00.123456+05:30", "2026-02-05T06:30:00.123456"),
        ("2026-02-05T12:00:00", "2026-02-05T12:00:00"),
        ("2026-02-05 12:00:00-01:00", "2026-02-05T13:00:00"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999"),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_timestamps_are_exact_to_the_microsecond(path, written, expected):
    path.write_text(f'{{"task_id": "a", "agent_id": "b", "status": "failed", "timestamp": "{written}"}}')
    stamp = decode_lines(path, wire.TASK_OUTCOMES).value["timestamp"]
    if expected is None:  # 14 hours before the first instant Python knows
        assert stamp.dt.epoch("us")[0] == -62_135_596_800_000_000 - 14 * 3_600_000_000
    else:
        assert stamp.dt.replace_time_zone(None).to_list() == [datetime.fromisoformat(expected)]


def test_raw_fields_are_json_text_and_null_is_null(path):
    path.write_text(
        '{"heuristic_id": "a"}\n{"heuristic_id": "b", "rule": null}\n{"heuristic_id": "c", "rule": {"x": 1.50}}'
    )
    assert decode_lines(path, wire.HEURISTIC_ROWS).value["rule"].to_list() == [None, None, '{"x": 1.50}']


def test_select_makes_the_columns(path):
    path.write_text('{"task_id": "a", "wave": 2}')
    frame = decode_lines(path, wire.TASK_ROWS, [pl.col("task_id"), pl.col("wave") + 1, pl.col("line")]).value
    assert frame.to_dicts() == [{"task_id": "a", "wave": 3, "line": 1}]


def test_a_file_that_may_not_be_opened_is_named(path, monkeypatch):
    path.write_text("{}")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(InputError, match="expected a readable file, found Permission denied"):
        decode_lines(path, wire.TASK_ROWS)


@pytest.mark.parametrize("read", [decode_text, lambda path: decode_lines(path, wire.TASK_ROWS)])
def test_a_file_that_fails_while_it_is_read_is_named(path, monkeypatch, read):
    path.write_text("{}")

    class Failing(io.BytesIO):
        def read(self, *_):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(type(path), "open", lambda *_: Failing())
    with pytest.raises(InputError, match="expected a readable file, found Input/output error"):
        read(path)


def refused(path, text, read=decode_lines, shape=wire.TASK_ROWS):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read(path, shape)
    return caught.value


PATTERNS = list[wire.Pattern] | wire.Pattern


def test_an_error_is_found_at_any_depth(path):
    text = '[{"pattern_type": "p",\n "agent_assignments": {"x": [],\n "y": ["t", 4]}}]'
    error = refused(path, text, decode_document, PATTERNS)
    assert (error.line, error.field, error.found) == (3, "0.agent_assignments.y.1", "4")


def test_the_wrong_one_of_many_members_is_named(path):
    agents = ", ".join(f'"a{i}": {{"tasks": {-1 if i == 70 else i}}}' for i in range(100))
    text = f'{{"total_agents": 1, "total_tasks": 1, "success_rate": 1,\n"agent_performance": {{{agents}}}}}'
    error = refused(path, text, decode_document, wire.Population)
    assert (error.line, error.field, error.found) == (2, "agent_performance.a70.tasks", "-1")


def test_a_misspelt_field_or_word_is_named_beside_the_nearest_valid_one(path):
    misspelt = '{"task_id": "t", "agent_id": "a", "staus": "failed"}'
    error = refused(path, misspelt, shape=wire.TASK_OUTCOMES)
    assert (error.field, error.found) == ("status", "nothing; did you mean staus?")
    error = refused(path, misspelt.replace("staus", "status").replace("failed", "faild"), shape=wire.TASK_OUTCOMES)
    assert error.found == '"faild"; did you mean failed?'


def test_long_texts_are_cut_in_messages(path):
    error = refused(path, json.dumps({"task_id": "t", "wave": "w" * 1000}))
    assert error.found == '"' + "w" * 59 + "..."


@pytest.mark.parametrize("character", ["\x1b", "\0", "\x9b", "\x85", "\u2028", "\u202e", "\t"])
def test_a_message_is_one_line_of_printable_text_whatever_stands_in_the_file(path, character):
    for text in (f'{{"task_id": {character}[31m}}', json.dumps({"task_id": "t", "wave": f"a{character}b"})):
        message = str(refused(path, text))
        assert message.isprintable()
        assert "found" in message
    assert 'found "été"' in str(refused(path, '{"task_id": "t", "wave": "été"}'))


def test_half_a_surrogate_pair_is_refused_with_its_place_in_the_line(path):
    error = refused(path, '{"task_id": "t", "\\udc00": 1}')
    assert (error.line, error.expected) == (1, "one complete JSON object per line")
    assert "surrogate" in error.found and "byte" in error.found


def test_unknown_fields_are_named_by_their_path(path):
    path.write_text('[{"pattern_type": "p", "x": 1}, {"pattern_type": "q", "x": 1, "agent_assignments": {"a": []}}]')
    assert decode_document(path, PATTERNS).unknown == {"x": 2}
    performance = '"agent_performance": {"k": {"tasks": 1, "z": 0}, "l": {"z": 1}}'
    path.write_text(f'{{"total_agents": 1, "total_tasks": 1, "success_rate": 1, "a": {{"b": 1}}, {performance}}}')
    assert decode_document(path, wire.Population).unknown == {"a": 1, "agent_performance.*.z": 2}
