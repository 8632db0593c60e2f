"""Retries, timeouts, caches and circuit breakers of Portkey, and what its lists of status codes mean in kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from wizard_dsl.analysis.importing import values
from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.names import seconds
from wizard_dsl.core.units import show_ratio
from wizard_dsl.spec.diagnostics import DocPath

if TYPE_CHECKING:
    from wizard_dsl.analysis.importing._portkey_targets import Leaf

_MOST: Final = 5
_COOLDOWN: Final = 30_000
#: Status codes that are a kind of their own; all others from 500 are kind server.
_KINDS: Final = {401: "auth", 403: "auth", 404: "not_found", 408: "timeout", 429: "rate_limited"}
_MOVING: Final = ("connect", "timeout", "server", "rate_limited", "quota_exhausted", "context_length",
                  "malformed_response")  # fmt: skip
_STAYING: Final = ("auth", "not_found", "invalid_request", "content_filter")


def every() -> dict[str, bool]:
    """`fallback_on` for whatever is no success."""
    return dict.fromkeys(_STAYING, True)


def none() -> dict[str, bool]:
    """`fallback_on` for nothing."""
    return {**dict.fromkeys(_MOVING, False), "circuit_open": False}


def only(codes: Sequence[int]) -> dict[str, bool]:
    """`fallback_on` for some status codes: kinds where a code is one, codes among the others."""
    kinds = {_KINDS[code] for code in codes if code in _KINDS}
    made = {kind: False for kind in _MOVING if kind not in kinds and not (kind == "quota_exhausted" and 429 in codes)}
    made |= dict.fromkeys(sorted(kinds & set(_STAYING)), True)
    return made | {str(code): True for code in codes if code not in _KINDS}


def policies_of(leaves: Sequence[Leaf]) -> dict[str, Any]:
    """The set `default`: what the first target has, which others have their own beside."""
    made = dict(leaves[0].policies)
    for leaf in leaves:
        if leaf.cache:
            made.setdefault("cache", leaf.cache)
    return made


def attempts_of(retry: Any) -> int:
    """How often a target is asked at most."""
    return int(retry["max_attempts"]) if isinstance(retry, dict) else 1


def documented(policies: dict[str, Any]) -> dict[str, Any]:
    """The set `default` as Portkey documents it: no bound over all calls, a circuit only where there is `cb_config`,
    and one that closes by itself."""
    breaker = policies.get("circuit_breaker", "off")
    if isinstance(breaker, dict):
        breaker = {**breaker, "max_reset_timeout": breaker["reset_timeout"], "half_open_max_calls": 10_000}
    return {**policies, "retry_budget": "off", "circuit_breaker": breaker}


class Policies:
    """Reads them; what is set further up holds for all below that set nothing."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def retry(self, held: Any, path: DocPath) -> tuple[Any, bool]:
        """The policy, and whether the provider's word on when to come again is waited for."""
        if not isinstance(held, dict):
            return "off", False
        attempts = next((values.count(value) for key, value in held.items() if key == "attempts"), None)
        codes, waits = None, False
        for key, value in held.items():
            at = (*path, key)
            if key == "attempts" and attempts is not None:
                why = f"{min(attempts, _MOST) + 1}, the first included"
                why += "; five repeats at most, as there" if attempts > _MOST else ""
                self._ledger.mapped(at, "policies.default.retry.max_attempts", why)
            elif key in ("on_status_codes", "onStatusCodes"):
                codes = self.codes(value, at, "policies.default.retry.retry_on")
            elif key in ("use_retry_after_headers", "use_retry_after_header", "useRetryAfterHeaders"):
                waits = bool(values.flag(value))
                self._told_header(at, waits)
            elif key == "attempts":
                self._ledger.dropped(at, "the value is not a whole number")
            else:
                self._ledger.unknown(at, ("attempts", "on_status_codes", "use_retry_after_headers"))
        if not attempts:
            return "off", waits
        made: dict[str, Any] = {"max_attempts": min(attempts, _MOST) + 1, "base": "1s", "max_delay": "16s"}
        if codes is not None:
            made["retry_on"] = only(codes)
        return made, waits

    def _told_header(self, path: DocPath, waits: bool) -> None:
        to = "chains.*.on_rate_limit.wait_up_to"
        if waits:
            self._ledger.approximated(path, to, "60 s for each wait; there for all waits of a request together")
        else:
            self._ledger.approximated(path, to, "up to 2 s are waited for; beyond it the next target is asked")

    def codes(self, value: Any, path: DocPath, to: str) -> list[int] | None:
        """Status codes; None where there are none to go by."""
        listed = value if isinstance(value, list) else []
        found = [code for code in map(values.count, listed) if code is not None and 300 <= code <= 599]
        for index, each in enumerate(listed):
            code = values.count(each)
            if code is None or not 300 <= code <= 599:
                self._ledger.dropped((*path, index), "the value is no status from 300 to 599")
            elif code in _KINDS:
                self._ledger.approximated(
                    (*path, index), to, f"kind {_KINDS[code]}, which is known by more than {code}"
                )
            else:
                self._ledger.mapped((*path, index), to)
        return found or None

    def timeout(self, value: Any, path: DocPath) -> dict[str, str] | None:
        found = values.positive(value)
        if found is None:
            self._ledger.dropped(path, "the value is not a number of milliseconds")
            return None
        self._ledger.mapped(path, "policies.default.timeout.total", "of one attempt, as there")
        return {"total": seconds(found / 1000)}

    def cache(self, held: Any, path: DocPath) -> dict[str, str] | None:
        to = "policies.default.cache"
        found = {"mode": held} if isinstance(held, str) else held if isinstance(held, dict) else {}
        mode = found.get("mode")
        if mode not in ("simple", "semantic"):
            self._ledger.dropped(path, "a cache has the mode simple or semantic")
            return None
        at = (*path, "mode") if isinstance(held, dict) else path
        if mode == "semantic":
            self._ledger.approximated(at, to, "equal calls are answered from the cache, not similar ones")
        elif len(path) > 1:
            self._ledger.approximated(at, to, "of the whole chain: a cache stands above the targets")
        else:
            self._ledger.mapped(at, to)
        ttl = "7d"
        for key, value in found.items():
            length = values.positive(value)
            if key in ("max_age", "maxAge") and length:
                ttl = seconds(length)
                self._ledger.mapped((*path, key), f"{to}.ttl", "± 10 %, so that entries do not expire together")
            elif key != "mode":
                self._ledger.unknown((*path, key), ("mode", "max_age"))
        return {"ttl": ttl}

    def breaker(self, held: Any, path: DocPath) -> dict[str, Any] | None:
        """`cb_config` of a strategy."""
        if not isinstance(held, dict):
            return None
        made: dict[str, Any] = {"failure_threshold": "off", "reset_timeout": seconds(_COOLDOWN / 1000)}
        for key, value in held.items():
            self._breaker_setting(key, value, (*path, key), made)
        if made["failure_threshold"] == "off" and "failure_ratio" not in made:
            del made["failure_threshold"]
        return made

    def _breaker_setting(self, key: str, value: Any, path: DocPath, made: dict[str, Any]) -> None:
        to = "policies.default.circuit_breaker"
        number = values.positive(value)
        if key == "failure_status_codes":
            trips = self.codes(value, path, f"{to}.trip_on")
            if trips is not None:
                made["trip_on"] = {_KINDS.get(code, str(code)): True for code in trips}
        elif number is None:
            self._ledger.dropped(path, "the value is not a number above 0")
        elif key == "failure_threshold":
            made["failure_threshold"] = int(number) + 1
            self._ledger.mapped(path, f"{to}.failure_threshold", "it opens above that number there, at the next here")
        elif key == "failure_threshold_percentage":
            made["failure_ratio"] = show_ratio(min(number, 100) / 100)
            self._ledger.mapped(path, f"{to}.failure_ratio")
        elif key == "minimum_requests":
            made["minimum_calls"] = max(1, int(number))
            self._ledger.mapped(path, f"{to}.minimum_calls")
        elif key == "cooldown_interval":
            made["reset_timeout"] = seconds(max(number, _COOLDOWN) / 1000)
            why = "one call is let through then; if it fails, twice as long, where Portkey closes the circuit"
            self._ledger.approximated(path, f"{to}.reset_timeout", why)
        else:
            known = ("failure_threshold", "failure_threshold_percentage", "minimum_requests", "cooldown_interval")
            self._ledger.unknown(path, (*known, "failure_status_codes"))
