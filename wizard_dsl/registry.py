"""Which components there are: built-ins by explicit tuples, third parties by entry points.

A `Registry` is a value: nothing is registered by importing, and two of them know nothing of each other. Modules are
imported when a component of theirs is asked for. Third parties announce components under the entry points
`wizard_dsl.policies`, `.strategies`, `.providers`, `.stores` and `.steps`, by dotted names such as `acme.redact`; these
are looked for only when a dotted name is asked for, because a scan of what is installed costs 40 ms. Rules of lint,
`.lint_rules`, are asked for by nobody's file: whether there are any is looked up in the files of what is installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

import msgspec

from wizard_dsl.core.component import PolicyType, ProviderType, RuleType, StepType, StoreType, StrategyType

if TYPE_CHECKING:
    from wizard_dsl.core.http import Transport

Group = Literal["policies", "strategies", "providers", "stores", "steps", "lint_rules"]
Component = PolicyType | StrategyType | ProviderType | StoreType | StepType | RuleType
C = TypeVar("C", PolicyType, StrategyType, ProviderType, StoreType, StepType, RuleType)

_TYPES: Final[Mapping[Group, type[Component]]] = MappingProxyType(
    {
        "policies": PolicyType,
        "strategies": StrategyType,
        "providers": ProviderType,
        "stores": StoreType,
        "steps": StepType,
        "lint_rules": RuleType,
    }
)

_PROVIDERS: Final = (
    "anthropic",
    "cohere",
    "embedded",
    "gemini",
    "mock",
    "ollama",
    "openai_compatible",
    "openai_responses",
)
_PRESETS: Final = (
    "deepseek",
    "fireworks",
    "groq",
    "mistral",
    "nebius",
    "openai",
    "openrouter",
    "together",
    "vllm",
    "xai",
    "zai",
)
_POLICIES: Final = (
    "admission",
    "cache",
    "circuit_breaker",
    "concurrency",
    "deadline",
    "rate_limit",
    "retry",
    "retry_budget",
    "timeout",
)
_STRATEGIES: Final = ("adaptive", "cheapest", "fastest", "hedged", "parallel", "sequential", "weighted")
#: What the compiler adds by itself: written elsewhere in a file, never under `policies`.
_INTERNAL: Final = ("budget", "contract", "on_rate_limit", "safety")


def _constants(package: str, names: Iterable[str], module: str = "") -> dict[str, str]:
    return {name: f"wizard_dsl.{package}.{module or name}:{name.upper()}" for name in names}


BUILT_INS: Final[Mapping[Group, Mapping[str, Any]]] = MappingProxyType(
    {
        "policies": _constants("policies", _POLICIES),
        "strategies": _constants("strategies", _STRATEGIES),
        "providers": _constants("providers", _PROVIDERS) | _constants("providers", _PRESETS, "presets"),
        "stores": _constants("stores", ("memory", "disk")),
        "steps": _constants("steps", ("generate", "embed", "render", "pipeline")),
        "lint_rules": {},  # ours are functions, listed in lint/rules.py
    }
)
_INTERNAL_POLICIES: Final = MappingProxyType(_constants("policies", _INTERNAL))


class Problem(msgspec.Struct, frozen=True):
    """An announced component that cannot be used: its name, who announced it, and why not."""

    group: Group
    name: str
    distribution: str
    reason: str


class EntryPoint(Protocol):
    """What is used of `importlib.metadata.EntryPoint`."""

    @property
    def name(self) -> str: ...
    @property
    def dist(self) -> Any: ...
    def load(self) -> Any: ...


def installed(group: str) -> Iterable[EntryPoint]:
    """The entry points of all installed distributions under `wizard_dsl.<group>`."""
    if group == "lint_rules" and not _are_announced(group):
        return ()
    from importlib.metadata import entry_points

    return entry_points(group=f"wizard_dsl.{group}")


def _are_announced(group: str) -> bool:
    """Whether a distribution in a folder of the path announces something in a group: the same answer as a scan, without
    its machinery. What lies in an archive is for the scan to find."""
    wanted = f"[wizard_dsl.{group}]".encode()
    for folder in sys.path:
        if os.path.isfile(folder):
            return True
        names = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
        for name in names:
            if name.endswith((".dist-info", ".egg-info")) and wanted in _announcements(os.path.join(folder, name)):
                return True
    return False


def _announcements(folder: str) -> bytes:
    try:
        with open(os.path.join(folder, "entry_points.txt"), "rb") as file:
            return file.read()
    except OSError:
        return b""


class Registry:
    """Looks components up by name. `plugins=False` knows the built-ins alone (`WIZARD_PLUGINS=`, set and empty).

    `built_in` maps group → name → the component or its "module:CONSTANT"; tests and embedding programs may pass
    their own.
    """

    def __init__(
        self,
        *,
        plugins: bool = True,
        built_in: Mapping[Group, Mapping[str, Any]] = BUILT_INS,
        scan: Callable[[str], Iterable[EntryPoint]] = installed,
    ) -> None:
        self._built_in = built_in
        self._scan = scan if plugins else lambda group: ()
        self._loaded: dict[tuple[Group, str], Component] = {}
        self._plugins: dict[Group, dict[str, Component]] = {}
        self._problems: list[Problem] = []
        self._distributions: dict[tuple[Group, str], str] = {}

    def policy(self, name: str) -> PolicyType | None:
        """A policy kind; also those that the compiler adds by itself."""
        return self._find("policies", name, PolicyType)

    def strategy(self, name: str) -> StrategyType | None:
        return self._find("strategies", name, StrategyType)

    def provider(self, name: str) -> ProviderType | None:
        return self._find("providers", name, ProviderType)

    def store(self, name: str) -> StoreType | None:
        return self._find("stores", name, StoreType)

    def step(self, name: str) -> StepType | None:
        return self._find("steps", name, StepType)

    def names(self, group: Group) -> tuple[str, ...]:
        """The built-in names a file may use, in order of the alphabet."""
        return tuple(sorted(self._built_in[group]))

    def plugin_names(self, group: Group) -> tuple[str, ...]:
        """The names of installed plug-ins that load, in order of the alphabet. Scans what is installed, once."""
        return tuple(sorted(self._installed(group)))

    def all_policies(self, *, plugins: bool = False) -> tuple[PolicyType, ...]:
        """Every policy kind a file may use; with `plugins`, the installed ones after the built-in ones."""
        return self._all("policies", PolicyType, plugins)

    def internal_policies(self) -> tuple[PolicyType, ...]:
        """The policies that the compiler adds by itself, in order of the alphabet."""
        return tuple(each for each in map(self.policy, _INTERNAL) if each is not None)

    def all_strategies(self, *, plugins: bool = False) -> tuple[StrategyType, ...]:
        return self._all("strategies", StrategyType, plugins)

    def all_providers(self, *, plugins: bool = False) -> tuple[ProviderType, ...]:
        return self._all("providers", ProviderType, plugins)

    def all_steps(self, *, plugins: bool = False) -> tuple[StepType, ...]:
        return self._all("steps", StepType, plugins)

    def rule(self, name: str) -> RuleType | None:
        return self._find("lint_rules", name, RuleType)

    def rules(self) -> tuple[RuleType, ...]:
        """The rules of installed plug-ins, in order of the alphabet."""
        return self._all("lint_rules", RuleType, True)

    def distribution(self, group: Group, name: str) -> str:
        """Who announced a plug-in's component that was found."""
        return self._distributions[group, name]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Plug-ins that could not be used, as far as they were looked for."""
        return tuple(self._problems)

    def _all(self, group: Group, kind: type[C], plugins: bool) -> tuple[C, ...]:
        names = (*self.names(group), *(self.plugin_names(group) if plugins else ()))
        found = (self._find(group, name, kind) for name in names)
        return tuple(each for each in found if each is not None)

    def _find(self, group: Group, name: str, kind: type[C]) -> C | None:
        component: Any = self._loaded.get((group, name))
        if component is None and "." in name:
            component = self._installed(group).get(name)
        elif component is None:
            component = self._imported(group, name)
        assert component is None or isinstance(component, kind), f"{group} {name} is no {kind.__name__}"
        return component

    def _imported(self, group: Group, name: str) -> Component | None:
        spec = self._built_in[group].get(name)
        if spec is None and group == "policies":
            spec = _INTERNAL_POLICIES.get(name)
        if spec is None:
            return None
        component: Component = _constant(spec) if isinstance(spec, str) else spec
        self._loaded[group, name] = component
        return component

    def _installed(self, group: Group) -> dict[str, Component]:
        if group not in self._plugins:
            self._plugins[group] = {}
            for entry in sorted(self._scan(group), key=lambda each: each.name):
                self._take(group, entry)
        return self._plugins[group]

    def _take(self, group: Group, entry: EntryPoint) -> None:
        """Load one announced component; whatever goes wrong in foreign code is a problem, never a crash."""
        try:
            component = entry.load()
            reason = _refusal(group, entry.name, component, self._plugins[group])
        except Exception as error:
            reason = f"importing it failed: {type(error).__name__}: {error}"
        distribution = getattr(entry.dist, "name", None) or "unknown"
        if reason:
            self._problems.append(Problem(group, entry.name, distribution, reason))
        else:
            self._distributions[group, entry.name] = distribution
            self._plugins[group][entry.name] = component


def _constant(spec: str) -> Any:
    module, _, constant = spec.partition(":")
    return getattr(import_module(module), constant)


def _refusal(group: Group, name: str, component: Any, taken: Mapping[str, Component]) -> str:
    """Why an announced component cannot be used; empty if it can."""
    wanted = _TYPES[group]
    if "." not in name:
        return "the name of a plug-in's component needs a dot, as in acme.redact"
    if not isinstance(component, wanted):
        return f"it is a {type(component).__name__}, not a {wanted.__name__}"
    if component.name != name:
        return f"it is announced as {name} and calls itself {component.name}"
    return f"another package announces {name}, too" if name in taken else ""


def make_transport() -> Transport:
    """The transport of real runs; imports the HTTP client."""
    made: Transport = import_module("wizard_dsl.providers._aiohttp").AiohttpTransport()
    return made
