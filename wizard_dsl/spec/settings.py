"""What `WIZARD_*` variables and `--set` flags change in the document.

    WIZARD_RETRY_MAX_ATTEMPTS=5          policies.default.retry.max_attempts, and so on for each key of each kind
    WIZARD_ENABLE_CACHING, _RETRY        true: with its defaults unless the file sets it; false: off
    WIZARD_FALLBACK_CHAIN=a,b            chains.default.targets
    WIZARD_SET__a__b=v                   any other path
    --set a.b[0].c=v                     likewise

A value is one in YAML (`5`, `30s`, `off`, `[a, b]`, `{ttl: 1h}`), so a text that looks like a number needs quotes.
Values never appear in findings: a variable may hold a secret.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

import msgspec

from wizard_dsl.core.regex import regex
from wizard_dsl.spec.diagnostics import Diagnostic, DocPath, Place, did_you_mean, finding
from wizard_dsl.spec.layers import LayerName, Setting
from wizard_dsl.spec.source import parse_value

PREFIX: Final = "WIZARD_"
SET_PREFIX: Final = "WIZARD_SET__"
_SEGMENT: Final = regex(r'\[([0-9]{1,9})\]|(?:^|\.)(?:"([^"]+)"|([^.\[\]="]+))')


class Variable(msgspec.Struct, frozen=True):
    """What one variable does: `value` is any YAML, `switch` true or false, `targets` a list parted by commas."""

    path: DocPath
    kind: Literal["value", "switch", "targets"]
    summary: str


def env_table(kinds: Mapping[str, Sequence[str]]) -> dict[str, Variable]:
    """Every variable that sets something, by name. `kinds` has the keys of each built-in policy kind."""
    table = {}
    for kind, keys in kinds.items():
        for key in keys:
            name = f"{PREFIX}{kind}_{key}".upper()
            table[name] = Variable(("policies", "default", kind, key), "value", f"policies.default.{kind}.{key}")
    cache, retry, targets = ("policies", "default", "cache"), ("policies", "default", "retry"), "chains.default.targets"
    table["WIZARD_ENABLE_CACHING"] = Variable(cache, "switch", "turns the cache of the default set on or off")
    table["WIZARD_ENABLE_RETRY"] = Variable(retry, "switch", "turns the retry of the default set on or off")
    table["WIZARD_FALLBACK_CHAIN"] = Variable(tuple(targets.split(".")), "targets", f"{targets}, parted by commas")
    return table


def env_settings(
    env: Mapping[str, str], kinds: Mapping[str, Sequence[str]], known: Collection[str]
) -> tuple[list[Setting], list[Diagnostic]]:
    """The settings of the environment, by name, and what is wrong with them.

    `known` names the WIZARD_ variables that others read; any further one is a warning (W100).
    """
    table = env_table(kinds)
    settings: list[Setting] = []
    found: list[Diagnostic] = []
    for name in sorted(each for each in env if each.startswith(PREFIX) and each not in known):
        if name.startswith(SET_PREFIX):
            outcome = _any_path(name, env[name])
        elif name in table:
            outcome = _from_table(name, env[name], table[name])
        else:
            outcome = _unknown(name, [*table, *known])
        (settings if isinstance(outcome, Setting) else found).append(outcome)  # type: ignore[arg-type]
    return settings, found


def _any_path(name: str, value: str) -> Setting | Diagnostic:
    path = tuple(name.removeprefix(SET_PREFIX).split("__"))
    if not all(path):
        hint = "write WIZARD_SET__policies__default__retry=3, with two underscores between the keys"
        return finding("E036", f"{name} has an empty key in its path", Place(name, 0, 0), suggestion=hint)
    return _parsed("environment", name, path, value)


def _from_table(name: str, value: str, variable: Variable) -> Setting | Diagnostic:
    if variable.kind == "value":
        return _parsed("environment", name, variable.path, value)
    if variable.kind == "targets":
        targets = [each.strip() for each in value.split(",") if each.strip()]
        if targets:
            return Setting("environment", name, variable.path, targets)
        hint = "write openai/gpt-4o-mini,local or unset it"
        return finding("E036", f"{name} names no target", Place(name, 0, 0), suggestion=hint)
    switch = value.strip().lower()
    if switch == "true":
        return Setting("environment", name, variable.path, {}, "enable")
    if switch == "false":
        return Setting("environment", name, variable.path, "off")
    return finding("E036", f"{name} is neither true nor false", Place(name, 0, 0), suggestion="write true or false")


def _unknown(name: str, names: Sequence[str]) -> Diagnostic:
    near = did_you_mean(name, names)
    hint = f"did you mean '{near}'?" if near else "unset it; WIZARD_SET__a__b sets any other path"
    return finding("W100", f"nothing reads the variable {name}", Place(name, 0, 0), suggestion=hint)


def flag_settings(flags: Sequence[str]) -> tuple[list[Setting], list[Diagnostic]]:
    """The settings of `--set path=value` flags, in order, and what is wrong with them."""
    settings: list[Setting] = []
    found: list[Diagnostic] = []
    for flag in flags:
        outcome = _flag(flag)
        (settings if isinstance(outcome, Setting) else found).append(outcome)  # type: ignore[arg-type]
    return settings, found


def _flag(flag: str) -> Setting | Diagnostic:
    path, position = _path(flag)
    if not path or flag[position : position + 1] != "=":
        hint = "write --set policies.default.retry.max_attempts=5; a key with a dot stands in double quotes"
        shown = flag.partition("=")[0][:60]
        return finding("E036", f"--set {shown!r} is no path=value", Place("--set", 0, 0), suggestion=hint)
    return _parsed("flag", f"--set {flag[:position]}", path, flag[position + 1 :])


def _path(text: str) -> tuple[DocPath, int]:
    """The path at the beginning of a text, and where it ends."""
    path: list[str | int] = []
    position = 0
    while match := _SEGMENT.match(text, position):
        index, quoted, plain = match.groups()
        path.append(int(index) if index else quoted or plain.strip())
        position = match.end()
    return tuple(path) if path and isinstance(path[0], str) else (), position


def _parsed(layer: LayerName, written: str, path: DocPath, text: str) -> Setting | Diagnostic:
    value, found = parse_value(text, written)
    if not found:
        return Setting(layer, written, path, value)
    message = f"the value of {written} is not one value in YAML: {found[0].message}"
    return finding("E036", message, Place(written, 0, 0), suggestion="quote a text with special characters")
