"""python -m benchmarks [NAME…]: measure, print a table, write JSON."""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks.harness import machine, table, write

QUESTIONS = ("headroom", "sequential", "stream", "cache_hit", "startup", "simulate", "soundness", "mutations")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in QUESTIONS]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}; there are {', '.join(QUESTIONS)}", file=sys.stderr)
        return 2
    rows = []
    for name in names or QUESTIONS:
        measured = import_module(f"benchmarks.{name}").main()
        path = write(name, measured)
        print(f"{name}: {path}", file=sys.stderr)
        rows += measured
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
