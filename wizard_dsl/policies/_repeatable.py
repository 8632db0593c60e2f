"""Which failures a retry may repeat: what the file says of them, else the error table."""

from __future__ import annotations

from collections.abc import Mapping

from wizard_dsl.core.errors import AttemptFailed, StreamBroken, WizardError, root
from wizard_dsl.core.kinds import override


def may_repeat(error: WizardError, retry_on: Mapping[str, bool]) -> bool:
    """Whether `error` may be repeated on its target. What the provider itself calls final never is."""
    last: BaseException | None = root(error)
    if isinstance(last, StreamBroken):
        last = last.__cause__
    if isinstance(last, AttemptFailed) and last.should_retry is False:
        return False
    asked = override(error, retry_on)
    if asked is not None:
        return asked
    return error.row.retry == "yes" or error.kind in {"rate_limited", "mid_stream"}
