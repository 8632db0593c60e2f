"""The lease of a flight that processes share: who runs it and until when, and, for a moment after it, how it ended.

A leader that dies loses its lease when it ends; what it left behind is taken over by whoever asks next. How a flight
ended is told to those alone who followed it, so an error is shared once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from wizard_dsl.core.state import Arguments, Decision


def decide(row: Any, now: float, arguments: Arguments) -> tuple[Any, Any, float]:
    """`what` is take, renew or end, for `owner`; the reply is a word and its text:

    lead, the flight that ended just now    the lease is the owner's, for `lasts` seconds
    wait, its owner                         another one's flight is under way
    answer | error | alone, value           how the flight that `following` led has ended
    held | ended | lost                     whether the owner still had its lease
    """
    me, what = arguments["owner"], arguments["what"]
    owner, ends, past, kept, kind, value = row or ("", 0, "", 0, "", "")
    if now >= ends:
        owner, ends = "", 0
    if now >= kept:
        past, kept, kind, value = "", 0, "", ""
    if what == "take" and past and past == arguments["following"]:
        reply = [kind, value]
    elif what == "take" and owner and owner != me:
        reply = ["wait", owner]
    elif what == "take":
        owner, ends = me, now + arguments["lasts"]
        reply = ["lead", past]
    elif owner != me:
        reply = ["lost", ""]
    elif what == "renew":
        ends = now + arguments["lasts"]
        reply = ["held", ""]
    else:
        owner, ends = "", 0
        if arguments["kind"]:
            past, kept, kind, value = me, now + arguments["lasts"], arguments["kind"], arguments["value"]
        reply = ["ended", ""]
    keep = max(ends, kept) - now
    return [owner, ends, past, kept, kind, value] if keep > 0 else None, reply, max(0.0, keep)


LEASE: Final = Decision("lease", Path(__file__).parent / "lua" / "lease.lua", decide, members=False)
