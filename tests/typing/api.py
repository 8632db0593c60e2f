"""The public surface, as mypy sees it; `test_public_api.py` checks this file with --strict."""

from __future__ import annotations

from typing import Any, assert_type

import wizard_dsl as wizard


async def many_runs() -> None:
    async with wizard.open("pipelines/answer.yaml", seed=7, mock=True) as pipeline:
        assert_type(pipeline, wizard.Pipeline)
        result = await pipeline.run(question="x", deadline=20)
        assert_type(result, wizard.Result)
        async with pipeline.stream(inputs={"question": "x"}, deadline="20s") as stream:
            async for delta in stream:
                assert_type(delta, wizard.Delta)
            assert_type(await stream.cancel(), wizard.Result)
        assert_type(pipeline.ladder("default"), str)
        assert_type(await pipeline.try_run(question="x"), wizard.Result | None)
        assert_type([limit.retry_after for limit in pipeline.limits()], list[float | None])
    async with wizard.open("pipelines/answer.yaml", history=wizard.History()) as recorded:
        assert_type(await recorded.recorded(), None)


def one_run() -> None:
    result = wizard.run("pipelines/answer.yaml", question="x")
    assert_type(result.text, str)
    assert_type(result.cost.usd, float | None)
    assert_type(result.to_json(), dict[str, Any])


def failures() -> None:
    try:
        wizard.run("pipelines/answer.yaml", on_delta=lambda delta: None)
    except wizard.SpecError as error:
        assert_type(error.kind, str)
    except wizard.AllFallbacksFailed as error:
        assert_type(error.exceptions[0], wizard.WizardError | ExceptionGroup[wizard.WizardError])
    except wizard.WizardError as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.exit_code, int)
