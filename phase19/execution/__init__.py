"""Executors carry a wave out: simulated, replayed from records, or live. One protocol, three files."""

from phase19.execution.protocol import Execution, Executor, outcomes

__all__ = ["Execution", "Executor", "outcomes"]
