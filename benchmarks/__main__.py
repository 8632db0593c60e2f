"""python -m benchmarks [NAME…] [--compare old.json]: measure, print a table, write JSON."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.compare import comparison, earlier
from benchmarks.harness import asked, machine, table, write

QUESTIONS = (
    "headroom",
    "sequential",
    "throughput",
    "stream",
    "cache_hit",
    "failover",
    "breaker_open",
    "in_flight",
    "rows",
    "startup",
    "simulate",
    "node_chain",
    "scale",
    "memory",
    "soak",
    "soundness",
    "weakened",
    "tightness",
    "mutations",
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(QUESTIONS))
    parser.add_argument("--compare", type=Path, metavar="OLD", help="a file or folder of earlier results")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in QUESTIONS]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(QUESTIONS)}")
    try:
        old = [] if given.compare is None else earlier(given.compare)
    except ValueError as error:
        parser.error(str(error))
    rows = []
    for name in given.names or QUESTIONS:
        asked.set(name)
        measured = import_module(f"benchmarks.{name}").main()
        print(f"{name}: {write(name, measured)}", file=sys.stderr)
        rows += measured
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(table(rows))
    if old:
        print(f"\n{comparison(old, rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
