"""Every outcome that a built-in component declares can be made to happen, and is told where it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from outcome_kit import BARE, Driver, Scenario, flat, named, played, streamed

from wizard_dsl.compiler.outcomes import MID_STREAM, STEP
from wizard_dsl.registry import Registry
from wizard_dsl.testing.coverage import exercised, possible

RETRY = {"use": "none", "retry": {"max_attempts": 2, "jitter": "none"}}
BREAKER = {"failure_threshold": 2, "reset_timeout": "30s"}
FOREVER: list[Any] = [{"status": 503, "times": "forever"}]
SLOW = {"reply": "late", "delay": "30s", "times": "forever"}
GOOD = {"reply": "yes", "times": "forever"}


def policies(**own: Any) -> dict[str, Any]:
    return {"policies": {**BARE, **own}}


async def twice(driver: Driver) -> None:
    await driver.run()
    await driver.run()


async def crowd(driver: Driver) -> None:
    await driver.at_once(3)


async def impatient_crowd(driver: Driver) -> None:
    await driver.at_once(3, deadline=2)


async def hurried(driver: Driver) -> None:
    await driver.run(deadline=2)


async def later(driver: Driver) -> None:
    await driver.run()
    await driver.run()
    await driver.wait(31)
    await driver.run()


async def after_ttl(driver: Driver) -> None:
    await driver.run()
    await driver.wait(12)
    await driver.run()
    await driver.wait(1)


async def of_a_session(driver: Driver) -> None:
    await driver.at_once(3, session="one")


async def hurried_session(driver: Driver) -> None:
    await driver.at_once(3, session="one", deadline=2)


def admission(part: str) -> dict[str, Any]:
    return policies(admission={part: {"rate": "1/minute", "burst": 2, "warn_at": "60%"}})


LIMITED: list[tuple[set[str], Scenario]] = [
    (
        {"rate_limit.waited", "rate_limit.near"},
        Scenario({"a": [GOOD]}, policies(rate_limit={"rate": "1/s", "burst": 2}), drive=crowd),
    ),
    (
        {"rate_limit.refused"},
        Scenario({"a": [GOOD]}, policies(rate_limit={"rate": "1/s", "burst": 1, "max_wait": "0s"}), drive=crowd),
    ),
    (
        {"rate_limit.provider_near"},
        Scenario(
            {
                "a": [
                    {
                        "reply": "yes",
                        "headers": {
                            "x-ratelimit-limit-requests": "100",
                            "x-ratelimit-remaining-requests": "5",
                            "x-ratelimit-reset-requests": "1s",
                        },
                    }
                ]
            },
            policies(rate_limit={"rate": "10/s", "follow_headers": True}),
        ),
    ),
    (
        {"concurrency.waited"},
        Scenario({"a": [{"reply": "yes", "delay": "1s", "times": "forever"}]}, policies(concurrency=1), drive=crowd),
    ),
    (
        {"concurrency.refused"},
        Scenario({"a": [SLOW]}, policies(concurrency={"limit": 1, "max_wait": "1s"}), drive=crowd),
    ),
    ({"admission.global_waited", "admission.global_near"}, Scenario({"a": [GOOD]}, admission("global"), drive=crowd)),
    ({"admission.global_refused"}, Scenario({"a": [GOOD]}, admission("global"), drive=impatient_crowd)),
    (
        {"admission.pipeline_waited", "admission.pipeline_near"},
        Scenario({"a": [GOOD]}, admission("pipeline"), drive=crowd),
    ),
    ({"admission.pipeline_refused"}, Scenario({"a": [GOOD]}, admission("pipeline"), drive=impatient_crowd)),
    (
        {"admission.session_waited", "admission.session_near"},
        Scenario({"a": [GOOD]}, admission("session"), drive=of_a_session),
    ),
    ({"admission.session_refused"}, Scenario({"a": [GOOD]}, admission("session"), drive=hurried_session)),
]

REPEATED: list[tuple[set[str], Scenario]] = [
    ({"retry.first_try", "sequential.primary", "step.ran"}, Scenario({"a": ["yes"]}, {"policies": RETRY})),
    ({"retry.after_retry"}, Scenario({"a": [503, "yes"]}, {"policies": RETRY})),
    ({"retry.not_repeated"}, Scenario({"a": [401]}, {"policies": RETRY})),
    ({"retry.gave_up", "sequential.failed"}, Scenario({"a": [503, 503]}, {"policies": RETRY})),
    (
        {"retry.waited", "on_rate_limit.blocked"},
        Scenario({"a": [{"status": 429, "retry_after": "1s"}, "yes"]}, {"policies": RETRY}),
    ),
    (
        {"retry.too_long", "sequential.waited"},
        Scenario({"a": [{"status": 429, "retry_after": "20s"}, "yes"]}, {"policies": RETRY}),
    ),
    ({"retry.deadline"}, Scenario({"a": [503]}, {"policies": {**RETRY, "deadline": "1500ms"}})),
    ({"retry.breaker_opened"}, Scenario({"a": [503]}, policies(retry=2, circuit_breaker=1))),
    (
        {"retry.budget_exhausted", "retry_budget.granted", "retry_budget.exhausted"},
        Scenario({"a": FOREVER}, policies(retry=3, retry_budget={"floor": "0.1/s"})),
    ),
    (
        {"retry.unpaid", "budget.stopped"},
        Scenario(
            {"a": [{"reply": "no", "first_chunk": "1h"}]},
            policies(retry=3, timeout={"total": "5s"}),
            file={"budgets": {"run": "$0.15"}},
        ),
    ),
    ({"retry.unwanted"}, Scenario({"a": [503]}, policies(retry={"when": "error.kind == 'connect'"}))),
]

BROKEN: list[tuple[set[str], Scenario]] = [
    (
        {"circuit_breaker.opened", "circuit_breaker.refused"},
        Scenario({"a": [503]}, policies(circuit_breaker=1), drive=twice),
    ),
    (
        {"circuit_breaker.closed_again"},
        Scenario({"a": [503, 503, "yes"]}, policies(circuit_breaker=BREAKER), drive=later),
    ),
    (
        {"circuit_breaker.opened_again"},
        Scenario({"a": [503, 503, 503]}, policies(circuit_breaker=BREAKER), drive=later),
    ),
    (
        {"circuit_breaker.probed"},
        Scenario({"a": [503, 503, "yes", "yes"]}, policies(circuit_breaker={**BREAKER, "probe": True}), drive=later),
    ),
    ({"timeout.connect"}, Scenario({"a": [{"connect": "10s"}]}, policies(timeout={"connect": "5s"}))),
    (
        {"timeout.first_chunk"},
        Scenario({"a": [{"reply": "late", "first_chunk": "90s"}]}, policies(timeout={}), drive=streamed),
    ),
    (
        {"timeout.idle", "on_mid_stream_error.broken"},
        Scenario({"a": [{"reply": "one two three", "stall_after": 2}]}, policies(timeout={}), drive=streamed),
    ),
    ({"timeout.total"}, Scenario({"a": [{"reply": "late", "delay": "2m"}]}, policies(timeout={"total": "90s"}))),
    ({"deadline.kept"}, Scenario({"a": ["yes"]}, policies(deadline="5s"))),
    ({"deadline.cut"}, Scenario({"a": [SLOW]}, policies(deadline="5s"))),
    ({"deadline.not_begun"}, Scenario({"a": [503]}, policies(deadline="1500ms", retry=2))),
    (
        {"on_rate_limit.no_quota"},
        Scenario({"a": [{"status": 429, "body": '{"error": {"code": "insufficient_quota"}}'}]}),
    ),
    (
        {"on_mid_stream_error.resumed"},
        Scenario(
            {"a": [{"reply": "one two", "cut_after": 2}], "b": ["whole"]},
            {"on_mid_stream_error": "restart"},
            drive=streamed,
        ),
    ),
]

STRATEGIES: dict[str, dict[str, Any]] = {
    "sequential": {},
    "hedged": {"after": "100s"},
    "parallel": {"n": 1},
    "weighted": {},
    "cheapest": {},
    "fastest": {},
    "adaptive": {},
}
KEEP_ORDER = {"sequential", "hedged"}
OPEN = policies(circuit_breaker=1)


async def recovering(driver: Driver) -> None:
    """The first target fails, others answer; then the others fail, and the first answers, be the order what it may."""
    for _ in range(3):
        await driver.run()
        await driver.wait(700)


def walked(strategy: str) -> list[tuple[set[str], Scenario]]:
    """What any walk does, under one strategy."""

    def case(outcome: str, scripts: dict[str, list[Any]], drive: Any = None, **chain: Any) -> tuple[set[str], Scenario]:
        own = {"strategy": {"type": strategy, **STRATEGIES[strategy]}, **chain}
        return {f"{strategy}.{outcome}"}, Scenario(scripts, own, drive=drive)

    first, second = ("primary", "fallback") if strategy in KEEP_ORDER else ("answered", "moved_on")
    weights = {"targets": [{"provider": "a", "model": "m", "weight": 1}, {"provider": "b", "model": "m", "weight": 0}]}
    lossy = {"targets": ["a/m"], "allow_loss": ["system"]}
    blind = Scenario(
        {"a": ["yes"]},
        {"strategy": {"type": strategy, **STRATEGIES[strategy]}, **lossy},
        {"prompt": {"system": "Be brief.", "user": "{{ question }}"}},
        {"providers": {"a": {"type": "ollama", "model": "m", "models": {"m": {"system": False}}}}},
    )
    return [
        case(first, {"a": ["yes"], "b": ["yes"]}, **weights),
        case(second, {"a": [503], "b": ["yes"]}, **weights),
        case("failed", {"a": [503], "b": [503]}),
        case("stopped", {"a": [401], "b": [401]}),
        case("closed", {"a": [503], "b": [503]}, twice, **OPEN),
        case("waited", {"a": [{"status": 429, "retry_after": "9s"}, "yes"]}, policies={**BARE, "retry": 2}),
        case(
            "no_time", {"a": [{"status": 503, "delay": "1500ms"}], "b": [{"status": 503, "delay": "1500ms"}]}, hurried
        ),
        ({f"{strategy}.without"}, blind),
        case("recovered", {"a": [503, "yes", "yes"], "b": ["yes", 503, 503]}, recovering, **weights),
        case("probed", {"a": [503, "yes"], "b": [503, "yes"]}, twice, when_all_open="probe_first", **OPEN),
    ]


HEDGED = {"type": "hedged", "after": "1s"}
WALKED: list[tuple[set[str], Scenario]] = [
    *(each for strategy in STRATEGIES for each in walked(strategy)),
    ({"hedged.hedged", "hedged.overtaken"}, Scenario({"a": [SLOW], "b": ["yes"]}, {"strategy": HEDGED})),
    (
        {"hedged.withheld"},
        Scenario(
            {"a": [SLOW], "b": []}, {"strategy": HEDGED, **policies(retry_budget={"ratio": "0%", "floor": "1/minute"})}
        ),
    ),
    ({"parallel.cancelled"}, Scenario({"a": [SLOW], "b": ["yes"]}, {"strategy": "parallel"})),
]

CACHED: list[tuple[set[str], Scenario]] = [
    ({"cache.miss", "cache.hit"}, Scenario({"a": ["yes"]}, policies(cache={}), drive=twice)),
    ({"cache.shared"}, Scenario({"a": [{"reply": "yes", "delay": "1s"}]}, policies(cache={}), drive=crowd)),
    ({"cache.error_again"}, Scenario({"a": [404]}, policies(cache={"negative": "10s"}), drive=twice)),
    (
        {"cache.stale_for_error"},
        Scenario({"a": ["yes", 503]}, policies(cache={"ttl": "10s", "stale_if_error": "1h"}), drive=after_ttl),
    ),
    (
        {"cache.stale_meanwhile", "cache.refreshed"},
        Scenario(
            {"a": ["yes", "new"]}, policies(cache={"ttl": "10s", "stale_while_revalidate": "1h"}), drive=after_ttl
        ),
    ),
    (
        {"cache.not_refreshed"},
        Scenario({"a": ["yes", 503]}, policies(cache={"ttl": "10s", "stale_while_revalidate": "1h"}), drive=after_ttl),
    ),
]

SCHEMA = {"output": {"schema": {"type": "object"}, "repairs": 1}}
JUDGED: list[tuple[set[str], Scenario]] = [
    ({"contract.kept"}, Scenario({"a": ["{}"]}, step=SCHEMA)),
    ({"contract.repaired"}, Scenario({"a": ["no", "{}"]}, step=SCHEMA)),
    ({"contract.broken"}, Scenario({"a": ["no", "no"]}, step=SCHEMA)),
    ({"safety.passed"}, Scenario({"a": ["fine"]}, step={"safety": {"block_when": "'http' in text"}})),
    ({"safety.refused"}, Scenario({"a": ["http"]}, step={"safety": {"block_when": "'http' in text"}})),
    ({"step.skipped"}, Scenario({"a": []}, step={"when": "question == 'no'"})),
    ({"step.replaced"}, Scenario({"a": [503]}, step={"on_error": "skip"})),
    (
        {"budget.near"},
        Scenario(
            {"a": [{"reply": "no", "delay": "1h"}, "yes"]},
            policies(retry=2, timeout="5s"),
            file={"budgets": {"run": {"limit": "$0.25", "warn_at": "30%"}}},
        ),
    ),
    ({"budget.skipped"}, Scenario({"a": []}, file={"budgets": {"run": "$0.01"}})),
]

SCENARIOS = [*REPEATED, *LIMITED, *BROKEN, *WALKED, *CACHED, *JUDGED]


def test_a_healthy_run_is_told_as_nothing_more(tmp_path: Path) -> None:
    program, events = played(tmp_path, Scenario({"a": ["yes"]}, {"policies": RETRY}))
    assert named(program, exercised(program, events)) == {
        "retry.first_try",
        "sequential.primary",
        "step.ran",
    }


@pytest.mark.parametrize(("shows", "scenario"), SCENARIOS, ids=[" ".join(sorted(each)) for each, _ in SCENARIOS])
def test_an_outcome_is_told_by_the_run_in_which_it_happens(shows: set[str], scenario: Scenario, tmp_path: Path) -> None:
    program, events = played(tmp_path, scenario)
    seen = exercised(program, events)
    assert shows <= named(program, seen)
    assert seen <= {(each.path, each.name) for each in possible(program)}, "what happens was said to be possible"


def test_no_declared_outcome_is_out_of_reach() -> None:
    registry = Registry(plugins=False)
    types = (*registry.all_policies(), *registry.internal_policies(), *registry.all_strategies())
    declared = {f"{each.name}.{kind.name}" for each in types for kind in each.outcomes}
    declared |= {f"on_mid_stream_error.{kind.name}" for kind in MID_STREAM} | {f"step.{kind.name}" for kind in STEP}
    assert flat(SCENARIOS) == declared
