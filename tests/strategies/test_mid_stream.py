"""Where the winner of a race breaks after its first content, the race is entered again without those it had begun."""

from __future__ import annotations

import pytest

from wizard_dsl.core.component import StrategyType
from wizard_dsl.core.errors import AllFallbacksFailed, StreamBroken
from wizard_dsl.policies.retry import RETRY
from wizard_dsl.strategies.hedged import HEDGED
from wizard_dsl.strategies.parallel import PARALLEL
from wizard_dsl.testing.chains import build_chain
from wizard_dsl.testing.virtual import run

LATE = {"reply": "late", "delay": "30s"}
CUT = {"reply": "x y", "delay": "1s", "cut_after": 1}


@pytest.mark.parametrize(
    ("strategy", "config", "scripts", "story"),
    [
        (
            PARALLEL, {"n": 2}, {"a": [LATE], "b": [CUT, CUT], "c": ["z"]},
            "a cancelled → b mid_stream → b mid_stream → c ok",
        ),
        (HEDGED, {"after": "2s"}, {"a": [LATE], "b": [CUT, "z"], "c": []}, "a cancelled → b mid_stream → b ok"),
        (HEDGED, {"after": "2s"}, {"a": [CUT, CUT], "b": [LATE], "c": ["z"]},
         "a mid_stream → a mid_stream → b cancelled → c ok"),
    ],
)  # fmt: skip
def test_a_winner_that_breaks_is_repeated_and_then_the_untried_go_on(
    strategy: StrategyType, config: dict[str, object], scripts: dict[str, list[object]], story: str
) -> None:
    async def main() -> None:
        policies = [(RETRY, {"max_attempts": 2, "jitter": "none"})]
        chain = build_chain(scripts, policies, strategy=strategy, strategy_config=config, on_mid_stream_error="restart")
        async with await chain.ask(commit="content") as response:
            completion = await response.read()
        assert completion.text == "z"
        assert " → ".join(f"{row.target} {row.kind}" for row in chain.attempts) == story
        assert response.served.target == story.split()[-2]

    run(main())


def test_a_race_that_is_lost_after_all_ends_as_a_broken_stream() -> None:
    async def main() -> None:
        chain = build_chain(
            {"a": [CUT], "b": [LATE]}, strategy=PARALLEL, strategy_config={"n": 2}, on_mid_stream_error="restart"
        )
        with pytest.raises(StreamBroken) as caught:
            async with await chain.ask(commit="content") as response:
                await response.read()
        assert caught.value.partial is not None and caught.value.partial.text == "x"
        assert isinstance(caught.value.__cause__, AllFallbacksFailed)
        assert caught.value.__cause__.kind == "mid_stream"

    run(main())
