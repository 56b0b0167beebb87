"""Phase 19 of a multi-agent system: forecast outcomes, assign tasks to agents, schedule, execute and learn.

Examples
--------
>>> import phase19
>>> result = phase19.run(input="outputs/phase18")  # doctest: +SKIP
>>> result.summary["system_health_score"]  # doctest: +SKIP
"""

import ast
from importlib import import_module
from pathlib import Path

__version__ = "0.1.0"

# __init__.pyi lists the public names. Each is imported on first use, so that `--help` starts fast.
_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
_MODULES = {name.name: line.module for line in _STUB.body if isinstance(line, ast.ImportFrom) for name in line.names}
__all__ = [*_MODULES, "__version__"]  # noqa: PLE0604 - names are strings


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
