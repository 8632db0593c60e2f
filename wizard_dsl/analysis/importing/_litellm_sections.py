"""What of LiteLLM's settings goes into sections of their own: cache, budgets, state, log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wizard_dsl.analysis.importing import values
from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.names import seconds
from wizard_dsl.core.units import show_money
from wizard_dsl.spec.diagnostics import DocPath

_DAY = 86400.0
_STORES = {
    "local": ("memory", None),
    "disk": ("disk", None),
    "redis": ("disk", "Wizard's cache is in memory or on disk, one for each machine"),
    "s3": ("disk", "Wizard's cache is in memory or on disk, one for each machine"),
    "gcs": ("disk", "Wizard's cache is in memory or on disk, one for each machine"),
    "azure-blob": ("disk", "Wizard's cache is in memory or on disk, one for each machine"),
    "redis-semantic": ("disk", "Wizard answers equal calls from its cache, not similar ones"),
    "qdrant-semantic": ("disk", "Wizard answers equal calls from its cache, not similar ones"),
}
_TTL = "policies.default.cache.ttl"


class Sections:
    """Reads those settings; `cache`, `budgets`, `state` and `observe` are what came of them, empty for nothing."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._cached: tuple[bool, DocPath] | None = None
        self._cache_params: tuple[dict[str, Any], DocPath] = ({}, ())
        self._budget: dict[str, tuple[Any, DocPath]] = {}
        self._providers: tuple[dict[str, Any], DocPath] = ({}, ())
        self.cache: dict[str, Any] = {}
        self.budgets: dict[str, Any] = {}
        self.state = ""
        self.observe: dict[str, str] = {}
        self.settings: dict[str, Callable[[Any, DocPath], None]] = {
            "cache": self._set_cache,
            "cache_responses": self._set_cache,
            "cache_params": self._set_cache_params,
            "max_budget": self._set_budget,
            "budget_duration": self._set_budget,
            "provider_budget_config": self._set_provider_budgets,
            "redis_host": self._redis,
            "redis_port": self._redis,
            "redis_password": self._redis,
            "redis_db": self._redis,
            "redis_url": self._redis,
            "set_verbose": self._verbose,
            "debug_level": self._verbose,
            "json_logs": self._json_logs,
        }

    def finish(self, unpriced: str | None) -> None:
        """Account for what several settings say together. `unpriced` is a target whose price nobody knows."""
        self._finish_cache()
        self._finish_budget(unpriced)

    def _set_cache(self, value: Any, path: DocPath) -> None:
        on = bool(values.flag(value))
        self._cached = (on or bool(self._cached and self._cached[0]), path)
        self._ledger.mapped(path, "policies.default.cache", None if on else "there is none unless a file says so")

    def _set_cache_params(self, value: Any, path: DocPath) -> None:
        if isinstance(value, dict):
            self._cache_params = (value, path)

    def _finish_cache(self) -> None:
        params, path = self._cache_params
        if self._cached is None or not self._cached[0]:
            self._ledger.dropped(path, "the cache is off") if path else None
            return
        if params.get("mode") == "default_off":
            self._ledger.dropped(
                path, "on only for calls that ask for it, which Wizard's calls cannot; no cache is written"
            )
            return
        self.cache = {"ttl": "1h"}
        for name, value in params.items():
            self._cache_setting(name, value, (*path, name))

    def _cache_setting(self, name: str, value: Any, path: DocPath) -> None:
        length = values.period(value)
        if name == "type":
            store, why = _STORES.get(str(value), ("disk", "no store of this kind"))
            self.cache["store"] = store
            to = "policies.default.cache.store"
            self._ledger.approximated(path, to, why) if why else self._ledger.mapped(path, to)
        elif name in ("ttl", "default_in_memory_ttl", "default_in_redis_ttl") and length:
            self.cache["ttl"] = seconds(length)
            self._ledger.mapped(path, _TTL, "± 10 %, so that entries do not expire together")
        elif name == "disk_cache_dir":
            self._ledger.dropped(path, "Wizard keeps its caches in the project's own folder")
        elif name == "supported_call_types":
            self._ledger.dropped(path, "the cache is a policy of a chain: completions and embeddings that ask it")
        elif name in ("namespace", "mode"):
            self._ledger.dropped(path, "a chain's cache is its own")
        else:
            self._ledger.dropped(path, "about a store that Wizard does not have")

    def _set_budget(self, value: Any, path: DocPath) -> None:
        self._budget[str(path[-1])] = (value, path)

    def _set_provider_budgets(self, value: Any, path: DocPath) -> None:
        why = "Wizard's budgets are of the whole file, not of one provider; split the file, or sum them under `budgets`"
        self._ledger.dropped(path, why)

    def _finish_budget(self, unpriced: str | None) -> None:
        limit, path = self._budget.get("max_budget", (None, ()))
        length, length_path = self._budget.get("budget_duration", (None, ()))
        amount = values.positive(limit)
        if amount is None:
            for each in filter(None, (path, length_path)):
                self._ledger.dropped(each, "a budget is an amount above 0 and a duration")
            return
        lasts = values.period(length) or 30 * _DAY
        name = "day" if lasts <= _DAY else "month"
        scaled = amount * (_DAY if name == "day" else 30 * _DAY) / lasts
        self.budgets = {name: show_money(round(scaled, 4) if name == "day" or lasts != 30 * _DAY else amount)}
        if unpriced is not None:
            self.budgets = {name: {"limit": self.budgets[name], "then": "degrade"}}
        exact = lasts in (_DAY, 30 * _DAY)
        for each in filter(None, (path, length_path)):
            if unpriced is not None:
                why = f"the price of {unpriced} is not known; beyond a limit that stops, it could not be asked at all"
                self._ledger.approximated(each, f"budgets.{name}", why)
            elif exact:
                why = "days and months are UTC's; the worst case is reserved before each attempt"
                self._ledger.mapped(each, f"budgets.{name}", why)
            else:
                self._ledger.approximated(
                    each, f"budgets.{name}", f"scaled to a {name}, since there is no other period"
                )

    def _redis(self, value: Any, path: DocPath) -> None:
        if self._ledger_said_cache(path):
            return
        self.state = "${env:REDIS_URL:-memory}"
        why = "one URL: put redis://:PASSWORD@HOST:PORT/DB into REDIS_URL; without it each process counts alone"
        self._ledger.approximated(path, "state", why)

    def _ledger_said_cache(self, path: DocPath) -> bool:
        if path[0] != "litellm_settings":
            return False
        self._ledger.dropped(path, "about a store that Wizard does not have")
        return True

    def _verbose(self, value: Any, path: DocPath) -> None:
        level = str(value).upper() if str(value).upper() in ("DEBUG", "INFO") else "DEBUG"
        if values.flag(value) is False:
            self._ledger.mapped(path, "observe.log.level", "quiet unless a file says so")
            return
        self.observe["level"] = level
        self._ledger.approximated(path, "observe.log.level", "Wizard's log tells of policies, never of prompts")

    def _json_logs(self, value: Any, path: DocPath) -> None:
        self.observe["format"] = "json" if values.flag(value) else "text"
        self._ledger.mapped(path, "observe.log.format")
