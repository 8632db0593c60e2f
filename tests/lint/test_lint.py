"""Rules: what each finds, where, and when it stays silent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.compiler.ladder import in_order, odd_pairs
from wizard_dsl.core.target import Facts, Prices
from wizard_dsl.lint.models import w111_unknown_model, w131_unknown_price
from wizard_dsl.lint.rules import RULES, lint
from wizard_dsl.registry import Registry
from wizard_dsl.spec.codes import CODES

BASE = """\
version: 1
inputs: {question: {type: string}}
providers: {local: {type: mock}}
chains: {default: {targets: [local]}}
steps: {answer: {prompt: {user: "{{ question }}"}}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compiled(text: str, **sources: Any) -> Compiled:
    Path("a.yaml").write_text(text)
    return compile_file("a.yaml", Registry(plugins=False), Sources(**sources))


def found(text: str, **sources: Any) -> list[str]:
    """`line code` of each warning. Fails where the file has errors, for then nothing is linted."""
    made = compiled(text, **sources)
    assert made.program is not None, made.diagnostics
    return [f"{each.line} {each.code}" for each in lint(made)]


def chains(chain: str, more: str = "") -> str:
    """The base file with another default chain and more sections."""
    return BASE.replace("{default: {targets: [local]}}", f"{{default: {chain}}}") + more


def test_a_plain_file_has_no_warning(project: Path) -> None:
    assert found(BASE) == []


def test_a_file_with_errors_is_not_linted(project: Path) -> None:
    made = compiled(BASE.replace("question }}", "qestion }}"))
    assert made.program is None
    assert lint(made) == []


def test_each_rule_has_its_code_in_its_name_and_docstring() -> None:
    for rule in (*RULES, w111_unknown_model, w131_unknown_price):
        code = rule.__name__.partition("_")[0].upper()
        assert code in CODES
        assert (rule.__doc__ or "").startswith(f"{code}: ")


# -- W120 to W124 -------------------------------------------------------------------------------------

UNUSED = [
    ("W120", BASE.replace("{local: {type: mock}}", "{local: {type: mock}, spare: {type: mock}}"), 3),
    ("W121", BASE.replace("[local]}}", "[local]}, spare: {targets: [local]}}"), 4),
    ("W122", BASE + "prompts: {spare: {user: Hello}}\n", 6),
    ("W123", BASE.replace("{question: {type: string}}", "{question: {type: string}, spare: {type: string}}"), 2),
    ("W124", BASE + "policies: {spare: {retry: 3}}\n", 6),
]


@pytest.mark.parametrize(("code", "text", "line"), UNUSED)
def test_what_is_not_used_is_told_at_its_name(project: Path, code: str, text: str, line: int) -> None:
    made = compiled(text)
    (each,) = lint(made)
    assert (each.code, each.line) == (code, line)
    assert each.column == text.splitlines()[line - 1].index("spare") + 1
    assert "'spare'" in each.message


@pytest.mark.parametrize(("code", "text", "line"), UNUSED)
def test_what_a_project_file_has_is_for_others(project: Path, code: str, text: str, line: int) -> None:
    Path("wizard.yaml").write_text(text)
    assert found(BASE) == []


def test_a_target_that_is_switched_off_counts_as_use(project: Path) -> None:
    text = BASE.replace("{local: {type: mock}}", "{local: {type: mock}, spare: {type: mock}}")
    assert found(text.replace("[local]", "[local, {provider: spare, enabled: false}]")) == []


def test_inputs_of_expressions_and_of_other_pipelines_count_as_use(project: Path) -> None:
    Path("b.yaml").write_text(BASE)
    text = (
        "version: 1\n"
        "inputs: {loud: {type: boolean}, topic: {type: string}, "
        "parts: {type: array, maxItems: 9}, end: {type: string}}\n"
        "providers: {local: {type: mock}}\nchains: {default: {targets: [local]}}\nsteps:\n"
        '  other: {type: pipeline, file: b.yaml, inputs: {question: "{{ topic }}"}}\n'
        "  each: {for_each: parts, when: loud, prompt: {user: '{{ item }}'}}\n"
        'output: "{{ end }}"\n'
    )
    assert found(text) == []


def test_the_default_set_is_not_used_where_every_chain_names_another(project: Path) -> None:
    sets = "policies: {default: {retry: 2}, careful: {retry: 3}}\n"
    assert found(chains("{targets: [local], policies: {use: careful}}", sets)) == ["6 W124"]
    assert found(chains("{targets: [local]}", sets)) == ["6 W124"]


# -- W110 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (BASE, []),
        (chains("{targets: [local], policies: {deadline: 45s, timeout: 40s}}"), []),
        (chains("{targets: [local], policies: {deadline: 40s, timeout: 40s}}"), ["4 W110"]),
        (chains("{targets: [local], policies: {deadline: 45s}}"), ["4 W110"]),
        (chains("{targets: [local], policies: {timeout: 10m}}"), ["4 W110"]),
        (chains("{targets: [local], policies: {timeout: {connect: 1s}}}"), []),
        (chains("{targets: [local], policies: {deadline: 45s, timeout: {total: off}}}"), []),
        (chains("{targets: [local], policies: {deadline: 45s, timeout: off}}"), []),
        (chains("{targets: [local]}", "deadline: 90s\n"), ["6 W110"]),
        (chains("{targets: [local], policies: {deadline: 45s}}", "policies: {default: {timeout: 60s}}\n"), ["6 W110"]),
        (chains("{targets: [{provider: local, policies: {timeout: 50s}}], policies: {deadline: 45s}}"), ["4 W110"]),
    ],
)
def test_a_total_that_is_not_below_the_deadline(project: Path, text: str, warnings: list[str]) -> None:
    assert found(text) == warnings


def test_both_places_of_a_total_and_its_deadline_are_told(project: Path) -> None:
    text = chains("{targets: [local], policies: {deadline: 45s}}", "policies: {default: {timeout: 60s}}\n")
    (each,) = lint(compiled(text))
    assert each.message == "timeout.total 1m of local is not below the deadline 45s"
    assert [(other.line, other.message) for other in each.related] == [(4, "the deadline")]


def test_a_built_in_total_is_called_so(project: Path) -> None:
    (each,) = lint(compiled(chains("{targets: [local], policies: {deadline: 45s}}")))
    assert each.message == "timeout.total 5m (built-in) of local is not below the deadline 45s"


def test_a_place_is_blamed_once_for_all_its_targets(project: Path) -> None:
    two = BASE.replace("{local: {type: mock}}", "{local: {type: mock}, near: {type: mock, model: other}}")
    assert found(two.replace("[local]", "[local, near], policies: {deadline: 45s}")) == ["4 W110"]


def test_a_flag_is_a_place_too(project: Path) -> None:
    (each,) = lint(compiled(BASE, sets=("chains.default.policies.deadline=45s",)))
    assert (each.code, each.file, each.line) == ("W110", "--set chains.default.policies.deadline", 0)


# -- W112, W113 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "pairs"),
    [
        ("[retry, circuit_breaker, timeout]", 0),
        ("[circuit_breaker, retry]", 1),
        ("[timeout, circuit_breaker, retry]", 3),
        ("[retry, cache]", 1),
        ("[timeout]", 0),
    ],
)
def test_a_stack_that_defeats_a_policy(project: Path, stack: str, pairs: int) -> None:
    text = chains(f"{{targets: [local], policies: {{cache: 1h, stack: {stack}}}}}")
    made = compiled(text)
    warnings = lint(made)
    assert [each.code for each in warnings] == ["W112"] * pairs
    assert all(each.line == 4 for each in warnings)


def test_a_stack_of_a_set_is_told_at_the_set(project: Path) -> None:
    assert found(BASE + "policies: {default: {circuit_breaker: off, stack: [timeout, retry]}}\n") == ["6 W112"]


def test_the_canonical_order_is_never_odd() -> None:
    types = Registry(plugins=False).all_policies()
    plans: Any = [SimpleNamespace(type=each) for each in types]
    assert odd_pairs([plan.type.name for plan in in_order(plans, None)]) == []


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (BASE + "policies: {default: {retry: {base: 10s, max_delay: 2s}}}\n", ["6 W113"]),
        (chains("{targets: [local], policies: {cache: {ttl: 0s}}}"), ["4 W113"]),
        (chains("{targets: [{provider: local, policies: {retry: {base: 10s, max_delay: 2s}}}]}"), ["4 W113"]),
        (BASE + "policies: {default: {retry: {base: 2s}}}\n", []),
    ],
)
def test_settings_that_contradict_each_other(project: Path, text: str, warnings: list[str]) -> None:
    assert found(text) == warnings


def test_a_contradiction_made_of_two_places_is_told_at_the_nearer_one(project: Path) -> None:
    sets = "policies: {default: {retry: {max_delay: 2s}}}\n"
    assert found(chains("{targets: [local], policies: {retry: {base: 10s}}}", sets)) == ["4 W113"]


# -- W111 -----------------------------------------------------------------------------------------------


def known(prices: str, model: str) -> Facts:
    return Facts(context=8000) if model == "known" else Facts()


@pytest.mark.parametrize(
    ("provider", "targets", "models"),
    [
        ("{type: mock}", "[local]", []),
        ("{type: openai}", "[local/known, local/other, local/other_two]", ["other", "other_two"]),
        ("{type: openai, models: {other: {context: 100}}}", "[local/other]", []),
        ("{type: anthropic}", "[local/other]", ["other"]),
        ("{type: vllm}", "[local/our-model]", ["our-model"]),
    ],
)
def test_a_model_of_which_nothing_is_known(project: Path, provider: str, targets: str, models: list[str]) -> None:
    text = BASE.replace("{type: mock}", provider).replace("[local]", targets)
    made = compiled(text)
    assert made.program is not None, made.diagnostics
    warnings = list(w111_unknown_model(made, known))
    assert [each.message.split("'")[1] for each in warnings] == models
    assert all(each.line == 4 for each in warnings)


def test_a_model_is_told_once(project: Path) -> None:
    text = BASE.replace("{type: mock}", "{type: openai}").replace(
        "{default: {targets: [local]}}", "{default: {targets: [local/x]}, more: {targets: [local/x]}}"
    )
    assert len(list(w111_unknown_model(compiled(text), known))) == 1


def test_a_file_with_errors_has_no_models(project: Path) -> None:
    assert list(w111_unknown_model(compiled("version: 1\n"), known)) == []


def test_a_parameter_that_a_protocol_does_not_have_is_told_where_it_is_set(project: Path) -> None:
    text = """
version: 1
providers: {claude: {type: anthropic, api_key: "${env:KEY}"}, gpt: {type: openai, api_key: "${env:KEY}"}}
chains: {default: {targets: [gpt/gpt-4o, claude/claude-sonnet-4-5]}}
steps:
  answer:
    prompt: {user: Hello}
    params: {seed: 7, temperature: 0}
"""
    (warning,) = lint(compiled(text))
    assert (warning.code, warning.line, warning.column) == ("W114", 8, 20)
    assert warning.message == "'seed' does not exist at 'claude/claude-sonnet-4-5' (anthropic) and is left out there"


PARAMS = """
version: 1
providers: {claude: {type: anthropic, api_key: "${env:KEY}"}}
chains: {default: {targets: [{provider: claude, model: claude-sonnet-4-5, params: {OWN}}]}}
steps: {answer: {prompt: {user: Hello}, params: {STEP}}}
"""


@pytest.mark.parametrize(
    ("own", "step", "told"),
    [
        ("seed: 7", "temperature: 0", [("4 seed", None)]),
        ("top_k: 7", "max_token: 5", [("5 max_token", "did you mean 'max_tokens'?")]),
        ("temprature: 0", "maxTokens: 5", [("4 temprature", "temperature"), ("5 maxTokens", "max_tokens")]),
        ("top_a: 0.2, min_p: 0.1", "top_q: 1, verbosity: low, extra: 1", []),
    ],
)
def test_a_parameter_is_told_where_it_is_set_also_for_one_target_and_misspelt(
    project: Path, own: str, step: str, told: list[tuple[str, str | None]]
) -> None:
    found = [each for each in lint(compiled(PARAMS.replace("OWN", own).replace("STEP", step))) if each.code == "W114"]
    assert [f"{each.line} {each.path[-1]}" for each in found] == [place for place, _ in told]
    assert all((meant or "") in (each.suggestion or "") for each, (_, meant) in zip(found, told, strict=True))


# -- W133 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "warned"),
    [
        ("{strategy: hedged, targets: [local, local]}", True),
        ("{strategy: {type: hedged, after: 3s}, targets: [local, local], policies: {retry: 2}}", True),
        ("{strategy: hedged, targets: [local, local], policies: {concurrency: 8}}", False),
        ("{strategy: hedged, targets: [local, local], policies: {rate_limit: {rate: 5/s}}}", False),
        ("{strategy: hedged, targets: [local]}", False),
        ("{strategy: hedged, targets: [local, {provider: local, model: x, policies: {concurrency: 8}}]}", False),
        ("{strategy: hedged, targets: [{provider: local, model: x, policies: {concurrency: 8}}, local]}", True),
        ("{strategy: parallel, targets: [local, {provider: local, model: x}]}", False),
    ],
)
def test_a_chain_that_hedges_with_a_target_without_a_limit_is_told(project: Path, chain: str, warned: bool) -> None:
    codes = [line.split()[-1] for line in found(chains(chain))]
    assert [code for code in codes if code != "W136"] == (["W133"] if warned else [])


def test_a_limit_of_the_provider_limits_a_hedge_too(project: Path) -> None:
    text = chains("{strategy: hedged, targets: [local, local]}")
    assert found(text.replace("{type: mock}", "{type: mock, policies: {concurrency: 8}}")) == []


# -- W150 to W152 -------------------------------------------------------------------------------------

CACHED = """\
version: 1
providers: {local: {type: mock}}
policies:
  default:
    cache: {ttl: 1h}
chains:
  default: {targets: [local]}
steps:
  answer:
    prompt: {user: Hello}
    params: {temperature: 0}
"""


def cached(cache: str, heat: str = "0") -> str:
    return CACHED.replace("{ttl: 1h}", cache).replace("temperature: 0", f"temperature: {heat}")


def test_a_cache_with_temperature_is_told_where_the_temperature_is_set(project: Path) -> None:
    (warning,) = lint(compiled(cached("{ttl: 1h}", "0.7")))
    assert (warning.code, warning.line, [each.line for each in warning.related]) == ("W150", 11, [5])
    assert "temperature is 0.7" in warning.message


@pytest.mark.parametrize(
    "text",
    [
        cached("{ttl: 1h}"),
        cached("{ttl: 1h}", "0.0"),
        cached("'off'", "0.7"),
        cached("{ttl: 1h}", "0.7").replace(
            "targets: [local]", "targets: [{provider: local, params: {temperature: 0}}]"
        ),
    ],
)
def test_a_cache_without_temperature_and_temperature_without_a_cache_are_fine(project: Path, text: str) -> None:
    assert not any("W150" in each for each in found(text))


def test_the_temperature_of_a_target_is_told_there_and_once(project: Path) -> None:
    text = cached("{ttl: 1h}").replace("targets: [local]", "targets: [{provider: local, params: {temperature: 1}}]")
    text += "  again: {prompt: {user: Hello}}\n"
    assert found(text) == ["7 W150", "11 W148"]  # that of the step is never sent


def test_the_temperature_of_a_target_with_a_priority_is_told_at_its_line(project: Path) -> None:
    targets = "[\n    {provider: local, priority: 9, params: {temperature: 1}},\n    {provider: local, model: x}]"
    assert found(cached("{ttl: 1h}").replace("targets: [local]", f"targets: {targets}")) == ["8 W150"]


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ("{ttl: 0s, stale_if_error: 1h}", "stale_if_error never applies: ttl is 0s"),
        ("{ttl: 0s, stale_while_revalidate: 1h}", "stale_while_revalidate never applies: ttl is 0s"),
        ("{ttl: 0s, negative: 5s}", "negative never applies: ttl is 0s"),
        ("{ttl: 5s, fallback_ttl: 5s, negative: 10s}", "negative is longer than ttl"),
        ("{stale_if_error: 5m, stale_while_revalidate: 5m}", "stale_if_error never applies: within"),
    ],
)
def test_a_time_of_the_cache_that_another_one_hides_is_told(project: Path, cache: str, said: str) -> None:
    warnings = [each for each in lint(compiled(cached(cache))) if each.code == "W151"]
    assert [each.line for each in warnings] == [5]
    assert warnings[0].message.startswith(said)


@pytest.mark.parametrize(
    "cache",
    [
        "{ttl: 10s, negative: 10s}",
        "{stale_if_error: 1h, stale_while_revalidate: 5m}",
        "{stale_if_error: 1h}",
        "{stale_while_revalidate: 5m}",
    ],
)
def test_times_of_the_cache_that_fit_are_fine(project: Path, cache: str) -> None:
    assert found(cached(cache)) == []


def test_the_other_time_is_shown_where_it_is_set(project: Path) -> None:
    text = cached("{ttl: 5s, fallback_ttl: 5s}").replace("[local]", "[local], policies: {cache: {negative: 10s}}")
    (warning,) = [each for each in lint(compiled(text)) if each.code == "W151"]
    assert (warning.line, [each.line for each in warning.related]) == (7, [5])


def test_a_cache_by_session_needs_sessions(project: Path) -> None:
    assert found(cached("{ttl: 1h, scope: session}")) == ["5 W152"]
    assert found(cached("{ttl: 1h, scope: principal}")) == []


def test_with_sessions_a_cache_by_session_is_fine(project: Path) -> None:
    made = compiled(cached("{ttl: 1h, scope: session}"))
    made.loaded.data["session"] = {"ttl": "24h"}
    assert [each.code for each in lint(made)] == []


# -- W130, W131 ---------------------------------------------------------------------------------------

WEIGHED = "{strategy: %s, targets: [{provider: local, weight: 3}, local/b]}"


def test_a_weight_that_nobody_looks_at_is_told(project: Path) -> None:
    assert found(chains(WEIGHED % "sequential")) == ["4 W130"]
    assert found(chains(WEIGHED % "weighted")) == []
    assert found(chains("{targets: [{provider: local, weight: 1}]}")) == []


def test_a_price_that_is_not_known_is_told_where_it_decides(project: Path) -> None:
    text = chains("{strategy: cheapest, targets: [local/a, local/b]}")

    def known(kind: str, model: str) -> Facts:
        return Facts(prices=Prices(1.0, 1.0)) if model == "b" else Facts()

    priced = text.replace("{type: mock}", "{type: openai, api_key: '${env:K}'}")
    (only,) = w131_unknown_price(compiled(priced), known)
    assert (only.line, only.code) == (4, "W131") and "'local/a'" in only.message
    assert list(w131_unknown_price(compiled(priced.replace("cheapest", "sequential")), known)) == []
    assert list(w131_unknown_price(compiled("version: 1\n"), known)) == []
