"""How far a long command is: one line on a terminal's stderr, nothing elsewhere."""

from __future__ import annotations

import sys

import click


class Progress:
    """`3 of 20 runs`, in place of what it said before."""

    def __init__(self, total: int, noun: str) -> None:
        self._total = total
        self._noun = noun
        self._done = 0
        self._shown = sys.stderr.isatty()

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        self._show()

    def at(self, done: int) -> None:
        """So many are done; of very many, each hundredth is shown."""
        shown, self._done = self._done * 100 // self._total, done
        if done * 100 // self._total > shown:
            self._show()

    def _show(self) -> None:
        if self._shown:
            click.echo(f"\r{self._done:,} of {self._total:,} {self._noun}", nl=False, err=True)

    def clear(self) -> None:
        """Take the line away, before something else is said."""
        if self._shown and self._done:
            click.echo("\r\x1b[K", nl=False, err=True)
