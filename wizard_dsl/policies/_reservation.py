"""How many LLM tokens a call reserves where tokens are limited, and how many it turns out to have used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wizard_dsl.core.errors import RateLimitExceeded
from wizard_dsl.core.messages import Completion, Request, estimate_tokens, usage_seen
from wizard_dsl.core.units import Rate, show_rate


class Reservation:
    """What the calls of one node reserve: the estimate of the prompt, and for the answer `max_tokens` (`params` win
    over the request's), else `max_output`, else `estimate`. An embedding has no answer to reserve for."""

    __slots__ = ("_estimate", "_limit", "_max_output", "_params", "_path", "_smallest", "_who")

    def __init__(
        self,
        limit: str,
        windows: Iterable[Rate],
        estimate: int,
        *,
        path: str,
        who: str,
        params: Mapping[str, Any] | None = None,
        max_output: int | None = None,
    ) -> None:
        self._limit = limit
        self._smallest = min(windows, key=lambda rate: rate.amount)
        self._estimate = estimate
        self._path = path
        self._who = who
        self._params = params or {}
        self._max_output = max_output

    def tokens(self, request: Request) -> int:
        """Raises RateLimitExceeded where no window could ever hold so many."""
        prompt = estimate_tokens(request.size())
        answer = 0 if request.kind == "embed" else self._answer(request)
        if prompt + answer > int(self._smallest.amount):
            raise RateLimitExceeded(
                f"{self._limit} of {self._who}: the call reserves {prompt + answer} tokens, {prompt} for its prompt "
                f"and {answer} for its answer, more than {show_rate(self._smallest)} ever allows",
                limit=self._limit,
                where=self._path,
                suggestion="lower max_tokens or shorten the prompt, or raise the limit",
            )
        return prompt + answer

    def _answer(self, request: Request) -> int:
        asked = self._params.get("max_tokens", request.params.get("max_tokens"))
        if type(asked) is int and asked > 0:
            return asked
        return self._max_output or self._estimate


def used(request: Request, seen: Completion | None, *, whole: bool = False) -> int:
    """Tokens, prompt and answer, of what was seen: as the provider reports them, else as sizes tell; none where no
    output was seen of an answer that is not whole."""
    if seen is None or not (whole or seen.usage or seen.is_answer or seen.reasoning):
        return 0
    usage = usage_seen(request, seen)
    return usage.input_tokens + usage.output_tokens
