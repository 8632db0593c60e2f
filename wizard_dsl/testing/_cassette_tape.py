"""A tape: which recorded exchange answers which request, and what is recorded beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from wizard_dsl.core.errors import SpecError
from wizard_dsl.testing._cassette_lines import Asked, Exchange
from wizard_dsl.testing._cassette_match import key_of, nearest
from wizard_dsl.testing._cassette_take import Take

if TYPE_CHECKING:
    from wizard_dsl.core.clock import Clock
    from wizard_dsl.observe.redact import Redaction

#: What is recorded: nothing, what the cassette does not hold, or everything anew.
Record = Literal["none", "missing", "all"]


class CassetteMiss(SpecError):
    """A request that the cassette holds no answer for. No policy repeats it or moves on. `difference` are the lines
    that show in what the nearest recorded request differs."""

    suggestion = "record it (--record missing), or all of it anew (--record all)"

    def __init__(self, message: str, *, where: str, difference: Sequence[str] = ()) -> None:
        super().__init__(message, where=where)
        self.difference = tuple(difference)

    def explain(self) -> str:
        """The sentence, and below it the differences."""
        return "\n".join([self.message, *(f"    {line}" for line in self.difference)])


class Played(msgspec.Struct):
    """A recorded exchange that answers a request now."""

    tape: Tape
    line: int
    exchange: Exchange

    def cut(self) -> CassetteMiss:
        """It goes on where it was given up when it was recorded: nobody knows how."""
        at = (self.exchange.cancelled or 0) / 1000
        return self.tape.missed(
            f"line {self.line} of {self.tape.name} was given up after {at:g} s when it was recorded, and is waited for "
            "longer now",
            self.exchange.target,
        )


class Tape:
    """The exchanges of one cassette in one runtime. `misses` are the requests that found no answer, whatever became of
    them above; `redactions` are the forms in which a request may have been written down, the first that of now."""

    def __init__(
        self,
        name: str,
        exchanges: Sequence[tuple[int, Exchange]],
        *,
        record: Record,
        redactions: tuple[Redaction, ...],
    ) -> None:
        self.name = name
        self.redactions = redactions
        self.misses: list[CassetteMiss] = []
        self.replayed = 0
        self.takes: list[Take] = []
        self._record = record
        self._exchanges = list(exchanges)
        self._left: dict[tuple[str, str], list[tuple[int, Exchange]]] = defaultdict(list)
        self._lines: dict[tuple[str, str], list[int]] = defaultdict(list)
        for line, each in self._exchanges:
            key = each.target, key_of(each.request)
            self._left[key].append((line, each))
            self._lines[key].append(line)

    @property
    def unused(self) -> list[int]:
        """The lines that answered nothing."""
        return sorted(line for left in self._left.values() for line, _ in left)

    def play(self, target: str, forms: Sequence[Asked], *, stream: bool) -> Played | None:
        """The next exchange for a request, one of the same form before one of the other; None where it is to be made.
        Raises CassetteMiss where there is none, and nothing is recorded."""
        for asked in forms:
            left = self._left.get((target, key_of(asked)))
            if left:
                found = next((each for each in left if each[1].stream == stream), left[0])
                left.remove(found)
                self.replayed += 1
                return Played(self, *found)
        if self._record == "none":
            raise self._no_answer(target, forms[0])
        return None

    def begin(self, clock: Clock, target: str, asked: Asked, *, stream: bool) -> Take:
        """Record an exchange that begins now."""
        take = Take(clock, target, asked, stream=stream)
        self.takes.append(take)
        return take

    def missed(self, message: str, target: str, difference: Sequence[str] = ()) -> CassetteMiss:
        """The error, remembered: what is done above with an error must not hide it."""
        miss = CassetteMiss(message, where=target, difference=difference)
        self.misses.append(miss)
        return miss

    def _no_answer(self, target: str, asked: Asked) -> CassetteMiss:
        used = self._lines.get((target, key_of(asked)))
        if used:
            lines = f"lines {', '.join(map(str, used))}" if used[1:] else f"line {used[0]}"
            said = f"this request to {target} is made once more often than in {self.name}, which answers it in {lines}"
            return self.missed(said, target)
        own = [(line, each.request) for line, each in self._exchanges if each.target == target]
        if not own:
            others = ", ".join(dict.fromkeys(each.target for _, each in self._exchanges)) or "no target at all"
            return self.missed(f"{self.name} holds no exchange with {target}, only with {others}", target)
        found = nearest(asked, own)
        assert found is not None
        line, difference = found
        said = f"{self.name} holds no answer to this request to {target}; the nearest, line {line}, differs"
        return self.missed(said, target, difference)
