"""What one rendering may cost, counted and not timed, so that the same values always end the same way.

The sandbox of jinja2 keeps a template away from Python, but stops neither `'a' * 10**9` nor a loop in a loop.
Here every rendering has one allowance of work: a character made or compared costs 1, an element of a list 8, a
loop turn, a call or a filter 16. Operations that make something large pay *before* they make it, so memory
is bounded by the same number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sized
from typing import Any

import msgspec
from jinja2.runtime import Context, Undefined

#: Units of work of one rendering: about a million loop turns, or 16 Mi characters; a second or so at worst.
WORK = 1 << 24
#: A loop turn, a call, a filter.
TURN = 16
#: One element of a list or mapping.
ELEMENT = 8
#: Bits of the largest whole number that arithmetic may make.
NUMBER_BITS = 4096
#: Levels of a value that is printed, compared or used as a key.
DEPTH = 200

_SCALARS = frozenset({bool, int, float, type(None)})
_ONE_LINE = json.JSONEncoder(ensure_ascii=False)


class OverBudget(Exception):
    """The rendering wants more work than `WORK`, or makes a number of more than `NUMBER_BITS`."""


class Meter(Context):
    """A template's context that also counts its work; `work` is what is left and is set for each rendering."""

    work: int = WORK

    def charge(self, amount: int) -> None:
        """Pay for work that is about to be done; a negative amount gives nothing back.

        Raises OverBudget where the allowance does not reach.
        """
        if amount > 0:
            self.work -= amount
        if self.work < 0:
            raise OverBudget(
                f"it takes more work than a template may do ({WORK:,} units: a character counts 1, "
                f"an element {ELEMENT}, a loop turn or a call {TURN})"
            )

    def weigh(self, value: Any) -> None:
        """Pay for walking all of `value`: what printing, comparing or sorting it can cost.

        A small value can be huge when walked (`[x, x]` of `[x, x]` of …), so it is paid for on the way, and one
        of more than `DEPTH` levels is refused: hashing it would overflow the stack of the interpreter itself.
        """
        if type(value) is str:
            self.charge(len(value))
            return
        level = [value]
        for _ in range(DEPTH):
            level = [inner for each in level for inner in self._within(each)]
            if not level:
                return
        raise OverBudget(f"a value of more than {DEPTH} levels")

    def _within(self, value: Any) -> Iterable[Any]:
        """Pay for one value; what it holds."""
        if type(value) is str:
            self.charge(len(value) + 1)
        elif type(value) in _SCALARS:
            self.charge(1)
        elif isinstance(value, Sized) and isinstance(value, Iterable) and not isinstance(value, str):
            self.charge(ELEMENT * (len(value) + 1))
            return [*value, *value.values()] if isinstance(value, Mapping) else value
        else:
            self.charge(ELEMENT)
        return ()

    def printed(self, value: Any) -> str:
        """The text of a value inside text: strings as they are, structures, booleans and null as JSON."""
        kind = type(value)
        if kind is str:
            self.charge(len(value))
            return str(value)
        if kind is int or kind is float:
            return str(value)
        if isinstance(value, Undefined):
            return str(value)  # raises, except for an inline `if` without `else`, which is empty
        return self.json(value)

    def json(self, value: Any, indent: int | None = None) -> str:
        """JSON text on one line, or indented by 0 to 8 spaces. Raises TypeError where a value has no JSON."""
        self.weigh(value)
        plain = self.plain(value)
        text = _ONE_LINE.encode(plain) if indent is None else json.dumps(plain, ensure_ascii=False, indent=indent)
        self.charge(len(text))
        return text

    def plain(self, value: Any) -> Any:
        """`value` as JSON types only: views and generators become lists, structs mappings.

        Raises UndefinedError for an undefined value anywhere inside, TypeError for what JSON has no word for.
        """
        kind = type(value)
        if kind is str or kind in _SCALARS:
            return value
        self.charge(ELEMENT)
        if isinstance(value, Undefined):
            return str(value)  # as in `printed`
        if isinstance(value, str):
            return str(value)
        if isinstance(value, msgspec.Struct):
            return msgspec.to_builtins(value)
        if isinstance(value, Mapping):
            return {self._key(key): self.plain(each) for key, each in value.items()}
        if isinstance(value, Iterable) and not isinstance(value, bytes):
            return [self.plain(each) for each in value]
        raise TypeError(f"a {kind.__name__.lower()} cannot be printed or passed on; only JSON values can")

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            return key
        if type(key) in _SCALARS:
            return json.dumps(key)
        raise TypeError(f"a {type(key).__name__} cannot be a key of a JSON object")
