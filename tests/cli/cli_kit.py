"""What tests of the command line share: what a command did, and the files it is tried on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

FILES = Path(__file__).parent / "files"


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Wizard = Callable[..., Ran]
