"""Link: plans become nodes that await each other, in ladder order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from compiler_kit import DEFAULT, HEAD, ONE, program
from msgspec.structs import replace

from wizard_dsl.compiler.facts import known_facts
from wizard_dsl.compiler.link import Services, call_handler, link, with_frame
from wizard_dsl.compiler.program import PolicyPlan, Program
from wizard_dsl.core.messages import Request
from wizard_dsl.core.run import Call, Run, Scope, Transcript
from wizard_dsl.core.target import Facts, Prices
from wizard_dsl.policies.contract import CONTRACT
from wizard_dsl.runtime.runtime import Runtime
from wizard_dsl.testing import virtual


def linked(made: Program) -> Any:
    runtime = Runtime(seed=1, folder=None, transport=None, sinks=(), provide=None)
    return link(made, runtime.services), runtime.services


def kinds(handler: Any) -> list[str]:
    """The classes of the nodes behind a handler, outermost first."""
    found = []
    while handler is not None:
        node = handler.__self__
        found.append(type(node).__name__)
        handler = getattr(node, "_next", None)
    return found


def in_virtual_time(work: Any) -> None:
    async def main() -> None:
        work()

    virtual.run(main())


def test_a_ladder_is_folded_outermost_first_down_to_the_provider(tmp_path: Path) -> None:
    text = HEAD + "chains: {default: {targets: [a], policies: {rate_limit: 5/s, concurrency: 3}}}\n" + ONE

    def work() -> None:
        chains, _ = linked(program(text, tmp_path))
        (branch,) = chains.chains["default"].strategy.__self__._branches
        assert kinds(branch.handler) == [
            "Retry", "OnRateLimit", "RateLimit", "Concurrency", "CircuitBreaker", "Timeout", "AttemptFrame", "Mock",
        ]  # fmt: skip

    in_virtual_time(work)


def test_the_memory_of_refusals_stands_directly_inside_the_retry(tmp_path: Path) -> None:
    text = HEAD + "chains: {default: {targets: [a, {provider: b, policies: {retry: off}}]}}\n" + ONE
    first, second = program(text, tmp_path).chains["default"].targets
    assert [plan.type.name for plan in with_frame(first)][:2] == ["retry", "on_rate_limit"]
    assert with_frame(second)[0].type.name == "on_rate_limit"


@pytest.mark.parametrize(("policies", "outer"), [("{}", []), ("{deadline: 5s, cache: 1h}", ["Deadline", "Cache"])])
def test_a_steps_contract_stands_inside_the_calls_own_policies(tmp_path: Path, policies: str, outer: list[str]) -> None:
    text = f"{HEAD}chains: {{default: {{targets: [a], policies: {policies}}}}}\n{ONE}"

    def work() -> None:
        chains, _ = linked(program(text, tmp_path))
        contract = PolicyPlan(CONTRACT, CONTRACT.config(), "chains.default.contract", "")
        chain = chains.chains["default"]
        assert kinds(call_handler(chain, [contract])) == [*outer, CONTRACT.build.__name__, "Walk"]
        assert kinds(call_handler(chain)) == [*outer, "Walk"]

    in_virtual_time(work)


def test_chains_share_the_state_of_a_target_they_both_use(tmp_path: Path) -> None:
    text = HEAD + "chains: {default: {targets: [a, b]}, other: {targets: [b, a/m]}}\n" + ONE

    def work() -> None:
        chains, _ = linked(program(text, tmp_path))
        first, second = (chains.chains[name].targets for name in ("default", "other"))
        assert first[0].state is second[1].state
        assert first[0].state is not first[1].state

    in_virtual_time(work)


def test_a_targets_params_win_over_the_requests(tmp_path: Path) -> None:
    text = HEAD + "chains: {default: {targets: [{provider: a, params: {temperature: 0.1}}]}}\n" + ONE
    asked: list[Request] = []

    class Listens:
        async def call(self, request: Request, run: Run) -> Any:
            asked.append(request)
            raise KeyError("enough")

    async def main() -> None:
        runtime = Runtime(seed=1, folder=None, transport=None, sinks=(), provide=lambda plan, context: Listens())
        chain = link(program(text, tmp_path), runtime.services).chains["default"]
        run = Run(scope=Scope(run_id="r"), deadline=9.0, transcript=Transcript(0.0), call=Call())
        with pytest.raises(KeyError):
            await chain.strategy(Request(params={"temperature": 0.9, "top_p": 1}), run)

    virtual.run(main())
    assert asked[0].params == {"temperature": 0.1, "top_p": 1}


def test_what_the_file_says_of_a_model_wins_over_the_library(tmp_path: Path) -> None:
    text = HEAD.replace("model: m}", "model: m, models: {m: {context: 100}}}") + DEFAULT + ONE
    (target,) = program(text, tmp_path).chains["default"].targets
    priced = msgspec.structs.replace(target, type=replace(target.type, prices="acme", facts=None))
    prices = Prices(input=1.0, output=2.0)

    def library(prices_of: str, model: str) -> Facts:
        assert (prices_of, model) == ("acme", "m")
        return Facts(context=5, max_output=7, prices=prices)

    facts = known_facts(priced, library)
    assert (facts.context, facts.max_output, facts.prices) == (100, 7, prices)


def test_services_are_what_nodes_get(tmp_path: Path) -> None:
    def work() -> None:
        chains, services = linked(program(HEAD + DEFAULT + ONE, tmp_path))
        assert isinstance(services, Services)
        context = chains.chains["default"].context
        assert (context.path, context.clock, context.shared) == ("chains.default", services.clock, services.shared)

    in_virtual_time(work)
