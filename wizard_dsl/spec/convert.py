"""Plain data → the typed document, both levels.

This is the fast path: it says whether a document is right, and finds out in a millisecond. What exactly is wrong, and
where, is for the JSON Schema to say, which accepts what is accepted here. All failures of a document are collected;
the document is whole only where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from wizard_dsl.core.component import PolicyConfig, PolicyType, ProviderType, Scope, StepType, StrategyType
from wizard_dsl.spec import grammar
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
from wizard_dsl.spec.fit import fitted, leaves, secret_fields, stand_in

if TYPE_CHECKING:
    from msgspec.inspect import Type

    from wizard_dsl.registry import Group, Registry
    from wizard_dsl.spec.interpolate import Reference

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T", PolicyType, ProviderType, StepType, StrategyType)

#: Sections whose entries are converted by what they declare.
_RAW_SECTIONS: Final = frozenset({"inputs", "providers", "policies", "steps"})
_AT: Final = re.compile(r" - at (?:`key` in )?`\$(.*)`$", re.DOTALL)
_PART: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|(\[\.\.\.\])")


class Failure(msgspec.Struct, frozen=True):
    """Something at or below `path` is not as it should be."""

    path: DocPath
    message: str


class Uninstalled(msgspec.Struct, frozen=True):
    """A dotted name for which no plug-in is installed."""

    path: DocPath
    group: Group
    name: str


class Keyless(msgspec.Struct, frozen=True):
    """A provider whose key is not written, and not in the variable where it usually is."""

    provider: str
    variable: str


class Given(msgspec.Struct, frozen=True):
    """What is known about the values of a document. `env` None: nothing was resolved."""

    registry: Registry
    refs: Mapping[DocPath, Sequence[Reference]] = {}
    unresolved: Collection[DocPath] = ()
    env: Mapping[str, str] | None = None


class Converter:
    """Converts one document; what it found is in its lists afterwards."""

    def __init__(self, given: Given) -> None:
        self._registry = given.registry
        self.given = given
        self.failures: list[Failure] = []
        self.uninstalled: list[Uninstalled] = []
        self.keyless: list[Keyless] = []
        self.secrets: list[str] = []
        self._stacks: dict[str, tuple[str, ...] | None] = {}

    def document(self, data: dict[str, Any]) -> Document | None:
        """The document, or None where something failed. `data` has its shorthands written out."""
        file = self._struct(data, PipelineFile, ())
        self._names(data)
        document = Document(
            file=file or PipelineFile(version=1),
            inputs=dict(self._section(data, "inputs", self._input)),
            providers=dict(self._section(data, "providers", self._provider)),
            provider_policies=dict(self._section(data, "providers", self._provider_policies)),
            policies=dict(self._section(data, "policies", self._policy_set)),
            chains=dict(self._section(data, "chains", self._chain)),
            prompts=file.prompts if file else {},
            steps=dict(self._section(data, "steps", self._step)),
        )
        return None if self.failures or file is None else document

    def _section(
        self, data: dict[str, Any], name: str, convert: Callable[[str, dict[str, Any], DocPath], Any]
    ) -> Iterator[tuple[str, Any]]:
        section = data.get(name)
        for key, raw in section.items() if isinstance(section, dict) else ():
            if not isinstance(raw, dict):
                self._fail((name, key), "a mapping is wanted")
                continue
            value = convert(key, raw, (name, key))
            if value is not None:
                yield key, value

    # -- structs, references and nulls ------------------------------------------------------------

    def _fail(self, path: DocPath, message: str) -> None:
        self.failures.append(Failure(path, message))

    def _struct(self, raw: dict[str, Any], kind: type[S], path: DocPath) -> S | None:
        """The struct, or None after a failure."""
        ready = self._fitted(raw, kind, path)
        for null in _nulls(ready, ()):
            if not any(type(each).__name__ == "AnyType" for each in leaves(kind, null)):
                self._fail((*path, *null), "a value is missing")
        try:
            return msgspec.convert(ready, kind)
        except msgspec.ValidationError as error:
            self._fail((*path, *_path_in(str(error))), _AT.sub("", str(error)))
            return None

    def _fitted(self, raw: dict[str, Any], kind: type[msgspec.Struct], path: DocPath) -> dict[str, Any]:
        """`raw` with references in it as their fields want them."""
        for ref in self.given.refs:
            if ref[: len(path)] == path and len(ref) > len(path) and (path or ref[0] not in _RAW_SECTIONS):
                inner = ref[len(path) :]
                raw = _replaced(raw, inner, partial(self._value, ref, leaves(kind, inner)))
        return raw

    def _value(self, path: DocPath, options: Sequence[Type], text: Any) -> Any:
        if not isinstance(text, str):
            return text
        return stand_in(text, options) if path in self.given.unresolved else fitted(text, options)

    # -- names and kinds --------------------------------------------------------------------------

    def _names(self, data: dict[str, Any]) -> None:
        for section in grammar.NAMED_SECTIONS:
            names = data.get(section)
            for name in names if isinstance(names, dict) else ():
                if not re.search(grammar.NAME_PATTERN, name) or (section == "inputs" and name in grammar.RESERVED):
                    self._fail((section, name), "not a good name")

    def _kind(self, find: Callable[[str], T | None], name: Any, path: DocPath, group: Group) -> T | None:
        """A component by the name a file gives; None after a failure, or where it is not installed."""
        if not isinstance(name, str):
            self._fail(path, "a name is wanted")
            return None
        found = find(name)
        if found is not None and (group != "policies" or name in self._registry.names(group) or "." in name):
            return found
        if re.search(grammar.DOTTED_PATTERN, name):
            self.uninstalled.append(Uninstalled(path, group, name))
        elif path not in self.given.unresolved:
            self._fail(path, "an unknown kind")
        return None

    # -- sections ---------------------------------------------------------------------------------

    def _input(self, name: str, raw: dict[str, Any], path: DocPath) -> InputSpec | None:
        trusted = raw.get("trusted", False)
        if (*path, "trusted") in self.given.refs:
            trusted = self._value((*path, "trusted"), leaves(InputSpec, ("trusted",)), trusted)
        if not isinstance(trusted, bool):
            self._fail((*path, "trusted"), "true or false is wanted")
            return None
        schema = {key: value for key, value in raw.items() if key not in ("trusted", "default")}
        return InputSpec(name, schema, trusted, raw.get("default", msgspec.UNSET))

    def _provider(self, name: str, raw: dict[str, Any], path: DocPath) -> ProviderEntry | None:
        common = self._struct(_only(raw, ProviderCommon), ProviderCommon, path)
        type = self._kind(self._registry.provider, raw.get("type"), (*path, "type"), "providers")
        if type is None or common is None:
            return None
        own = _without(raw, ProviderCommon)
        for key in secret_fields(type.config) & own.keys():
            self._secret(own[key], (*path, key))
        self._headers(own.get("headers"), (*path, "headers"))
        config = self._struct(self._with_key(name, own, type), type.config, path)
        return None if config is None else ProviderEntry(name, type, config, common)

    def _secret(self, value: Any, path: DocPath) -> None:
        references = self.given.refs.get(path, ())
        if len(references) != 1 or not references[0].whole:
            self._fail(path, "only a reference is taken")
        elif path not in self.given.unresolved and isinstance(value, str):
            self.secrets.append(value)

    def _headers(self, headers: Any, path: DocPath) -> None:
        for name, value in headers.items() if isinstance(headers, dict) else ():
            if (*path, name) in self.given.refs:
                self.secrets.extend([value] if isinstance(value, str) else [])
            elif isinstance(value, str) and grammar.is_secret_header(name, value):
                self._fail((*path, name), "only a reference is taken")

    def _with_key(self, name: str, own: dict[str, Any], type: ProviderType) -> dict[str, Any]:
        """A key that is not written comes from the variable where it usually is."""
        env, variable = self.given.env, type.key_variable
        if env is None or variable is None or "api_key" in own or "api_key" not in type.config.__struct_fields__:
            return own
        if not env.get(variable):
            self.keyless.append(Keyless(name, variable))
            return own
        self.secrets.append(env[variable])
        return {**own, "api_key": env[variable]}

    def _provider_policies(self, name: str, raw: dict[str, Any], path: DocPath) -> PolicyMap:
        return self._policies(raw.get("policies", {}), (*path, "policies"), lambda type: type.provider)

    def _policy_set(self, name: str, raw: dict[str, Any], path: DocPath) -> PolicyMap:
        self._stacks[name] = self._stack(raw, path)
        return self._policies(_but(raw, "stack"), path, lambda type: True)

    def _policies(self, raw: Any, path: DocPath, fits: Callable[[PolicyType], bool]) -> PolicyMap:
        made: PolicyMap = {}
        for kind, value in raw.items() if isinstance(raw, dict) else ():
            at = (*path, kind)
            type = self._kind(self._registry.policy, kind, at, "policies")
            if type is not None and not fits(type):
                self._fail(at, "not at this place")
            elif value == "off":
                made[kind] = "off"
            elif not isinstance(value, dict):
                if type is not None or not isinstance(value, (str, int, float)) or isinstance(value, bool):
                    self._fail(at, "a mapping is wanted")
            elif type is not None:
                made[kind] = self._fitted(value, type.config, at)
                self._struct(value, _partial(type.config), at)
        return made

    def _stack(self, raw: dict[str, Any], path: DocPath) -> tuple[str, ...] | None:
        stack = raw.get("stack")
        if "stack" not in raw:
            return None
        if not isinstance(stack, list) or len(set(map(str, stack))) != len(stack):
            self._fail((*path, "stack"), "a list of kinds is wanted")
            return None
        kinds = [
            self._kind(self._registry.policy, each, (*path, "stack", index), "policies")
            for index, each in enumerate(stack)
        ]
        return tuple(each.name for each in kinds if each is not None)

    # -- chains -----------------------------------------------------------------------------------

    def _chain(self, name: str, raw: dict[str, Any], path: DocPath) -> ChainEntry | None:
        spec = self._struct(raw, ChainSpec, path)
        if spec is None:
            return None
        for key in spec.fallback_on:
            if not re.search(grammar.KIND_KEY_PATTERN, key):
                self._fail((*path, "fallback_on", key), "not a kind or status")
        strategy = self._strategy(spec.strategy, (*path, "strategy"))
        limit = self._struct_or_reference(raw.get("on_rate_limit", {}), RateLimitSpec, (*path, "on_rate_limit"))
        targets = [self._target(each, (*path, "targets", index)) for index, each in enumerate(raw["targets"])]
        use, stack, policies = self._chain_policies(spec.policies, (*path, "policies"))
        if strategy is None or limit is None or None in targets:
            return None
        whole = [each for each in targets if each is not None]
        return ChainEntry(
            name=name,
            spec=spec,
            targets=tuple(target for target, _, _ in whole),
            names=tuple(label for _, label, _ in whole),
            strategy=strategy[0],
            strategy_config=strategy[1],
            rate_limit=limit,
            policies=policies,
            target_policies=tuple(own for _, _, own in whole),
            use=use,
            stack=stack if stack is not None else self._stacks.get(use or "default"),
        )

    def _chain_policies(
        self, raw: dict[str, Any], path: DocPath
    ) -> tuple[str | None, tuple[str, ...] | None, PolicyMap]:
        use = raw.get("use")
        if "use" in raw and (not isinstance(use, str) or not self._is_name(use, (*path, "use"))):
            self._fail((*path, "use"), "the name of a set is wanted")
        return use, self._stack(raw, path), self._policies(_but(raw, "use", "stack"), path, lambda type: True)

    def _is_name(self, text: str, path: DocPath) -> bool:
        return path in self.given.unresolved or bool(re.search(grammar.NAME_PATTERN, text))

    def _struct_or_reference(self, raw: Any, kind: type[S], path: DocPath) -> S | None:
        if isinstance(raw, str) and path in self.given.unresolved:
            return kind()
        if isinstance(raw, dict):
            return self._struct(raw, kind, path)
        self._fail(path, "a mapping is wanted")
        return None

    def _strategy(self, raw: str | dict[str, Any], path: DocPath) -> tuple[StrategyType, PolicyConfig] | None:
        own = {"type": raw} if isinstance(raw, str) else raw
        at = path if isinstance(raw, str) else (*path, "type")
        name = "sequential" if at in self.given.unresolved else own.get("type")
        type = self._kind(self._registry.strategy, name, at, "strategies")
        if type is None:
            return None
        config = self._struct(_but(own, "type"), type.config, path)
        return None if config is None else (type, config)

    def _target(self, raw: Any, path: DocPath) -> tuple[TargetSpec, str, PolicyMap] | None:
        if isinstance(raw, str):
            if path not in self.given.unresolved and not re.search(grammar.TARGET_PATTERN, raw):
                self._fail(path, "not a target")
                return None
            provider, _, model = raw.partition("/")
            return TargetSpec(provider=provider, model=model or None), raw, {}
        spec = self._struct(raw, TargetSpec, path)
        if spec is None:
            return None
        label = spec.provider if spec.model is None else f"{spec.provider}/{spec.model}"
        own = self._policies(raw.get("policies"), (*path, "policies"), lambda type: type.scope is Scope.TARGET)
        return spec, label, own

    # -- steps ------------------------------------------------------------------------------------

    def _step(self, name: str, raw: dict[str, Any], path: DocPath) -> StepEntry | None:
        common = self._struct(_only(raw, StepCommon), StepCommon, path)
        type = self._kind(self._registry.step, raw.get("type", "generate"), (*path, "type"), "steps")
        if type is None:
            return None
        own = _without(raw, StepCommon)
        prompt = own.get("prompt")
        if isinstance(prompt, dict) and "prompt" in type.config.__struct_fields__:
            self._struct(prompt, PromptSpec, (*path, "prompt"))
        config = self._struct(own, type.config, path)
        return None if config is None or common is None else StepEntry(name, type, config, common)


def _only(raw: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key in kind.__struct_fields__}


def _without(raw: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in kind.__struct_fields__}


def _but(raw: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in keys}


def _nulls(value: Any, path: DocPath) -> Iterator[DocPath]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _nulls(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _nulls(each, (*path, index))


def _replaced(value: Any, path: DocPath, change: Callable[[Any], Any]) -> Any:
    """A copy of `value` with what stands at `path` changed; `value` itself where there is nothing."""
    if not path:
        return change(value)
    part = path[0]
    if isinstance(value, dict) and part in value:
        return {**value, part: _replaced(value[part], path[1:], change)}
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return [*value[:part], _replaced(value[part], path[1:], change), *value[part + 1 :]]
    return value


@cache
def _partial(config: type[PolicyConfig]) -> type[msgspec.Struct]:
    """The config with nothing required: what is written in one place may be the rest of another's."""
    required = [each for each in msgspec.structs.fields(config) if each.required]
    if not required:
        return config
    fields = [(each.name, each.type | msgspec.UnsetType, msgspec.UNSET) for each in required]
    return msgspec.defstruct(config.__name__, fields, bases=(config,), frozen=True, kw_only=True)


def _path_in(message: str) -> DocPath:
    """The path in a message of convert, up to where it is not told."""
    match = _AT.search(message)
    path: list[str | int] = []
    for name, index, anything in _PART.findall(match[1] if match else ""):
        if anything:
            break
        path.append(name or int(index))
    return tuple(path)
