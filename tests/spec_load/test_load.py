"""Loading: layers, references, shorthands, secrets and stand-ins, on documents written here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wizard_dsl.core.errors import TABLE
from wizard_dsl.registry import Registry
from wizard_dsl.spec.diagnostics import render_text
from wizard_dsl.spec.load import Loaded, load

REGISTRY = Registry(plugins=False)
HEAD = """\
version: 1
inputs: {question: {type: string}}
providers: {local: {type: mock}}
chains: {default: {targets: [local]}}
steps: {answer: {prompt: {user: "{{ question }}"}}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(
    text: str,
    env: Mapping[str, str] | None = None,
    *,
    sets: Sequence[str] = (),
    overlays: Sequence[str] = (),
    mock: bool = False,
) -> Loaded:
    Path("p.yaml").write_text(text)
    return load("p.yaml", registry=REGISTRY, env=env, sets=sets, overlays=overlays, mock=mock)


def said(found: Loaded) -> list[str]:
    return render_text(found.diagnostics).splitlines()


def codes(found: Loaded) -> list[str]:
    return [each.code for each in found.diagnostics]


def document(found: Loaded) -> Any:
    assert said(found) == []
    assert found.document is not None
    return found.document


# -- shorthands and layers --------------------------------------------------------------------------


def test_a_scalar_sets_the_one_key_that_its_policy_declares(folder: Path) -> None:
    made = document(read(HEAD + "policies: {default: {retry: 5, cache: 1h, timeout: 40s, circuit_breaker: off}}"))
    assert made.policies["default"] == {
        "retry": {"max_attempts": 5},
        "cache": {"ttl": "1h"},
        "timeout": {"total": "40s"},
        "circuit_breaker": "off",
    }


def test_a_shorthand_merges_like_a_map_with_that_one_key(folder: Path) -> None:
    Path("wizard.yaml").write_text("policies: {default: {retry: 5, timeout: {idle: 3s}}}")
    made = document(read(HEAD + "policies: {default: {retry: {base: 2s}, timeout: 9s}}"))
    assert made.policies["default"] == {
        "retry": {"max_attempts": 5, "base": "2s"},
        "timeout": {"idle": "3s", "total": "9s"},
    }


def test_a_flag_with_a_shorthand_keeps_the_other_keys(folder: Path) -> None:
    made = document(
        read(HEAD + "policies: {default: {retry: {base: 2s}}}", sets=["policies.default.retry=7", "deadline=9s"])
    )
    assert made.policies["default"]["retry"] == {"base": "2s", "max_attempts": 7}
    assert made.file.deadline == "9s"


def test_a_variable_lies_over_the_file_and_below_a_flag(folder: Path) -> None:
    text = HEAD + "policies: {default: {retry: 3}}"
    env = {"WIZARD_RETRY_MAX_ATTEMPTS": "4", "WIZARD_RETRY_BASE": "2s"}
    made = document(read(text, env, sets=["policies.default.retry.max_attempts=5"]))
    assert made.policies["default"]["retry"] == {"max_attempts": 5, "base": "2s"}


def test_a_variable_of_the_wrong_type_is_named_and_not_shown(folder: Path) -> None:
    found = read(HEAD, {"WIZARD_RETRY_MAX_ATTEMPTS": "many"})
    assert codes(found) == ["E022"]
    assert said(found)[0].startswith("WIZARD_RETRY_MAX_ATTEMPTS: error[E022] policies.default.retry.max_attempts wants")


def test_an_overlay_is_laid_over_the_file_and_null_deletes(folder: Path) -> None:
    Path("x.overlay.yaml").write_text("policies: {default: {retry: null, timeout: 9s}}\nname: over\n")
    made = document(read(HEAD + "name: below\npolicies: {default: {retry: 3}}", overlays=["x.overlay.yaml"]))
    assert made.file.name == "over"
    assert made.policies["default"] == {"timeout": {"total": "9s"}}


def test_what_is_wrong_in_an_overlay_is_reported_in_the_overlay(folder: Path) -> None:
    Path("x.overlay.yaml").write_text("chains: {default: {targets: 3}}\n")
    found = read(HEAD, overlays=["x.overlay.yaml"])
    assert [(each.file, each.line, each.code) for each in found.diagnostics] == [("x.overlay.yaml", 1, "E022")]


def test_what_is_wrong_in_the_project_file_is_reported_though_the_pipeline_replaces_it(folder: Path) -> None:
    Path("wizard.yaml").write_text("deadline: 90\n")
    found = read(HEAD + "deadline: 60s")
    assert [(each.file, each.code) for each in found.diagnostics] == [("wizard.yaml", "E024")]


def test_a_pipeline_says_its_version_even_where_the_project_does(folder: Path) -> None:
    Path("wizard.yaml").write_text("version: 1\n")
    found = read(HEAD.replace("version: 1\n", ""))
    assert [(each.file, each.code) for each in found.diagnostics] == [("p.yaml", "E023")]


def test_a_project_file_is_right_without_any_section(folder: Path) -> None:
    Path("wizard.yaml").write_text("providers: {local: {type: mock}}\n")
    assert said(load("wizard.yaml", registry=REGISTRY, kind="project")) == []


def test_places_point_into_the_file_a_value_comes_from(folder: Path) -> None:
    Path("wizard.yaml").write_text("deadline: 5s\n")
    found = read(HEAD, sets=["name=x"])
    assert found.places.value_at(("deadline",))[:2] == ("wizard.yaml", 1)
    assert found.places.value_at(("steps", "answer"))[:2] == ("p.yaml", 5)
    assert found.places.origin_of(("name",)).layer == "flag"


# -- references -------------------------------------------------------------------------------------

TYPED = HEAD.replace("{type: mock}", '{type: mock, chunk: "${env:N}", pool: {size: "${env:N}"}, reply: "${env:N}"}')


def test_a_reference_is_typed_by_its_field_and_verbatim_in_a_text(folder: Path) -> None:
    local = document(read(TYPED, {"N": "7"})).providers["local"]
    assert (local.config.chunk, local.common.pool.size, local.config.reply) == (7, 7, "7")


def test_validate_needs_no_environment(folder: Path) -> None:
    local = document(read(TYPED)).providers["local"]
    assert isinstance(local.config.chunk, int)
    assert local.config.reply == "${env:N}"


def test_what_a_variable_holds_is_checked_where_it_is_known_and_never_shown(folder: Path) -> None:
    found = read(TYPED, {"N": "hunter2"})
    assert codes(found) == ["E022", "E022"]
    assert "hunter2" not in render_text(found.diagnostics)
    assert all(each.line == 3 for each in found.diagnostics)


def test_every_missing_variable_is_reported_at_its_reference(folder: Path) -> None:
    found = read(TYPED, {})
    assert codes(found) == ["E031"] * 3
    assert "the variable N is not set" in said(found)[0]


def test_a_whole_policy_may_come_from_a_variable(folder: Path) -> None:
    text = HEAD + 'policies: {default: {retry: "${env:R}", timeout: "${env:T}"}}'
    assert document(read(text, {"R": "off", "T": "9s"})).policies["default"] == {
        "retry": "off",
        "timeout": {"total": "9s"},
    }
    assert document(read(text, {"R": "4", "T": "9s"})).policies["default"]["retry"] == {"max_attempts": 4}
    assert document(read(text)).policies["default"] == {"retry": {}, "timeout": {}}


def test_templates_keep_what_looks_like_a_reference(folder: Path) -> None:
    text = HEAD.replace("{{ question }}", "${env:X} {{ question }} ${") + "prompts: {p: {system: '${x}', user: a}}"
    made = document(read(text, {}))
    assert made.steps["answer"].config.prompt == {"user": "${env:X} {{ question }} ${"}
    assert made.prompts["p"].system == "${x}"


def test_a_referenced_file_may_not_leave_the_project(folder: Path) -> None:
    assert codes(read(HEAD.replace("{type: mock}", '{type: mock, reply: "${file:../../x}"}'), {})) == ["E033"]


def test_a_default_of_an_input_is_typed_by_its_schema(folder: Path) -> None:
    text = HEAD.replace("inputs: {", 'inputs: {n: {type: integer, default: "${env:N}"}, ')
    assert document(read(text, {"N": "7"})).inputs["n"].default == 7


# -- keys -------------------------------------------------------------------------------------------

KEYED = HEAD.replace("{type: mock}", "{type: openai, model: m}")


def test_a_key_that_is_not_written_comes_from_the_usual_variable(folder: Path) -> None:
    found = read(KEYED, {"OPENAI_API_KEY": "sk-1"})
    assert document(found).providers["local"].config.api_key == "sk-1"
    assert found.secrets == ("sk-1",)


def test_a_key_that_is_nowhere_is_an_error_naming_the_variable(folder: Path) -> None:
    found = read(KEYED, {})
    assert said(found) == [
        "p.yaml:3:13 error[E031] the variable OPENAI_API_KEY is not set, and providers.local has no api_key; "
        'set OPENAI_API_KEY, or write api_key: "${env:NAME}"'
    ]
    assert found.keyless == {"local": "OPENAI_API_KEY"}


def test_a_key_whose_variable_is_not_set_is_one_error_and_a_fact(folder: Path) -> None:
    found = read(KEYED.replace("model: m", 'model: m, api_key: "${env:MY_KEY}"'), {})
    assert codes(found) == ["E031"]
    assert found.keyless == {"local": "MY_KEY"}


def test_no_key_is_missed_by_mocks_by_validate_or_by_a_provider_no_target_uses(folder: Path) -> None:
    referenced = KEYED.replace("model: m", 'model: m, api_key: "${env:KEY}"')
    assert said(read(KEYED, {}, mock=True)) == []
    assert said(read(referenced, {}, mock=True)) == []
    assert said(read(KEYED)) == []
    assert said(read(HEAD.replace("{local:", "{spare: {type: openai}, local:"), {})) == []


def test_a_literal_key_is_never_echoed(folder: Path) -> None:
    found = read(HEAD.replace("{type: mock}", "{type: openai, api_key: sk-1234, headers: {X-Token: tk-1234}}"))
    assert codes(found) == ["E034", "E034"]
    assert "1234" not in render_text(found.diagnostics)
    assert "${env:OPENAI_API_KEY}" in said(found)[0]


# -- stand-ins: one mistake is one finding ------------------------------------------------------------


def test_names_stay_known_where_what_they_name_is_wrong(folder: Path) -> None:
    text = """\
version: 1
inputs: {question: {type: string, trusted: perhaps}}
providers: {local: {type: mokc}}
chains: {default: {targets: 3}, other: {targets: [{provder: local}]}}
prompts: {p: {user: 3}}
steps: {a: {type: generat}, b: {chain: default}, c: {prompt: {user: x, sytem: y}}, d: {prompt: p, needs: 3}}
"""
    found = read(text)
    assert len(found.diagnostics) == 10 - 1
    assert found.document is not None
    made = msgspec.structs.asdict(found.document)
    assert {name: sorted(made[name]) for name in ("inputs", "providers", "chains", "prompts", "steps")} == {
        "inputs": ["question"],
        "providers": ["local"],
        "chains": ["default", "other"],
        "prompts": ["p"],
        "steps": ["a", "b", "c", "d"],
    }
    assert made["steps"]["c"].config.prompt == {"user": "x"}


def test_a_wrong_key_does_not_hide_a_missing_file(folder: Path) -> None:
    assert codes(read(HEAD + "nmae: x\nprompts: {p: {file: nothing.md}}")) == ["E021", "E035"]


def test_nothing_more_is_said_about_a_file_that_cannot_be_read(folder: Path) -> None:
    for bad in ("[" * 1000, "a: \x00", ":\n  - ]"):
        found = read(bad)
        assert len(found.diagnostics) == 1, bad[:10]
        assert found.document is None
    assert codes(load(folder, registry=REGISTRY)) == ["E002"]
    assert codes(load("nothing.yaml", registry=REGISTRY)) == ["E001"]


def test_a_whole_number_may_be_written_with_a_point(folder: Path) -> None:
    made = document(read(HEAD.replace("{type: mock}", "{type: mock, chunk: 3.0}")))
    assert made.providers["local"].config.chunk == 3


# -- prompt files, kinds, speed -----------------------------------------------------------------------


def test_prompt_files_come_with_their_text(folder: Path) -> None:
    Path("prompts").mkdir()
    Path("prompts/a.md").write_text("Hello {{ question }}\n")
    found = read(HEAD + "prompts: {p: {file: prompts/a.md}}")
    assert found.files == {("prompts", "p"): ("prompts/a.md", "Hello {{ question }}")}


def test_every_kind_of_error_may_stand_in_fallback_on(folder: Path) -> None:
    kinds = ", ".join(f"{kind}: true" for kind in TABLE)
    assert document(read(HEAD.replace("[local]", f"[local], fallback_on: {{{kinds}, 503: false}}")))


def test_a_stack_of_a_set_is_taken_by_the_chains_that_use_it(folder: Path) -> None:
    made = document(read(HEAD + "policies: {default: {retry: {}, timeout: {}, stack: [timeout, retry]}}"))
    assert made.chains["default"].stack == ("timeout", "retry")


def test_an_overlay_by_itself_is_partial_and_has_no_document(folder: Path) -> None:
    Path("wizard.yaml").write_text("deadline: 90\n")
    Path("x.overlay.yaml").write_text("chains: {default: {targets: null}}\npolices: {}\n")
    found = load("x.overlay.yaml", registry=REGISTRY, kind="overlay")
    assert found.document is None
    assert [(each.file, each.code) for each in found.diagnostics] == [("x.overlay.yaml", "E021")]


def test_a_right_file_is_loaded_without_the_heavy_libraries(folder: Path) -> None:
    Path("p.yaml").write_text(HEAD)
    code = (
        "import sys; from wizard_dsl.registry import Registry; from wizard_dsl.spec.load import load\n"
        "assert not load('p.yaml', registry=Registry()).diagnostics\n"
        "heavy = ('jsonschema', 'aiohttp', 'jinja2', 'asyncio', 'importlib.metadata')\n"
        "print([each for each in heavy if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert done.stdout.strip() == "[]"


# -- several layers, several causes -------------------------------------------------------------------


def test_what_is_right_in_each_file_and_wrong_together_is_reported_where_it_was_written(folder: Path) -> None:
    Path("x.overlay.yaml").write_text("providers: {local: {type: embedded}}\n")
    found = read(HEAD.replace("{type: mock}", "{type: mock, chunk: 3}"), overlays=["x.overlay.yaml"])
    assert said(found) == [
        "p.yaml:3:33 error[E021] unknown key 'chunk' in providers.local; known here: context, model, models, policies, "
        "pool, threads, type"
    ]


@pytest.mark.parametrize(
    ("chain", "told"),
    [
        ("use: quick", "error[E021] unknown key 'use' in chains.x; write it as policies: {use: quick}"),
        ("retry: 3", "error[E021] unknown key 'retry' in chains.x; write it as policies: {retry: …}"),
        ("policies: quick", "error[E022] chains.x.policies wants a mapping, not 'quick'; write {use: quick}"),
        ("policies: off", "error[E022] chains.x.policies wants a mapping, not 'off'; write {use: none}"),
    ],
)
def test_a_key_that_belongs_one_level_below_is_told_where(folder: Path, chain: str, told: str) -> None:
    text = HEAD.replace("chains: {", f"chains: {{x: {{targets: [local], {chain}}}, ") + "policies: {quick: {retry: 2}}"
    assert [each.partition(" ")[2] for each in said(read(text))] == [told]


def test_the_user_s_own_file_lies_below_everything(folder: Path) -> None:
    Path("own.yaml").write_text("deadline: 5s\nname: mine\n")
    made = document(read(HEAD + "name: pipeline", {"WIZARD_CONFIG": str(folder / "own.yaml")}))
    assert (made.file.deadline, made.file.name) == ("5s", "pipeline")


def test_a_set_may_be_named_by_a_variable(folder: Path) -> None:
    text = HEAD.replace("[local]", '[local], policies: {use: "${env:SET}"}') + "policies: {careful: {retry: 5}}"
    assert document(read(text, {"SET": "careful"})).chains["default"].use == "careful"
    assert document(read(text)).chains["default"].use == "none"
    assert codes(read(text, {"SET": "Not A Name"})) == ["E027"]


def test_what_says_how_to_read_the_rest_cannot_be_a_reference(folder: Path) -> None:
    for old, new, code in (
        ("version: 1", 'version: "${env:V}"', "E025"),
        ("type: mock", 'type: "${env:V}"', "E042"),
        ("[local]", '[local], strategy: "${env:V}"', "E062"),
        ("{prompt:", '{type: "${env:V}", prompt:', "E048"),
    ):
        assert code in codes(read(HEAD.replace(old, new), {"V": "mock"})), new


def test_a_prompt_in_a_step_may_stand_in_a_file(folder: Path) -> None:
    Path("a.md").write_text("Hello")
    found = read(HEAD.replace('{user: "{{ question }}"}', "{file: a.md}"))
    assert found.files == {("steps", "answer", "prompt"): ("a.md", "Hello")}


def test_a_pattern_of_an_input_that_is_no_regular_expression_is_an_error(folder: Path) -> None:
    found = read(HEAD.replace("{type: string}", '{type: string, pattern: "("}'))
    assert codes(found) == ["E049"]
    assert "inputs.question.pattern is no regular expression" in said(found)[0]


def test_a_default_may_need_the_whole_schema_to_be_checked(folder: Path) -> None:
    text = HEAD.replace("{type: string}", "{type: array, minItems: 2, items: {type: integer}, default: %s}")
    assert said(read(text % "[1, 2]")) == []
    assert codes(read(text % "[1]")) == ["E049"]


def test_values_of_headers_are_secrets_and_so_are_keys(folder: Path) -> None:
    text = HEAD.replace(
        "{type: mock}", '{type: openai, model: m, api_key: "${env:K}", headers: {Cookie: "a=${env:C}"}}'
    )
    assert set(read(text, {"K": "key", "C": "jar"}).secrets) == {"key", "a=jar"}


def test_a_wrong_value_beside_a_resolved_key_does_not_show_the_key(folder: Path) -> None:
    text = KEYED.replace("model: m", 'model: m, api_key: "${env:K}", pool: {size: "${env:S}"}')
    found = read(text, {"K": "sk-1234", "S": "-1"})
    assert codes(found) == ["E026"]
    assert codes(read(text, {"K": "sk-1234", "S": "7"}, sets=["deadline=9"])) == ["E024"]
    assert "1234" not in render_text(found.diagnostics)


def test_a_key_written_into_a_provider_of_an_unknown_type_is_found_and_not_shown(folder: Path) -> None:
    loaded = read(HEAD.replace("{type: mock}", "{type: opnai, api_key: sk-very-secret}"))
    assert [each.code for each in loaded.diagnostics] == ["E042", "E034"]
    assert "very-secret" not in render_text(loaded.diagnostics)


DEVELOPMENT = HEAD.replace("{type: mock}", '{type: openai, model: m, api_key: "${env:KEY}"}')


def test_in_development_a_mock_stands_in_for_a_missing_key_and_that_is_said(folder: Path) -> None:
    loaded = read(DEVELOPMENT, {"WIZARD_ENV": "development"})
    assert [each.code for each in loaded.diagnostics] == ["W102"]
    assert loaded.keyless == {"local": "KEY"}


def test_in_development_a_key_that_is_there_is_used(folder: Path) -> None:
    loaded = read(DEVELOPMENT, {"WIZARD_ENV": "development", "KEY": "k-1234"})
    assert loaded.diagnostics == ()
    assert loaded.keyless == {}


def test_elsewhere_a_missing_key_is_an_error(folder: Path) -> None:
    assert [each.code for each in read(DEVELOPMENT, {}).diagnostics] == ["E031"]


@pytest.mark.parametrize(("default", "wrong"), [('""', False), ("true", False), ("3", True)])
def test_a_default_may_have_one_of_several_types(tmp_path: Path, default: str, wrong: bool) -> None:
    given = f"inputs: {{question: {{type: [string, boolean], default: {default}}}}}"
    (tmp_path / "a.yaml").write_text(HEAD.replace("inputs: {question: {type: string}}", given))
    found = load(tmp_path / "a.yaml", registry=REGISTRY).diagnostics
    assert ("E049" in {each.code for each in found}) is wrong
