"""What syrupy is taught: to write a Result as people read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syrupy.extensions.amber.serializer import AmberDataSerializer, AmberDataSerializerPlugin

from wizard_dsl.core.result import Result
from wizard_dsl.testing.result_text import readable


class ResultWriter(AmberDataSerializerPlugin):
    """Writes results, wherever in a compared value they stand."""

    @classmethod
    def is_data_serializable(cls, data: Any) -> bool:
        return isinstance(data, Result)

    @classmethod
    def serialize(cls, data: Any, *, depth: int = 0, **how: Any) -> str:
        text = readable(data)
        if not depth:
            return text
        return "\n" + "".join(AmberDataSerializer.with_indent(f"{line}\n", depth + 1) for line in text.split("\n"))


def teach() -> Callable[[], None]:
    """From now on results are written so, until the function that is returned is called."""
    before = AmberDataSerializer.serializer_plugins
    AmberDataSerializer.serializer_plugins = (*(before or ()), ResultWriter)

    def forget() -> None:
        AmberDataSerializer.serializer_plugins = before

    return forget
