"""What `wizard doctor` looks at: this Python, the packages, the plug-ins, the settings, the folder for caches.

Nothing is changed and nothing is asked over the network.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import msgspec

from wizard_dsl import __version__
from wizard_dsl.cli._output import has_colour
from wizard_dsl.core.errors import SpecError
from wizard_dsl.core.regex import regex
from wizard_dsl.providers.embedded import DEFAULT_MODEL, find_weights
from wizard_dsl.registry import Group, Registry
from wizard_dsl.spec.diagnostics import Diagnostic, position, sentence
from wizard_dsl.spec.load import load
from wizard_dsl.spec.project import find_project, user_config

State = Literal["ok", "absent", "broken"]

_DISTRIBUTION: Final = "wizard-dsl"
_OLDEST: Final = (3, 11)
_GROUPS: Final[tuple[Group, ...]] = ("policies", "strategies", "providers", "stores", "steps", "lint_rules")
_REQUIREMENT: Final = regex(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?[^;]*(?:;.*extra == ['\"]([a-z]+)['\"])?")
#: Extras for those who change this package.
_OWN_EXTRAS: Final = ("dev", "docs")


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. `absent` is fine: it says what one does without; `broken` is not."""

    what: str
    state: State
    detail: str
    suggestion: str | None = None


def examine(folder: Path, env: Mapping[str, str], registry: Registry) -> list[Finding]:
    """Everything, in the order in which one thing needs the one before it."""
    return [
        _python(),
        Finding("wizard", "ok", __version__),
        *_packages(),
        _weights(),
        *_plugins(env, registry),
        *_settings(folder, env, registry),
        _cache(find_project(folder).root / ".wizard"),
        _terminal(env),
    ]


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] < _OLDEST:
        return Finding("python", "broken", version, f"use Python {'.'.join(map(str, _OLDEST))} or later")
    return Finding("python", "ok", f"{version} ({platform.system()} {platform.machine()})")


def _packages() -> Iterator[Finding]:
    extras: dict[str, list[str]] = {}
    for requirement in metadata.requires(_DISTRIBUTION) or ():
        match = _REQUIREMENT.match(requirement)
        if match is None:
            continue
        name, extra = match.groups()
        if extra is not None:
            extras.setdefault(extra, []).append(name)
            continue
        version = _version(name)
        hint = None if version else f"pip install --force-reinstall {_DISTRIBUTION}"
        yield Finding(f"package {name}", "ok" if version else "broken", version or "not installed", hint)
    for extra, names in sorted(extras.items()):
        if extra not in _OWN_EXTRAS:
            yield _extra(extra, names)


def _extra(extra: str, names: list[str]) -> Finding:
    found = {name: _version(name) for name in names}
    absent = [name for name, version in found.items() if version is None]
    if absent:
        hint = f"pip install '{_DISTRIBUTION}[{extra}]'"
        return Finding(f"extra {extra}", "absent", f"without {', '.join(absent)}", hint)
    return Finding(f"extra {extra}", "ok", ", ".join(f"{name} {version}" for name, version in found.items()))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _weights() -> Finding:
    try:
        path = find_weights(DEFAULT_MODEL, "embedded")
    except SpecError as error:
        return Finding("embedded model", "absent", error.message)
    return Finding("embedded model", "ok", f"{DEFAULT_MODEL} ({path.name})")


def _plugins(env: Mapping[str, str], registry: Registry) -> Iterator[Finding]:
    if env.get("WIZARD_PLUGINS", "all") == "":
        yield Finding("plug-ins", "absent", "turned off by WIZARD_PLUGINS")
        return
    names = [f"{name} ({group})" for group in _GROUPS for name in registry.plugin_names(group)]
    yield Finding("plug-ins", "ok" if names else "absent", ", ".join(names) or "none installed")
    for problem in registry.problems:
        detail = f"{problem.name} ({problem.group}): {problem.reason}"
        yield Finding(f"plug-in {problem.distribution}", "broken", detail, f"pip uninstall {problem.distribution}")


def _settings(folder: Path, env: Mapping[str, str], registry: Registry) -> Iterator[Finding]:
    files = {"user config": user_config(env), "project file": find_project(folder).file}
    for what, path in files.items():
        if path is None:
            yield Finding(what, "absent", "none")
            continue
        found = load(path, registry=registry, kind="project").diagnostics
        yield _file(what, path, [each for each in found if Path(each.file).resolve() == path.resolve()])


def _file(what: str, path: Path, found: list[Diagnostic]) -> Finding:
    first = next((each for each in found if each.severity == "error"), None)
    if first is None:
        return Finding(what, "ok", str(path))
    detail = f"{position(first)} [{first.code}] {sentence(first)}"
    return Finding(what, "broken", detail, f"wizard validate {path}")


def _cache(folder: Path) -> Finding:
    """Whether caches can be kept below the project; the folder itself is made when something is stored."""
    place = next(each for each in (folder, *folder.parents) if each.exists())
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return Finding("cache folder", "ok", str(folder) if place == folder else f"{folder} (not there yet)")
    return Finding("cache folder", "broken", f"{place} cannot be written", f"give this user the right to write {place}")


def _terminal(env: Mapping[str, str]) -> Finding:
    kind = env.get("TERM", "unknown") if sys.stdout.isatty() else "no terminal"
    encoding = (sys.stdout.encoding or "unknown").lower()
    colour = "colour" if has_colour(sys.stdout, env) else "no colour"
    if encoding.replace("-", "") != "utf8":
        return Finding("terminal", "broken", f"{kind}, {encoding}", "set PYTHONUTF8=1, or a locale with UTF-8")
    return Finding("terminal", "ok", f"{kind}, {encoding}, {colour}")
