"""`router_settings`, `litellm_settings` and `general_settings` of a LiteLLM proxy, as policies and sections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from wizard_dsl.analysis.importing import _litellm_tables as tables
from wizard_dsl.analysis.importing import values
from wizard_dsl.analysis.importing._litellm_sections import Sections
from wizard_dsl.analysis.importing._providers import PARAMETERS
from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.names import seconds
from wizard_dsl.spec.diagnostics import DocPath

#: What LiteLLM does where nothing is set, as its «All settings» and «Routing» pages have it.
RETRIES: Final = 3
COOLDOWN: Final = 5.0
ALLOWED: Final = 3
MAX_FALLBACKS: Final = 5
_MAX_ATTEMPTS: Final = 10
#: Wizard's longest open time, where a file sets none.
_GROWTH: Final = 300.0
#: LiteLLM's own first delay, where `retry_after` asks for none.
_FIRST_DELAY: Final = 0.5
_EVERYBODY: Final = 10_000

_STRATEGIES: Final[dict[str, tuple[str, str | None]]] = {
    "simple-shuffle": ("weighted", None),
    "latency-based-routing": ("fastest", None),
    "cost-based-routing": ("cheapest", None),
    "least-busy": ("weighted", "Wizard has no order by calls under way; all deployments are drawn alike"),
    "usage-based-routing": ("weighted", "Wizard has no order by use; limits are kept, and draws are by weight"),
    "usage-based-routing-v2": ("weighted", "Wizard has no order by use; limits are kept, and draws are by weight"),
}
#: Kinds that open our breaker as the file is written.
_COUNTED: Final = frozenset(("timeout", "server", "auth"))
_TABLE_RETRIES: Final = frozenset(("timeout", "rate_limited", "server"))
Groups = dict[str, list[tuple[str, DocPath]]]


class Settings(msgspec.Struct, kw_only=True):
    """What holds for all deployments."""

    strategy: str = "weighted"
    window: str | None = None
    enforced: bool = False
    ordered: bool = False
    retries: int = RETRIES
    retries_at: DocPath | None = None
    kinds: dict[str, int] = {}
    base: float = _FIRST_DELAY
    allowed: int | None = None
    cooldown: float = COOLDOWN
    cooldowns: bool = True
    timeout: dict[str, str] = {}
    total: float | None = None
    parallel: int | None = None
    params: dict[str, Any] = {}
    fallbacks: Groups = {}
    content: Groups = {}
    context: Groups = {}
    default_fallbacks: list[tuple[str, DocPath]] = []
    max_fallbacks: int = MAX_FALLBACKS
    aliases: dict[str, str] = {}
    longest_cooldown: float = 0.0
    sections: Sections

    def breaker(self, cooldown: float | None = None) -> dict[str, Any] | str:
        """The policy `circuit_breaker` of a deployment; `off` (bare, as YAML has it) for none."""
        open_for = self.cooldown if cooldown is None else cooldown
        if not self.cooldowns or open_for <= 0:
            return "off"
        made: dict[str, Any] = {"failure_threshold": "off", "failure_ratio": "50%", "minimum_calls": 5}
        if self.allowed is not None:
            made = {"failure_threshold": self.allowed + 1}
        made |= {"window": "60s", "reset_timeout": seconds(open_for)}
        if open_for > _GROWTH:
            made["max_reset_timeout"] = seconds(open_for)
        return made | {"trip_on": {"auth": True, "not_found": True}}

    def documented(self) -> dict[str, Any]:
        """The set `default` as LiteLLM's documentation has it: errors but rate limits are repeated at once, nothing
        bounds the repeats of all calls together, and after a cooldown all calls come back."""
        retry = {**self.retry(), "base": seconds(max(self.base if self.base > _FIRST_DELAY else 0, 0.001))}
        made: dict[str, Any] = {"retry": {**retry, "multiplier": 1, "jitter": "none"}, "retry_budget": "off"}
        breaker = self.breaker()
        if isinstance(breaker, dict):
            longest = max(self.cooldown, self.longest_cooldown)
            breaker |= {"max_reset_timeout": seconds(longest), "half_open_max_calls": _EVERYBODY}
        return {**made, "circuit_breaker": breaker}

    def attempts(self, retries: int | None, deployments: int) -> int:
        """`max_attempts` of each deployment, so that a group makes as many as LiteLLM, or the next more."""
        allowed = max([self.retries, *self.kinds.values()] if retries is None else [retries]) + 1
        return min(_MAX_ATTEMPTS, -(-allowed // deployments))

    def retry(self) -> dict[str, Any]:
        """The policy `retry` of a group with one deployment."""
        made: dict[str, Any] = {"max_attempts": self.attempts(None, 1), "base": seconds(self.base)}
        made["max_delay"] = seconds(max(8.0, self.base))
        on = {kind: n > 0 for kind, n in self.kinds.items() if (n > 0) != (kind in _TABLE_RETRIES)}
        if on:
            made["retry_on"] = on
        most = max([self.retries, *self.kinds.values()])
        fewer = {kind: n for kind, n in self.kinds.items() if 0 < n != self.retries}
        if fewer and most:
            made["when"] = f"attempt <= {fewer!r}.get(error.kind, {self.retries})"
        return made


def read_settings(data: dict[str, Any], ledger: Ledger) -> Settings:
    """Account for all three sections."""
    settings = Settings(sections=Sections(ledger))
    reader = _Reader(settings, ledger)
    taken: set[str] = set()
    for block in ("router_settings", "litellm_settings", "general_settings"):
        held = data.get(block)
        for name, value in held.items() if isinstance(held, dict) else ():
            if name in taken and block == "litellm_settings":
                ledger.dropped((block, name), "router_settings sets it, too, and wins")
            elif reader.take(block, name, value, (block, name)):
                taken.add(name)
    return settings


class _Reader:
    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        shared: dict[str, Callable[[Any, DocPath], None]] = {
            "routing_strategy": self._strategy,
            "routing_strategy_args": self._strategy_args,
            "enable_pre_call_checks": self._checks,
            "enable_pre_call_check": self._checks,
            "optional_pre_call_checks": self._optional_checks,
            "num_retries": self._retries,
            "max_retries": self._retries,
            "retry_after": self._retry_after,
            "retry_policy": self._retry_policy,
            "allowed_fails": self._allowed,
            "allowed_fails_policy": self._allowed_policy,
            "cooldown_time": self._cooldown,
            "disable_cooldowns": self._disable,
            "timeout": self._timeout,
            "request_timeout": self._timeout,
            "stream_timeout": self._stream_timeout,
            "default_max_parallel_requests": self._parallel,
            "default_litellm_params": self._params,
            "fallbacks": self._fallbacks,
            "content_policy_fallbacks": self._content,
            "context_window_fallbacks": self._context,
            "default_fallbacks": self._default_fallbacks,
            "max_fallbacks": self._max_fallbacks,
            "model_group_alias": self._aliases,
        }
        sections = settings.sections.settings
        self._blocks: dict[str, tuple[dict[str, Callable[[Any, DocPath], None]], dict[str, str]]] = {
            "router_settings": ({**shared, **sections}, tables.ROUTER),
            "litellm_settings": ({**shared, **sections}, tables.LITELLM),
            "general_settings": ({"max_parallel_requests": self._parallel}, tables.GENERAL),
        }

    def take(self, block: str, name: str, value: Any, path: DocPath) -> bool:
        """Whether the setting is one that acts."""
        known, without = self._blocks[block]
        if name in known:
            known[name](value, path)
            return True
        elsewhere = next((other for other, (acts, _) in self._blocks.items() if name in acts), None)
        if name in without:
            self._ledger.dropped(path, without[name])
        elif elsewhere is not None:
            self._ledger.dropped(path, f"LiteLLM reads it in {elsewhere}, not here")
        else:
            self._ledger.unknown(path, [*known, *without])
        return False

    def _strategy(self, value: Any, path: DocPath) -> None:
        found = _STRATEGIES.get(str(value))
        if found is None:
            self._ledger.approximated(
                path, "chains.*.strategy", "no strategy of this name; targets are drawn by weight"
            )
            return
        self._settings.strategy, why = found
        self._settings.enforced |= str(value).startswith("usage")
        to = f"chains.*.strategy: {found[0]}"
        self._ledger.approximated(path, to, why) if why else self._ledger.mapped(path, to)

    def _strategy_args(self, value: Any, path: DocPath) -> None:
        for name, each in value.items() if isinstance(value, dict) else ():
            length = values.positive(each)
            if name == "ttl" and length is not None:
                self._settings.window = seconds(length)
                self._ledger.mapped((*path, name), "chains.*.strategy.window")
            else:
                self._ledger.dropped((*path, name), "Wizard's strategies do not have it")

    def _checks(self, value: Any, path: DocPath) -> None:
        if values.flag(value):
            self._settings.enforced = self._settings.ordered = True
            self._ledger.mapped(path, "rate_limit", "rpm and tpm are kept; a prompt's length is always checked first")
        else:
            why = "rpm and tpm are weights only; that a prompt fits the model's window is checked nevertheless"
            self._ledger.approximated(path, "chains.*.targets", why)

    def _optional_checks(self, value: Any, path: DocPath) -> None:
        self._ledger.dropped(path, "checks of the proxy; Wizard's are the policies of a chain")

    def _retries(self, value: Any, path: DocPath) -> None:
        found = values.count(value)
        if found is None:
            self._not(path, "a whole number")
            return
        self._settings.retries, self._settings.retries_at = found, path

    def _retry_after(self, value: Any, path: DocPath) -> None:
        found = values.number(value)
        if found is None or found < 0:
            self._not(path, "a number of seconds")
            return
        self._settings.base = max(self._settings.base, found)
        self._ledger.mapped(path, "policies.default.retry.base", "the least wait; 0.5 s is LiteLLM's own first one")

    def _retry_policy(self, value: Any, path: DocPath) -> None:
        for at, kind, found in self._by_exception(value, path, "Retries"):
            self._settings.kinds[kind] = found
            to = f"policies.default.retry.{'when' if found else 'retry_on'}"
            self._ledger.approximated(at, to, f"{kind}; counted on each deployment, where LiteLLM counts in the group")

    def _allowed(self, value: Any, path: DocPath) -> None:
        found = values.count(value)
        if found is None:
            self._not(path, "a whole number")
            return
        self._settings.allowed = found
        why = f"opens at failure {found + 1} within 60 s; after its time one call is let through to see, not all"
        self._ledger.approximated(path, "policies.default.circuit_breaker.failure_threshold", why)

    def _allowed_policy(self, value: Any, path: DocPath) -> None:
        """With a policy LiteLLM counts all other errors against `allowed_fails`, too."""
        found = list(self._by_exception(value, path, "AllowedFails"))
        if not found:
            return
        counted = [n for _, kind, n in found if kind in _COUNTED]
        self._settings.allowed = min([*counted, ALLOWED if self._settings.allowed is None else self._settings.allowed])
        for at, kind, n in found:
            if kind not in _COUNTED:
                why = f"{kind} never opens a breaker, so any number of them is allowed"
                self._ledger.approximated(at, "policies.default.circuit_breaker.trip_on", why)
            elif n == self._settings.allowed:
                why = "a breaker counts all failures together; this is the smallest number"
                self._ledger.approximated(at, "policies.default.circuit_breaker.failure_threshold", why)
            else:
                self._ledger.dropped(at, "a breaker counts all failures together, and a smaller number is taken")

    def _by_exception(self, value: Any, path: DocPath, ending: str) -> Iterator[tuple[DocPath, str, int]]:
        for name, each in value.items() if isinstance(value, dict) else ():
            kind = tables.EXCEPTIONS.get(str(name).removesuffix(ending)) if str(name).endswith(ending) else None
            found = values.count(each)
            if kind is None:
                self._ledger.unknown((*path, name), [f"{known}{ending}" for known in tables.EXCEPTIONS])
            elif found is None:
                self._not((*path, name), "a whole number")
            else:
                yield (*path, name), kind, found

    def _cooldown(self, value: Any, path: DocPath) -> None:
        found = values.number(value)
        if found is None or found < 0:
            self._not(path, "a number of seconds")
            return
        self._settings.cooldown = found
        why = "one call is let through then; if it fails, twice as long, where LiteLLM sends all of them again"
        self._ledger.approximated(path, "policies.default.circuit_breaker.reset_timeout", why)

    def _disable(self, value: Any, path: DocPath) -> None:
        self._settings.cooldowns = not values.flag(value)
        to = "policies.default.circuit_breaker"
        self._ledger.mapped(path, f"{to}: off" if values.flag(value) else to)

    def _timeout(self, value: Any, path: DocPath) -> None:
        found = values.positive(value)
        if found is None:
            self._not(path, "a number of seconds")
        elif self._settings.total is not None:
            self._ledger.dropped(path, "router_settings.timeout sets it, too, and wins")
        else:
            self._settings.total = found
            self._settings.timeout["total"] = seconds(found)
            self._ledger.mapped(path, "policies.default.timeout.total", "of one attempt, as there")

    def _stream_timeout(self, value: Any, path: DocPath) -> None:
        found = values.positive(value)
        if found is None:
            self._not(path, "a number of seconds")
            return
        self._settings.timeout["first_chunk"] = seconds(found)
        why = "until the first content; between later pieces `idle` counts"
        self._ledger.approximated(path, "policies.default.timeout.first_chunk", why)

    def _parallel(self, value: Any, path: DocPath) -> None:
        found = values.count(value)
        if not found:
            self._ledger.dropped(path, "no limit" if found == 0 else "not a whole number")
            return
        self._settings.parallel = found
        self._ledger.mapped(path, "policies.default.concurrency", "of each deployment")

    def _params(self, value: Any, path: DocPath) -> None:
        for name, each in value.items() if isinstance(value, dict) else ():
            if name in PARAMETERS:
                self._settings.params[name] = each
                self._ledger.mapped((*path, name), f"chains.*.targets.params.{name}")
            else:
                self._ledger.dropped((*path, name), "set it at the deployments")

    def _fallbacks(self, value: Any, path: DocPath) -> None:
        self._settings.fallbacks = dict(self._groups(value, path))

    def _content(self, value: Any, path: DocPath) -> None:
        self._settings.content = dict(self._groups(value, path))

    def _context(self, value: Any, path: DocPath) -> None:
        self._settings.context = dict(self._groups(value, path))

    def _groups(self, value: Any, path: DocPath) -> Iterator[tuple[str, list[tuple[str, DocPath]]]]:
        """[{group: [group, …]}, …]; what is accounted for where chains are made."""
        for index, each in enumerate(value if isinstance(value, list) else [value]):
            at = (*path, index) if isinstance(value, list) else path
            for name, others in each.items() if isinstance(each, dict) else ():
                yield str(name), self._names(others, (*at, name))

    def _names(self, value: Any, path: DocPath) -> list[tuple[str, DocPath]]:
        """Groups, each with its place. One with messages or parameters of its own is taken without these."""
        found: list[tuple[str, DocPath]] = []
        for index, each in enumerate(value if isinstance(value, list) else [value]):
            at = (*path, index) if isinstance(value, list) else path
            if isinstance(each, dict):
                for name in each.keys() - {"model"}:
                    self._ledger.dropped((*at, name), "a chain sends one prompt to all; params stand at targets")
                each, at = each.get("model"), (*at, "model")
            if isinstance(each, str):
                found.append((each, at))
        return found

    def _default_fallbacks(self, value: Any, path: DocPath) -> None:
        self._settings.default_fallbacks = self._names(value, path)

    def _max_fallbacks(self, value: Any, path: DocPath) -> None:
        found = values.count(value)
        if found is None:
            self._not(path, "a whole number")
            return
        self._settings.max_fallbacks = found
        self._ledger.mapped(path, "chains.*.targets", "no chain names more groups than that")

    def _aliases(self, value: Any, path: DocPath) -> None:
        for name, each in value.items() if isinstance(value, dict) else ():
            inner = isinstance(each, dict)
            group = each.get("model") if inner else each
            if isinstance(group, str):
                self._settings.aliases[str(name)] = group
                self._ledger.mapped((*path, name, "model") if inner else (*path, name), "inputs.model.enum")
            self._ledger.dropped((*path, name), "only about what the proxy lists")

    def _not(self, path: DocPath, wanted: str) -> None:
        self._ledger.dropped(path, f"the value is not {wanted}")
