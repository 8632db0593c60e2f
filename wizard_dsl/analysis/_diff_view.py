"""A compiled program as `wizard diff` sees it: every value that alters behaviour, by name, with the place it is
written at.

Names are resolved and policies inherited before anything is looked at, so that a definition that moved is the same
view. What is kept is read from the structs of the file and of each component; only what means something else than it
says (a prompt's name, a weight that nobody draws by) is told apart here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wizard_dsl.analysis._diff_values import (
    Leaf,
    expression,
    leaves_of,
    plain,
    schema_without_notes,
    show,
    template,
)
from wizard_dsl.core.component import Rung
from wizard_dsl.policies._backoff import MODES
from wizard_dsl.spec.diagnostics import DocPath, without_user
from wizard_dsl.spec.docpath import value_in
from wizard_dsl.spec.fit import secret_fields
from wizard_dsl.spec.interpolate import Refused, find_references, has_reference, read_inside

if TYPE_CHECKING:
    from wizard_dsl.compiler.compile import Compiled
    from wizard_dsl.compiler.program import ChainPlan, PolicyPlan, Program, StepPlan, TargetPlan
    from wizard_dsl.prompts.messages import MessageSource
    from wizard_dsl.spec.document import ChainEntry, Document, StepEntry

#: Sections of the file that have a view of their own, or say nothing about behaviour.
_APART: Final = frozenset(
    {"version", "description", "inputs", "providers", "policies", "chains", "prompts", "steps", "output", "name"}
)
_CHAIN_APART: Final = frozenset({"targets", "policies", "strategy", "fallback_on", "on_rate_limit"})
#: Maps over the error table: what they come to is told of each kind.
TABLES: Final = frozenset({"retry_on", "trip_on"})
_STEP_APART: Final = frozenset({"prompt", "when", "for_each", "needs", "concurrency", "params", "output", "safety"})
_HIDDEN: Final = "***"

Leaves = dict[str, "Value"]


class Value(msgspec.Struct, frozen=True):
    """`value` is compared, `shown` is for people; `at` are the paths it may be written at, the most specific first."""

    value: Any
    shown: str
    at: tuple[DocPath, ...]


class Part(msgspec.Struct, frozen=True):
    """Values that come and go together, such as a policy at its place. `rung` is that of a policy."""

    at: tuple[DocPath, ...]
    leaves: Leaves
    rung: Rung | None = None


class TargetView(msgspec.Struct, frozen=True):
    """One target. `own` is what is asked of it, `policies` its ladder by kind."""

    plan: TargetPlan
    at: DocPath
    own: Part
    policies: dict[str, Part]


class ChainView(msgspec.Struct, frozen=True):
    """One chain. `targets` by name, in the order in which they are tried."""

    plan: ChainPlan
    at: DocPath
    own: Part
    strategy: Part
    policies: dict[str, Part]
    targets: dict[str, TargetView]


class StepView(msgspec.Struct, frozen=True):
    """One step. `messages` are compared, `texts` shown: each a role with a template."""

    plan: StepPlan
    at: DocPath
    own: Part
    messages: Any
    texts: tuple[tuple[str, str], ...]
    prompt_at: DocPath


class View(msgspec.Struct, frozen=True):
    """One program."""

    compiled: Compiled
    program: Program
    document: Document
    file: Part
    inputs: dict[str, Part]
    providers: dict[str, Part]
    chains: dict[str, ChainView]
    steps: dict[str, StepView]


def view_of(compiled: Compiled) -> View:
    """The view of a program that compiles."""
    assert compiled.program is not None and compiled.loaded.document is not None
    return _Viewer(compiled, compiled.program, compiled.loaded.document).view()


class _Viewer:
    def __init__(self, compiled: Compiled, program: Program, document: Document) -> None:
        self._compiled = compiled
        self._program = program
        self._document = document
        self._data = compiled.loaded.data

    def view(self) -> View:
        used = {target.provider for plan in self._program.chains.values() for target in plan.targets}
        return View(
            compiled=self._compiled,
            program=self._program,
            document=self._document,
            file=self._file(),
            inputs={name: self._input(name) for name in self._document.inputs},
            providers={name: self._provider(name) for name in self._document.providers if name in used},
            chains={name: self._chain(plan) for name, plan in self._program.chains.items()},
            steps={plan.name: self._step(plan) for plan in self._program.steps},
        )

    # -- values -------------------------------------------------------------------------------------

    def _leaf(self, leaf: Leaf, holders: Sequence[DocPath]) -> Value:
        """The value at the first of the places that states it; of a reference, see `_reference`."""
        paths = tuple((*holder, *leaf.key) for holder in holders)
        for path in paths:
            raw = value_in(self._data, path)
            if raw is not None:
                if isinstance(raw, str) and has_reference(raw):
                    return Value(self._reference(raw, path), without_user(raw), paths)
                break
        return Value(leaf.value, leaf.shown, paths)

    def _reference(self, text: str, path: DocPath) -> Any:
        """What a variable stands for is not known here, so that a reference is compared as it is written; files of the
        project are, and belong to it."""
        holder, root = Path(self._compiled.loaded.places.value_at(path).file), self._compiled.loaded.root
        names = [each.name for each in find_references(text) if each.scheme == "file" and not os.path.isabs(each.name)]
        return ("reference", text, *(_file(holder, root, name) for name in names))

    def _leaves(self, config: msgspec.Struct, *holders: DocPath, but: frozenset[str] = frozenset()) -> Leaves:
        return {".".join(leaf.key): self._leaf(leaf, holders) for leaf in leaves_of(config) if leaf.key[0] not in but}

    # -- the file -----------------------------------------------------------------------------------

    def _file(self) -> Part:
        leaves = self._leaves(self._document.file, (), but=_APART)
        leaves.pop("safety.block_when", None)  # told of the steps that it holds for
        output = self._document.file.output
        texts = output if isinstance(output, Mapping) else {"": output}
        for name, text in texts.items():
            if text is not None:
                at: DocPath = ("output", name) if name else ("output",)
                leaves[".".join(map(str, at))] = Value(template(text), show(text), (at,))
        for label, step in (("text of the run", self._program.passes), ("streamed text", self._program.streamed)):
            leaves[label] = Value(step, f"step {step}" if step else "no step", (("output",), ("steps",)))
        if self._document.file.name:
            leaves["name"] = Value(self._document.file.name, self._document.file.name, (("name",),))
        return Part(((),), leaves)

    def _input(self, name: str) -> Part:
        spec, at = self._document.inputs[name], ("inputs", name)
        leaves = {"trusted": Value(spec.trusted, show(spec.trusted), ((*at, "trusted"), at))}
        if spec.default is not msgspec.UNSET:
            leaves["default"] = Value(plain(spec.default), show(spec.default), ((*at, "default"),))
        for key, value in schema_without_notes(spec.schema).items():
            leaves[key] = Value(plain(value), show(value), ((*at, key),))
        return Part((at,), leaves)

    def _provider(self, name: str) -> Part:
        entry, at = self._document.providers[name], ("providers", name)
        leaves = self._leaves(entry.config, at) | {
            f"pool.{key}": value for key, value in self._leaves(entry.common.pool, (*at, "pool")).items()
        }
        secret = secret_fields(type(entry.config))
        for key, value in leaves.items():
            private = key in secret or key.startswith("headers.")
            if private and value.value is not None and not has_reference(value.shown):
                leaves[key] = msgspec.structs.replace(value, shown=_HIDDEN)
        leaves["type"] = Value(entry.type.name, entry.type.name, ((*at, "type"),))
        if "base_url" in leaves and not has_reference(leaves["base_url"].shown):
            url = entry.type.endpoint(entry.config)
            leaves["base_url"] = Value(url, url, leaves["base_url"].at)
        return Part((at,), {key: msgspec.structs.replace(v, shown=without_user(v.shown)) for key, v in leaves.items()})

    # -- chains -------------------------------------------------------------------------------------

    def _chain(self, plan: ChainPlan) -> ChainView:
        entry, at = self._document.chains[plan.name], ("chains", plan.name)
        policies = {each.type.name: self._policy(each, entry, None) for each in (*plan.outer, *plan.shared)}
        strategy = self._leaves(plan.strategy_config, (*at, "strategy"))
        if plan.strategy.expression and strategy[plan.strategy.expression].value is not None:
            text = strategy[plan.strategy.expression]
            strategy[plan.strategy.expression] = msgspec.structs.replace(text, value=expression(text.value))
        targets: dict[str, TargetView] = {}
        for target in plan.targets:
            view = self._target(plan, target, entry)
            count = sum(target.name == each.plan.name for each in targets.values())
            targets[target.name if not count else f"{target.name} (again, {count + 1})"] = view
        limits = self._leaves(entry.rate_limit, (*at, "on_rate_limit"))
        return ChainView(
            plan=plan,
            at=at,
            own=Part(
                (at,),
                self._leaves(entry.spec, at, but=_CHAIN_APART)
                | {f"on_rate_limit.{key}": value for key, value in limits.items()},
            ),
            strategy=Part(((*at, "strategy"), at), strategy),
            policies=policies,
            targets=targets,
        )

    def _target(self, chain: ChainPlan, plan: TargetPlan, entry: ChainEntry) -> TargetView:
        at: DocPath = ("chains", chain.name, "targets", plan.index)
        groups = sorted({each.priority for each in chain.targets})
        leaves = {
            "model": Value(plan.model, plan.model, ((*at, "model"), ("providers", plan.provider, "model"), at)),
            "provider": Value(plan.provider, plan.provider, ((*at, "provider"), at)),
            "priority": Value(groups.index(plan.priority), str(plan.priority), ((*at, "priority"), at)),
        }
        if chain.strategy.weighs:
            leaves["weight"] = Value(plan.weight, show(plan.weight), ((*at, "weight"), at))
        for key, value in plan.params.items():
            leaves[f"params.{key}"] = Value(plain(value), show(value), ((*at, "params", key),))
        stated = self._document.providers[plan.provider].common.models.get(plan.model)
        if stated is not None:
            facts = self._leaves(stated, ("providers", plan.provider, "models", plan.model))
            leaves |= {f"facts.{key}": value for key, value in facts.items() if value.value is not None}
        policies = {}
        for each in plan.ladder:
            if each.type.name != "budget":
                mark = "provider's " if ".provider." in each.path else ""
                policies[f"{mark}{each.type.name}"] = self._policy(each, entry, plan.index)
        return TargetView(plan, at, Part((at,), leaves), policies)

    def _policy(self, plan: PolicyPlan, entry: ChainEntry, index: int | None) -> Part:
        holders = self._holders(plan, entry, index)
        leaves = self._leaves(plan.config, *holders)
        for holder in holders:  # `retry: "${env:RETRY}"`: the whole policy is a reference
            raw = value_in(self._data, holder)
            if isinstance(raw, str) and has_reference(raw):
                leaves[plan.type.scalar] = Value(self._reference(raw, holder), without_user(raw), (holder,))
                break
        if plan.type.name == "retry":
            leaves |= _modes(plan.config, holders)
        at = tuple(each for each in holders if value_in(self._data, each) is not None) or (("chains", entry.name),)
        return Part(at, leaves, plan.type.rung)

    def _holders(self, plan: PolicyPlan, entry: ChainEntry, index: int | None) -> tuple[DocPath, ...]:
        """The places that may set a policy, the most specific first."""
        if ".provider." in plan.path:
            return (plan.origin,)
        kind, chain = plan.type.name, ("chains", entry.name)
        own: list[DocPath] = [] if index is None else [(*chain, "targets", index, "policies", kind)]
        return (*own, (*chain, "policies", kind), ("policies", entry.use or "default", kind))

    # -- steps --------------------------------------------------------------------------------------

    def _step(self, plan: StepPlan) -> StepView:
        entry, at = self._document.steps[plan.name], ("steps", plan.name)
        apart = _STEP_APART | frozenset(entry.type.templates)
        leaves = self._leaves(entry.common, at, but=apart) | self._leaves(entry.config, at, but=apart)
        leaves |= self._conditions(plan, entry, at) | self._answer(plan, entry, at)
        for key, value in plan.params.items():
            own = (*at, "params", key)
            leaves[f"params.{key}"] = Value(plain(value), show(value), (own, *self._prompt_paths(entry, "params", key)))
        for field in entry.type.templates:
            leaves |= _templates(field, getattr(entry.config, field), (*at, field))
        for tool in plan.tools:
            shown = show(msgspec.to_builtins(tool))
            leaves[f"tool {tool.name}"] = Value(
                plain(msgspec.to_builtins(tool)), shown, tuple(self._prompt_paths(entry, "tools"))
            )
        sources = () if plan.prompt is None else plan.prompt.sources
        where = next(iter(self._prompt_paths(entry)), at)
        return StepView(plan, at, Part((at,), leaves), _messages(sources), _texts(sources), where)

    def _prompt_paths(self, entry: StepEntry, *key: str) -> Iterator[DocPath]:
        asked = getattr(entry.config, "prompt", None)
        if asked is not None:
            yield (*(("prompts", asked) if isinstance(asked, str) else ("steps", entry.name, "prompt")), *key)

    def _conditions(self, plan: StepPlan, entry: StepEntry, at: DocPath) -> Leaves:
        found: Leaves = {}
        for key in ("when", "for_each"):
            text = getattr(entry.common, key)
            if text is not None:
                found[key] = Value(expression(text), show(text), ((*at, key),))
        if plan.for_each is not None:
            count = plan.concurrency
            found["concurrency"] = Value(count, str(count), ((*at, "concurrency"), (*at, "for_each")))
        for step, how in plan.needs.items():
            found[f"needs.{step}"] = Value(how, how, ((*at, "needs", step), (*at, "needs"), at))
        return found

    def _answer(self, plan: StepPlan, entry: StepEntry, at: DocPath) -> Leaves:
        found: Leaves = {}
        output = getattr(entry.config, "output", None)
        if output is not None:
            own = self._leaves(output, (*at, "output"), but=frozenset({"schema", "repairs"}))
            found = {f"output.{key}": value for key, value in own.items()}
            if output.schema is not None:
                found["output.schema"] = Value(plain(output.schema), show(output.schema), ((*at, "output", "schema"),))
                where = ((*at, "output", "repairs"), (*at, "output"))
                found["output.repairs"] = Value(output.repairs, str(output.repairs), where)
        if plan.block_when is not None:
            paths: tuple[DocPath, ...] = ((*at, "safety", "block_when"), ("safety", "block_when"))
            found["safety.block_when"] = Value(expression(plan.block_when), show(plan.block_when), paths)
        return found


def _file(holder: Path, root: Path, name: str) -> str | None:
    try:
        return read_inside(holder, root, name)
    except Refused:
        return None


def _modes(config: Any, holders: Sequence[DocPath]) -> Leaves:
    """How delays grow for the kinds that have a way of their own, the usual ones included."""
    modes = {**MODES, **config.backoff}
    return {
        f"backoff.{kind}": Value(mode, mode, tuple((*each, "backoff", kind) for each in holders))
        for kind, mode in modes.items()
        if mode != "exponential" or kind in MODES
    }


def _templates(field: str, value: Any, at: DocPath) -> Leaves:
    if isinstance(value, str):
        return {field: Value(template(value), show(value), (at,))}
    pairs = enumerate(value) if isinstance(value, list) else value.items()
    return {f"{field}.{key}": Value(template(text), show(text), ((*at, key),)) for key, text in pairs}


def _messages(sources: Sequence[MessageSource]) -> Any:
    return tuple((each.role, tuple((part.kind, template(part.text)) for part in each.parts)) for each in sources)


def _texts(sources: Sequence[MessageSource]) -> tuple[tuple[str, str], ...]:
    return tuple((each.role, "\n".join(part.text.removesuffix("\n") for part in each.parts)) for each in sources)
