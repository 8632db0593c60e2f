"""No run ever needs more than its plan says, whatever its file, its targets and its callers do.

`make bench NAME=soundness` holds 20,000 cases. What fails names its number: `hold(number, folder)` of plan_kit plays it
alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from plan_kit import hold

CASES = int(os.environ.get("PLANS", "60"))


def test_no_run_needs_more_than_its_plan(tmp_path: Path) -> None:
    played = [(number, hold(number, tmp_path)) for number in range(CASES)]
    broken = {number: case.broken() for number, case in played if case is not None and case.broken()}
    assert not broken
    runs = [run for _, case in played if case is not None for run in case.runs]
    assert len(runs) > CASES
    for name in ("attempts", "latency", "cost"):
        used = [held.actual / held.most for run in runs if (held := getattr(run, name)) is not None and held.most]
        assert max(used) > 0.75, f"no run came near its {name}: the cases are too tame to say anything"
