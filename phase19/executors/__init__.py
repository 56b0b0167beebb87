"""Executors carry a wave out: simulated, replayed from records, or live. One protocol, three files."""

from phase19.executors.protocol import Execution, Executor, outcomes

__all__ = ["Execution", "Executor", "outcomes"]
