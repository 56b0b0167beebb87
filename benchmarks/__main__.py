"""Run the benchmarks: `python -m benchmarks [NAME ...] [NUMBER ...]`; each benchmark gets the numbers."""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def main() -> None:
    numbers = [argument for argument in sys.argv[1:] if argument.isdecimal()]
    chosen = [argument for argument in sys.argv[1:] if not argument.isdecimal()] or NAMES
    unknown = sorted(set(chosen) - set(NAMES))
    if unknown:
        sys.exit(f"expected benchmarks among {', '.join(NAMES)}, found {', '.join(unknown)}")
    missed = []
    for name in chosen:
        print(f"== {name}\n", flush=True)
        sys.argv = [name, *numbers]
        try:
            runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
        except SystemExit as end:  # a benchmark exits with 1 if it misses an aim; go on with the next
            if end.code:
                missed.append(name)
        print()
    if missed:
        sys.exit(f"missed an aim: {', '.join(missed)}")


if __name__ == "__main__":
    main()
