"""What the tests of promises share: calls that fail, whole files that are played, and wires that are scripted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest
from compiler_kit import compile_text

from wizard_dsl.core.errors import WizardError
from wizard_dsl.core.result import Result
from wizard_dsl.core.run import Transcript
from wizard_dsl.lint.rules import lint
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.registry import Registry
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.runtime.runtime import running
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import Policy, ScriptedChain
from wizard_dsl.testing.transport import Reply, ScriptedTransport

T = TypeVar("T")
#: "end" is a unary call, "content" a streamed one; the fixture `commit` runs a test with both.
Commit = Literal["end", "content"]
#: A retry whose delays can be written down: 1 s, 2 s, 4 s …
CALM: list[Policy] = [(RETRY, {"jitter": "none"})]
HEAD = """\
version: 1
inputs: {q: {type: string, default: hello}}
providers: {a: {type: mock, model: m}, b: {type: mock, model: n}}
"""
STEPS = 'steps: {one: {prompt: {user: "{{ q }}"}}}\n'
#: A target whose worst case is 10 US dollars.
PRICED = HEAD.replace("model: m}", "model: m, models: {m: {max_output: 10, prices: {input: $0, output: $1000000}}}}")
#: A provider whose requests a ScriptedTransport answers.
WIRED = """\
version: 1
inputs: {q: {type: string, default: hello}}
providers: {a: {type: openai_compatible, base_url: http://provider.test/v1, model: m}}
"""


def file(chain: str, *more: str, head: str = HEAD) -> str:
    """A file of one step and the chain `default`, whose body `chain` is; `more` are further sections."""
    return "".join([head, f"chains: {{default: {chain}}}\n", STEPS, *(f"{each}\n" for each in more)])


def forever(item: Any) -> list[dict[str, Any]]:
    """A script that plays one item again and again."""
    raw = {"status": item} if isinstance(item, int) else {"reply": item} if isinstance(item, str) else dict(item)
    return [{**raw, "times": "forever"}]


def refused(after: str | None = None, **more: Any) -> dict[str, Any]:
    """The script item of a 429, which names a time or does not."""
    return {"status": 429, **({"retry_after": after} if after else {}), **more}


def starts(chain: ScriptedChain) -> list[float]:
    """When each attempt of the last call began, in seconds since the call did."""
    return [row.started for row in chain.attempts]


async def failure(chain: ScriptedChain, *asked: Any, **options: Any) -> WizardError:
    """The error with which a call leaves; options are those of `ScriptedChain.run`."""
    with pytest.raises(WizardError) as caught:
        await chain.answer(*asked, **options)
    return caught.value


async def ask(pipeline: Pipeline, commit: Commit, **options: Any) -> Result:
    """One run, unary or streamed, read to its end. Raises what the run raises."""
    async with pipeline.stream(**options) if commit == "content" else pipeline.start(**options) as started:
        return await started.finish()


async def refusal(pipeline: Pipeline, commit: Commit, **options: Any) -> WizardError:
    """The error of one run; its `result` holds the attempts, its `transcript` the events."""
    with pytest.raises(WizardError) as caught:
        await ask(pipeline, commit, **options)
    return caught.value


def story(told: Transcript | Result) -> str:
    """The attempts in one line, as `ScriptedChain.story` writes them."""
    return " → ".join(f"{row.target} {(row.kind != 'ok' and row.status) or row.kind}" for row in told.attempts)


def warnings(text: str, folder: Path) -> list[str]:
    """`line:column code message` of what lint says of a file."""
    return [f"{each.line}:{each.column} {each.code} {each.message}" for each in lint(compile_text(text, folder))]


def wire(
    text: str, folder: Path, replies: Sequence[Reply], work: Callable[[Pipeline, ScriptedTransport], Awaitable[T]]
) -> T:
    """`work` on the pipeline of `text` in virtual time; its providers are real, and `replies` is what they get."""

    async def main() -> T:
        transport = ScriptedTransport(replies)
        compiled = compile_text(text, folder)
        async with running(compiled, Registry(plugins=False), seed=1, transport=transport) as pipeline:
            return await work(pipeline, transport)

    return virtual.run(main())
