"""Targets that do not help, what has no end, conditions that decide nothing: found, or left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from wizard_dsl.compiler.compile import Compiled, Sources, compile_file
from wizard_dsl.lint.models import w187_deprecated_model
from wizard_dsl.lint.rules import lint
from wizard_dsl.providers._prices import is_deprecated
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import Diagnostic

PROVIDERS = """\
version: 1
inputs: {question: {type: string, maxLength: 400}, language: {type: string, enum: [en, de]}, loud: {type: boolean}}
providers:
  openai: {type: openai, api_key: "${env:OPENAI_API_KEY}"}
  claude: {type: anthropic, api_key: "${env:ANTHROPIC_API_KEY}"}
  own: {type: vllm, models: {small: {tools: false, images: false, system: false, context: 200}}}
"""
ASK = '  answer: {prompt: {user: "{{ question }} {{ language }} {{ loud }}"}}\n'


def compiled(folder: Path, chain: str, steps: str = ASK) -> Compiled:
    file = folder / "p.yaml"
    file.write_text(f"{PROVIDERS}chains: {{default: {chain}}}\nsteps:\n{steps}")
    made = compile_file(file, Registry(plugins=False), Sources())
    assert made.program is not None, made.diagnostics
    return made


def said(folder: Path, chain: str, steps: str = ASK) -> list[Diagnostic]:
    return [each for each in lint(compiled(folder, chain, steps)) if each.code >= "W180"]


def codes(folder: Path, chain: str, steps: str = ASK) -> list[str]:
    return [each.code for each in said(folder, chain, steps)]


# -- W180, W181 -----------------------------------------------------------------------------------------

TWO = "targets: [openai/gpt-4o, claude/claude-sonnet-4-5]"
NOTHING = (
    "connect: false, timeout: false, server: false, quota_exhausted: false, malformed_response: false, "
    "circuit_open: false, context_length: false"
)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (f"fallback_on: {{{NOTHING}}}, on_rate_limit: {{then: fail}}", ["W180"]),
        (f"fallback_on: {{{NOTHING}, rate_limited: false}}", ["W180"]),
        (f"fallback_on: {{{NOTHING}}}", []),
        (f"fallback_on: {{{NOTHING}, rate_limited: false, auth: true}}", []),
        (f"fallback_on: {{{NOTHING}, rate_limited: false, '503': true}}", []),
        (f"fallback_on: {{{NOTHING}, rate_limited: false}}, on_mid_stream_error: restart", []),
        (f"fallback_on: {{{NOTHING}, rate_limited: false}}, strategy: weighted", []),
    ],
)
def test_a_fallback_is_never_reached_where_no_failure_leads_to_it(tmp_path: Path, more: str, found: list[str]) -> None:
    assert codes(tmp_path, f"{{{TWO}, {more}}}") == found


@pytest.mark.parametrize(
    ("targets", "found"), [("openai/gpt-4o, own/small", ["W180"]), ("own/small, openai/gpt-4o", [])]
)
def test_only_what_the_first_target_lacks_leads_to_the_second(tmp_path: Path, targets: str, found: list[str]) -> None:
    assert codes(tmp_path, f"{{targets: [{targets}], fallback_on: {{{NOTHING}, rate_limited: false}}}}") == found


def test_a_budget_that_a_caller_may_bring_is_not_taken_for_missing(tmp_path: Path) -> None:
    (open_,) = said(tmp_path, f"{{{TWO}, fallback_on: {{{NOTHING}, rate_limited: false}}}}")
    (shut,) = said(tmp_path, f"{{{TWO}, fallback_on: {{{NOTHING}, rate_limited: false, budget: false}}}}")
    assert open_.message.endswith("it is never asked, unless a file that runs this one has budgets")
    assert shut.message.endswith("it is never asked")


def test_a_contract_leads_to_the_fallback(tmp_path: Path) -> None:
    chain = f"{{{TWO}, fallback_on: {{{NOTHING}, rate_limited: false}}}}"
    steps = "  answer: {prompt: {user: Hello}, output: {schema: {type: object}}}\n"
    assert codes(tmp_path, chain) == ["W180"]
    assert codes(tmp_path, chain, steps) == []


@pytest.mark.parametrize(
    ("chain", "found"),
    [
        ("{targets: [openai/gpt-4o, openai/gpt-4o-mini]}", ["W181"]),
        ("{targets: [openai/gpt-4o, openai/gpt-4o-mini], strategy: {type: hedged, after: 3s}}", ["W181"]),
        ("{targets: [openai/gpt-4o, openai/gpt-4o-mini], strategy: cheapest}", []),
        ("{targets: [openai/gpt-4o, openai/gpt-4o-mini, claude/claude-sonnet-4-5]}", []),
        ("{targets: [openai/gpt-4o]}", []),
    ],
)
def test_targets_share_their_fate_where_all_are_one_endpoint_and_key(
    tmp_path: Path, chain: str, found: list[str]
) -> None:
    assert [each for each in codes(tmp_path, chain) if each == "W181"] == found


def test_a_second_model_of_one_provider_may_be_there_for_a_budget(tmp_path: Path) -> None:
    budgets = "budgets: {run: $1}\nsteps:"
    chain = "{targets: [openai/gpt-4o, openai/gpt-4o-mini]}"
    file = tmp_path / "p.yaml"
    file.write_text(f"{PROVIDERS}chains: {{default: {chain}}}\n{budgets}\n{ASK}")
    found = lint(compile_file(file, Registry(plugins=False), Sources()))
    assert "W181" not in {each.code for each in found}


# -- W182 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chain", "prompt", "lost"),
    [
        ("{targets: [openai/gpt-4o, own/small]}", "{system: Be brief., user: Hello}", "system messages"),
        ("{targets: [openai/gpt-4o, own/small], allow_loss: [system]}", "{system: Be brief., user: Hello}", None),
        ("{targets: [openai/gpt-4o, own/small]}", "{user: Hello}", None),
        ("{targets: [openai/gpt-4o, own/small]}", "{user: Hello, params: {max_tokens: 300}}", "each call"),
        ("{targets: [openai/gpt-4o, own/small]}", '{user: "{{ question }}"}', None),
        (
            "{targets: [openai/gpt-4o, own/small]}",
            '{user: "{{ question }}", params: {max_tokens: 150}}',
            "a call with the longest inputs",
        ),
        (
            "{targets: [own/small]}",
            '{user: "{{ question }}", params: {max_tokens: 150}}',
            None,
        ),
    ],
)
def test_a_target_that_is_known_to_lack_what_a_step_asks_for_is_told(
    tmp_path: Path, chain: str, prompt: str, lost: str | None
) -> None:
    found = [each for each in said(tmp_path, chain, f"  answer: {{prompt: {prompt}}}\n") if each.code == "W182"]
    assert len(found) == (lost is not None)
    assert all(lost in each.message and "'own/small'" in each.message for each in found if lost)


# -- W183 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policies", "found"),
    [
        ("{timeout: {idle: off, total: off}}", ["W183"]),
        ("{timeout: off}", ["W183"]),
        ("{use: none}", ["W183"]),
        ("{use: none, timeout: {idle: 5s}}", []),
        ("{timeout: {idle: off}}", []),
        ("{timeout: {total: off}}", []),
        ("{}", []),
    ],
)
def test_a_stream_without_an_end_is_told_where_the_file_takes_the_end_away(
    tmp_path: Path, policies: str, found: list[str]
) -> None:
    assert codes(tmp_path, f"{{{TWO}, policies: {policies}}}") == found


def test_one_target_without_a_timeout_is_told_at_that_target(tmp_path: Path) -> None:
    own = "{provider: openai, model: gpt-4o, policies: {timeout: off}}"
    (found,) = said(tmp_path, f"{{targets: [claude/claude-sonnet-4-5, {own}]}}")
    assert (found.code, found.path) == ("W183", ("chains", "default", "targets", 1, "policies", "timeout"))


def test_a_chain_that_no_step_asks_streams_nothing(tmp_path: Path) -> None:
    chain = f"{{{TWO}}}, idle: {{{TWO}, policies: {{timeout: off}}}}"
    assert codes(tmp_path, chain) == []


# -- W184 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("language == 'fr'", "never runs"),
        ("language in ['en', 'de']", "is true"),
        ("language == 'en' and language == 'de'", "never runs"),
        ("loud or not loud", "is true"),
        ("loud and language == 'fr'", "never runs"),
        ("loud and language == 'de'", None),
        ("question == 'fr'", None),
        ("true", "is true"),
        ("steps.sort.json.topic == 'bugs'", "never runs"),
        ("steps.sort.json.topic == 'bug'", None),
        ("steps.sort.json.other == 'bug'", None),
        ("steps.sort.skipped and not steps.sort.skipped", "never runs"),
    ],
)
def test_a_condition_that_is_the_same_for_all_values_is_told(tmp_path: Path, condition: str, says: str | None) -> None:
    schema = "{type: object, required: [topic], properties: {topic: {enum: [bug, spam]}, other: {type: string}}}"
    steps = f"  sort: {{prompt: {{user: Hello}}, output: {{schema: {schema}}}}}\n"
    steps += f'  answer: {{prompt: {{user: Hello}}, when: "{condition}"}}\n'
    found = [each for each in said(tmp_path, f"{{{TWO}}}", steps) if each.code == "W184"]
    assert len(found) == (says is not None)
    assert all(says in each.message for each in found if says)


def test_an_answer_that_on_error_gives_need_not_fit_the_schema(tmp_path: Path) -> None:
    steps = (
        "  sort: {prompt: {user: Hello}, on_error: {default: {topic: none}}, output: {schema: {type: object, "
        "required: [topic], properties: {topic: {enum: [bug]}}}}}\n"
        "  answer: {prompt: {user: Hello}, when: steps.sort.json.topic == 'none'}\n"
    )
    assert codes(tmp_path, f"{{{TWO}}}", steps) == []


def test_what_needs_a_step_that_never_runs_never_runs(tmp_path: Path) -> None:
    steps = (
        "  one: {prompt: {user: Hello}, when: language == 'fr'}\n"
        "  two: {prompt: {user: Hello}, needs: {one: ran}}\n"
        "  three: {prompt: {user: Hello}, needs: [one]}\n"
    )
    found = said(tmp_path, f"{{{TWO}}}", steps)
    assert [each.path for each in found] == [("steps", "one", "when"), ("steps", "two")]
    assert "it needs 'one'" in found[1].message


# -- W186, W187 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "loop", "missing"),
    [
        ("{type: array}", "parts", "maxItems"),
        ("{type: array, maxItems: 3}", "parts", None),
        ("{type: array}", "parts[:3]", None),
        ("{type: string}", "parts.split(',')", "maxLength"),
        ("{type: string, maxLength: 100}", "parts.split(',')", None),
        ("{type: object, properties: {names: {type: array}}}", "parts.names", "maxItems"),
    ],
)
def test_a_loop_without_a_bound_is_told_with_its_schema(
    tmp_path: Path, kind: str, loop: str, missing: str | None
) -> None:
    file = tmp_path / "p.yaml"
    text = PROVIDERS.replace("inputs: {", f"inputs: {{parts: {kind}, ")
    steps = f'  each: {{for_each: "{loop}", prompt: {{user: "{{{{ item }}}}"}}}}\n'
    file.write_text(f"{text}chains: {{default: {{{TWO}}}}}\nsteps:\n{steps}")
    found = [each for each in lint(compile_file(file, Registry(plugins=False), Sources())) if each.code == "W186"]
    assert [each.path for each in found] == [("steps", "each", "for_each")] * (missing is not None)
    assert all(missing in each.message and each.related[0].line == 2 for each in found if missing)


def test_a_loop_over_the_answer_of_a_step_wants_a_bound_in_its_schema(tmp_path: Path) -> None:
    steps = (
        "  list: {prompt: {user: Hello}, output: {schema: {type: object, required: [names], properties: {names: "
        "{type: array, items: {type: string}}}}}}\n"
        '  each: {for_each: steps.list.json.names, prompt: {user: "{{ item }}"}}\n'
    )
    (found,) = said(tmp_path, f"{{{TWO}}}", steps)
    assert (found.code, found.path) == ("W186", ("steps", "each", "for_each"))
    bounded = steps.replace("{type: array,", "{type: array, maxItems: 5,")
    assert codes(tmp_path, f"{{{TWO}}}", bounded) == []


def test_a_model_that_the_library_calls_deprecated_is_told_by_check(tmp_path: Path) -> None:
    made = compiled(tmp_path, f"{{{TWO}}}")
    asked: list[tuple[str, str]] = []

    def deprecated(prices: str, model: str) -> bool:
        asked.append((prices, model))
        return model == "gpt-4o"

    (found,) = w187_deprecated_model(made, deprecated)
    assert asked == [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5")]
    assert (found.code, found.path) == ("W187", ("chains", "default", "targets", 0))


def test_the_price_library_knows_deprecated_models() -> None:
    assert is_deprecated("google", "gemini-2.0-flash")
    assert not is_deprecated("openai", "gpt-4o") and not is_deprecated("nobody", "nothing")


def test_nothing_is_deprecated_in_a_file_with_errors(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("version: 1\n")
    wrong = compile_file(file, Registry(plugins=False), Sources())
    assert list(w187_deprecated_model(wrong, is_deprecated)) == []
