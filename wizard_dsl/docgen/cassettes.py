"""The page on the format of cassettes, from the structs that read it."""

from __future__ import annotations

from typing import Final

from wizard_dsl.docgen.reference import page, table_of
from wizard_dsl.registry import Registry
from wizard_dsl.testing import _cassette_lines as lines
from wizard_dsl.testing._cassette_take import KEPT, KEPT_BEGINNINGS

_INTRO: Final = """A cassette is a file of JSON Lines in UTF-8: a header, then one line for each attempt, in the order
in which they began. `schemas/cassette.schema.json`, which `wizard schema cassette` prints, describes one line. How to
make and use one is on [its own page](../how-to/record-a-cassette.md).

A line is a recorded *attempt*, not an answer: a call that was repeated twice has three. Requests are the same where
target, method, path below the base URL and body are; whether a stream was asked for does not count. Of equal requests
the first recorded answers the first that is made, the second the second."""

_SUMS: Final = """The `sum` of a line is the first 16 hexadecimal digits of the SHA-256 of the line as it is written,
without `,"sum":"…"`. The `checksum` of the header is that of the header without it, followed by the sums of all lines,
each after a line feed. Carriage returns at the ends of lines and a byte order mark do not count, so a checkout on
another system changes nothing. A file with another version is refused, and so is one with a key that is not known."""


def page_of_cassettes(registry: Registry) -> str:
    """The format, one table a struct; it is the same whatever is installed."""
    kept = ", ".join(f"`{each}`" for each in (*KEPT, *(f"{each}*" for each in KEPT_BEGINNINGS)))
    parts = [f"Headers of an answer that are kept: {kept}. Those of a request are not."]
    for title, kind in (
        ("The header", lines.Header),
        ("An exchange", lines.ExchangeLine),
        ("`failed`", lines.Failed),
        ("`vectors`", lines.Vectors),
    ):
        parts.append(f"## {title}\n\n{table_of(kind)}")
    return page("Cassettes", _INTRO, [*parts, f"## Checksums\n\n{_SUMS}"])
