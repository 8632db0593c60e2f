"""python -m benchmarks.peers [NAME…] [--peers openai,litellm] [--compare OLD]: other projects beside us.

What is missing is installed into `benchmarks/.peers/`. Prints a table and writes `results/peers_NAME.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from benchmarks.compare import comparison, earlier
from benchmarks.harness import Row, machine, table, write
from benchmarks.peers.driver import Program, Unable, module
from benchmarks.peers.environments import NotInstalled, Pin, environment, install, node_program, pins, python, versions
from benchmarks.peers.evaluations import Cases, Rows, Version
from benchmarks.peers.found import BARE, RAW, WIZARD, Found, Gap
from benchmarks.peers.questions import QUESTIONS
from benchmarks.startup import IMPORTS, RAW_IMPORTS


class Peers:
    """The peers that are there: how to start them, those that evaluate apart, and what they consist of; and why the
    others are not there."""

    def __init__(self, wanted: dict[str, Pin]) -> None:
        self.programs: dict[str, Program] = {
            RAW: module("raw", sys.executable, imports=RAW_IMPORTS),
            WIZARD: module("wizard", sys.executable, imports=IMPORTS),
            BARE: module("wizard", sys.executable, "bare"),
        }
        self.evaluators: dict[str, Program] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.missing: dict[str, str] = {}
        for name, pin in wanted.items():
            try:
                self._add(name, pin)
            except NotInstalled as reason:
                self.missing[name] = str(reason)
                print(f"{name} is left out, it could not be installed: {reason}", file=sys.stderr)

    def _add(self, name: str, pin: Pin) -> None:
        home = install(name, pin)
        self.versions[name] = versions(home, pin)
        if pin.imports:
            self.programs[name] = module(name, python(home), env=environment(pin), imports=pin.imports)
        if pin.npm:
            self.evaluators[name] = Program(command=node_program(home, name), env=environment(pin))


def behind(rows: list[Row]) -> list[str]:
    """A line for each peer that is ahead of us where both have a figure."""
    lines = []
    ours = {each.question: each for each in rows if each.subject == WIZARD}
    for each in rows:
        mine = ours.get(each.question)
        if each.subject in (WIZARD, BARE) or mine is None or mine.ratio is None or each.ratio is None:
            continue
        sign = 1 if each.better == "lower" else -1
        if sign * each.ratio < sign * mine.ratio:
            lines.append(f"- {each.question}: {each.subject} {each.ratio:.3g} x, {WIZARD} {mine.ratio:.3g} x")
    return lines


def report(rows: list[Row], gaps: list[Gap], peers: Peers, wanted: dict[str, Pin]) -> str:
    """Everything for the reader."""
    lines = [", ".join(f"{name} {value}" for name, value in machine().items())]
    lines += [f"{name}: {', '.join(wanted[name].pip + wanted[name].npm)}" for name in peers.versions]
    lines += [f"{name} is left out, it could not be installed: {reason}" for name, reason in peers.missing.items()]
    lines += ["", table(rows), "", "No figure:", ""]
    lines += [f"- {gap.question}, {gap.subject}: {gap.reason}" for gap in gaps] or ["- none is missing"]
    lines += ["", "Behind:", "", *(behind(rows) or ["- nowhere"])]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    known = pins()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(QUESTIONS))
    parser.add_argument("--peers", default="", metavar="PEERS", help=f"only these, with commas: {', '.join(known)}")
    parser.add_argument("--compare", type=Path, metavar="OLD", help="a file or folder of earlier results")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in QUESTIONS]:
        parser.error(f"there is no question {unknown[0]!r}; there are {', '.join(QUESTIONS)}")
    asked = [name for name in given.peers.split(",") if name] or [*known]
    if unknown := [name for name in asked if name not in known]:
        parser.error(f"there is no peer {unknown[0]!r}; there are {', '.join(known)}")
    try:
        old = [] if given.compare is None else earlier(given.compare)
    except ValueError as error:
        parser.error(str(error))
    return run(given.names or [*QUESTIONS], {name: known[name] for name in asked}, old)


async def asked(name: str, peers: Peers) -> Found:
    """What comes of a question."""
    question = QUESTIONS[name]
    whole = isinstance(question, Version | Cases | Rows)
    return await question.measured(peers.evaluators if whole else peers.programs)


def run(names: list[str], wanted: dict[str, Pin], old: list[Row]) -> int:
    """Ask all questions and print the report. Returns 1 where even raw aiohttp has no figure."""
    peers = Peers(wanted)
    rows: list[Row] = []
    gaps: list[Gap] = []
    for name in names:
        try:
            found = asyncio.run(asked(name, peers))
        except Unable as reason:
            print(reason, file=sys.stderr)
            return 1
        more = {"gaps": found.gaps, "peers": peers.versions, "not_installed": peers.missing}
        print(f"{name}: {write(f'peers_{name}', found.rows, **more)}", file=sys.stderr)
        rows += found.rows
        gaps += found.gaps
    print(report(rows, gaps, peers, wanted))
    if old:
        print(f"\n{comparison(old, rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
