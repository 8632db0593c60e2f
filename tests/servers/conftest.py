"""Real sockets on loopback. The bench that builds a node is shared with the tests of the providers."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "providers"))
