"""What expressions about a run see: `that` of a test, `eval`, invariants.

The names are reserved, so no input can be called by them: text, json, steps, served_by, attempts, elapsed, cost, error,
breakers. Inputs may be put beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.core.result import FACTS, ErrorRow, Result, StepRow

if TYPE_CHECKING:
    from wizard_dsl.policies._breaker import BreakerFigures

#: The names, and the fields of those that have some of their own.
NAMES: Final = FACTS
STEP_FACTS: Final = (*StepRow.__struct_fields__,)
ERROR_FACTS: Final = (*ErrorRow.__struct_fields__,)


def facts(result: Result, breakers: Mapping[str, BreakerFigures | Mapping[str, Any]]) -> dict[str, Any]:
    """Plain data. `attempts` are the rows of the result, over all steps; `elapsed` is in seconds, `cost` in US dollars,
    null where it is not known; `error` is null or has kind, message and so on; `steps` are by name, with all that a
    result says of them, and their `cost` is in dollars too; `breakers` are by name, as `pipeline.breakers()` has them.
    """
    steps = {name: _step(row) for name, row in result.steps.items()}
    return {
        "text": result.text,
        "json": json_of(result),
        "steps": steps,
        "served_by": result.served_by,
        "attempts": msgspec.to_builtins(result.attempts),
        "elapsed": result.elapsed,
        "cost": result.cost.usd,
        "error": msgspec.to_builtins(result.error),
        "breakers": {name: msgspec.to_builtins(each) for name, each in breakers.items()},
    }


def json_of(result: Result) -> Any:
    """The output where it is no text, else the JSON of the last step that has this very text, else null."""
    if result.output is not None and not isinstance(result.output, str):
        return result.output
    same = [row.json for row in result.steps.values() if row.text == result.text and row.json is not None]
    return same[-1] if same else None


def _step(row: StepRow) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(row)
    return {**plain, "items": plain["items"] or [], "cost": row.cost.usd}
