"""Answers of the price library, kept between processes: importing it costs more than most runs.

One JSON file in the user's cache folder, valid for exactly the installed library. It only saves time: one that is
missing, damaged, of another library or not writable is passed over without a word.
"""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from wizard_dsl.core.target import Facts

#: More models than this and the file begins anew.
_MOST: Final = 1000


class _Kept(msgspec.Struct, frozen=True):
    library: str
    facts: dict[str, Facts]


def recall(name: str) -> Facts | None:
    """What the installed library said of `name` before; None where it was not asked."""
    where, library = _file(), _library()
    return None if where is None else _read(where, library).facts.get(name)


def keep(name: str, facts: Facts) -> None:
    where, library = _file(), _library()
    if where is None or not library:
        return
    known = _read(where, library).facts
    kept = _Kept(library, {**(known if len(known) < _MOST else {}), name: facts})
    try:
        where.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, made = tempfile.mkstemp(dir=where.parent, prefix=".prices-")
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(kept))
        Path(made).replace(where)
    except OSError:
        return


def _read(where: Path, library: str) -> _Kept:
    try:
        kept = msgspec.json.decode(where.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return _Kept(library, {})
    return kept if kept.library == library else _Kept(library, {})


def _file() -> Path | None:
    """XDG_CACHE_HOME, or ~/.cache; None where there is neither."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = os.environ.get("HOME", "")
    folder = Path(base) if base.startswith("/") else Path(home) / ".cache" if home else None
    return folder / "wizard" / "prices.json" if folder is not None else None


def _library() -> str:
    """Names the installed library by its data: another version has another size or time."""
    spec = find_spec("genai_prices")
    if spec is None or spec.origin is None:
        return ""
    try:
        data = Path(spec.origin).with_name("data.py").stat()
    except OSError:
        return ""
    return f"{spec.origin} {data.st_size} {data.st_mtime_ns}"
