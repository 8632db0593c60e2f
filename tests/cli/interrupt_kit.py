"""What tests of Ctrl-C need, also where the tests themselves were started with it ignored, as by `nohup … &`."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, Ctrl-C reaches this process, and whatever it starts: a new program inherits no handler, only that a
    signal is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def started(command: list[Any], **options: Any) -> subprocess.Popen[Any]:
    """A process that Ctrl-C reaches; the options are those of Popen."""
    with interruptible():
        return subprocess.Popen(command, **options)
