"""The example project, with its policy as an installed package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from wizard_dsl.cli.main import main

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "support"
Wizard = Callable[..., str]
INSTALLED = any(point.name == "acme.redact" for point in entry_points(group="wizard_dsl.policies"))

pytestmark = pytest.mark.skipif(not INSTALLED, reason="examples/support/acme-redact is not installed: make install")


@pytest.fixture
def wizard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wizard:
    """Runs a command in the project, with no variable of this process that matters; returns all it said."""
    for name in [each for each in os.environ if each.startswith("WIZARD_") or each.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.chdir(FOLDER)

    def run(*arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        said = "".join(capsys.readouterr())
        assert (ended.value.code or 0) == code, said
        return said

    return run


def test_the_project_is_valid(wizard: Wizard) -> None:
    assert "error" not in wizard("validate").replace("0 errors", "")


def test_the_policy_redacts_what_is_sent(wizard: Wizard) -> None:
    shown = wizard(
        "run", "pipelines/reply.yaml", "--dry-run", "--format", "json",
        "-i", "letter=Write to jo@example.org about the falcon.",
    )  # fmt: skip
    sent = json.loads(shown)["calls"][0]["messages"][-1]["content"]
    assert sent == "Write to [redacted] about the [redacted]."


def test_the_overlay_puts_a_hosted_model_in_front(wizard: Wizard) -> None:
    shown = wizard(
        "run", "pipelines/reply.yaml", "--mock", "--format", "json", "-i", "letter=Hello",
        "--overlay", "overlays/production.overlay.yaml",
    )  # fmt: skip
    assert json.loads(shown)["served_by"] == "openai/gpt-4o-mini"


def test_a_missing_key_is_named_before_anything_is_sent(wizard: Wizard) -> None:
    shown = wizard(
        "run", "pipelines/reply.yaml", "-i", "letter=Hello", "--overlay", "overlays/production.overlay.yaml", code=3
    )
    assert "OPENAI_API_KEY" in shown
    assert "production.overlay.yaml:" in shown


def test_a_plug_in_policy_is_explained_drawn_and_in_the_schema(wizard: Wizard) -> None:
    assert "Keeps e-mail addresses" in wizard("explain", "acme.redact")
    assert "acme.redact" in wizard("graph", "pipelines/reply.yaml", "--format", "ascii")
    assert "acme.redact" in wizard("schema")


def test_a_mistake_in_its_settings_is_found_at_its_place(wizard: Wizard, tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    text = (FOLDER / "pipelines" / "reply.yaml").read_text().replace("../../../", "")
    path.write_text(
        text.replace("targets: [local]", "targets: [local]\n    policies: {acme.redact: {word: [Falcon]}}").replace(
            "chains:", "providers: {local: {type: embedded}}\nchains:"
        )
    )
    assert "unknown key 'word' in chains.default.policies" in wizard("validate", str(path), code=1)


def test_without_plug_ins_the_kind_is_said_to_be_one(wizard: Wizard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIZARD_PLUGINS", "")
    shown = wizard("validate", "pipelines/reply.yaml", code=1)
    assert "acme.redact" in shown


def test_the_policy_passes_its_own_tests() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "tests"],
        cwd=FOLDER / "acme-redact",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
