"""What syrupy is taught: to write a Result as people read it, and to keep the snapshot of a case where `wizard test
--update` keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syrupy.extensions.amber.serializer import AmberDataSerializer, AmberDataSerializerPlugin
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from syrupy.location import PyTestLocation

from wizard_dsl.core.result import Result
from wizard_dsl.testing.cases import Case
from wizard_dsl.testing.result_text import readable
from wizard_dsl.testing.snapshots import path_of


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


class CaseText(SingleFileSnapshotExtension):
    """The snapshot of a case: the same file with the same bytes, whoever writes it."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"

    def serialize(self, data: Any, **how: Any) -> str:
        return str(data)

    @classmethod
    def get_snapshot_name(cls, *, test_location: PyTestLocation, index: Any = 0) -> str:
        case = _case(test_location)
        return (
            super().get_snapshot_name(test_location=test_location, index=index) if case is None else path_of(case).stem
        )

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        case = _case(test_location)
        return super().dirname(test_location=test_location) if case is None else str(path_of(case).parent)


def _case(location: PyTestLocation) -> Case | None:
    """The case of an item; None of a test in Python, beside which syrupy looks for snapshots, too."""
    case: Case | None = getattr(location.item, "case", None)
    return case


def teach() -> Callable[[], None]:
    """From now on results are written so, until the function that is returned is called."""
    before = AmberDataSerializer.serializer_plugins
    AmberDataSerializer.serializer_plugins = (*(before or ()), ResultWriter)

    def forget() -> None:
        AmberDataSerializer.serializer_plugins = before

    return forget
