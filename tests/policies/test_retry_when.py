"""`retry.when`: a predicate of the file's own, over the error and the number of the attempt."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Literal

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.core.errors import MaxRetriesExceeded, WizardError
from wizard_dsl.core.events import ObserverFailed, RetriesEnded
from wizard_dsl.core.target import RateLimitRule
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import Diagnostic
from wizard_dsl.testing.chains import ScriptedChain, build_chain
from wizard_dsl.testing.virtual import run

Commit = Literal["end", "content"]


@pytest.fixture(params=["end", "content"])
def commit(request: pytest.FixtureRequest) -> Commit:
    return request.param


def build(script: list[Any], when: str, **keys: Any) -> ScriptedChain:
    return build_chain({"a": script}, [(RETRY, {"max_attempts": 4, "jitter": "none", "when": when, **keys})])


async def failure(chain: ScriptedChain, **options: Any) -> WizardError:
    with pytest.raises(WizardError) as caught:
        await chain.answer(**options)
    return caught.value


def test_it_picks_by_status_and_kind(commit: Commit) -> None:
    async def main() -> None:
        chain = build([529, {"refuse": True}, 503, "hello"], "error.status == 529 or error.kind == 'connect'")
        error = await failure(chain, commit=commit)
        assert chain.story() == "a 529 → a connect → a 503"
        assert isinstance(error, MaxRetriesExceeded) and error.kind == "server"
        (ended,) = chain.events(RetriesEnded)
        assert ended.reason == "when" and ended.attempts == 3  # type: ignore[attr-defined]

    run(main())


def test_it_sees_the_number_of_the_attempt_that_failed() -> None:
    async def main() -> None:
        chain = build([503] * 4, "attempt < 2")
        await failure(chain)
        assert chain.story() == "a 503 → a 503"

    run(main())


def test_it_sees_the_message_and_the_retry_after() -> None:
    async def main() -> None:
        overloaded = {"status": 503, "body": '{"error": {"message": "overloaded, come back"}}'}
        chain = build([overloaded, 503, "hello"], "'overloaded' in error.message")
        await failure(chain)
        assert len(chain.attempts) == 2
        chain = build([{"status": 503, "retry_after": "1s"}, 503, "hello"], "error.retry_after == 1")
        await failure(chain)
        assert len(chain.attempts) == 2

    run(main())


def test_what_the_table_does_not_repeat_is_not_repeated_unless_retry_on_says_so() -> None:
    async def main() -> None:
        chain = build([401, "hello"], "true")
        assert (await failure(chain)).kind == "auth" and len(chain.attempts) == 1
        chain = build([404, "hello"], "error.status == 404", retry_on={"not_found": True})
        assert (await chain.answer()).text == "hello"

    run(main())


def test_the_first_failure_is_not_wrapped_where_it_says_no(commit: Commit) -> None:
    async def main() -> None:
        chain = build([503, "hello"], "false")
        error = await failure(chain, commit=commit)
        assert error.kind == "server" and not isinstance(error, MaxRetriesExceeded)

    run(main())


def test_a_predicate_that_fails_with_the_values_repeats_nothing_and_is_told() -> None:
    async def main() -> None:
        chain = build([{"refuse": True}, "hello"], "error.status >= 500")
        assert (await failure(chain)).kind == "connect"
        (told,) = chain.events(ObserverFailed)
        assert told.path.endswith("retry.when") and "line 1" in told.error  # type: ignore[attr-defined]

    run(main())


@pytest.mark.parametrize(("when", "story"), [("true", "a 429 → b 503 → a ok"), ("attempt > 1", "a 429 → b 503")])
def test_a_strategy_waits_for_a_target_only_where_it_may_be_repeated(when: str, story: str) -> None:
    async def main() -> None:
        scripts = {"a": [{"status": 429, "retry_after": "5s"}, "hello"], "b": [503]}
        keys = {"max_attempts": 2, "jitter": "none", "when": when}
        chain = build_chain(scripts, [(RETRY, keys)], overrides={"b": []}, rate_limit=RateLimitRule(wait_up_to=2.0))
        with contextlib.suppress(WizardError):
            await chain.answer()
        assert chain.story() == story

    run(main())


def problems(tmp_path: Path, settings: str) -> list[Diagnostic]:
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        "version: 1\nproviders: {m: {type: mock}}\n"
        f"chains: {{default: {{targets: [m/x]}}}}\n{settings}\n"
        'steps: {answer: {prompt: {user: "hi"}}}\n'
    )
    return list(compile_file(file, Registry(plugins=False), Sources(env={})).diagnostics)


def test_a_right_one_has_no_findings(tmp_path: Path) -> None:
    assert problems(tmp_path, "policies: {default: {retry: {when: error.status == 529 or attempt == 1}}}") == []


@pytest.mark.parametrize(
    ("when", "code", "message", "hint"),
    [
        ("eror.status == 529", "E051", "'eror' is not defined", "error"),
        ("error.statsu == 529", "E051", "not 'statsu'", "status"),
        ("error.status ==", "E053", "", None),
        ("error.kind | uper", "E053", "there is no filter 'uper'", "upper"),
        ("item == 1", "E051", "'item' exists only inside", None),
    ],
)
def test_a_wrong_one_is_found_before_the_run_at_its_line(
    tmp_path: Path, when: str, code: str, message: str, hint: str | None
) -> None:
    (found,) = problems(tmp_path, f"policies:\n  default:\n    retry:\n      when: {when!r}")
    assert found.code == code and message in found.message and found.line == 7
    assert hint is None or hint in (found.suggestion or "")


def test_every_place_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        "version: 1\nproviders: {m: {type: mock}}\n"
        "chains:\n  default:\n    policies: {retry: {when: one}}\n"
        "    targets: [{provider: m, model: x, policies: {retry: {when: two}}}]\n"
        "policies: {mine: {retry: {when: three}}}\n"
        'steps: {answer: {prompt: {user: "hi"}}}\n'
    )
    found = compile_file(file, Registry(plugins=False), Sources(env={})).diagnostics
    assert [(each.code, each.line) for each in found] == [("E051", 5), ("E051", 6), ("E051", 7)]
