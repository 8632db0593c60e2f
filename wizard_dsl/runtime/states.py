"""What has become of the steps of a run: as templates see it, and as it stands in the result."""

from __future__ import annotations

from typing import Any

import msgspec

from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.result import AttemptRow, ErrorRow, ItemRow, StepRow, ToolCallRow, Totals, seconds, usage_row
from wizard_dsl.core.step import StepValue


class StepState(msgspec.Struct):
    """What has become of a step, or of an item of it, so far. `items` is a list where the step has `for_each`; an
    item that was not begun counts as skipped. Times are loop times; `ended` is None while it runs."""

    value: StepValue = StepValue()
    skipped: bool = False
    error: ErrorRow | None = None
    items: list[StepState] | None = None
    started: float = 0.0
    ended: float | None = None

    def view(self) -> dict[str, Any]:
        """What templates see."""
        usage = self.value.usage
        seen: dict[str, Any] = {
            "text": self.value.text,
            "json": self.value.json,
            "items": [item.item_view() for item in self.items] if self.items else [],
            "usage": {
                "input_tokens": usage.input_tokens if usage else 0,
                "output_tokens": usage.output_tokens if usage else 0,
            },
            "served_by": self.value.served_by,
            "skipped": self.skipped,
        }
        return seen

    def row(self, attempts: list[AttemptRow], sums: Totals, now: float, api_version: str | None) -> StepRow:
        """How it stands in a result; its `attempts` come to `sums`."""
        value = self.value
        calls = value.tool_calls
        return StepRow(  # by place, which takes a fifth of the time
            value.text,
            value.json,
            value.finish_reason,
            [ToolCallRow(call.id, call.name, call.arguments) for call in calls] if calls else [],
            None if self.items is None else [item.item_row() for item in self.items],
            value.served_by,
            value.position,
            value.cached,
            value.shared,
            None if value.saved is None else usage_row(value.saved),
            value.stale,
            None if value.age is None else seconds(value.age),
            self.skipped,
            list(value.losses),
            sums.usage,
            sums.cost,
            None,  # spec_version; compatibility below
            api_version,
            None,
            sums.first_chunk,
            sums.speed,
            seconds((now if self.ended is None else self.ended) - self.started),
            attempts,
            self.error,
        )

    def item_row(self) -> ItemRow:
        return ItemRow(self.value.text, self.value.json, self.skipped, self.error)

    def item_view(self) -> dict[str, Any]:
        error = None if self.error is None else msgspec.structs.asdict(self.error)
        return {"text": self.value.text, "json": self.value.json, "skipped": self.skipped, "error": error}


def error_row(error: WizardError) -> ErrorRow:
    """The error as it stands in a result: a copy, for an exception holds all frames it passed through."""
    return ErrorRow(**error.to_json())
