"""A file and all that lies over it → the typed document, and everything wrong with it, at its place.

    read → write shorthands out → merge the layers → resolve references → convert → check what no schema can say

A file that is right takes no other path. Where conversion fails, `findings.py` asks the JSON Schema what is wrong:
first of each file by itself, as an editor would, then of the merged document.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from wizard_dsl.spec import checks, findings
from wizard_dsl.spec.convert import Converter
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, has_errors, ordered
from wizard_dsl.spec.docpath import value_in
from wizard_dsl.spec.document import Document
from wizard_dsl.spec.interpolate import Resolved, read_inside, reference_findings, resolve_tree
from wizard_dsl.spec.layers import Layer, Merged, Setting, merge
from wizard_dsl.spec.project import Project, find_project, layer_files
from wizard_dsl.spec.settings import PREFIX, env_settings, flag_settings
from wizard_dsl.spec.shorthand import expanded, expanded_value, settled
from wizard_dsl.spec.source import load_file, load_text
from wizard_dsl.spec.structs import Given
from wizard_dsl.spec.templates import template_paths

if TYPE_CHECKING:
    from wizard_dsl.registry import Registry

Kind = Literal["pipeline", "project", "overlay"]

#: WIZARD_ variables that are read elsewhere and set nothing in the document.
OTHER_VARIABLES: Final = (
    "WIZARD_CONFIG",
    "WIZARD_ENV",
    "WIZARD_PLUGINS",
    "WIZARD_STATE",
    "WIZARD_WIRE_DATA",
)


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a file came to. `document` is None where nothing could be read; where the shape is wrong it has stand-ins,
    and `diagnostics` has errors: it may be checked further and must not run.

    `data` is the merged document as written, its references unresolved. `files` holds (name, text) of each prompt
        files = self.stack.reads_files
        resolved = resolve_tree(self.merged.data, self.stack.env, self._referred, skip, files=files)
    """

    document: Document | None
    diagnostics: tuple[Diagnostic, ...]
    places: Merged
    data: dict[str, Any]
    root: Path
    files: dict[DocPath, tuple[str, str]] = {}
    named: frozenset[Path] = frozenset()
    secrets: tuple[str, ...] = ()
    keyless: dict[str, str] = {}
    unresolved: frozenset[DocPath] = frozenset()


def load(
    path: str | Path,
    *,
    registry: Registry,
    env: Mapping[str, str] | None = None,
    overlays: Sequence[str | Path] = (),
    sets: Sequence[str] = (),
    text: str | None = None,
    mock: bool = False,
    files: bool = False,
    kind: Kind = "pipeline",
) -> Loaded:
    """Load a file with the layers below and above it. Never raises for what a file holds.

    `env` None needs no environment (`validate`): references stay as they are written, and what they hold is not
    checked; with `files`, those to files that can be read are resolved all the same, but for keys. `text` stands for
    the file's content. `mock`: targets are answered by mocks, so no key is missed.
    """
    stack = _Stack(Path(path), registry, env, kind, files=files)
    stack.read(overlays, text)
    stack.set(sets)
    return _Load(stack, mock).run()


class _Stack:
    """The layers of one document."""

    def __init__(
        self, path: Path, registry: Registry, env: Mapping[str, str] | None, kind: Kind, *, files: bool
    ) -> None:
        self.path = path
        self.kind = kind
        self.reads_files = files
        self.registry = registry
        self.env = env
        self.project: Project = find_project(path)
        self.layers: list[Layer] = [Layer("built-in", {})]
        self.settings: list[Setting] = []
        self.found: list[Diagnostic] = []

    def read(self, overlays: Sequence[str | Path], text: str | None) -> None:
        for name, path in layer_files(self.path, self.project, [Path(each) for each in overlays], self.env or {}):
            given = text is not None and name == "pipeline"
            source = load_text(text or "", shown(path)) if given else load_file(path, shown(path))
            self.found.extend(source.diagnostics)
            self.layers.append(Layer(name, source.data, source))

    def set(self, flags: Sequence[str]) -> None:
        env, keys = self.env or {}, {}
        if any(each.startswith(PREFIX) and each not in OTHER_VARIABLES for each in env):
            keys = {each.name: each.config.__struct_encode_fields__ for each in self.registry.all_policies()}
        from_env, found = env_settings(env, keys, OTHER_VARIABLES)
        from_flags, more = flag_settings(flags)
        self.settings = [*from_env, *from_flags]
        self.found += [*found, *more]

    def merged(self, *, written_out: bool) -> Merged:
        """All layers as one; `written_out` with their shorthands in full."""
        if not written_out:
            return merge(self.layers, self.settings)
        layers = [msgspec.structs.replace(each, data=expanded(each.data, self.registry)) for each in self.layers]
        settings = [
            msgspec.structs.replace(each, value=expanded_value(each.path, each.value, self.registry))
            for each in self.settings
        ]
        return merge(layers, settings)

    @property
    def unreadable(self) -> bool:
        """Whether a file could not be read at all."""
        sources = [each.source for each in self.layers if each.source is not None]
        return any(not source.data and has_errors(source.diagnostics) for source in sources)

    def holder(self, part: Layer | Setting) -> tuple[Path, Path]:
        """The file that paths in a part are relative to, and the folder they may not leave."""
        if isinstance(part, Setting) or part.source is None:
            return Path.cwd() / "settings", self.project.root
        path = Path(part.source.file)
        return path, path.parent if part.name == "user" else self.project.root


def shown(path: Path) -> str:
    """How diagnostics call a file: relative to the working directory where that is shorter: as people would type it."""
    if not path.is_absolute():
        return str(path)
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)


class _Load:
    """The steps for one stack, in order."""

    def __init__(self, stack: _Stack, mock: bool) -> None:
        self.stack = stack
        self.mock = mock
        self.development = not mock and (stack.env or {}).get("WIZARD_ENV") == "development"
        self.found: list[Diagnostic] = list(stack.found)
        self.merged = stack.merged(written_out=True)
        self.named: set[Path] = set()

    def run(self) -> Loaded:
        if self.stack.unreadable:
            return self._loaded(None, None)
        if self.stack.kind == "overlay":
            own = [each for each in self.stack.layers if each.name == "pipeline"]
            self.found += findings.of_layers(own, self.stack.registry, self.stack.kind)
            return self._loaded(None, None)
        resolved = self._resolved()
        unresolved = self._unresolved(resolved)
        given = Given(self.stack.registry, resolved.refs, unresolved, None if self.mock else self.stack.env)
        data = settled(resolved.data, given.registry, given.refs, unresolved)
        converter = Converter(given)
        document = converter.document(self._versioned(data, "pipeline"))
        self.found = findings.of_references(self.found, self._shape(data, converter))
        self.found += checks.literal_keys(self.merged.data, given.registry, self.merged)
        self.found += checks.plugins(converter.kinds.uninstalled, given.registry, self.merged)
        return self._loaded(document, converter)

    def _versioned(self, data: dict[str, Any], layer: str) -> dict[str, Any]:
        """Only a pipeline has to say its version."""
        return data if layer == self.stack.kind == "pipeline" else {"version": 1, **data}

    def _each_is_right(self) -> bool:
        """Whether each file would convert by itself; overlays are for their schema to judge."""
        files = [each for each in self.stack.layers if each.source is not None and each.name != "overlay"]
        return len(files) < 2 or all(self._is_right(each) for each in files)

    def _is_right(self, layer: Layer) -> bool:
        registry = self.stack.registry
        data = expanded(layer.data, registry)
        refs = resolve_tree(data, None, lambda path, name: "", template_paths(data, registry)).refs
        converter = Converter(Given(registry, refs, frozenset(refs)))
        converter.document(self._versioned(settled(data, registry, refs, refs), layer.name))
        return not converter.structs.failures

    def _shape(self, data: dict[str, Any], converter: Converter) -> list[Diagnostic]:
        """What is wrong in a file by itself, else in what all of them make."""
        registry, kind, layers = self.stack.registry, self.stack.kind, self.stack.layers
        if not converter.structs.failures and self._each_is_right():
            return findings.of_layers([each for each in layers if each.name == "overlay"], registry, kind)
        found = findings.of_layers(layers, registry, kind)
        if not found:
            found = findings.of_data(kind, converter.structs.typed(data), self.merged, converter.given.refs, registry)
        return found or findings.of_conversion(converter.structs.failures, self.merged)

    def _resolved(self) -> Resolved:
        skip = template_paths(self.merged.data, self.stack.registry)
        files = self.stack.reads_files
        resolved = resolve_tree(self.merged.data, self.stack.env, self._referred, skip, files=files)
        if self.mock or self.development:
            missing = [each for each in resolved.missing if not self._mocked(each[0])]
            resolved = msgspec.structs.replace(resolved, missing=missing)
        self.found += reference_findings(resolved, self.merged.data, self.merged)
        return resolved

    def _mocked(self, path: DocPath) -> bool:
        """Whether a mock does without the value at `path`: of a provider any, in development its key alone; and of
        the state, which is in memory then."""
        if path[0] == "state":
            return self.mock
        return path[0] == "providers" and (self.mock or (len(path) == 3 and path[2] == "api_key"))

    def _referred(self, path: DocPath, name: str) -> str:
        return self._read(path, name)[1]

    def _read(self, path: DocPath, name: str) -> tuple[str, str]:
        """The file that is called `name` at `path`, as it is found from here, and its text. Raises Refused."""
        holder, root = self.stack.holder(self.merged.owner(path))
        file = holder.parent / name
        self.named.add(file)
        return str(file), read_inside(holder, root, name)

    def _unresolved(self, resolved: Resolved) -> frozenset[DocPath]:
        """References that stand for nothing yet; all of them without an environment."""
        if self.stack.env is None and not self.stack.reads_files:
            return frozenset(resolved.refs)
        return frozenset(
            path for path in resolved.refs if value_in(resolved.data, path) == value_in(self.merged.data, path)
        )

    def _loaded(self, document: Document | None, converter: Converter | None) -> Loaded:
        files: dict[DocPath, tuple[str, str]] = {}
        keyless: dict[str, str] = {}
        if document is not None and converter is not None:
            files, found = checks.prompt_files(document, self.merged, self._read)
            self.found += found
            self.found += checks.schemas(document, self.merged)
            known = {(each.code, each.path) for each in self.found}
            found = checks.state(document, self.merged, self.stack.project.root)
            self.found += [each for each in found if (each.code, each.path) not in known]
            keyless = {each.provider: each.variable for each in converter.keyless}
            unwritten = {each.provider: each.variable for each in converter.keyless if not each.written}
            if self.development:
                self.found += checks.mocked(document, keyless, self.merged)
            else:
                self.found += checks.keys(document, unwritten, self.merged)
        self.found += self.merged.diagnostics
        return Loaded(
            document=document,
            diagnostics=tuple(ordered(self.found)),
            places=self.merged,
            data=self.merged.data,
            root=self.stack.project.root,
            files=files,
            named=frozenset(self.named),
            secrets=tuple(converter.secrets) if converter else (),
            keyless=keyless,
            unresolved=frozenset(converter.given.unresolved) if converter else frozenset(),
        )
