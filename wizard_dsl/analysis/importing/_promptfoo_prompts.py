"""Prompts of promptfoo: texts, chats as JSON, and files of them.

Its templates are Nunjucks, ours Jinja2: what both have is kept, and vars get names as inputs have them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.names import Names, without_keys
from wizard_dsl.core.regex import regex
from wizard_dsl.prompts.environment import Fault, parse
from wizard_dsl.prompts.template import Template, compile_template
from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.spec.source import parse_value, read_bytes

_TAGS: Final = regex(r"(\{\{.*?\}\}|\{%.*?%\})", re.DOTALL)
_WORDS: Final = regex(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?<![\w.|])([A-Za-z_]\w*)""")
_ROLES: Final = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_FILES: Final = (".txt", ".md", ".j2", ".json", ".yaml", ".yml")
_OTHERS: Final = ("exec:", "langfuse://", "portkey://", "helicone://", "python:", "http://", "https://")
_LIMIT: Final = 1024 * 1024


class Prompt(msgspec.Struct, kw_only=True):
    """A prompt. `inputs` are what it uses, `trusted` those in a system message; `labels` what providers call it."""

    name: str
    spec: dict[str, Any]
    inputs: set[str]
    trusted: set[str]
    labels: set[str]
    origin: str


class Refused(Exception):
    """A prompt that cannot be taken over, with the reason."""


class Prompts:
    """Reads `prompts`. `rename` gives the input of a var."""

    def __init__(self, ledger: Ledger, folder: Path, rename: Callable[[str], str]) -> None:
        self._ledger = ledger
        self._folder = folder
        self._rename = rename
        self._names = Names()

    def read(self, listed: Any, path: DocPath) -> list[Prompt]:
        if listed is None:
            return []
        if isinstance(listed, dict):
            pairs = [((*path, name), {"raw": without_keys(name), "label": label}) for name, label in listed.items()]
        elif isinstance(listed, list):
            pairs = [((*path, index), each) for index, each in enumerate(listed)]
        else:
            pairs = [(path, listed)]
        return [prompt for at, each in pairs for prompt in self._one(each, at)]

    def _one(self, entry: Any, path: DocPath) -> list[Prompt]:
        held = entry if isinstance(entry, dict) else {"raw": entry}
        raw = held.get("raw", held.get("id"))
        label = held.get("label")
        if not isinstance(raw, str):
            self._ledger.dropped(path, "a prompt is a text, or a mapping with `raw` or `id`")
            return []
        try:
            found = [self._prompt(text, each, label, path) for each in self._files(raw) for text in self._texts(each)]
        except Refused as refused:
            self._ledger.dropped(path, str(refused))
            return []
        for name in held if isinstance(entry, dict) else ():
            if name in ("raw", "id"):
                self._ledger.mapped((*path, name), f"prompts.{found[0].name}")
            elif name == "label":
                self._ledger.mapped((*path, name), f"prompts.{found[0].name}", "its name")
            else:
                self._ledger.dropped((*path, name), "only for prompts made by code")
        self._ledger.mapped(path, f"prompts.{found[0].name}")
        return found

    def _files(self, raw: str) -> list[str]:
        """An entry, or each of the files that it means with a `*`. Raises Refused."""
        if not raw.startswith("file://"):
            return [raw]
        return [f"file://{each}" for each in meant(self._folder, raw.removeprefix("file://"), _FILES)]

    def _texts(self, raw: str) -> list[str]:
        """The texts of an entry: itself, or those in a file, which `---` separates. Raises Refused."""
        if raw.startswith(_OTHERS):
            raise Refused("made by code or kept by a service, neither of which is asked")
        name = raw.removeprefix("file://")
        if not raw.startswith("file://") and not (name.endswith(_FILES) and "\n" not in name and " " not in name):
            return [raw]
        text = content(self._folder, name, _FILES)
        parts = re.split(r"^---\s*$", text, flags=re.MULTILINE) if name.endswith((".txt", ".md")) else [text]
        return [part.strip("\n") for part in parts if part.strip()]

    def _prompt(self, text: str, raw: str, label: Any, path: DocPath) -> Prompt:
        messages = _messages(text, raw)
        inputs: set[str] = set()
        trusted: set[str] = set()
        made = []
        for role, content in messages:
            template, used = self.template(content)
            inputs |= used
            trusted |= used if role == "system" else set()
            made.append({"role": role, "content": template})
        roles = [each["role"] for each in made]
        if roles in (["user"], ["system", "user"]):
            spec: dict[str, Any] = {each["role"]: each["content"] for each in made}
        else:
            spec = {"messages": made}
        wanted = label if isinstance(label, str) else Path(raw).stem if raw.startswith("file://") else "prompt"
        labels = {each for each in (label, raw, raw.removeprefix("file://")) if isinstance(each, str)}
        origin = self._ledger.origin(path)
        name = self._names.free(wanted, prefix="p")
        return Prompt(name=name, spec=spec, inputs=inputs, trusted=trusted, labels=labels, origin=origin)

    def template(self, text: str) -> tuple[str, set[str]]:
        """The template with vars renamed, and the inputs that it uses. Raises Refused."""
        tree = parse(text)
        if isinstance(tree, Fault):
            raise Refused(f"its template is not Jinja2: {tree.message}")
        found = compile_template(text)
        if not isinstance(found, Template):
            raise Refused(f"its template cannot be taken over: {found[0].message}")
        names = {use.name for use in found.uses} & found.names
        if "env" in names:
            raise Refused("it reads `env`: a template sees no variables of the environment")
        renamed = {name: self._rename(name) for name in sorted(names)}
        return _TAGS.sub(lambda match: _renamed(match[0], renamed), text), set(renamed.values())


def meant(folder: Path, name: str, endings: tuple[str, ...]) -> list[str]:
    """The name of a file, or the names of those that it means with a `*`. Raises Refused."""
    if "*" not in name:
        return [name]
    try:
        found = [path for path in sorted(folder.glob(name)) if path.name.endswith(endings)]
    except (NotImplementedError, ValueError):
        found = []
    if not found:
        raise Refused(f"no file that is read is called '{name}'")
    return [os.path.relpath(path, folder) for path in found]


def content(folder: Path, name: str, endings: tuple[str, ...]) -> str:
    """The text of a file that the source names. Raises Refused."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise Refused(f"'{name}' lies outside the source's folder")
    if not name.endswith(endings):
        raise Refused(f"'{name}' is code, a glob or a kind of file that is not read")
    try:
        return without_keys(read_bytes(path, _LIMIT).decode("utf-8-sig").rstrip("\n"))
    except (OSError, ValueError):
        raise Refused(f"the file '{name}' cannot be read") from None


def _renamed(tag: str, names: dict[str, str]) -> str:
    """A tag with its names replaced; texts in quotes, attributes and filters stay."""
    return _WORDS.sub(lambda match: match[1] or names.get(match[2], match[2]), tag)


def _messages(text: str, raw: str) -> list[tuple[str, str]]:
    """Role and content of each message; a text that is no chat is the user's. Raises Refused."""
    is_file = raw.startswith("file://") and raw.endswith((".json", ".yaml", ".yml"))
    if not is_file and not text.lstrip().startswith("["):
        return [("user", text)]
    try:
        data = json.loads(text)
    except ValueError:
        data, wrong = parse_value(text, "prompt")
        if wrong or not is_file:
            return [("user", text)]
    if not isinstance(data, list) or not all(isinstance(each, dict) and "content" in each for each in data):
        return [("user", text)]
    return [_message(each) for each in data]


def _message(entry: dict[str, Any]) -> tuple[str, str]:
    role, said = _ROLES.get(str(entry.get("role"))), entry["content"]
    if isinstance(said, list) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in said):
        said = "\n".join(part["text"] for part in said)
    if role is None or not isinstance(said, str):
        raise Refused("a message of it has a role or parts that prompts here do not have")
    return role, said
