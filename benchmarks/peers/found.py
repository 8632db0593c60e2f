"""What comes of a question: figures, and reasons where there are none."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from benchmarks.harness import Judged, Row, row
from benchmarks.peers.driver import Unable

RAW, WIZARD, BARE = "raw", "wizard", "wizard, no policies"


class Aims(msgspec.Struct, frozen=True):
    """What we are to reach at least, and what we aim at: of the ratio or of the value."""

    floor: float
    goal: float
    of: Judged = "ratio"


class Gap(msgspec.Struct, frozen=True):
    """A figure that there is not, with the reason."""

    question: str
    subject: str
    reason: str


class Found(msgspec.Struct):
    """The figures of a question, and those that there are not."""

    rows: list[Row] = []
    gaps: list[Gap] = []

    def __add__(self, other: Found) -> Found:
        """Both, each gap once."""
        return Found(self.rows + other.rows, self.gaps + [gap for gap in other.gaps if gap not in self.gaps])


def found(
    about: str,
    values: Mapping[str, list[float]],
    reasons: Mapping[str, str],
    *,
    unit: str,
    better: str = "lower",
    aims: Aims | None = None,
) -> Found:
    """Rows of all sides against raw, with our floor and goal, and gaps for the reasons. Raises Unable where raw itself
    has no values."""
    if RAW not in values:
        raise Unable(f"{about}: {reasons.get(RAW, 'there is nothing to compare with')}")
    rows = {
        name: row(about, name, each, values[RAW], unit=unit, better=better)
        for name, each in values.items()
        if name != RAW
    }
    if aims and WIZARD in rows:
        rows[WIZARD] = rows[WIZARD].aiming(floor=aims.floor, goal=aims.goal, of=aims.of)
    return Found([*rows.values()], [Gap(about, name, reason) for name, reason in reasons.items()])
