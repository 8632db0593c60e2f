"""What a scenario expects, held against what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from wizard_dsl.analysis.summary import METRICS, Measure, Unit, interval, shown
from wizard_dsl.core.units import parse_duration, parse_money, parse_ratio

if TYPE_CHECKING:
    from wizard_dsl.analysis.scenario import Expect

_WORDS: Final = {"at_least": "at least", "at_most": "at most"}
_WHY_UNKNOWN: Final = {
    "ratio": "nothing was counted",
    "duration": "no run ended well",
    "money": "an answer has no price; say it under `providers.NAME.models`",
    "number": "no call was attempted",
}


class Verdict(msgspec.Struct, frozen=True):
    """One bound of one metric, and whether the mean over the seeds keeps to it. An unknown mean does not."""

    metric: str
    bound: str
    limit: float
    measured: Measure
    met: bool

    def sentence(self, seeds: int) -> str:
        """`availability: expected at least 99.9%, measured 98.21% (97.9% – 98.5%, 5 seeds)`."""
        unit = METRICS[self.metric].unit
        expected = f"{self.metric}: expected {_WORDS[self.bound]} {shown(self.limit, unit)}"
        if self.measured.mean is None:
            return f"{expected}, unknown: {_WHY_UNKNOWN[unit]}"
        between = interval(self.measured, unit)
        sure = f" ({between}, {seeds} seeds)" if between else " (one seed)"
        return f"{expected}, measured {shown(self.measured.mean, unit)}{sure}"


def judged(expect: Expect | None, measured: Mapping[str, Measure]) -> list[Verdict]:
    """A verdict for each bound that the scenario sets, in its order."""
    found = []
    for metric in METRICS if expect is not None else ():
        bounds = getattr(expect, metric)
        for bound in _WORDS if bounds is not None else ():
            written = getattr(bounds, bound)
            if written is not None:
                found.append(_verdict(metric, bound, _value(written, METRICS[metric].unit), measured[metric]))
    return found


def _verdict(metric: str, bound: str, limit: float, measured: Measure) -> Verdict:
    mean = measured.mean
    met = mean is not None and (mean >= limit if bound == "at_least" else mean <= limit)
    return Verdict(metric, bound, limit, measured, met)


def _value(written: str | float, unit: Unit) -> float:
    if not isinstance(written, str):
        return written
    return (
        parse_ratio(written)
        if unit == "ratio"
        else parse_money(written)
        if unit == "money"
        else parse_duration(written)
    )
