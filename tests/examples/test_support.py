"""The example project, with its policy as an installed package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "support"
WIZARD = Path(sys.executable).with_name("wizard")
INSTALLED = any(point.name == "acme.redact" for point in entry_points(group="wizard_dsl.policies"))

pytestmark = pytest.mark.skipif(not INSTALLED, reason="examples/support/acme-redact is not installed: make install")


def wizard(*arguments: str, code: int = 0, **env: str) -> str:
    done = subprocess.run(
        [WIZARD, *arguments],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **env},
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_project_is_valid() -> None:
    assert "error" not in wizard("validate").replace("0 errors", "")


def test_the_policy_redacts_what_is_sent() -> None:
    shown = wizard(
        "run", "pipelines/reply.yaml", "--dry-run", "--format", "json",
        "-i", "letter=Write to jo@example.org about the falcon.",
    )  # fmt: skip
    sent = json.loads(shown)["calls"][0]["messages"][-1]["content"]
    assert sent == "Write to [redacted] about the [redacted]."


def test_the_overlay_puts_a_hosted_model_in_front() -> None:
    shown = wizard(
        "run", "pipelines/reply.yaml", "--mock", "--format", "json", "-i", "letter=Hello",
        "--overlay", "overlays/production.overlay.yaml",
    )  # fmt: skip
    assert json.loads(shown)["served_by"] == "openai/gpt-4o-mini"


def test_a_missing_key_is_named_before_anything_is_sent() -> None:
    shown = wizard(
        "run", "pipelines/reply.yaml", "-i", "letter=Hello", "--overlay", "overlays/production.overlay.yaml", code=3
    )
    assert "OPENAI_API_KEY" in shown
    assert "production.overlay.yaml:" in shown


def test_a_plug_in_policy_is_explained_drawn_and_in_the_schema() -> None:
    assert "Keeps e-mail addresses" in wizard("explain", "acme.redact")
    assert "acme.redact" in wizard("graph", "pipelines/reply.yaml", "--format", "ascii")
    assert "acme.redact" in wizard("schema")


def test_a_mistake_in_its_settings_is_found_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    text = (FOLDER / "pipelines" / "reply.yaml").read_text().replace("../../../", "")
    path.write_text(
        text.replace("targets: [local]", "targets: [local]\n    policies: {acme.redact: {word: [Falcon]}}").replace(
            "chains:", "providers: {local: {type: embedded}}\nchains:"
        )
    )
    assert "unknown key 'word' in chains.default.policies" in wizard("validate", str(path), code=1)


def test_without_plug_ins_the_kind_is_said_to_be_one() -> None:
    shown = wizard("validate", "pipelines/reply.yaml", code=1, WIZARD_PLUGINS="")
    assert "acme.redact" in shown


def test_the_policy_passes_its_own_tests() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "tests"],
        cwd=FOLDER / "acme-redact",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
