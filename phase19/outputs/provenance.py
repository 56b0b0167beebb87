"""What a run took over from the run before it, and the thresholds that replaced the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phase19.figures import plural

if TYPE_CHECKING:
    from phase19.inputs.history import Previous
    from phase19.inputs.thresholds_file import Thresholds

__all__ = ["lineage", "lineage_sentences"]


def lineage(previous: Previous | None, thresholds: Thresholds) -> dict[str, Any]:
    """Keys of a run's summary: `previous`, null without `--previous`, and `thresholds`."""
    taken = previous and {
        "run_id": previous.run_id,
        "simulated": previous.is_simulated,
        "attempt_count": previous.attempts.height,
        "weight_count": len(previous.weights),
        "convergence_row_count": previous.convergence.height,
    }
    return {"previous": taken, "thresholds": {"file": thresholds.file, "changed": dict(thresholds.changed)}}


def lineage_sentences(summary: dict[str, Any]) -> list[str]:
    """What a reader of a run's summary should know of where it comes from; nothing where there is nothing to say."""
    said = []
    previous, thresholds = summary.get("previous"), summary.get("thresholds") or {"changed": {}}
    if previous is not None:
        rows = plural(previous["convergence_row_count"], "wave")
        if previous["simulated"]:
            said.append(
                f"Run {previous['run_id']} before it was simulated and taught nothing; {rows} of its past shown."
            )
        else:
            said.append(
                f"Learned from run {previous['run_id']}: {plural(previous['attempt_count'], 'attempt')}, "
                f"{plural(previous['weight_count'], 'heuristic weight')}; {rows} of its past shown."
            )
    if thresholds["changed"]:
        changed = ", ".join(f"{name} = {value:g}" for name, value in thresholds["changed"].items())
        said.append(f"Thresholds of {thresholds['file']}: {changed}.")
    return said
