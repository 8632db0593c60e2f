"""Contract: what is checked, whom a repair asks, and who is asked afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_kit import play
from semantics_kit import CALM, HEAD, Commit, ask, failure, refusal

from wizard_dsl.core.errors import AllFallbacksFailed, ContractViolated
from wizard_dsl.core.messages import Request, message
from wizard_dsl.policies.contract import CONTRACT
from wizard_dsl.runtime.pipeline import Pipeline
from wizard_dsl.testing import virtual
from wizard_dsl.testing.chains import ScriptedChain, build_chain

SCHEMA = {"type": "object", "required": ["topic"], "properties": {"topic": {"enum": ["billing", "bug"]}}}
GOOD, BAD = '{"topic": "bug"}', '{"topic": "spam"}'
ASK = Request(messages=(message("user", "sort this"),), schema=SCHEMA)


def checked(repairs: int = 1, **scripts: list[Any]) -> ScriptedChain:
    return build_chain(scripts, [(CONTRACT, {"repairs": repairs}), *CALM])


def test_p1_the_complete_answer_is_checked_against_the_schema_of_its_step(tmp_path: Path, commit: Commit) -> None:
    output = "output: {schema: {type: object, required: [topic]}, repairs: 0}"
    text = f"{HEAD}chains: {{default: {{targets: [a]}}}}\nsteps: {{one: {{prompt: {{user: x}}, {output}}}}}\n"
    words = '{"topic": "a word or two", "more": 1}'

    async def work(pipeline: Pipeline) -> None:
        result = await ask(pipeline, commit)
        assert result.steps["one"].json == {"topic": "a word or two", "more": 1}
        for reason in ("is a required property", "not JSON"):
            error = await refusal(pipeline, commit)
            assert isinstance(error, ContractViolated) and (error.kind, error.exit_code) == ("contract", 7)
            assert reason in error.violations[0]
        async with pipeline.stream() as stream:  # what is checked when it is complete is not shown before
            seen = [delta.text async for delta in stream]
        assert seen == [words] and stream.result.elapsed == 6

    slow = {"reply": words, "chunk_every": "1s"}
    play(text, tmp_path, {"a": [words, '{"other": 1}', "Here: {}", slow]}, work)


def test_p2_a_repair_asks_the_target_that_answered_with_the_errors_and_its_attempts_anew(commit: Commit) -> None:
    async def main() -> None:
        chain = checked(a=[503, 503, 503], b=[503, 503, BAD, 503, 503, GOOD], c=["never"])
        assert (await chain.answer(ASK, commit=commit)).text == GOOD
        assert chain.story().endswith("b 503 → b 503 → b ok → b 503 → b 503 → b ok")
        assert [len(script.calls) for script in chain.scripts.values()] == [3, 6, 0]
        repair = chain.scripts["b"].calls[3][0]
        assert [(each.role, each.text) for each in repair.messages[:2]] == [("user", "sort this"), ("assistant", BAD)]
        assert "$.topic: 'spam' is not one of ['billing', 'bug']" in repair.messages[2].text
        assert repair.schema == SCHEMA

    virtual.run(main())


def test_p3_a_repair_that_fails_otherwise_ends_that_target(commit: Commit) -> None:
    async def main() -> None:
        chain = checked(2, a=[BAD, 503, 503, 503, "never"], b=[GOOD])
        assert (await chain.answer(ASK, commit=commit)).text == GOOD
        assert chain.story() == "a ok → a 503 → a 503 → a 503 → b ok"
        alone = checked(2, a=[BAD, 503, 503, 503, "never"])
        assert (await failure(alone, ASK, commit=commit)).kind == "server"

    virtual.run(main())


@pytest.mark.parametrize("repairs", [0, 1, 2])
def test_p4_after_its_repairs_the_strategy_goes_on_with_the_untried_and_none_is_entered_twice(
    repairs: int, commit: Commit
) -> None:
    async def main() -> None:
        chain = checked(repairs, a=[503] * 3, b=[BAD] * (repairs + 1), c=[GOOD])
        assert (await chain.answer(ASK, commit=commit)).text == GOOD
        assert [len(script.calls) for script in chain.scripts.values()] == [3, 1 + repairs, 1]
        most = [503, 503, BAD] * (1 + repairs)  # max_attempts × (1 + repairs)
        chain = checked(repairs, a=[503] * 3, b=most, c=most)
        error = await failure(chain, ASK, commit=commit)
        assert isinstance(error, AllFallbacksFailed)
        assert [each.kind for each in error.exceptions] == ["server", "contract", "contract"]
        assert [script.left for script in chain.scripts.values()] == [0, 0, 0]

    virtual.run(main())
