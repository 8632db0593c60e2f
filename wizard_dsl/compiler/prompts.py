"""Prompts of a document, compiled: inline or from a file, each problem at its own line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from wizard_dsl.core.messages import Tool
from wizard_dsl.prompts.messages import Prompt, compile_prompt, file_messages, inline_messages
from wizard_dsl.prompts.promptfile import PromptFile, parse_prompt_file
from wizard_dsl.spec.diagnostics import DocPath
from wizard_dsl.spec.document import PromptSpec
from wizard_dsl.spec.source import load_text

if TYPE_CHECKING:
    from wizard_dsl.compiler.report import Report
    from wizard_dsl.prompts.names import Known


class CompiledPrompt(msgspec.Struct, frozen=True):
    """A prompt with what is passed on beside its messages. `file` is set where its text stands in a file."""

    prompt: Prompt
    params: Mapping[str, Any]
    tools: tuple[Tool, ...]
    path: DocPath
    file: str | None = None

    def check(self, known: Known, trusted: frozenset[str], report: Report) -> None:
        """Report names that are not in scope here, and what may not stand in a system message."""
        problems = [*self.prompt.problems(known), *self.prompt.untrusted(trusted)]
        if self.file is not None:
            report.in_file(problems, self.file, self.path)
        else:
            report.template(problems, self.path)


def compile_spec(
    spec: PromptSpec, path: DocPath, files: Mapping[DocPath, tuple[str, str]], report: Report
) -> CompiledPrompt | None:
    """Compile the prompt at `path`. `files` holds (name, text) of prompt files by the path of their prompt."""
    if spec.file is not None:
        if spec.system is not None or spec.user is not None or spec.messages:
            report.add("E055", "a prompt is written in place or in a file, not both", (*path, "file"))
            return None
        found = files.get(path)
        return None if found is None else _from_file(spec, path, *found, report)
    sources, problems = inline_messages(_definition(spec))
    compiled = problems or compile_prompt(sources, where=".".join(map(str, path)))
    if isinstance(compiled, list):
        report.template(compiled, path)
        return None
    return CompiledPrompt(compiled, spec.params, _tools(spec), path)


def _definition(spec: PromptSpec) -> dict[str, Any]:
    """The mapping that the prompt was written as, without what was left out."""
    plain = {name: getattr(spec, name) for name in ("system", "user") if getattr(spec, name) is not None}
    if spec.messages:
        plain["messages"] = [
            {"role": each.role, "content": each.content if isinstance(each.content, str) else _parts(each.content)}
            for each in spec.messages
        ]
    return plain


def _parts(parts: list[Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in msgspec.structs.asdict(part).items() if value is not None} for part in parts]


def _tools(spec: PromptSpec) -> tuple[Tool, ...]:
    return tuple(Tool(tool.name, tool.description, tool.parameters) for tool in spec.tools)


def _from_file(spec: PromptSpec, path: DocPath, file: str, text: str, report: Report) -> CompiledPrompt | None:
    parsed = parse_prompt_file(text)
    if isinstance(parsed, list):
        report.in_file(parsed, file, path)
        return None
    front = _front_matter(parsed, file, path, report)
    compiled = compile_prompt(file_messages(parsed), where=file)
    if isinstance(compiled, list):
        report.in_file(compiled, file, path)
        return None
    if front is None:
        return None
    params = {**front.params, **spec.params}
    return CompiledPrompt(compiled, params, _tools(spec) or _tools(front), path, file)


def _front_matter(parsed: PromptFile, file: str, path: DocPath, report: Report) -> PromptSpec | None:
    """`params` and `tools` of the front matter; messages stand below it."""
    if not parsed.front.strip():
        return PromptSpec()
    padded = "\n" * (parsed.front_line - 1) + parsed.front
    source = load_text(padded, file)
    if source.diagnostics:
        report.found.extend(source.diagnostics)
        return None
    try:
        spec = msgspec.convert(source.data, PromptSpec)
    except msgspec.ValidationError as error:
        report.in_front(file, parsed.front_line, str(error), path)
        return None
    if spec.system is not None or spec.user is not None or spec.messages or spec.file is not None:
        report.in_front(file, parsed.front_line, "front matter holds params and tools; messages stand below it", path)
        return None
    return spec
