"""The files of a run directory: their names, and JSON and JSONL without NaN."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from phase19.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import polars as pl

__all__ = [
    "SUMMARY_FILE",
    "Row",
    "RunFiles",
    "agent_directories",
    "read_run",
    "write_agent_rows",
    "write_files",
    "write_json",
]

Row = dict[str, Any]

SUMMARY_FILE = "optimization_summary.json"  # its presence makes a directory a Phase 19 run
MAX_NAME_BYTES = 120  # with room to spare in the 255 bytes that file systems allow
HASHED_NAME_BYTES = 100


def agent_directories(agent_ids: Sequence[str]) -> dict[str, str]:
    """Name each agent's directory, so that no id can reach outside the run directory or meet another's.

    Parameters
    ----------
    agent_ids
        Distinct ids, any text.

    Returns
    -------
    dict
        Id to directory name, in the order given: the id percent-encoded outside `A-Z a-z 0-9 . _ -`. A name of
        more than 120 bytes, or equal to another's but for case, is its first 100 bytes, `~` and the first 8 hex
        digits of the id's SHA-256. A name does not depend on the order of the ids.

    Raises
    ------
    OutputError
        Two ids still have one name: their hashes collide.

    Examples
    --------
    >>> agent_directories(["openai/gpt-5", ".."])
    {'openai/gpt-5': 'openai%2Fgpt-5', '..': '%2E%2E'}
    """
    names = {agent: _percent_encoded(agent) for agent in agent_ids}
    sharers = Counter(name.lower() for name in names.values())
    for agent, name in names.items():
        if len(name) > MAX_NAME_BYTES or sharers[name.lower()] > 1:
            digest = hashlib.sha256(agent.encode()).hexdigest()
            names[agent] = f"{name[:HASHED_NAME_BYTES]}~{digest[:8]}"
    if len({name.lower() for name in names.values()}) < len(names):
        raise OutputError("agent ids: expected ids whose directory names differ, found two with the same hash")
    return names


def _percent_encoded(text: str) -> str:
    encoded = quote(text, safe="").replace("~", "%7E")
    return encoded.replace(".", "%2E") if text in {".", ".."} else encoded


def write_json(path: Path, document: object) -> None:
    """Write one JSON document: UTF-8, indented, keys in their order, a newline at the end.

    Raises
    ------
    ValueError
        The document holds NaN or Infinity, which are not JSON.
    """
    import msgspec

    # The standard library's encoder refuses NaN where msgspec writes null; msgspec's formatter is the fast one.
    compact = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    path.write_bytes(msgspec.json.format(compact.encode(), indent=2) + b"\n")


def write_files(directory: Path, files: Mapping[str, pl.DataFrame | Mapping[str, Any]]) -> list[Path]:
    """Write frames as JSONL and mappings as JSON into a directory, each file whole or not at all.

    Returns
    -------
    list of Path
        The files, in the order given.
    """
    import polars as pl

    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        partial = directory / f".{name}.partial"
        if isinstance(content, pl.DataFrame):
            content.write_ndjson(partial)
        else:
            write_json(partial, content)
        partial.replace(directory / name)
    return [directory / name for name in files]


def write_agent_rows(
    frame: pl.DataFrame, staging: Path, file_name: str, *, waves: Sequence[int], directories: Mapping[str, str]
) -> None:
    """Write `wave_N/AGENT/<file_name>`: one JSONL a wave and agent, empty where the agent has no rows.

    Parameters
    ----------
    frame
        Rows with the columns `wave` and `agent_id` among the others; columns and rows keep their order.
    staging
        The directory that :func:`publish` yields.
    file_name
        Name of every file.
    waves
        The run's waves.
    directories
        Agent id to directory name, for every agent of the run.

    Raises
    ------
    ValueError
        A number is NaN or infinite, which are not JSON, or a row is of an unknown wave or agent.
    """
    import polars as pl
    from polars import selectors

    not_finite = [column.name for column in frame.select(selectors.float()) if not column.is_finite().all()]
    if not_finite:
        raise ValueError(f"{file_name}: columns {not_finite} hold NaN or Infinity")
    paths = {
        (wave, agent): f"wave_{wave}/{directory}/{file_name}"
        for wave in waves
        for agent, directory in directories.items()
    }
    with_rows = set(frame.select("wave", "agent_id").unique().rows())
    if not with_rows <= paths.keys():
        raise ValueError(f"{file_name}: rows of an unknown wave and agent {min(with_rows - paths.keys())}")
    for key in paths.keys() - with_rows:
        path = staging / paths[key]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for wave in waves:
        for agent, text in _texts(frame.filter(pl.col("wave") == wave)):
            path = staging / paths[wave, agent]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)


def _texts(rows: pl.DataFrame) -> Iterator[tuple[str, memoryview]]:
    """Yield each agent with its rows as JSONL.

    All are encoded at once and cut where lines end, which is quick; a partitioned sink of Polars forgets rows where it
    has to open a file a second time, as it does in large runs.
    """
    import numpy as np

    rows = rows.sort("agent_id", maintain_order=True)
    text = io.BytesIO()
    rows.write_ndjson(text)
    ends = np.flatnonzero(np.frombuffer(text.getbuffer(), np.uint8) == ord("\n")) + 1
    agents = rows["agent_id"].rle().struct.unnest()
    starts = [0, *ends[agents["len"].cum_sum().to_numpy() - 1].tolist()]
    for agent, (start, end) in zip(agents["value"], pairwise(starts), strict=True):
        yield agent, text.getbuffer()[start:end]


# What the report shows of each file.
_OVERALL = (
    "expected_success_rate actual_success_rate expected_throughput actual_throughput prediction_accuracy "
    "schedule_adherence"
)
_DOCUMENTS = {
    "optimization_summary": "timestamp total_waves_optimized total_agents total_tasks optimization_strategy "
    "overall_metrics optimization_results run_id seed executor simulated inputs task_counts forecast_scores "
    "yardsticks solver",
    "system_health": "overall_health_score health_status component_scores",
    "heuristic_weights": "",
}
_ROWS = {
    "schedule_comparisons": "wave planned_success_rate actual_success_rate planned_throughput actual_throughput "
    "accuracy_score",
    "optimization_metrics": "metric_name status value target_value threshold_min threshold_max",
    "scheduling_anomalies": "anomaly_type severity description recommendation",
    "learning_signals": "type description recommendation confidence",
    "safety_gate_decisions": "decision live_decision",
}
_NEWER = {  # runs of before have none
    "anomaly_tests": "anomaly_type status unit effect effect_low effect_high detectable_effect",
    "heuristic_updates": "heuristic_id previous_weight weight reason",
    "unassigned_tasks": "task_id wave reason",
}


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What the report reads of a run directory; each field is the file of that name."""

    optimization_summary: Row
    system_health: Row
    heuristic_weights: Row
    schedule_comparisons: list[Row]
    optimization_metrics: list[Row]
    scheduling_anomalies: list[Row]
    learning_signals: list[Row]
    safety_gate_decisions: list[Row]
    anomaly_tests: list[Row]
    heuristic_updates: list[Row]
    unassigned_tasks: list[Row]


def read_run(run_dir: Path) -> RunFiles:
    """Read the files of a run that the report shows.

    Raises
    ------
    OutputError
        `run_dir` is no Phase 19 run, or a file of it cannot be read or lacks a key that the report shows.
    """
    if not (run_dir / SUMMARY_FILE).is_file():
        raise OutputError(f"{run_dir}: expected a Phase 19 run, found no {SUMMARY_FILE} in it")
    documents = {name: _read(run_dir / f"{name}.json") for name in _DOCUMENTS}
    rows = {name: _read(run_dir / f"{name}.jsonl") for name in _ROWS}
    newer = {name: _read(run_dir / f"{name}.jsonl") if (run_dir / f"{name}.jsonl").exists() else [] for name in _NEWER}
    for name, keys in _DOCUMENTS.items():
        _check_keys(run_dir / f"{name}.json", [documents[name]], keys)
    _check_keys(run_dir / SUMMARY_FILE, [documents["optimization_summary"]["overall_metrics"]], _OVERALL)
    for name, keys in {**_ROWS, **_NEWER}.items():
        _check_keys(run_dir / f"{name}.jsonl", {**rows, **newer}[name], keys)
    return RunFiles(**documents, **rows, **newer)


def _check_keys(path: Path, objects: Sequence[object], keys: str) -> None:
    wanted = keys.split()
    for found in objects:
        missing = [key for key in wanted if key not in found] if isinstance(found, dict) else ["object"]
        if missing:
            raise OutputError(f"{path}: expected the output of a Phase 19 run, found no {', '.join(missing)} in it")


def _read(path: Path) -> Any:
    try:
        text = path.read_text("utf-8")
        return [json.loads(line) for line in text.split("\n") if line] if path.suffix == ".jsonl" else json.loads(text)
    except OSError as problem:
        raise OutputError(f"{path}: cannot be read: {problem.strerror}") from problem
    except ValueError as problem:
        raise OutputError(f"{path}: expected JSON, found {problem}") from problem
