"""Compile: one file, with those it runs as steps, to a program and all diagnostics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.compiler import graph
from wizard_dsl.compiler.chains import Agreed, ChainPlanner
from wizard_dsl.compiler.expressions import check_expressions, invariants
from wizard_dsl.compiler.program import ChainPlan, Program, StepPlan, StreamRule
from wizard_dsl.compiler.providers import check_providers
from wizard_dsl.compiler.report import Report
from wizard_dsl.compiler.steps import StepPlanner
from wizard_dsl.core import units
from wizard_dsl.core.http import PoolConfig
from wizard_dsl.policies.budget import Limit
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, has_errors, ordered, show_path
from wizard_dsl.spec.load import Loaded, load
from wizard_dsl.spec.project import leaves

if TYPE_CHECKING:
    from wizard_dsl.registry import Registry
    from wizard_dsl.spec.document import Document, PoolSpec


class Usage(msgspec.Struct, frozen=True):
    """Which declared names something refers to; what is left over is reported by lint."""

    inputs: frozenset[str] = frozenset()
    prompts: frozenset[str] = frozenset()
    chains: frozenset[str] = frozenset()


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What lies over a file. `env` None: references stay unresolved, and what they hold is not checked; with `files`,
    those to files alone are read.

    `mock`: every target will be answered by a mock, so a key that is missing is none. `chain`: what every
    step of this file asks, whatever it names.
    """

    overlays: Sequence[str] = ()
    sets: Sequence[str] = ()
    env: Mapping[str, str] | None = None
    text: str | None = None
    mock: bool = False
    files: bool = False
    chain: str | None = None


class Compiled(msgspec.Struct, frozen=True):
    """`program` is None where there are errors. `loaded` knows places and origins, `sources` what lies over
    the file, `inner` the files that its steps run, and theirs."""

    program: Program | None
    diagnostics: tuple[Diagnostic, ...]
    loaded: Loaded
    used: Usage = Usage()
    sources: Sources = Sources()
    inner: tuple[Loaded, ...] = ()


def compile_file(path: str | Path, registry: Registry, sources: Sources) -> Compiled:
    """Load and compile `path`. Never raises for what is wrong in a file."""
    return _compile(path, registry, sources, (), {}, ())


def _compile(
    path: str | Path,
    registry: Registry,
    sources: Sources,
    stack: tuple[str, ...],
    agreed: Agreed,
    budgets: tuple[Limit, ...],
) -> Compiled:
    """`stack` holds the files that run this one, `agreed` how they set the policies whose state they share, `budgets`
    the limits they set."""
    loaded = load(
        path,
        registry=registry,
        env=sources.env,
        overlays=sources.overlays,
        sets=sources.sets,
        text=sources.text,
        mock=sources.mock,
        files=sources.files,
    )
    if loaded.document is None:
        return Compiled(None, tuple(ordered(loaded.diagnostics)), loaded, sources=sources)
    files = (*stack, str(Path(path).resolve()))
    return _Compiler(loaded, loaded.document, registry, sources, files, agreed, budgets).compile(str(path))


class _Compiler:
    def __init__(
        self,
        loaded: Loaded,
        document: Document,
        registry: Registry,
        sources: Sources,
        stack: tuple[str, ...],
        agreed: Agreed,
        budgets: tuple[Limit, ...],
    ) -> None:
        self._loaded = loaded
        self._document = document
        self._registry = registry
        self._sources = sources
        self._stack = stack
        self._agreed = agreed
        self._budgets = budgets
        self._report = Report(loaded.places)
        self._inner: list[Loaded] = []

    def compile(self, file: str) -> Compiled:
        document = self._document
        name = document.file.name or Path(file).stem
        self._budgets = tuple(dict.fromkeys((*self._budgets, *_limits(self._loaded, document, name))))
        chains = ChainPlanner(
            document,
            self._registry,
            self._report,
            program=name,
            file=self._stack[-1],
            agreed=self._agreed,
            budgets=self._budgets,
            told=frozenset(str(part) for each in self._loaded.diagnostics for part in each.path[-2:-1]),
        ).plan()
        check_providers(document, self._report)
        check_expressions(document, self._registry, self._report)
        planner = StepPlanner(document, chains, self._loaded.files, self._report, self._other, self._sources.chain)
        steps = planner.plan()
        output = planner.output()
        self._invariants = invariants(document, self._report)
        if not document.steps:
            self._report.add("E070", "the pipeline has no steps", ())
        found = ordered([*self._loaded.diagnostics, *self._report.found])
        names = planner.used_names.union(*(chain.sticky.names for chain in chains.values() if chain.sticky is not None))
        used = Usage(
            inputs=frozenset(names & document.inputs.keys()),
            prompts=frozenset(planner.used_prompts),
            chains=frozenset(step.chain for step in steps if step.chain is not None),
        )
        right = steps and not has_errors(found)
        program = self._program(file, name, chains, steps, output) if right else None
        return Compiled(program, tuple(found), self._loaded, used, self._sources, tuple(self._inner))

    def _program(
        self, file: str, name: str, chains: dict[str, ChainPlan], steps: tuple[StepPlan, ...], output: Any
    ) -> Program:
        document = self._document
        passes, streamed = _source_of_text(output, document, {step.name: step for step in steps})
        needs = {step.name: list(step.needs) for step in steps}
        return Program(
            name=name,
            description=document.file.description,
            file=file,
            hash=_hash(self._loaded, steps),
            prompts=_prompts(self._loaded, steps),
            inputs=document.inputs,
            chains=chains,
            steps=steps,
            pools={key: _pool(entry.common.pool) for key, entry in document.providers.items()},
            output=output,
            passes=passes,
            streamed=streamed,
            deadline=units.parse_duration(document.file.deadline),
            api_versions={
                target.name: getattr(target.config, "api_version", None)
                for plan in chains.values()
                for target in plan.targets
            },
            guard=document.file.safety.input,
            straight=graph.straight([step.name for step in steps], needs),
            state=document.file.state,
            stream=StreamRule(document.file.stream.buffer, document.file.stream.when_full),
            budgets=self._budgets,
            invariants=self._invariants,
            bounds=document.file.bounds,
        )

    def _other(self, file: str, path: DocPath) -> Program | None:
        """The program of another file, relative to this one."""
        target = (Path(self._stack[-1]).parent / file).resolve()
        if str(target) in self._stack:
            names = " → ".join(Path(each).name for each in (*self._stack, str(target)))
            self._report.add("E046", f"pipelines contain each other: {names}", path)
            return None
        if not target.is_relative_to(self._loaded.root):
            message, hint = leaves(file, Path(self._stack[-1]))
            self._report.add("E033", message, path, suggestion=hint)
            return None
        self._loaded = msgspec.structs.replace(self._loaded, named=self._loaded.named | {target})
        if not target.is_file():
            self._report.add("E035", f"there is no file '{file}'", path)
            return None
        sources = msgspec.structs.replace(self._sources, overlays=(), sets=(), text=None, chain=None)
        other = _compile(target, self._registry, sources, self._stack, self._agreed, self._budgets)
        self._report.found.extend(other.diagnostics)
        self._inner += other.loaded, *other.inner
        return other.program


def _source_of_text(output: Any, document: Document, steps: Mapping[str, StepPlan]) -> tuple[str | None, str | None]:
    """(the step the text comes from, the step whose deltas are the text): see DSL, "The step whose deltas stream"."""
    last = list(document.steps)[-1]
    template = output.get("text") if isinstance(output, Mapping) else output
    if template is None:
        streamed = last if output is None else None
        passes: str | None = last
    elif template.passthrough_step is not None:
        passes = streamed = template.passthrough_step
    else:
        refs = template.step_refs
        passes, streamed = (next(iter(refs)) if len(refs) == 1 else last), None
    if streamed is not None and steps[streamed].for_each is not None:
        streamed = None
    return passes, streamed


def _limits(loaded: Loaded, document: Document, program: str) -> list[Limit]:
    """The limits of a file. One that a project's or user's file sets is held by all its pipelines together, any other
    one by this pipeline alone."""
    found = []
    for scope in ("run", "session", "day", "month"):
        spec = getattr(document.file.budgets, scope)
        if spec is not None:
            stated = {"limit": spec} if isinstance(spec, str) else msgspec.structs.asdict(spec)
            shared = loaded.places.origin_of(("budgets", scope, "limit")).layer in ("user", "project")
            found.append(Limit(scope=scope, owner="" if shared else program, **stated))
    return found


def _pool(spec: PoolSpec) -> PoolConfig:
    return PoolConfig(
        size=spec.size,
        per_host=spec.per_host,
        keep_alive=units.parse_duration(spec.keep_alive),
        dns_ttl=units.parse_duration(spec.dns_ttl),
    )


def _hash(loaded: Loaded, steps: Sequence[StepPlan]) -> str:
    """Twelve hex digits over the document as written (references unresolved), its prompt files and the files that its
    steps run, wherever they lie: the same project in another folder is the same."""
    files = sorted((show_path(path), text) for path, (_, text) in loaded.files.items())
    inner = {step.name: step.subprogram.hash for step in steps if step.subprogram is not None}
    canonical = msgspec.json.encode([loaded.data, files, *([inner] if inner else [])], order="deterministic")
    return hashlib.sha256(canonical).hexdigest()[:12]


def _prompts(loaded: Loaded, steps: Sequence[StepPlan]) -> str:
    """Sixteen hex digits over the texts that reach a target: prompts with their files, the templates of other steps,
    and all this of the files that steps run."""
    written = loaded.data.get("steps", {})
    said: dict[str, Any] = {"prompts": loaded.data.get("prompts") or {}}
    for step in steps:
        said[f"steps.{step.name}"] = written[step.name].get("prompt")
        said |= {f"steps.{step.name}.{field}": written[step.name].get(field) for field in step.type.templates}
        if step.subprogram is not None:
            said[f"steps.{step.name}.pipeline"] = step.subprogram.prompts
    texts = {".".join(map(str, path)): text for path, (_, text) in loaded.files.items()}
    canonical = json.dumps([said, texts], sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:16]
