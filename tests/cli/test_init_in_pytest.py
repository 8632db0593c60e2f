"""A project that `wizard init` made passes pytest, notices a changed prompt, and takes the change over."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from cli_kit import Wizard

#: Where this package is not installed with its entry point, the plug-in is named.
NAMED = [] if entry_points(group="pytest11", name="wizard") else ["-p", "wizard_dsl.testing.plugin"]
#: Plug-ins of pytest that such a project would not have.
OTHERS = [
    part
    for name in sorted({each.name for each in entry_points(group="pytest11")} - {"wizard", "syrupy"})
    for part in ("-p", f"no:{name}")
]
ENV = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}


def test_a_begun_project_lives_with_pytest(wizard: Wizard, own_project: Path) -> None:
    def tried(*more: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "pytest", "-q", *NAMED, *OTHERS, *more]
        done = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    (own_project / "wizard.yaml").unlink()
    assert wizard("init").code == 0
    code, told = tried()
    assert code == 0 and "2 passed" in told and "1 snapshot passed" in told, told
    prompt = own_project / "prompts" / "hello.md"
    prompt.write_text(prompt.read_text().replace("in one sentence", "in verse"))
    code, told = tried()
    assert code == 1 and "1 failed, 1 passed" in told, told
    removed, added = (
        f"{sign}  You are friendly and answer in {how}." for sign, how in (("-", "one sentence"), ("+", "verse"))
    )
    assert removed in told and added in told and "Traceback" not in told, told
    assert tried("--snapshot-update")[0] == 0
    code, told = tried()
    assert code == 0 and "2 passed" in told, told
    assert wizard("test").code == 0, "the approved file is the command's, too"
