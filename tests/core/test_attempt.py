"""The innermost frame: what cuts an attempt, and how its row of the ledger ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wizard_dsl.core.errors import AttemptTimeout, DeadlineExceeded, MalformedResponse, WizardError
from wizard_dsl.core.run import Attempt
from wizard_dsl.core.target import Facts, Prices
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import ScriptedChain, build_chain

FACTS = {"a": Facts(prices=Prices(input=1.0, output=2.0))}


async def asked(item: Any, **run: Any) -> tuple[Attempt, WizardError | None]:
    """One attempt on target `a`, read to its end: its row, and what it raised."""
    chain: ScriptedChain = build_chain({"a": [item]}, facts=FACTS)
    error: WizardError | None = None
    try:
        async with await chain.ask(**run) as response:
            await response.read()
    except WizardError as failure:
        error = failure
    (row,) = chain.attempts
    return row, error


def attempt(item: Any, **run: Any) -> tuple[Attempt, WizardError | None]:
    return virtual.run(asked(item, **run))


HANG = {"reply": "late", "delay": "1h"}


@pytest.mark.parametrize(
    ("limits", "kind", "elapsed"),
    [
        ({"total": 5.0, "deadline": 9.0}, "timeout", 5.0),
        ({"total": 9.0, "deadline": 5.0}, "deadline", 5.0),
        ({"total": 5.0, "deadline": 5.0}, "deadline", 5.0),
        ({"deadline": 5.0}, "deadline", 5.0),
        ({"first_chunk": 2.0, "total": 5.0, "commit": "content"}, "timeout", 2.0),
        ({"first_chunk": 2.0, "total": 5.0, "commit": "end"}, "timeout", 5.0),
        ({"first_chunk": 6.0, "total": 5.0, "commit": "content"}, "timeout", 5.0),
    ],
)
def test_what_is_due_first_cuts_an_attempt_and_the_deadline_wins_a_tie(
    limits: dict[str, Any], kind: str, elapsed: float
) -> None:
    row, error = attempt(HANG, **limits)
    assert isinstance(error, DeadlineExceeded if kind == "deadline" else AttemptTimeout)
    assert (row.kind, row.elapsed) == (kind, elapsed)
    assert (row.cost, row.confidence) == (None, "unknown")


@pytest.mark.parametrize("limits", [{"total": 5.0}, {"deadline": 5.0}, {"first_chunk": 5.0, "commit": "content"}])
def test_an_answer_on_the_very_instant_of_a_limit_is_an_answer(limits: dict[str, Any]) -> None:
    row, error = attempt({"reply": "on time", "delay": "5s"}, **limits)
    assert error is None
    assert (row.kind, row.elapsed, row.status) == ("ok", 5.0, 200)


@pytest.mark.parametrize(
    ("limits", "kind", "seen"),
    [
        ({"idle": 0.5}, "mid_stream", 1),
        ({"total": 2.5}, "mid_stream", 3),
        ({"deadline": 1.5}, "deadline", 2),
        ({"idle": 1.0, "total": 3.0, "deadline": 3.0}, "ok", 4),
    ],
)
def test_limits_go_on_after_the_commit_point_and_what_was_seen_is_booked(
    limits: dict[str, Any], kind: str, seen: int
) -> None:
    row, error = attempt({"reply": "a b c d", "chunk_every": "1s"}, commit="content", **limits)
    assert row.kind == kind
    assert row.first_chunk == 0
    assert row.usage is not None
    assert row.cost is not None
    if error is None:
        assert row.confidence == "reported"
    else:
        assert error.partial is not None
        assert len(error.partial.text.split()) == seen
        assert row.confidence == "unknown"
        assert row.usage.confidence == "estimated"


@pytest.mark.parametrize(
    ("item", "kind", "cost", "confidence"),
    [
        ({"reply": "x", "usage": {"input_tokens": 1_000_000, "output_tokens": 500_000}}, "ok", 2.0, "reported"),
        ({"refuse": True}, "connect", 0.0, "reported"),
        (401, "auth", 0.0, "reported"),
        (503, "server", 0.0, "estimated"),
        ({"reply": "a b", "cut_after": 1}, "server", None, "unknown"),
        ({"reply": "", "usage": {"input_tokens": 1_000_000}}, "malformed_response", 1.0, "reported"),
    ],
)
def test_what_an_attempt_cost_and_how_sure_that_is(item: Any, kind: str, cost: float, confidence: str) -> None:
    row, _ = attempt(item)
    assert (row.kind, row.cost, row.confidence) == (kind, cost, confidence)


def test_an_empty_answer_that_claims_to_have_stopped_is_garbage_unless_it_is_allowed() -> None:
    for commit in ("content", "end"):
        row, error = attempt("", commit=commit)
        assert isinstance(error, MalformedResponse)
        assert (row.kind, error.attempt) == ("malformed_response", 0)
    assert attempt("", allow_empty=True)[0].kind == "ok"
    assert attempt({"reply": "", "finish_reason": "length"})[0].kind == "ok"


def test_who_is_cancelled_from_outside_is_cancelled_also_on_the_instant_of_a_limit() -> None:
    async def main() -> None:
        chain = build_chain({"a": [HANG]})
        task = asyncio.create_task(chain.answer(total=5.0))
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (row,) = chain.attempts
        assert row.kind == "cancelled"

    virtual.run(main())


def test_a_stream_that_is_left_early_is_booked_as_cancelled_with_what_was_seen() -> None:
    async def main() -> None:
        chain = build_chain({"a": [{"reply": "a b c", "chunk_every": "1s"}]}, facts=FACTS)
        async with await chain.ask(commit="content"):
            pass
        (row,) = chain.attempts
        assert (row.kind, row.confidence) == ("cancelled", "unknown")
        assert row.usage is not None

    virtual.run(main())
