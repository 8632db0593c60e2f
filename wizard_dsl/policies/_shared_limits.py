"""What rate_limit and admission make of their keys: a line of this process, or one that is shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wizard_dsl.core.node import BuildContext
from wizard_dsl.core.state import state_key
from wizard_dsl.core.units import parse_rate
from wizard_dsl.policies._limited import LimitConfig, gate_of, longest_wait
from wizard_dsl.policies._line import Gate, Line
from wizard_dsl.policies._queueing import Waiting

if TYPE_CHECKING:
    from wizard_dsl.policies._shared_line import SharedBucket
    from wizard_dsl.policies._shared_windows import SharedWindows

    LimitLine = Line | SharedBucket | SharedWindows


def line_of(
    config: LimitConfig, context: BuildContext, scope: str, *, name: str, of: str, gate: Gate | None = None
) -> LimitLine:
    """The line of a limit whose state is that of `scope`; `gate` stands for the limit's own in this process."""
    state = context.state
    if state is None:
        return Line(gate or gate_of(config, context), context.clock, name=name, of=of)
    key = row_key(config, name, scope)
    if config.windows:
        from wizard_dsl.policies._shared_windows import SharedWindows

        rates = [parse_rate(text) for text in config.windows]
        return SharedWindows(rates, key, state, context, name=name, of=of)
    from wizard_dsl.policies._shared_line import SharedBucket

    rate = parse_rate(config.rate).per_second
    return SharedBucket(rate, config.burst, key, state, context, name=name, of=of)


def row_key(config: LimitConfig, name: str, scope: str) -> str:
    """What a limit is kept under, where processes share it."""
    if config.windows:
        from wizard_dsl.policies._shared_windows import form_of

        return state_key(name, f"{scope} {config.windows}", form_of([parse_rate(text) for text in config.windows]))
    return state_key(name, scope)


def waiting_of(name: str, config: LimitConfig, context: BuildContext, front: Line | None = None) -> Waiting:
    """The slow path of a node before such a line; see SharedWaiting for `front`."""
    patience = longest_wait(config.max_wait)
    if context.state is None:
        return Waiting(name, patience, context)
    from wizard_dsl.policies._shared_line import SharedWaiting

    return SharedWaiting(name, patience, context, front)
