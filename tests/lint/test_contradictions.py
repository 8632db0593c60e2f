"""W136 to W139, W147, W148, and W113 across places: settings that leave one another without effect, with both lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.compiler.compile import Sources, compile_file
from wizard_dsl.lint.rules import lint
from wizard_dsl.registry import Registry

#: The codes these tests are about; other rules have their own.
CODES = {"W113", "W136", "W137", "W138", "W139", "W147", "W148"}


def file(chain: str = "targets: [local]", step: str = "prompt: {user: Hello}", more: str = "") -> str:
    """A file whose chain begins in line 4, and whose step and further sections follow it."""
    body = "\n    ".join(chain.split("\n"))
    providers = "providers: {local: {type: mock}, other: {type: mock, model: b}}"
    return f"version: 1\n{providers}\nchains: {{default: {{\n    {body}}}}}\nsteps: {{answer: {{{step}}}}}\n{more}"


def found(text: str, folder: Path) -> list[tuple[int, str, list[int]]]:
    """Line, code and the other lines of each warning."""
    path = folder / "a.yaml"
    path.write_text(text)
    made = compile_file(path, Registry(plugins=False), Sources(env={}))
    assert made.program is not None, made.diagnostics
    return [(each.line, each.code, [other.line for other in each.related]) for each in lint(made) if each.code in CODES]


TWO = "targets: [local, other],\n"
ONE = "targets: [local],\n"
OFF = "targets: [local, {provider: other, enabled: false}],\n"
UNRESUMED = "policies: {retry: {retry_on: {mid_stream: false}}}"
NOT_ON = "fallback_on: {mid_stream: false},\n"
SPARE = "targets: [local,\n{provider: other, weight: %d}],\n"
STICKY = "strategy: {type: weighted, sticky: q}"
ASKS = "inputs: {q: {type: string}}\n"
RESTART = "on_mid_stream_error: restart"
QUOTA = "policies: {retry: {retry_on: {quota_exhausted: true}}}"
DEGRADE = "budgets:\n  day:\n    limit: $20\n    then: degrade\n"


@pytest.mark.parametrize("strategy", ["hedged", "parallel", "fastest", "adaptive", "weighted", "cheapest"])
def test_a_strategy_that_chooses_needs_two_targets(strategy: str, tmp_path: Path) -> None:
    said = f"strategy: {strategy}"
    assert found(file(ONE + said), tmp_path) == [(5, "W136", [4])]
    assert found(file(OFF + said), tmp_path) == [(5, "W136", [4])]
    assert found(file(TWO + said), tmp_path) == []


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (file(ONE + "strategy: sequential"), []),
        (file(TWO + "strategy: {type: parallel,\nn: 1}"), [(6, "W136", [5])]),
        (file(TWO + "strategy: {type: parallel, n: 2}"), []),
        (file(SPARE % 0 + STICKY, more=ASKS), [(6, "W136", [5])]),
        (file(SPARE % 1 + STICKY, more=ASKS), []),
        (file(SPARE % 0 + "strategy: weighted"), []),
        (file((SPARE % 0).replace("[local", "[local, local/c") + STICKY, more=ASKS), []),  # two to draw from
        (file(TWO + "strategy: {type: parallel, n: 3}"), [(5, "W136", [4])]),
        (file(ONE + "strategy: {type: parallel, n: 3}"), [(5, "W136", [4])]),
        (file(ONE + "fallback_on: {auth: true}"), [(5, "W136", [4])]),
        (file(ONE + "fallback_on: {'404': true}"), [(5, "W136", [4])]),
        (file(ONE + "fallback_on: {rate_limited: false, quota_exhausted: false, server: false, '503': false}"), []),
        (file(TWO + "fallback_on: {auth: true}"), []),
        (file(ONE + RESTART), []),
        (file(TWO + RESTART + ",\npolicies: {retry: off}"), []),
        (file(ONE + RESTART + ",\npolicies: {retry: off}"), [(5, "W136", [4, 6])]),
        (file(ONE + RESTART + ",\npolicies: {retry: {max_attempts: 1}}"), [(5, "W136", [4, 6])]),
        (file(ONE + RESTART + ",\npolicies: {retry: {retry_on: {mid_stream: false}}}"), [(5, "W136", [4, 6])]),
        (file(ONE + RESTART + ",\npolicies: {use: none}"), [(5, "W136", [4])]),
        (file(ONE + "on_mid_stream_error: buffer,\npolicies: {retry: off}"), []),
        (file(TWO + RESTART + ",\n" + NOT_ON + "policies: {retry: off}"), [(5, "W136", [6, 7])]),
        (file(TWO + RESTART + ",\n" + NOT_ON + UNRESUMED), [(5, "W136", [6, 7])]),
        (file(TWO + RESTART + ",\n" + NOT_ON + "policies: {retry: 2}"), []),
        (file(more=DEGRADE), [(9, "W136", [4])]),
        (file(TWO[:-2], more=DEGRADE), []),
        (file(more=DEGRADE.replace("degrade", "stop")), []),
    ],
)  # fmt: skip
def test_what_needs_another_target_says_where_they_are(
    text: str, warnings: list[tuple[int, str, list[int]]], tmp_path: Path
) -> None:
    assert found(text, tmp_path) == warnings


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (file(ONE + "on_rate_limit: {wait_up_to: 20s,\nmax_retry_after: 10s}"), [(5, "W137", [6])]),
        (file(ONE + "on_rate_limit: {wait_up_to: 10s,\nmax_retry_after: 10s}"), []),
        (file(ONE + "on_rate_limit: 6m"), [(5, "W137", [])]),
        (file(ONE + QUOTA), [(5, "W137", [])]),
        (file(ONE + QUOTA + ",\non_rate_limit: {quota_block: 6m}"), [(5, "W137", [6])]),
        (file(ONE + QUOTA + ",\non_rate_limit: {quota_block: 5m}"), []),
        (file(ONE + QUOTA + ",\non_rate_limit: {quota_block: 20m,\nmax_retry_after: 30m}"), [(5, "W137", [6])]),
        (file(ONE + QUOTA.replace("true", "false")), []),
        (file(ONE + QUOTA.replace("{retry:", "{stack: [retry, timeout], retry:")), []),
        (file(ONE + "on_rate_limit: {\nmax_retry_after: 1s}"), [(6, "W137", [])]),
        (file(TWO + "on_rate_limit: {then: fail},\nfallback_on: {rate_limited: true}"), [(5, "W137", [6])]),
        (file(TWO + "on_rate_limit: {then: fail},\nfallback_on: {'429': true}"), [(5, "W137", [6])]),
        (file(TWO + "on_rate_limit: {then: fallback},\nfallback_on: {'429': false}"), [(5, "W137", [6])]),
        (file(TWO + "on_rate_limit: {then: fail},\nfallback_on: {rate_limited: false}"), []),
        (file(TWO + "fallback_on: {rate_limited: false}"), []),
    ],
)  # fmt: skip
def test_settings_after_a_429_that_contradict_are_told(
    text: str, warnings: list[tuple[int, str, list[int]]], tmp_path: Path
) -> None:
    assert found(text, tmp_path) == warnings


def test_a_value_that_is_built_in_is_named_as_such(tmp_path: Path) -> None:
    def message(text: str) -> str:
        path = tmp_path / "a.yaml"
        path.write_text(text)
        made = compile_file(path, Registry(plugins=False), Sources(env={}))
        return next(each.message for each in lint(made) if each.code in CODES)

    assert "wait_up_to 6m is above max_retry_after 5m (built-in)," in message(file(ONE + "on_rate_limit: 6m"))
    short = message(file(ONE + "on_rate_limit: {max_retry_after: 1s}"))
    assert "wait_up_to 2s (built-in) is above max_retry_after 1s," in short
    backoff = "policies: {retry: {backoff: {not_found: none}}}"
    assert message(file(ONE + backoff)).endswith("an error of kind not_found is not repeated by default")
    forbidden = "policies: {retry: {backoff: {server: none}, retry_on: {server: false}}}"
    assert message(file(ONE + forbidden)).endswith("an error of kind server is not repeated")


SET = "policies:\n  default: {timeout: {first_chunk: 60s}}\n"
TOTAL = "policies: {timeout: {total: 20s}}"
ENDLESS = "policies: {timeout: {total: off, %s}}"
MINUTE = "deadline: 60s"
SHORT = "policies: {use: patient,\ndeadline: 30s}"
PATIENT = "policies:\n  patient: {timeout: {total: off, first_chunk: 40s}}\n"


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (file(ONE + "policies: {timeout: {total: 20s},\ncircuit_breaker: {slow_after: 30s}}"), [(6, "W138", [5])]),
        (file(ONE + "policies: {timeout: {total: 20s},\ncircuit_breaker: {slow_after: 20s}}"), []),
        (file(ONE + "policies: {circuit_breaker: {slow_after: 6m}}"), [(5, "W138", [])]),
        (file(ONE + "policies: {timeout: off,\ncircuit_breaker: {slow_after: 6m}}"), []),
        (file(ONE + TOTAL), []),
        (file(ONE + TOTAL, more=SET), [(8, "W138", [5])]),
        (file(ONE + TOTAL, more=SET.replace("60s", "50s")), [(5, "W113", [8])]),
        (file(ONE + "policies: {timeout: {total: 20s, first_chunk: 60s}}"), [(5, "W138", [5])]),
        (file(ONE + "policies: {timeout: {total: 20s, idle: 40s}}"), [(5, "W113", [])]),
        (file("targets: [local,\n{provider: other, policies: {timeout: {total: 20s}}}]", more=SET), []),
        (file(ONE + ENDLESS % "first_chunk: 2m", more=MINUTE), [(5, "W138", [7])]),
        (file(ONE + ENDLESS % "connect: 2m", more=MINUTE), [(5, "W138", [7])]),
        (file(ONE + ENDLESS % "idle: 2m", more=MINUTE), [(5, "W138", [7])]),
        (file(ONE + ENDLESS % "idle: 60s", more=MINUTE), []),
        (file(ONE + ENDLESS % "idle: 61s", more="deadline: 61s"), []),
        (file(ONE + "policies: {deadline: 45s,\ntimeout: {total: off, idle: 50s}}", more=MINUTE), [(6, "W138", [5])]),
        (file(ONE + "policies: {timeout: off,\ncircuit_breaker: {slow_after: 2m}}", more=MINUTE), [(6, "W138", [8])]),
        (file(ONE + "policies: {timeout: 50s,\ncircuit_breaker: {slow_after: 55s}}", more=MINUTE), [(6, "W138", [5])]),
        (file(ONE + "policies: {timeout: {first_chunk: 2m}}", more=MINUTE), [(5, "W138", [7])]),
        (file(ONE + "policies: {timeout: {first_chunk: 6m}}", more=MINUTE), [(5, "W113", [])]),
        (file(ONE + ENDLESS % "idle: 10m"), []),
        (file(ONE + ENDLESS % "idle: 601s"), [(5, "W138", [])]),
        (file(ONE + SHORT, more=PATIENT), [(9, "W138", [6])]),
        (file(ONE + SHORT + "},\nslow: {targets: [local], policies: {use: patient}", more=PATIENT), []),
    ],
)  # fmt: skip
def test_a_time_that_the_total_or_the_deadline_makes_idle_is_told_once(
    text: str, warnings: list[tuple[int, str, list[int]]], tmp_path: Path
) -> None:
    assert found(text, tmp_path) == warnings


PROMPT = "prompt: {user: Hello},\n"
RETRY = "policies:\n  default:\n    retry:\n"


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (file(step=PROMPT + "output: {repairs: 2}"), [(6, "W139", [5])]),
        (file(step=PROMPT + "output: {repairs: 0}"), []),
        (file(step=PROMPT + "concurrency: 2"), [(6, "W139", [5])]),
        (file(step=PROMPT + "concurrency: 2, for_each: '[1, 2]'"), []),
        (file(step=PROMPT + "output: {allow_empty: true}"), []),
        (file(step=PROMPT + "output: {schema: {type: object}, repairs: 2}"), []),
        (file(step=PROMPT + "output: {schema: {type: object},\nallow_empty: true}"), [(7, "W139", [6])]),
        (file(more=RETRY + "      backoff: {not_found: none}\n"), [(9, "W139", [])]),
        (file(more=RETRY + "      backoff: {server: none, rate_limited: none}\n"), []),
        (file(more=RETRY + "      backoff: {not_found: none}\n      retry_on: {not_found: true}\n"), []),
        (file(more=RETRY + "      backoff: {not_found: none}\n      retry_on: {'404': true}\n"), []),
        (file(more=RETRY + "      backoff: {server: none}\n      retry_on: {server: false}\n"), [(9, "W139", [10])]),
        (file("targets: [{provider: local,\npolicies: {retry: {backoff: {auth: none}}}}]"), [(5, "W139", [])]),
    ],
)  # fmt: skip
def test_a_setting_with_nothing_to_act_on_is_told(
    text: str, warnings: list[tuple[int, str, list[int]]], tmp_path: Path
) -> None:
    assert found(text, tmp_path) == warnings


def test_a_warning_above_a_budget_that_stops_is_told(tmp_path: Path) -> None:
    budget = "budgets:\n  day:\n    limit: $20\n    warn_at: 120%\n"
    assert found(file(more=budget), tmp_path) == [(9, "W113", [8])]
    assert found(file(more=budget.replace("120%", "100%")), tmp_path) == []
    assert found(file(TWO[:-2], more=budget + "    then: degrade\n"), tmp_path) == []


def test_keys_of_one_policy_on_several_lines_are_all_named(tmp_path: Path) -> None:
    policies = "policies:\n  default:\n    retry:\n      max_attempts: 2\n      base: 40s\n      max_delay: 10s\n"
    assert found(file(more=policies), tmp_path) == [(9, "W113", [10, 11])]
    assert found(file(more=policies.replace("40s", "4s")), tmp_path) == []


SHORT = "deadline: 30s"


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (file(ONE + "policies: {deadline: 60s}", more=SHORT), [(5, "W147", [7])]),
        (file(ONE + "policies: {deadline: 30s}", more=SHORT), []),
        (file(ONE + "policies: {deadline: 11m}"), [(5, "W147", [])]),
        (file(ONE + "policies: {deadline: 10m}"), []),
        (file(ONE + "policies: {deadline: {after: 50s,\nmin_attempt: 40s}}", more=SHORT),
         [(5, "W147", [8]), (6, "W147", [8])]),
        (file(more="policies:\n  default: {deadline: 60s}\n" + SHORT), [(7, "W147", [8])]),
    ],
)  # fmt: skip
def test_a_deadline_of_a_call_above_that_of_the_run_is_told(
    text: str, warnings: list[tuple[int, str, list[int]]], tmp_path: Path
) -> None:
    assert found(text, tmp_path) == warnings


ONCE = "policies: {retry: {max_attempts: 1,\n"
SHARED = "policies:\n  default: {retry: {retry_on: {auth: true}}}\n"
BOTH = "targets: [local, {provider: other, policies: {retry: %d}}],\npolicies: {retry_budget: {ratio: 5%%}%s}"
SAME = "targets: [local, {provider: local, model: b}],\n"
RANKED = "targets: [{provider: local, priority: 1}, {provider: other, priority: %d}],\nstrategy: weighted"
TRUSTED = "inputs:\n  q: {type: string, trusted: %s}\nsafety:\n  input: {%s}\n"
ASKS = 'prompt: {user: "{{ q }}"}'


def one_place(chain: str) -> str:
    return file(chain).replace("{type: mock}", "{type: mock, policies: {concurrency: 1}}")


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (file(ONE + ONCE + "retry_on: {auth: true}}}"), [(6, "W148", [5])]),
        (file(ONE + ONCE + "when: error.status == 503}}"), [(6, "W148", [5])]),
        (file(ONE + ONCE + "multiplier: 3}}"), [(6, "W148", [5])]),
        (file(ONE + ONCE + "base: 3s}}"), []),  # a 429 without a time blocks for that long
        (file(ONE + ONCE.replace("1", "2") + "retry_on: {auth: true}}}"), []),
        (file(ONE + "policies: {retry: 1}", more=SHARED), [(8, "W148", [5])]),
        (file("targets: [local, {provider: other, policies: {retry: 1}}]", more=SHARED), []),
        (file(BOTH % (1, ", retry: off")), [(5, "W148", [5])]),
        (file(BOTH % (2, ", retry: off")), []),
        (file(ONE + "policies: {retry: off,\nretry_budget: {ratio: 5%}}"), [(6, "W148", [5])]),
        (file(ONE + "policies: {use: none, retry_budget: {ratio: 5%}}"), [(5, "W148", [3])]),
        (file(ONE + "policies: {retry_budget: {ratio: 5%}}"), []),
        (file(TWO + "strategy: hedged,\npolicies: {retry: off, retry_budget: {ratio: 5%}}"), []),
        (file(ONE + "policies: {retry_budget: {ratio: 0%, floor: 5/minute}}"), [(5, "W113", [])]),
        (file(ONE + "policies: {retry_budget: {ratio: 0%, floor: 6/minute}}"), []),
        (one_place(SAME + "strategy: hedged"), [(5, "W148", [2])]),
        (one_place(SAME + "strategy: parallel"), [(5, "W148", [2])]),
        (one_place(SAME + "strategy: weighted"), []),
        (one_place(TWO + "strategy: parallel"), []),
        (one_place(SAME + "strategy: parallel").replace("concurrency: 1", "concurrency: 2"), []),
        (file("targets: [local, local],\nstrategy: hedged,\npolicies: {concurrency: 1}"), [(5, "W148", [6])]),
        (file(TWO + "strategy: hedged,\npolicies: {concurrency: 1}"), []),
        (file(RANKED % 2), [(5, "W148", [4])]),
        (file(RANKED % 1), []),
        (file((RANKED % 2).replace("weighted", "sequential")), []),
        (file(step=ASKS, more=TRUSTED % ("true", "injection: warn")), [(9, "W148", [7])]),
        (file(step=ASKS, more=TRUSTED % ("true", "roles: reject")), [(9, "W148", [7])]),
        (file(step=ASKS, more=TRUSTED % ("true", "roles: off")), []),
        (file(step=ASKS, more=TRUSTED % ("true", "control: strip")), []),
        (file(step=ASKS, more=TRUSTED % ("false", "injection: warn")), []),
    ],
)  # fmt: skip
def test_what_another_setting_leaves_nothing_to_do_is_told(
    text: str, warnings: list[tuple[int, str, list[int]]], tmp_path: Path
) -> None:
    assert found(text, tmp_path) == warnings


ON = "policies: {retry: {max_attempts: %d,\n%s}}"
MORE = "policies:\n  default: {cache: {ttl: 1h, fallback_ttl: 30s}}\n"
KINDS = ["connect", "timeout", "rate_limited", "server", "malformed_response", "mid_stream"]
NO_DELAY = f"backoff: {{{', '.join(f'{kind}: none' for kind in KINDS)}}}"
NO_KIND = "retry_on: {connect: false, timeout: false, server: false, rate_limited: false, malformed_response: false}"
LINEAR = "backoff: {connect: none, timeout: linear, server: linear, malformed_response: linear}"


AT_ONCE = "policies: {circuit_breaker: {failure_threshold: 1},\nretry: {backoff: {%s}}}"
WAIT = "on_rate_limit: {wait_up_to: 20s}"


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (file(TWO + WAIT + ",\npolicies: {retry: off}"), [(5, "W148", [6])]),
        (file(ONE + WAIT + ",\npolicies: {retry: 1}"), [(5, "W148", [6])]),
        (file(TWO + "on_rate_limit: 20s,\npolicies: {retry: off}"), [(5, "W148", [6])]),
        (file(TWO + WAIT + ",\npolicies: {use: none}"), [(5, "W148", [3])]),
        (file(TWO + WAIT + ",\npolicies: {retry: 2}"), []),
        (file(TWO + WAIT), []),
        (file(TWO + "on_rate_limit: 0s,\npolicies: {retry: off}"), []),
        (file(TWO + "on_rate_limit: {max_retry_after: 20s},\npolicies: {retry: off}"), []),
        (file(TWO + "on_rate_limit: {wait_up_to: 20s, then: fail},\npolicies: {retry: off}"), []),
        (file(TWO + WAIT + ", fallback_on: {rate_limited: false},\npolicies: {retry: off}"), []),
        (file(TWO + WAIT + ", fallback_on: {'429': false},\npolicies: {retry: off}"), []),
        (file("targets: [local, {provider: other, policies: {retry: 2}}],\n" + WAIT + ",\npolicies: {retry: off}"), []),
    ],
)
def test_a_wait_in_place_that_no_repeat_follows(
    text: str, warnings: list[tuple[int, str, list[int]]], tmp_path: Path
) -> None:
    assert found(text, tmp_path) == warnings


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (file(ONE + ON % (1, "backoff: {server: linear}")), [(6, "W148", [5])]),
        (file(ONE + ON % (1, "backoff: {rate_limited: none}")), []),  # for so long a 429 blocks
        (file(ONE + ON % (2, "backoff: {server: linear}")), []),
        (file(ONE + ON % (2, "retry_on: {rate_limited: false}, backoff: {rate_limited: none}")), []),
        (file(ONE + ON % (2, NO_KIND)), [(6, "W148", [5])]),
        (file(ONE + AT_ONCE % "server: linear"), [(6, "W148", [5])]),
        (file(ONE + AT_ONCE % "rate_limited: none"), []),  # does not count
        (file(ONE + AT_ONCE.replace("threshold: 1", "threshold: 2") % "server: linear"), []),
        (file(ONE + AT_ONCE.replace("threshold: 1", "threshold: 1, trip_on: {server: false}") % "server: linear"), []),
        (file(ONE + ON % (3, "base: 3s,\n" + NO_DELAY)), [(6, "W148", [7])]),
        (file(ONE + ON % (3, "jitter: full,\n" + NO_DELAY)), [(6, "W148", [7])]),
        (file(ONE + ON % (3, "base: 3s, " + NO_DELAY.replace("rate_limited: none", "rate_limited: linear"))), []),
        (file(ONE + f"policies: {{retry: {{{NO_KIND}}}}}"), [(5, "W148", [])]),
        (file(ONE + ON % (2, NO_KIND) + ",\n" + RESTART), []),
        (file(ONE + ON % (2, NO_KIND.replace("connect: false, ", ""))), []),
        (file(ONE + ON % (2, NO_KIND.replace("connect: false", "connect: false, '409': true"))), []),
        (file(ONE + ON % (2, "multiplier: 3")), [(6, "W148", [5])]),
        (file(ONE + ON % (3, "multiplier: 3")), []),
        (file(ONE + ON % (1, "multiplier: 3, backoff: {rate_limited: exponential}")), []),
        (file(ONE + ON % (3, "multiplier: 3,\nmax_delay: 1s")), [(6, "W148", [7])]),
        (file(ONE + ON % (3, "multiplier: 3, max_delay: 1500ms")), []),
        (file(ONE + ON % (3, "multiplier: 3,\nbase: 0s")), [(6, "W148", [7])]),
        (file(ONE + ON % (3, "multiplier: 3,\nwhen: attempt < 2")), [(6, "W148", [7])]),
        (file(ONE + ON % (3, "multiplier: 3, when: attempt < 3")), []),
        (file(ONE + ON % (3, "jitter: full,\nbase: 0s")), [(6, "W148", [7])]),
        (file(ONE + ON % (3, "jitter: 0, base: 0s")), []),  # so it is
        (file(ONE + ON % (3, "jitter: decorrelated, base: 0s")), []),  # follows a provider's wish
        (file(ONE + ON % (3, "backoff: {server: linear},\nbase: 0s")), [(6, "W148", [7])]),
        (file(ONE + ON % (3, "backoff: {server: none}, base: 0s")), []),
        (file(ONE + ON % (3, "multiplier: 1, max_delay: 1s")), []),  # so it says
        (file(ONE + ON % (3, "multiplier: 3,\njitter: decorrelated")), [(6, "W148", [7])]),
        (file(ONE + ON % (3, f"multiplier: 3,\n{LINEAR}")), [(6, "W148", [7])]),
        (file(ONE + ON % (3, f"multiplier: 3,\n{LINEAR}") + ",\n" + RESTART), []),
        (file(ONE + ON % (3, f"multiplier: 3, retry_on: {{auth: true}}, {LINEAR}")), []),
        (file(ONE + ON % (3, f"multiplier: 3, retry_on: {{'409': true}}, {LINEAR}")), []),
        (file(ONE + ON % (3, "multiplier: 3, backoff: {server: linear, timeout: linear}")), []),
        (file("targets: [local, {provider: other, policies: {retry: 3}}],\n" + ON % (2, "multiplier: 3")), []),
    ],
)  # fmt: skip
def test_back_offs_of_no_repeat_and_multipliers_of_no_growth_are_told(
    text: str, warnings: list[tuple[int, str, list[int]]], tmp_path: Path
) -> None:
    assert found(text, tmp_path) == warnings


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (file(ONE + "policies: {cache: {ttl: 1h,\nfallback_ttl: 30s}}"), [(6, "W136", [4])]),
        (file(TWO + "policies: {cache: {ttl: 1h,\nfallback_ttl: 30s}}"), []),
        (file(OFF + "policies: {cache: {ttl: 1h,\nfallback_ttl: 30s}}"), [(6, "W136", [4])]),
        (file(TWO + "policies: {cache: {ttl: 1h,\nfallback_ttl: 30s}},\nstrategy: parallel"), [(6, "W136", [7])]),
        (file("targets: [local]}, more: {targets: [local, other]", more=MORE), []),
        (file("targets: [local]}, more: {targets: [other]", more=MORE), [(7, "W136", [4])]),
    ],
)  # fmt: skip
def test_a_lifetime_of_fallback_answers_needs_a_fallback(
    text: str, warnings: list[tuple[int, str, list[int]]], tmp_path: Path
) -> None:
    assert found(text, tmp_path) == warnings


HEDGED = "targets: [local, other, local],\nstrategy: {type: hedged, after: %s},\npolicies: {%s}"


@pytest.mark.parametrize(
    ("after", "policies", "warnings"),
    [
        ("20s", "retry: 1,\ntimeout: {total: 20s}", [(5, "W138", [7])]),
        ("20s", "retry: off,\ntimeout: {total: 10s}", [(5, "W138", [7])]),
        ("6m", "retry: off, circuit_breaker: 3", [(5, "W138", [])]),
        ("19s", "retry: 1, timeout: {total: 20s}", []),
        ("20s", "retry: 2, timeout: {total: 20s}", []),
        ("20s", "retry: 1, timeout: {total: off}", []),
        ("20s", "retry: 1, timeout: {total: 20s}, concurrency: 4", []),  # a branch may stand in line
        ("p95", "retry: 1, timeout: {total: 20s}", []),
    ],
)
def test_a_hedge_after_the_end_of_the_only_attempt_is_told(
    after: str, policies: str, warnings: list[tuple[int, str, list[int]]], tmp_path: Path
) -> None:
    assert found(file(HEDGED % (after, policies)), tmp_path) == warnings


def test_a_hedge_is_due_where_one_target_may_last_longer_or_the_state_is_shared(tmp_path: Path) -> None:
    chain = HEDGED % ("20s", "retry: 1, timeout: {total: 20s}")
    assert [code for _, code, _ in found(file(chain), tmp_path)] == ["W138"]
    assert found(file(chain.replace("[local,", "[{provider: local, policies: {timeout: 30s}},")), tmp_path) == []
    assert found(file(chain.replace("other,", "{provider: other, policies: {retry: 2}},")), tmp_path) == []
    assert found(file(chain, more="state: state.db\n"), tmp_path) == []


SCHEMA = "prompt: {user: Hello}, output: {schema: {type: object}}"
TOOLS = "prompt: {user: Hello, tools: [{name: t, parameters: {type: object}}]}"
IMAGE = "prompt: {messages: [{role: user, content: [{image: 'https://x.example/a.png'}]}]}"
SYSTEM = "prompt: {system: Be kind, user: Hello}"
ADMITS = "policies: {admission: {global: {rate: 1/s}}}"


@pytest.mark.parametrize(
    ("chain", "step", "warnings"),
    [
        ("fallback_on: {contract: true}", "prompt: {user: Hello}", [(5, "W139", [6])]),
        ("fallback_on: {contract: true}", SCHEMA, []),
        ("fallback_on: {safety: true}", SCHEMA, [(5, "W139", [])]),
        ("fallback_on: {stream_buffer: true, input: true, session: true}", SCHEMA, [(5, "W139", [])] * 3),
        ("fallback_on: {cancelled: true}", SCHEMA, [(5, "W139", [])]),
        ("fallback_on: {local_limit: true}", SCHEMA, [(5, "W139", [])]),
        ("fallback_on: {local_limit: true},\n" + ADMITS, SCHEMA, [(5, "W139", [6])]),
        ("fallback_on: {local_limit: true}, policies: {concurrency: 3}", SCHEMA, []),
        ("fallback_on: {auth: true, circuit_open: false, budget: false, deadline: true}", SCHEMA, []),
        ("fallback_on: {spec: true}", SCHEMA, [(5, "W139", [])]),
        ("fallback_on: {unsupported: false}", SCHEMA, [(5, "W139", [6])]),
        ("fallback_on: {unsupported: false}", SYSTEM, [(5, "W139", [6])]),  # embedded and mock know all
        ("fallback_on: {unsupported: false}", IMAGE, []),
        ("allow_loss: [json_schema]", SCHEMA, [(5, "W139", [])]),
        ("allow_loss: [tools]", SCHEMA, [(5, "W139", [6])]),
        ("allow_loss: [tools]", TOOLS, []),
        ("allow_loss: [images]", SCHEMA, [(5, "W139", [6])]),
        ("allow_loss: [images]", IMAGE, []),
        ("allow_loss: [system]", SCHEMA, [(5, "W139", [6])]),
        ("allow_loss: [system]", SYSTEM, []),
        ("allow_loss: [streaming]", SCHEMA, [(5, "W139", [6])]),
        ("allow_loss: [streaming]", "prompt: {user: Hello}", []),
    ],
)
def test_what_never_reaches_a_strategy_or_is_never_lost_is_told(
    chain: str, step: str, warnings: list[tuple[int, str, list[int]]], tmp_path: Path
) -> None:
    assert found(file(TWO + chain, step), tmp_path) == warnings


def test_a_target_may_lack_what_a_step_asks_for_or_a_stream(tmp_path: Path) -> None:
    def lines(model: str, step: str, chain: str = "") -> list[int]:
        text = file(f"{TWO}fallback_on: {{unsupported: false}}{chain}", step)
        providers = f"other: {{type: mock, model: b, models: {{b: {{{model}}}}}}}"
        assert "other: {type: mock, model: b}" in text
        return [
            line
            for line, code, _ in found(text.replace("other: {type: mock, model: b}", providers), tmp_path)
            if code == "W139"
        ]

    plain = "prompt: {user: Hello}"
    assert lines("system: false", plain) == [5]
    assert lines("system: false", SYSTEM) == []
    assert lines("system: false", SYSTEM, ", allow_loss: [system]") == [5]
    assert lines("tools: false", TOOLS) == []
    assert lines("streaming: false", plain) == []


def test_a_chain_that_no_step_asks_is_only_told_to_be_unused(tmp_path: Path) -> None:
    chain = "targets: [local]}, more: {targets: [local, other], allow_loss: [tools], fallback_on: {safety: true}"
    assert found(file(chain), tmp_path) == []
