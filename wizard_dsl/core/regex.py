"""Regular expressions that are compiled when they are first used.

Compiling one takes as long as importing a small module, and a program uses few of those that its modules declare.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, Final, cast

_METHODS: Final = ("findall", "finditer", "fullmatch", "match", "search", "split", "sub", "subn")


class _Regex:
    """A pattern that is not compiled yet. The first method that is asked for makes all of them its own, and it becomes
    one that is: so it costs no more from then on than the pattern itself. It can be copied and pickled as it is."""

    def __init__(self, pattern: str | bytes, flags: int) -> None:
        self.pattern = pattern
        self.flags = flags

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(f"a pattern of `regex` has no {name!r}")
        compiled = re.compile(self.pattern, self.flags)
        for each in _METHODS:
            setattr(self, each, getattr(compiled, each))
        self.__class__ = _Compiled  # type: ignore[assignment]  # of the same layout, without `__getattr__`
        return getattr(self, name)


class _Compiled:
    """A pattern with its methods."""


def regex(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """`re.compile` for what a module declares: the same methods, compiled with the first of them that is called.

    Not for what somebody else wrote, whose mistakes `re.compile` tells at once; nor for the functions of `re`, which
    take a compiled pattern only.
    """
    return cast("re.Pattern[AnyStr]", _Regex(pattern, flags))
