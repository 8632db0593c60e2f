"""Results: sums over attempts, and one JSON whichever way it is asked for."""

from __future__ import annotations

import json
from typing import Any

from wizard_dsl.core import result as rows
from wizard_dsl.core.messages import Usage
from wizard_dsl.core.run import Attempt


def row(**changes: Any) -> rows.AttemptRow:
    fields: dict[str, Any] = {"target": "a", "step": "one", "started": 1.0, "kind": "ok", "elapsed": 2.0}
    return rows.attempt_row(Attempt(**{**fields, **changes}), 9.0)


def test_an_attempt_that_still_runs_is_shown_as_far_as_it_came() -> None:
    shown = row(kind=None, elapsed=None)
    assert (shown.kind, shown.elapsed) == ("cancelled", 8.0)


def test_a_sum_is_as_sure_as_its_least_sure_term_and_unknown_where_an_answer_has_no_price() -> None:
    sure = row(cost=0.1, confidence="reported", usage=Usage(1, 2))
    cut = row(kind="timeout", cost=None, confidence="unknown")
    free = row(cost=None, confidence="unknown", usage=Usage(1, 1, confidence="estimated"))
    assert rows.total_cost([sure, sure]) == rows.Cost(0.2, "reported")
    assert rows.total_cost([sure, cut]) == rows.Cost(0.1, "unknown")
    assert rows.total_cost([sure, free]) == rows.Cost(None, "unknown")
    assert rows.total_cost([]) == rows.Cost(0.0, "reported")
    assert rows.total_usage([sure, cut, free]) == rows.UsageRow(2, 3, "estimated")


def test_speed_counts_from_the_first_content_of_the_last_answer() -> None:
    usage = Usage(1, 10)
    assert rows.speed([row(usage=usage), row(kind="server")]) == 5.0
    assert rows.speed([row(usage=usage, first_chunk=2.0)]) == 10.0
    assert rows.speed([row(usage=usage, elapsed=0.0)]) is None
    assert rows.speed([]) is None


def test_a_number_that_json_does_not_know_is_null_in_plain_data_too() -> None:
    result = rows.Result(
        run_id="r",
        pipeline=rows.PipelineRow("p", "h"),
        ok=True,
        text="",
        output={"v": float("nan")},
        served_by=None,
        elapsed=0.0,
        tokens_per_second=None,
        cost=rows.Cost(0.0, "reported"),
        usage=rows.UsageRow(0, 0, "reported"),
        attempts=[],
        error=None,
        partial=False,
        steps={},
    )
    assert result.to_json()["output"] == {"v": None}
    assert json.loads(result.encode()) == result.to_json()
