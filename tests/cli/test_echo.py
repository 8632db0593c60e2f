"""wizard echo: the resolved file, each value with its origin, and never a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Wizard
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from wizard_dsl.cli._resolved import Resolved, as_yaml
from wizard_dsl.spec.layers import Origin
from wizard_dsl.spec.source import load_text


def test_every_value_has_its_origin(
    wizard: Wizard, approved: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIZARD_RETRY_MULTIPLIER", "3")
    code, out, err = wizard(
        "echo", "triage.yaml", "--overlay", "fast.overlay.yaml", "--set", "policies.default.timeout.idle=5s"
    )
    assert (code, err) == (0, "")
    assert out == approved


def test_what_is_printed_is_the_same_program(wizard: Wizard) -> None:
    before = json.loads(wizard("graph", "triage.yaml", "--format", "json").out)
    Path("echoed.yaml").write_text(wizard("echo", "triage.yaml").out)
    after = json.loads(wizard("graph", "echoed.yaml", "--format", "json").out)
    del before["hash"], after["hash"]
    assert after == before


def test_a_project_file_lies_under_the_pipeline(wizard: Wizard) -> None:
    lines = [line.split() for line in wizard("echo", "project/pipelines/ask.yaml").out.splitlines()]
    assert ["max_attempts:", "2", "#", "project/wizard.yaml:3"] in lines
    assert ["base:", "2s", "#", "project/pipelines/ask.yaml:3"] in lines
    assert ["max_delay:", "30s", "#", "built-in"] in lines


def test_a_secret_stays_a_reference(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-do-not-show")
    for form in ("yaml", "json"):
        ran = wizard("echo", "triage.yaml", "--format", form)
        assert "${env:OPENAI_API_KEY}" in ran.out
        assert "do-not-show" not in ran.out + ran.err


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_a_literal_key_is_refused_and_not_repeated(wizard: Wizard, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    arguments = ["echo", "triage.yaml"]
    if how == "flag":
        arguments += ["--set", "providers.openai.api_key=sk-do-not-show"]
    else:
        monkeypatch.setenv("WIZARD_SET__providers__openai__api_key", "sk-do-not-show")
    code, out, err = wizard(*arguments)
    assert (code, out) == (3, "")
    assert "E034" in err
    assert "do-not-show" not in err


def test_a_password_in_an_address_is_hidden(wizard: Wizard) -> None:
    setting = "providers.openai.headers={x-upstream: https://me:hunter2@proxy.example/v1}"
    out = wizard("echo", "triage.yaml", "--set", setting).out
    assert "https://***@proxy.example/v1" in out
    assert "hunter2" not in out


def test_a_password_in_a_base_url_is_refused_and_not_repeated(wizard: Wizard) -> None:
    setting = "providers.openai.base_url=https://me:hunter2@proxy.example/v1"
    code, out, err = wizard("echo", "triage.yaml", "--set", setting)
    assert (code, out) == (3, "")
    assert "an http: or https: URL without user" in err
    assert "hunter2" not in err


def test_json_has_the_document_and_the_origins(wizard: Wizard) -> None:
    data = json.loads(wizard("echo", "triage.yaml", "--format", "json").out)
    assert data["document"]["policies"]["default"]["retry"]["max_attempts"] == 2
    origin = data["origins"]["policies.default.retry.max_attempts"]
    assert (origin["layer"], origin["file"], origin["line"]) == ("pipeline", "triage.yaml", 16)
    assert data["origins"]["policies.default.retry.base"]["layer"] == "built-in"


def test_a_variable_that_is_not_set_is_no_obstacle(wizard: Wizard) -> None:
    Path("open.yaml").write_text(Path("one.yaml").read_text() + 'description: "${env:NOT_SET_HERE}"\n')
    code, out, err = wizard("echo", "open.yaml")
    assert code == 0
    assert '"${env:NOT_SET_HERE}"' in out
    assert "E031" in err


def test_a_wrong_file_is_told_on_stderr(wizard: Wizard) -> None:
    code, out, err = wizard("echo", "wrong.yaml")
    assert (code, out) == (3, "")
    assert "max_attempts" in err


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(min_size=1), VALUES, min_size=1, max_size=4))
def test_what_is_printed_loads_as_what_it_was(data: dict[str, Any]) -> None:
    class Everywhere(dict[Any, Any]):
        def __contains__(self, key: object) -> bool:
            return True

        def __missing__(self, key: object) -> Origin:
            return Origin("pipeline", "a.yaml", 1, 1)

    source = load_text(as_yaml(Resolved(data, Everywhere())), "printed")
    unprintable = any(each.code == "E004" for each in source.diagnostics)
    assert unprintable or (source.data, source.diagnostics) == (data, ())
