"""The result of a run: the same object for Python, `--format json` and every row of a batch.

Keys never disappear, they become null. Times are seconds since the start of the run, rounded to microseconds.
`schemas/result.schema.json` is generated from these structs.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from wizard_dsl.core.messages import Confidence, Usage, weakest
from wizard_dsl.core.run import Attempt

#: What expressions about a run see besides its inputs; see observe.facts.
FACTS: Final = ("text", "json", "steps", "served_by", "attempts", "elapsed", "cost", "error", "breakers")


class PipelineRow(msgspec.Struct, frozen=True):
    """Which file ran; `hash` changes with anything in the resolved file."""

    name: str
    hash: str


class Cost(msgspec.Struct, frozen=True):
    """US dollars; null where no price is known. Confidence is that of the least certain attempt."""

    usd: float | None
    confidence: Confidence


class UsageRow(msgspec.Struct, frozen=True):
    input_tokens: int
    output_tokens: int
    confidence: Confidence


class AttemptRow(msgspec.Struct, frozen=True):
    """One exchange with one target. `kind` is ok or an error kind; `waited` is what was slept for it."""

    target: str
    step: str
    item: int | None
    kind: str
    status: int | None
    started: float
    elapsed: float
    first_chunk: float | None
    usage: UsageRow | None
    cost: float | None
    confidence: Confidence
    waited: float
    hedge: bool
    retry_of: int | None
    message: str | None


class ErrorRow(msgspec.Struct, frozen=True):
    kind: str
    message: str
    suggestion: str | None
    retryable: bool
    retry_after: float | None
    where: str | None
    marks: list[str]


class ToolCallRow(msgspec.Struct, frozen=True):
    """A call the model asks for; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class ItemRow(msgspec.Struct, frozen=True):
    """One item of a `for_each` step."""

    text: str
    json: Any
    skipped: bool
    error: ErrorRow | None


class StepRow(msgspec.Struct, frozen=True):
    """One step. `position` is the place in the chain of the target that answered, 0 being the first. Of a stored
    answer, `saved` is the usage that it once took, `age` the seconds since then; `stale`: its time was over."""

    text: str
    json: Any
    finish_reason: str | None
    tool_calls: list[ToolCallRow]
    items: list[ItemRow] | None
    served_by: str | None
    position: int | None
    cached: bool
    shared: bool
    saved: UsageRow | None
    stale: bool
    age: float | None
    skipped: bool
    lost: list[str]
    usage: UsageRow
    cost: Cost
    spec_version: str | None
    api_version: str | None
    compatibility: str | None
    first_chunk: float | None
    tokens_per_second: float | None
    elapsed: float
    attempts: list[AttemptRow]
    error: ErrorRow | None


class Result(msgspec.Struct, frozen=True):
    """What a run made. `text` is the text of `output`, or of the last step; `partial`: it was cut short."""

    run_id: str
    pipeline: PipelineRow
    ok: bool
    text: str
    output: Any
    served_by: str | None
    elapsed: float
    tokens_per_second: float | None
    cost: Cost
    usage: UsageRow
    attempts: list[AttemptRow]
    error: ErrorRow | None
    partial: bool
    steps: Annotated[dict[str, StepRow], Meta(description="by step name, in the order of the program")]

    def to_json(self) -> dict[str, Any]:
        """Plain data, as `schemas/result.schema.json` describes it: what `encode` says, read again, so that a number
        that JSON does not know is null here too."""
        plain: dict[str, Any] = msgspec.json.decode(self.encode())
        return plain

    def encode(self) -> bytes:
        """One line of JSON, the same bytes for the same run."""
        return msgspec.json.encode(self)


def result_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a result; `schemas/result.schema.json` holds it."""
    schema = msgspec.json.schema(Result)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The result of a Wizard run",
        **schema,
    }


def seconds(value: float) -> float:
    """Rounded to microseconds: what floating-point sums of times are worth."""
    return round(value, 6)


def attempt_row(attempt: Attempt, now: float) -> AttemptRow:
    """The row of an attempt; one that still runs is shown as cancelled, as far as it came (`now`: run time)."""
    usage = attempt.usage
    return AttemptRow(  # by place, which takes a fifth of the time
        attempt.target,
        attempt.step,
        attempt.item,
        attempt.kind or "cancelled",
        attempt.status,
        seconds(attempt.started),
        seconds(attempt.elapsed if attempt.elapsed is not None else now - attempt.started),
        None if attempt.first_chunk is None else seconds(attempt.first_chunk),
        None if usage is None else usage_row(usage),
        attempt.cost,
        attempt.confidence,
        seconds(attempt.waited) if attempt.waited else 0.0,
        attempt.hedge,
        attempt.retry_of,
        attempt.message,
    )


def usage_row(usage: Usage) -> UsageRow:
    return UsageRow(usage.input_tokens, usage.output_tokens, usage.confidence)


def total_usage(attempts: list[AttemptRow]) -> UsageRow:
    """The sum over attempts; its confidence is that of the least certain one that used anything."""
    confidence: Confidence = "reported"
    input_tokens = output_tokens = 0
    for attempt in attempts:
        row = attempt.usage
        if row is not None:
            if row.confidence != confidence:
                confidence = weakest(confidence, row.confidence)
            input_tokens += row.input_tokens
            output_tokens += row.output_tokens
    return UsageRow(input_tokens, output_tokens, confidence)


def total_cost(attempts: list[AttemptRow]) -> Cost:
    """The sum over attempts; null where an answered attempt has no price."""
    confidence: Confidence = "reported"
    usd: float | None = 0.0
    for attempt in attempts:
        if attempt.confidence != confidence:
            confidence = weakest(confidence, attempt.confidence)
        if attempt.cost is not None and usd is not None:
            usd += attempt.cost
        elif attempt.kind == "ok":
            usd = None
    return Cost(None if usd is None else round(usd, 12), confidence)


def speed(attempts: list[AttemptRow]) -> float | None:
    """Output tokens a second of the last answered attempt, from its first content where it was streamed."""
    for attempt in reversed(attempts):
        if attempt.kind == "ok" and attempt.usage is not None and attempt.usage.output_tokens:
            begun = attempt.started if attempt.first_chunk is None else attempt.first_chunk
            took = attempt.started + attempt.elapsed - begun
            return round(attempt.usage.output_tokens / took, 3) if took > 0 else None
    return None


class Totals(msgspec.Struct, frozen=True):
    """What attempts come to together: their sums, and the first chunk and the speed of the last that answered."""

    usage: UsageRow = UsageRow(0, 0, "reported")
    cost: Cost = Cost(0.0, "reported")
    first_chunk: float | None = None
    speed: float | None = None


_NONE: Final = Totals()


def totals(attempts: list[AttemptRow]) -> Totals:
    """Of a stored answer, nothing."""
    if not attempts:
        return _NONE
    first = [row.first_chunk for row in attempts if row.kind == "ok" and row.first_chunk is not None]
    return Totals(total_usage(attempts), total_cost(attempts), first[-1] if first else None, speed(attempts))
