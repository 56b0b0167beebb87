"""Run the benchmarks: `python -m benchmarks [NAME ...] [NUMBER ...]`; each benchmark gets the numbers.

A benchmark exits with 1 if it misses an aim, or if a time lost more than 25 % against the committed one. `--commit`
replaces the committed times by those now measured: see `_figures.py`.
"""

import runpy
import sys
from pathlib import Path

from benchmarks._figures import COMMIT

HERE = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != COMMIT]
    numbers = [argument for argument in arguments if argument.isdecimal()]
    chosen = [argument for argument in arguments if not argument.isdecimal()] or NAMES
    unknown = sorted(set(chosen) - set(NAMES))
    if unknown:
        sys.exit(f"expected benchmarks among {', '.join(NAMES)}, found {', '.join(unknown)}")
    missed = []
    for name in chosen:
        print(f"== {name}\n", flush=True)
        sys.argv = [name, *numbers]
        try:
            runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
        except SystemExit as end:  # a benchmark exits with 1 if it misses an aim or lost time; go on with the next
            if end.code:
                missed.append(name)
        print()
    if missed:
        sys.exit(f"missed an aim: {', '.join(missed)}")


if __name__ == "__main__":
    main()
