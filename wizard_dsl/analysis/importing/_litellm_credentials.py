"""`credential_list` of LiteLLM: values that several deployments take by a name."""

from __future__ import annotations

from typing import Any

from wizard_dsl.analysis.importing import _litellm_tables as tables
from wizard_dsl.analysis.importing import values
from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.names import Keys
from wizard_dsl.spec.diagnostics import DocPath

_NAME = "litellm_credential_name"
_TO = "providers.*"


class Credentials:
    """Reads `credential_list`; what a deployment sets itself stays."""

    def __init__(self, listed: Any, ledger: Ledger) -> None:
        self._ledger = ledger
        entries = enumerate(listed) if isinstance(listed, list) else ()
        self._known: dict[str, tuple[DocPath, dict[str, Any]]] = {}
        for index, each in entries:
            held = each.get("credential_values") if isinstance(each, dict) else None
            if isinstance(held, dict) and isinstance(each.get("credential_name"), str):
                self._known.setdefault(each["credential_name"], (("credential_list", index), held))
        self._used: set[str] = set()

    def applied(self, deployments: list[Any]) -> list[Any]:
        """The entries of `model_list`, each with the values that it takes by a name among its own."""
        return [self._applied(each, ("model_list", index)) for index, each in enumerate(deployments)]

    def _applied(self, entry: Any, path: DocPath) -> Any:
        params = entry.get("litellm_params") if isinstance(entry, dict) else None
        name = params.get(_NAME) if isinstance(params, dict) else None
        if params is None or not isinstance(name, str):
            return entry
        at = (*path, "litellm_params", _NAME)
        if name not in self._known:
            self._ledger.dropped(at, "no entry of credential_list has the name; the proxy's database is not known here")
            return entry
        self._used.add(name)
        self._ledger.mapped(at, _TO, "what credential_list says under the name")
        return {**entry, "litellm_params": {**self._known[name][1], **params}}

    def account(self, keys: Keys) -> None:
        """Say what became of the list, after the deployments were read: `keys` know the variables then."""
        for name, (path, held) in self._known.items():
            if name not in self._used:
                self._ledger.dropped(path, "no deployment names it")
                continue
            self._ledger.mapped((*path, "credential_name"), _TO, "deployments take its values by the name")
            self._ledger.dropped((*path, "credential_info"), "only about what the proxy shows")
            for key, value in held.items():
                self._value(key, value, (*path, "credential_values", key), keys)

    def _value(self, key: str, value: Any, path: DocPath, keys: Keys) -> None:
        if key == "api_key" and isinstance(value, str) and values.variable(value) is None:
            chosen = keys.variable(value, "API_KEY")
            why = f"a key does not stand in a file: put it into the variable {chosen}"
            self._ledger.approximated(path, f"{_TO}.api_key", why)
        elif key.startswith(tables.FOREIGN):
            self._ledger.dropped(path, "about credentials of a service whose own protocol Wizard does not speak")
        elif key in ("api_key", "api_base", "base_url", "api_version", "organization"):
            self._ledger.mapped(path, f"{_TO}.{'base_url' if key == 'api_base' else key}")
        else:
            self._ledger.unknown(path, ("api_key", "api_base", "api_version", "organization"))
