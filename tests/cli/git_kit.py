"""A git repository in the working directory of a test, which knows nothing of the machine's configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_WHO = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"}
_ENV = {
    **_WHO,
    **{name.replace("AUTHOR", "COMMITTER"): value for name, value in _WHO.items()},
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


def git(*arguments: str) -> str:
    """What git prints. Raises where it fails."""
    done = subprocess.run(
        ["git", *arguments], env={**os.environ, **_ENV}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def begin() -> None:
    """An empty repository with a branch `main`."""
    git("init", "--quiet", "--initial-branch=main")


def commit(message: str = "a change", **files: str | None) -> None:
    """Commit everything, after writing `files` by path (None: removed); `__` in a name is `/`, `_yaml` is `.yaml`."""
    for name, text in files.items():
        path = Path(name.replace("__", "/").replace("_yaml", ".yaml").replace("_md", ".md"))
        if text is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message", message)
