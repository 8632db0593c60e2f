"""Plain data → the typed document, both levels.

This is the fast path: it says whether a document is right, and finds out in a millisecond. What exactly is wrong, and
where, is for the JSON Schema to say, which accepts what is accepted here.

Where something is wrong the document is made all the same, with stand-ins: names that are declared stay known, so that
one mistake is one finding and everything else can be checked. Such a document must not run.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from wizard_dsl.core.component import PolicyConfig, ProviderType, StrategyType
from wizard_dsl.spec import grammar
from wizard_dsl.spec.convert_policies import Kinds, anywhere, on_provider, on_target
from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.spec.document import (
    ChainEntry,
    ChainSpec,
    Document,
    InputSpec,
    PipelineFile,
    PolicyMap,
    PromptSpec,
    ProviderCommon,
    ProviderEntry,
    RateLimitSpec,
    StepCommon,
    StepEntry,
    TargetSpec,
)
from wizard_dsl.spec.fit import fitted, leaves, required_fields, secret_fields
from wizard_dsl.spec.keeper import passwords
from wizard_dsl.spec.structs import Given, Structs

#: A prompt that stands in for one that cannot be read.
_SILENT: Final = {"user": "-"}
_SPEAKS: Final = ("system", "user", "messages", "file")


class Keyless(msgspec.Struct, frozen=True):
    """A provider that has no key here: neither the file nor the variable where it should come from has one."""

    provider: str
    variable: str
    written: bool


class Converter:
    """Converts one document; what it found is in its lists afterwards."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.structs = Structs(given)
        self.kinds = Kinds(self.structs)
        self.keyless: list[Keyless] = []
        self.secrets: list[str] = []
        self._registry = given.registry
        self._fail = self.structs.fail
        self._stacks: dict[str, tuple[str, ...] | None] = {}
        self._providers: list[str] = []

    def document(self, data: dict[str, Any]) -> Document | None:
        """The document; it is right where nothing failed. `data` has its shorthands written out."""
        data = {**data, **{name: self._entries(data[name], name) for name in grammar.NAMED_SECTIONS if name in data}}
        if ("version",) in self.given.refs:
            self._fail(("version",), "it says what the rest means, so it stands in the file itself")
        file = self.structs.struct(data, PipelineFile, ())
        if file is None:
            return None
        self.secrets += passwords(file.state)
        self._providers = list(file.providers)
        made: dict[str, Any] = {
            name: {key: make(key, raw, (name, key)) for key, raw in data.get(name, {}).items()}
            for name, make in (
                ("inputs", self._input),
                ("providers", self._provider),
                ("policies", self._policy_set),
                ("chains", self._chain),
                ("steps", self._step),
            )
        }
        whole = {name: {key: each for key, each in made[name].items() if each is not None} for name in made}
        return Document(file=file, prompts=file.prompts, provider_policies=self._provider_policies(data), **whole)

    def _entries(self, section: Any, name: str) -> dict[str, dict[str, Any]]:
        """The entries of a section by name, those that are no mapping as empty ones."""
        if not isinstance(section, dict):
            self._fail((name,), "a mapping is wanted")
            return {}
        return {key: self._entry(raw, name, key) for key, raw in section.items()}

    def _entry(self, raw: Any, section: str, name: str) -> dict[str, Any]:
        path = (section, name)
        if not re.search(grammar.NAME_PATTERN, name) or (section == "inputs" and name in grammar.RESERVED):
            self._fail(path, "not a good name")
        if not isinstance(raw, dict):
            self._fail(path, "a mapping is wanted")
            raw = {}
        if section == "prompts":
            return self._prompt(raw, path)
        if section == "chains":
            raw = self.structs.mended(raw, ChainSpec, path)[1]
        whole: dict[str, Any] = raw
        return whole

    def _prompt(self, raw: dict[str, Any], path: DocPath) -> dict[str, Any]:
        mended = self.structs.mended(raw, PromptSpec, path)[1]
        lost = any(key in raw and key not in mended for key in _SPEAKS) and not any(key in mended for key in _SPEAKS)
        return {**mended, **_SILENT} if lost else mended

    # -- inputs and providers ---------------------------------------------------------------------

    def _input(self, name: str, raw: dict[str, Any], path: DocPath) -> InputSpec:
        trusted = self._resolved(raw.get("trusted", False), (*path, "trusted"), InputSpec, "trusted")
        if not isinstance(trusted, bool):
            self._fail((*path, "trusted"), "true or false is wanted")
            trusted = True
        schema = {key: value for key, value in raw.items() if key not in ("trusted", "default")}
        default = raw.get("default", msgspec.UNSET)
        at = (*path, "default")
        if at in self.given.refs and at not in self.given.unresolved and schema.get("type") != "string":
            default = fitted(default, leaves(InputSpec, ("default",)))
        return InputSpec(name, schema, trusted, default)

    def _resolved(self, value: Any, path: DocPath, kind: type, field: str) -> Any:
        return self.structs.value(path, leaves(kind, (field,)), value) if path in self.given.refs else value

    def _provider(self, name: str, raw: dict[str, Any], path: DocPath) -> ProviderEntry | None:
        common = self.structs.struct({"type": "mock", **_only(raw, ProviderCommon)}, ProviderCommon, path)
        type = self.kinds.find("providers", self._registry.provider, raw.get("type"), (*path, "type"))
        own = _without(raw, ProviderCommon)
        if type is None:
            type, own = self._registry.provider("mock"), {}
        if type is None or common is None:
            return None
        for key in secret_fields(type.config) & own.keys():
            self._secret(name, own[key], (*path, key))
        self._headers(own.get("headers"), (*path, "headers"))
        config = self.structs.struct(self._with_key(name, own, type), type.config, path)
        return None if config is None else ProviderEntry(name, type, config, common)

    def _secret(self, provider: str, value: Any, path: DocPath) -> None:
        references = self.given.refs.get(path, ())
        if len(references) != 1 or not references[0].whole or references[0].default:
            self._fail(path, "only a reference is taken")
        elif path in self.given.unresolved:
            if self.given.env is not None:
                self.keyless.append(Keyless(provider, references[0].name, written=True))
        elif isinstance(value, str):
            self.secrets.append(value)

    def _headers(self, headers: Any, path: DocPath) -> None:
        for name, value in headers.items() if isinstance(headers, dict) else ():
            references = self.given.refs.get((*path, name), ())
            if references:
                self.secrets.extend([value] if isinstance(value, str) else [])
                if re.search(grammar.SECRET_HEADER_PATTERN, name) and all(each.default for each in references):
                    self._fail((*path, name), "only a reference is taken")
            elif isinstance(value, str) and grammar.is_secret_header(name, value):
                self._fail((*path, name), "only a reference is taken")

    def _with_key(self, name: str, own: dict[str, Any], type: ProviderType) -> dict[str, Any]:
        """A key that is not written comes from the variable where it usually is."""
        env, variable = self.given.env, type.key_variable
        if env is None or variable is None or "api_key" in own or "api_key" not in type.config.__struct_fields__:
            return own
        if not env.get(variable):
            self.keyless.append(Keyless(name, variable, written=False))
            return own
        self.secrets.append(env[variable])
        return {**own, "api_key": env[variable]}

    def _provider_policies(self, data: dict[str, Any]) -> dict[str, PolicyMap]:
        return {
            name: self.kinds.policies(raw.get("policies"), ("providers", name, "policies"), on_provider)
            for name, raw in data.get("providers", {}).items()
        }

    # -- policies and chains ----------------------------------------------------------------------

    def _policy_set(self, name: str, raw: dict[str, Any], path: DocPath) -> PolicyMap:
        self._stacks[name] = self.kinds.stack(raw, path)
        return self.kinds.policies(_but(raw, "stack"), path, anywhere)

    def _chain(self, name: str, raw: dict[str, Any], path: DocPath) -> ChainEntry | None:
        spec = self.structs.struct(raw, ChainSpec, path)
        targets = [self._target(each, (*path, "targets", index)) for index, each in enumerate(raw.get("targets", []))]
        whole = [each for each in targets if each is not None] or self._any_target()
        limit = self._rate_limit(raw.get("on_rate_limit", {}), (*path, "on_rate_limit"))
        strategy = self._strategy(raw.get("strategy", "sequential"), (*path, "strategy"))
        if spec is None or strategy is None or not whole:
            return None
        at = (*path, "policies")
        use = self._use(spec.policies.get("use"), (*at, "use")) if "use" in spec.policies else None
        stack = self.kinds.stack(spec.policies, at)
        return ChainEntry(
            name=name,
            spec=spec,
            targets=tuple(target for target, _, _ in whole),
            names=tuple(label for _, label, _ in whole),
            strategy=strategy[0],
            strategy_config=strategy[1],
            rate_limit=limit,
            policies=self.kinds.policies(_but(spec.policies, "use", "stack"), at, anywhere),
            target_policies=tuple(own for _, _, own in whole),
            use=use,
            stack=stack if stack is not None else self._stacks.get(use or "default"),
        )

    def _use(self, use: Any, path: DocPath) -> str | None:
        """The set that is named; none where that is not known yet."""
        if path in self.given.unresolved and isinstance(use, str):
            return "none"
        if isinstance(use, str) and re.search(grammar.NAME_PATTERN, use):
            return use
        self._fail(path, "the name of a set is wanted")
        return None

    def _rate_limit(self, raw: Any, path: DocPath) -> RateLimitSpec:
        if not isinstance(raw, dict):
            if path not in self.given.unresolved:
                self._fail(path, "a duration or a mapping is wanted")
            raw = {}
        return self.structs.struct(raw, RateLimitSpec, path) or RateLimitSpec()

    def _strategy(self, raw: Any, path: DocPath) -> tuple[StrategyType, PolicyConfig] | None:
        own = raw if isinstance(raw, dict) else {"type": raw}
        at = (*path, "type") if isinstance(raw, dict) else path
        type = self.kinds.find("strategies", self._registry.strategy, own.get("type"), at)
        if type is None:
            type, own = self._registry.strategy("sequential"), {}
        config = None if type is None else self.structs.struct(_but(own, "type"), type.config, path)
        return None if type is None or config is None else (type, config)

    def _target(self, raw: Any, path: DocPath) -> tuple[TargetSpec, str, PolicyMap] | None:
        if isinstance(raw, str):
            if path in self.given.unresolved:
                return None
            if not re.search(grammar.TARGET_PATTERN, raw):
                self._fail(path, "not a target")
                return None
            provider, _, model = raw.partition("/")
            return TargetSpec(provider=provider, model=model or None), raw, {}
        before = len(self.structs.failures)
        spec = self.structs.struct(raw, TargetSpec, path)
        own = self.kinds.policies(raw.get("policies"), (*path, "policies"), on_target)
        if spec is None or any(each.path == (*path, "provider") for each in self.structs.failures[before:]):
            return None
        return spec, spec.provider if spec.model is None else f"{spec.provider}/{spec.model}", own

    def _any_target(self) -> list[tuple[TargetSpec, str, PolicyMap]]:
        """For a chain whose own are not known, a target that is."""
        return [(TargetSpec(provider=each, model="-"), each, {}) for each in self._providers[:1]]

    # -- steps ------------------------------------------------------------------------------------

    def _step(self, name: str, raw: dict[str, Any], path: DocPath) -> StepEntry | None:
        common = self.structs.struct(_only(raw, StepCommon), StepCommon, path)
        type = self.kinds.find("steps", self._registry.step, raw.get("type", "generate"), (*path, "type"))
        own = _without(raw, StepCommon)
        if type is None:
            return self._silent_step(name, common)
        if isinstance(own.get("prompt"), dict) and "prompt" in type.config.__struct_fields__:
            own["prompt"] = self._prompt(own["prompt"], (*path, "prompt"))
        missing = [key for key in required_fields(type.config) if own.get(key) is None]
        config = self.structs.struct(own, type.config, path)
        if missing or config is None:
            return self._silent_step(name, common)
        return None if common is None else StepEntry(name, type, config, common)

    def _silent_step(self, name: str, common: StepCommon | None) -> StepEntry | None:
        """A step whose name is known and that does nothing, for one that cannot be read."""
        render = self._registry.step("render")
        if render is None or common is None:
            return None
        return StepEntry(name, render, msgspec.convert({"template": "-"}, render.config), common)


def _only(raw: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key in kind.__struct_fields__}


def _without(raw: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in kind.__struct_fields__}


def _but(raw: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in keys}
