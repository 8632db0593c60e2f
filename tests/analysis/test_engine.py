"""Simulations: the real executor under load, with targets that behave as the scenario says."""

from __future__ import annotations

import msgspec
import pytest
from simulation_kit import CHAIN, REGISTRY, compiled, played, scenario

from wizard_dsl.analysis._target import Simulated
from wizard_dsl.analysis.engine import simulate
from wizard_dsl.core.errors import SpecError

OUTAGE = {"one": {"latency": "1s", "phases": [{"from": "5s", "to": "15s", "status": 503}]}, "two": {"latency": "2s"}}


def test_healthy_targets_answer_everything_in_their_latency(tmp_path) -> None:
    seen = played(tmp_path, scenario(targets={"*": {"latency": "1s"}}))
    assert (seen.runs, seen.ok, seen.attempts, seen.calls, seen.errors) == (200, 200, 200, 200, {})
    assert seen.latency is not None and (seen.latency.p50, seen.latency.max) == (1.0, 1.0)
    assert seen.targets["one"].served == 200


def test_an_outage_opens_the_breaker_and_the_second_target_serves(tmp_path) -> None:
    seen = played(tmp_path, scenario(targets=OUTAGE))
    assert seen.ok == 200
    assert [point.state for point in seen.breakers["one"]][:2] == ["closed", "open"]
    assert seen.breakers["one"][1].at == pytest.approx(5.45, abs=0.1)  # five failures, at ten runs a second
    assert seen.targets["one"].errors == {"server": 5}
    assert seen.targets["two"].served == 200 - seen.targets["one"].served > 100


def test_the_slices_add_up_to_the_whole(tmp_path) -> None:
    load = {
        "arrivals": "poisson",
        "repeats": "20%",
        "shape": [{"from": "5s", "to": "9s", "rate": "40/s", "ramp": True}],
    }
    text = CHAIN.replace("targets: [one, two]", "policies: {cache: 1h}\n    targets: [one, two]")
    seen = played(tmp_path, scenario(load, targets=OUTAGE), text)
    for name in ("runs", "ok", "attempts", "calls"):
        assert sum(getattr(each, name) for each in seen.slices) == getattr(seen, name)
    tallies = seen.targets.values()
    assert seen.ok + sum(seen.errors.values()) == seen.runs > 200
    assert seen.ok == seen.cached + seen.unserved + sum(tally.served for tally in tallies)
    assert seen.attempts == sum(tally.attempts for tally in tallies)
    assert sum(a + b for tally in tallies for a, b in tally.by_slice) <= seen.attempts


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path) -> None:
    under = scenario({"arrivals": "poisson"}, targets={"one": {"latency": {"median": "1s", "p99": "3s"}}})
    first, second, other = (msgspec.json.encode(played(tmp_path, under, seed=seed)) for seed in (4, 4, 5))
    assert first == second != other


def test_a_share_of_attempts_is_hit_and_the_others_are_not(tmp_path) -> None:
    targets = {"one": {"phases": [{"share": "30%", "status": 400, "body": "no"}]}}
    seen = played(tmp_path, scenario({"duration": "60s"}, targets=targets))
    assert seen.targets["one"].errors["invalid_request"] == pytest.approx(180, abs=35)
    assert seen.ok == 600 - seen.errors["invalid_request"]  # nobody else is asked to answer a bad request


def test_a_repeat_has_a_chance_of_its_own(tmp_path) -> None:
    text = CHAIN.replace("targets: [one, two]", "policies: {use: none, retry: {max_attempts: 3}}\n    targets: [one]")
    targets = {"one": {"phases": [{"share": "50%", "status": 503}]}}
    seen = played(tmp_path, scenario({"duration": "60s"}, targets=targets), text)
    assert seen.availability == pytest.approx(7 / 8, abs=0.05)  # three independent chances of one half
    assert seen.amplification == pytest.approx(1.75, abs=0.1)


def test_latencies_and_faults_do_not_depend_on_the_pipeline(tmp_path) -> None:
    targets = {"one": {"latency": {"median": "1s", "p99": "2s"}, "phases": [{"share": "20%", "status": 400}]}}
    alone = CHAIN.replace("targets: [one, two]", "targets: [one]").replace("inputs:", "name: renamed\ninputs:")
    seen = [played(tmp_path, scenario(targets=targets), text) for text in (CHAIN, alone)]
    assert seen[0].latency == seen[1].latency
    assert seen[0].errors == seen[1].errors != {}


def test_a_slow_phase_has_a_latency_of_its_own(tmp_path) -> None:
    targets = {"one": {"latency": "1s", "phases": [{"from": "10s", "latency": "3s"}]}}
    seen = played(tmp_path, scenario(targets=targets))
    slices = {each.start: each.latency.p50 for each in seen.slices if each.latency}
    assert (slices[9.5], slices[10.0]) == (1.0, 3.0)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"refuse": True}, "connect"),
        ({"status": 429, "retry_after": "400s"}, "rate_limited"),
        ({"cut_after": 2}, "server"),
        ({"stall_after": 1}, "timeout"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_each_fault_is_what_a_provider_would_do(tmp_path, fault, kind, stream) -> None:
    text = CHAIN.replace("targets: [one, two]", "policies: {use: none, timeout: 20s}\n    targets: [one, two]")
    load = {"duration": "1s", "stream": stream}
    seen = played(tmp_path, scenario(load, targets={"one": {"phases": [fault]}}), text)
    broken = stream and kind in {"server", "timeout"}  # after the first words nobody else is asked
    assert seen.targets["one"].errors == {"mid_stream" if broken else kind: len_of(kind)}
    assert seen.ok == (0 if broken else 10)


def len_of(kind: str) -> int:
    """A 429 blocks its target, so that one of ten is enough."""
    return 1 if kind == "rate_limited" else 10


def test_a_streamed_answer_begins_before_it_ends(tmp_path) -> None:
    targets = {"one": {"latency": "1s", "chunk_every": "100ms", "output_tokens": 21}}
    seen = played(tmp_path, scenario({"stream": True, "duration": "2s"}, targets=targets))
    assert seen.first_chunk is not None and seen.first_chunk.p99 == pytest.approx(1.0)
    assert seen.latency is not None and seen.latency.p50 == pytest.approx(3.0)
    unread = played(tmp_path, scenario({"duration": "2s"}, targets=targets))
    assert unread.latency is not None and unread.latency.p50 == pytest.approx(3.0)
    assert unread.first_chunk is None


def test_a_provider_refuses_what_is_beyond_its_limit_and_says_when_there_is_room(tmp_path) -> None:
    text = CHAIN.replace("targets: [one, two]", "policies: {use: none}\n    targets: [one, two]")
    limit = {"rates": ["5/s"]}
    seen = played(tmp_path, scenario(targets={"one": {"rate_limit": limit}}), text)
    served = seen.targets["one"].served
    assert served == pytest.approx(100, abs=10)
    assert seen.targets["one"].errors.keys() == {"rate_limited"}
    silent = played(tmp_path, scenario(targets={"one": {"rate_limit": {**limit, "retry_after": "10s"}}}), text)
    assert silent.targets["one"].served < served / 2  # each refusal keeps everybody away for ten seconds


def test_answers_tell_what_is_left_to_those_who_follow_it(tmp_path) -> None:
    policies = "policies: {use: none, rate_limit: {rate: 1000/s, burst: 1000, follow_headers: true}}"
    text = CHAIN.replace("targets: [one, two]", f"{policies}\n    targets: [one]")
    refused = {}
    for told in (True, False):
        limit = {"rates": ["60/minute"], "headers": told, "retry_after": "none"}
        seen = played(tmp_path, scenario(targets={"one": {"rate_limit": limit, "latency": "100ms"}}), text)
        refused[told] = seen.targets["one"].errors.get("rate_limited", 0)
    assert refused[True] < refused[False] / 2


def test_targets_of_a_pattern_may_share_one_limit(tmp_path) -> None:
    text = CHAIN.replace("targets: [one, two]", "policies: {use: none}\n    targets: [one, two]")
    for per, most in (("target", 200), ("pattern", 105)):
        limit = {"rates": ["5/s"], "per": per, "retry_after": "none"}
        seen = played(tmp_path, scenario(targets={"*": {"rate_limit": limit}}), text)
        answered = sum(good for tally in seen.targets.values() for good, _ in tally.by_slice)  # while runs came
        assert answered == pytest.approx(most, abs=12)


def test_a_limit_of_ours_is_seen_filling_up(tmp_path) -> None:
    policies = "policies: {use: none, concurrency: {limit: 3}}\n    targets: [one, two]"
    text = CHAIN.replace("targets: [one, two]", policies)
    seen = played(tmp_path, scenario(targets={"*": {"latency": "1s"}}), text)
    track = next(each for each in seen.limits if each.name.startswith("concurrency of one"))
    assert track.capacity == 3
    assert track.levels[0].available == 3 and track.levels[-1].available == 0
    assert track.levels[-1].waiting > 50


def test_what_the_cache_answers_is_counted_and_costs_no_attempt(tmp_path) -> None:
    text = CHAIN.replace("targets: [one, two]", "policies: {cache: 1h}\n    targets: [one, two]")
    seen = played(tmp_path, scenario({"repeats": "50%"}, targets={"*": {"latency": "50ms"}}), text)
    assert seen.cache_share == pytest.approx(0.5, abs=0.1)
    assert seen.attempts == seen.calls == round(200 * (1 - seen.cache_share))
    assert (seen.cached, seen.targets["one"].served) == (seen.hits, seen.attempts)
    fresh = played(tmp_path, scenario(targets={"*": {"latency": "50ms"}}), text)
    assert (fresh.cache_share, fresh.attempts) == (0.0, 200)


def test_a_run_whose_last_step_is_skipped_is_served_by_no_model(tmp_path) -> None:
    text = CHAIN.replace('"{{ question }}"}}', '"{{ question }}"}, when: "question == 1"}').replace("string", "integer")
    seen = played(tmp_path, scenario({"inputs": [{"question": 1}, {"question": 2}]}), text)
    assert seen.unserved + seen.targets["one"].served == seen.ok == 200
    assert seen.unserved == pytest.approx(100, abs=30)


def test_cost_is_that_of_the_tokens_drawn_and_unknown_where_there_is_no_price(tmp_path) -> None:
    text = CHAIN.replace(
        "one: {type: mock, model: one-1}",
        "one: {type: openai, model: x-1, models: {x-1: {prices: {input: $1, output: $2}}}}",
    )
    targets = {"one": {"input_tokens": 1000, "output_tokens": 500}}
    seen = played(tmp_path, scenario(targets=targets), text)
    assert seen.cost_per_run == pytest.approx(0.002)
    assert sum(each.cost for each in seen.slices) == pytest.approx(seen.cost)
    short = text.replace('"{{ question }}"}}', '"{{ question }}", params: {max_tokens: 100}}}')
    assert played(tmp_path, scenario(targets=targets), short).cost_per_run == pytest.approx(0.0012)
    unknown = text.replace(", models: {x-1: {prices: {input: $1, output: $2}}}", "")
    assert played(tmp_path, scenario(targets=targets), unknown).cost is None


def test_a_schema_step_gets_an_instance_and_inputs_that_are_left_out_are_made_up(tmp_path) -> None:
    text = CHAIN.replace("{question: {type: string}}", "{question: {type: string}, size: {enum: [s, m]}}").replace(
        'user: "{{ question }}"}}', 'user: "{{ question }} {{ size }}"}, output: {schema: {enum: [yes, no]}}}'
    )
    seen = played(tmp_path, scenario({"inputs": [{"question": "why"}]}), text)
    assert (seen.ok, seen.errors) == (200, {})


def test_a_run_that_is_refused_before_it_begins_counts_as_failed(tmp_path) -> None:
    seen = played(tmp_path, scenario({"inputs": [{"question": 7}]}))
    assert (seen.runs, seen.ok, seen.errors, seen.attempts) == (200, 0, {"input": 200}, 0)
    assert seen.latency is None and seen.amplification is None


def test_runs_that_still_run_at_the_end_of_the_load_are_waited_for(tmp_path) -> None:
    ticks: list[int] = []
    under = scenario({"duration": "1s"}, targets={"*": {"latency": "30s"}})
    seen = simulate(compiled(tmp_path), REGISTRY, under, 0, ticks.append)
    assert seen.ok == 10 and ticks == list(range(1, 11))


def test_a_file_with_errors_is_not_simulated(tmp_path) -> None:
    with pytest.raises(SpecError):
        played(tmp_path, scenario(), CHAIN.replace("one, two", "one, three"))


def test_a_bug_ends_the_simulation_as_what_it_is(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def call(self, request, run):
        raise ZeroDivisionError("a plug-in's bug")

    monkeypatch.setattr(Simulated, "call", call)
    with pytest.raises(ZeroDivisionError, match="a plug-in's bug"):
        played(tmp_path, scenario())
