"""Phase 19 of a multi-agent system: forecast outcomes, assign tasks to agents, schedule, execute and learn.

Examples
--------
>>> import phase19
>>> result = phase19.run("outputs/phase18", seed=7)
>>> round(result["system_health_score"], 1)
89.6
"""

__version__ = "0.1.0"


# __init__.pyi lists the public names. Each is imported on first use, so that the command starts fast.
def _modules() -> dict[str, str]:
    import ast
    from pathlib import Path

    lines = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8")).body
    return {name.name: str(line.module) for line in lines if isinstance(line, ast.ImportFrom) for name in line.names}


def __getattr__(name: str) -> object:
    modules = _modules()
    if name == "__all__":
        return [*modules, "__version__"]
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f".{modules[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted([*_modules(), "__version__"])
