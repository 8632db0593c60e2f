"""The JSON Schemas (draft 2020-12) of pipelines, project files and overlays, made from the structs and declarations.

The published ones know the built-in kinds and admit any dotted one; with `plugins` those that are installed have
their real configs, as `wizard schema` prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from wizard_dsl.core.component import PolicyType, ProviderType, Scope
from wizard_dsl.spec import document, grammar
from wizard_dsl.spec.schema_nodes import (
    DOTTED,
    NAMES,
    REFERENCE,
    Node,
    components,
    node,
    or_off,
    or_reference,
    reference,
)
from wizard_dsl.spec.schema_partial import partial

if TYPE_CHECKING:
    from wizard_dsl.registry import Registry

BASE: Final = "https://wizard-dsl.readthedocs.io/schemas"
DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLUGIN_VALUE: Final[Node] = {"description": "a plug-in's policy", "type": ["object", "string", "number"]}

#: A plug-in's policy where its scope does not allow it; a built-in one is simply not listed.
_MISPLACED: Final[Node] = {"not": {}, "x-code": "E061"}


def pipeline_schema(registry: Registry, *, plugins: bool = False) -> Node:
    """Of a pipeline file: every entry is whole."""
    made = _Schema(registry, plugins).file()
    made["properties"]["version"] = {"description": "the version of this grammar", "const": 1}
    return _titled("pipeline", "A Wizard pipeline", made)


def project_schema(registry: Registry, *, plugins: bool = False) -> Node:
    """Of `wizard.yaml` and the user's own file: the same sections, none required."""
    made = pipeline_schema(registry, plugins=plugins)
    made.pop("required")
    return _titled("project", "What the pipelines of a project share (wizard.yaml)", made)


def overlay_schema(registry: Registry, *, plugins: bool = False) -> Node:
    """Of an overlay: a partial document, in which null deletes."""
    return _titled("overlay", "An overlay over a Wizard pipeline", partial(pipeline_schema(registry, plugins=plugins)))


@lru_cache(maxsize=8)
def for_kind(kind: str, registry: Registry, *, plugins: bool = False) -> Node:
    """The schema of `pipeline`, `project` or `overlay`; made once for a registry (110 ms), so it is only to be read."""
    makers: dict[str, Callable[..., Node]] = {"project": project_schema, "overlay": overlay_schema}
    return makers.get(kind, pipeline_schema)(registry, plugins=plugins)


def _titled(name: str, title: str, made: Node) -> Node:
    about = f"{title}, as the editor checks it; `wizard validate` finds what no schema can."
    head = {"$schema": DRAFT, "$id": f"{BASE}/{name}.schema.json", "title": title, "description": about}
    return {**head, **{key: each for key, each in made.items() if key not in head}}


class _Schema:
    """Assembles one schema; everything shared stands under `$defs`."""

    def __init__(self, registry: Registry, plugins: bool) -> None:
        self.registry = registry
        self.policies = registry.all_policies(plugins=plugins)
        self.providers = registry.all_providers(plugins=plugins)
        self.strategies = registry.all_strategies(plugins=plugins)
        self.steps = registry.all_steps(plugins=plugins)
        self.defs: dict[str, Node] = {"reference": reference()}

    def file(self) -> Node:
        top = self._struct(document.PipelineFile)
        sections = top["properties"]
        self._policies()
        self._chains()
        sections["inputs"] = _section(sections["inputs"], _input(), {**NAMES, "not": {"enum": list(grammar.RESERVED)}})
        sections["providers"] = _section(sections["providers"], self._providers())
        sections["policies"] = _section(sections["policies"], {"$ref": "#/$defs/policies.set"})
        sections["chains"] = _section(sections["chains"], {"$ref": "#/$defs/ChainSpec"})
        sections["prompts"] = _section(sections["prompts"], {"$ref": "#/$defs/PromptSpec"})
        sections["steps"] = _section(sections["steps"], self._steps())
        sections["invariants"] = _section(sections["invariants"], {"type": "string"})
        sections["state"] = _without_password(sections["state"])
        top["$defs"] = dict(sorted(self.defs.items()))
        return top

    def _struct(self, kind: type) -> Node:
        """The node of a struct; what it refers to goes to the definitions."""
        (name,), made = components([kind])
        own = made.pop(name)
        self.defs |= made
        return own

    # -- policies ---------------------------------------------------------------------------------

    def _policies(self) -> None:
        for each in self.policies:
            config = self._struct(each.config)
            config.pop("required", None)
            self.defs[f"policy.{each.name}"] = {**config, "description": each.summary}
        stack = self._stack()
        use = or_reference({"description": "the set below; `none`: nothing", "type": "string", **NAMES})
        self.defs["policies.set"] = self._policy_map(lambda each: True, {"stack": stack})
        self.defs["policies.chain"] = self._policy_map(lambda each: True, {"use": use, "stack": stack})
        self.defs["policies.target"] = self._policy_map(lambda each: each.scope is Scope.TARGET, {})
        self.defs["policies.provider"] = self._policy_map(lambda each: each.provider, {})

    def _policy_map(self, fits: Callable[[PolicyType], bool], beside: dict[str, Node]) -> Node:
        """Policies by kind. One that is known and does not belong here is refused like an unknown one."""
        kinds = {each.name: self._policy(each) for each in self.policies if fits(each)}
        misplaced = {each.name: _MISPLACED for each in self.policies if not fits(each) and "." in each.name}
        return {
            "type": "object",
            "properties": {**beside, **kinds, **misplaced},
            "patternProperties": {grammar.DOTTED_PATTERN: _PLUGIN_VALUE},
            "additionalProperties": False,
            "x-unknown-code": "E060",
        }

    def _policy(self, type: PolicyType) -> Node:
        config = {"$ref": f"#/$defs/policy.{type.name}"}
        if not type.scalar:
            return {"description": type.summary, **or_off(None, config)}
        raw = _raw_field(type.config, type.scalar)
        return {"description": f"{type.summary} A scalar sets `{type.scalar}`.", **or_off(raw, config)}

    def _stack(self) -> Node:
        kinds = {"anyOf": [{"enum": [each.name for each in self.policies]}, DOTTED], "x-code": "E060"}
        return {
            "description": "an order of policies by hand, outermost first",
            "type": "array",
            "uniqueItems": True,
            "items": kinds,
        }

    # -- providers, chains, steps -----------------------------------------------------------------

    def _providers(self) -> Node:
        common = self._struct(document.ProviderCommon)["properties"]
        common["policies"] = {"description": common["policies"]["description"], "$ref": "#/$defs/policies.provider"}
        common.pop("type")
        self.defs["provider.plugin"] = {"properties": {"type": True, **common}}
        shared = _pointed("provider.plugin", common)
        for each in self.providers:
            self.defs[f"provider.{each.name}"] = _typed(self._provider(each), shared, each.summary)
        kind = _kind_node([each.name for each in self.providers], "E042", "a wire protocol or a preset")
        cases = _cases([each.name for each in self.providers], "provider")
        return {"type": "object", "required": ["type"], "properties": {"type": kind}, "allOf": cases}

    def _provider(self, type: ProviderType) -> Node:
        """A provider's own keys: those of its config, which presets share, and its own key variable."""
        name = f"config.{type.config.__name__}"
        config = self._struct(type.config)
        own = config.get("properties", {})
        if "headers" in own:
            own["headers"] = _headers(own["headers"])
        self.defs[name] = config
        pointed = _pointed(name, own)
        if "api_key" in own and type.key_variable:
            pointed["api_key"] = {**own["api_key"], "x-env": type.key_variable}
        return {**config, "properties": pointed}

    def _chains(self) -> None:
        chain = self._struct(document.ChainSpec)
        own = chain["properties"]
        target = self._struct(document.TargetSpec)
        target["properties"]["policies"] = {"$ref": "#/$defs/policies.target"}
        self.defs["TargetSpec"] = target
        self.defs["RateLimitSpec"] = self._struct(document.RateLimitSpec)
        text = {"type": "string", "pattern": grammar.TARGET_PATTERN}
        own["targets"]["items"] = {"anyOf": [text, REFERENCE, {"$ref": "#/$defs/TargetSpec"}]}
        own["policies"] = {"$ref": "#/$defs/policies.chain"}
        wait = _raw_field(document.RateLimitSpec, "wait_up_to")
        choice = [{key: wait[key] for key in wait if key not in ("default", "description")}, REFERENCE]
        own["on_rate_limit"] = {**own["on_rate_limit"], "anyOf": [*choice, {"$ref": "#/$defs/RateLimitSpec"}]}
        own["strategy"] = {**own["strategy"], **self._strategy()}
        self.defs["ChainSpec"] = chain

    def _strategy(self) -> Node:
        names = [each.name for each in self.strategies]
        for each in self.strategies:
            self.defs[f"strategy.{each.name}"] = _typed(self._struct(each.config), {}, each.summary)
        self.defs["strategy.plugin"] = {}
        mapping = {
            "type": "object",
            "required": ["type"],
            "properties": {"type": _kind_node(names, "E062", "how the chain chooses among its targets")},
            "allOf": _cases(names, "strategy"),
        }
        return {"anyOf": [{"enum": names}, DOTTED, mapping], "x-code": "E062"}

    def _steps(self) -> Node:
        common = self._struct(document.StepCommon)["properties"]
        common.pop("type")
        self.defs["PromptSpec"] = self._struct(document.PromptSpec)
        for each in self.steps:
            config = self._struct(each.config)
            own = config.get("properties", {})
            if "prompt" in own:
                named = {"type": "string"}
                own["prompt"] = {**own["prompt"], "anyOf": [named, {"$ref": "#/$defs/PromptSpec"}]}
            self.defs[f"step.{each.name}"] = _typed(config, common, each.summary)
        self.defs["step.plugin"] = {"properties": {"type": True, **common}}
        names = [each.name for each in self.steps]
        kind = {**_kind_node(names, "E048", "what the step does"), "default": "generate"}
        return {"type": "object", "properties": {"type": kind}, "allOf": _cases(names, "step", default="generate")}


def _raw_field(kind: type[msgspec.Struct], field: str) -> Node:
    """What msgspec makes of one field, before anything is admitted besides."""
    _, made = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    raw: Node = made[kind.__name__]["properties"][field]
    return raw


def _section(raw: Node, entries: Node, names: Node = NAMES) -> Node:
    described = {key: raw[key] for key in ("description",) if key in raw}
    return {**described, "type": "object", "propertyNames": names, "additionalProperties": entries}


def _input() -> Node:
    trusted = node({"type": "boolean", "default": False, "description": "may stand in a system message"})
    default = {"description": "makes the input optional"}
    return {
        "description": "a JSON Schema (2020-12) of the value, and how it is treated",
        "type": "object",
        "properties": {"trusted": trusted, "default": default},
    }


def _headers(raw: Node) -> Node:
    """Headers, of which some take only references."""
    secret = {"type": "string", "pattern": grammar.SECRET_PART_PATTERN, "x-secret": True}
    says = "this header's value looks like a secret, which only a reference may bring in"
    literal = {"not": {"pattern": grammar.SECRET_VALUE_PATTERN}, "x-code": "E034", "x-says": says}
    other = {"if": REFERENCE, "else": {"allOf": [raw["additionalProperties"], literal]}}
    return {**raw, "patternProperties": {grammar.SECRET_HEADER_PATTERN: secret}, "additionalProperties": other}


def _without_password(raw: Node) -> Node:
    """A text that may be a URL, whose password only a reference brings in."""
    says = "the URL holds a password, which only a reference may bring in"
    literal = {"not": {"pattern": grammar.LITERAL_PASSWORD_PATTERN}, "x-code": "E034", "x-says": says}
    return {**raw, "allOf": [literal]}


def _pointed(definition: str, properties: dict[str, Node]) -> dict[str, Node]:
    """The same properties by reference."""
    return {key: {"$ref": f"#/$defs/{definition}/properties/{key}"} for key in properties}


def _typed(config: Node, common: dict[str, Node], summary: str) -> Node:
    """A mapping with a `type`: the keys of that type, and those that all have."""
    own = {"type": True, **common, **config.get("properties", {})}
    required = {"required": config["required"]} if config.get("required") else {}
    return {"description": summary, "properties": own, **required, "additionalProperties": False}


def _kind_node(names: Sequence[str], code: str, description: str) -> Node:
    return {"description": description, "anyOf": [{"enum": list(names)}, DOTTED], "x-code": code}


def _cases(names: Sequence[str], prefix: str, default: str | None = None) -> list[Node]:
    """For each type, what else the mapping holds; `default` is the type where none is written."""
    cases = []
    for name in names:
        needs = {} if name == default else {"required": ["type"]}
        condition = {"properties": {"type": {"const": name}}, **needs}
        cases.append({"if": condition, "then": {"$ref": f"#/$defs/{prefix}.{name}"}})
    dotted = [name for name in names if "." in name]
    other = {**DOTTED, "not": {"enum": dotted}} if dotted else DOTTED
    condition = {"properties": {"type": other}, "required": ["type"]}
    common = {"$ref": f"#/$defs/{prefix}.plugin"}
    return [*cases, {"if": condition, "then": common}, {"if": {"required": ["type"]}, "else": common}]
