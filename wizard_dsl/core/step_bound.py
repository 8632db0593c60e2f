"""What one execution of a step can cost and make at most: what a step type's `bound` gets and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from wizard_dsl.core.bound import Bound, Figure, Path
from wizard_dsl.core.messages import Request
from wizard_dsl.core.size import Size, of_value


class Asked(msgspec.Struct, frozen=True):
    """A request of which the texts are left out, and the bytes that they have together at most. `instructs`: whatever
    the values, it has a system message; one that says nothing is not sent."""

    request: Request
    size: Figure
    instructs: bool = False

    def with_schema(self, schema: dict[str, Any] | None) -> Asked:
        """The same, with the JSON Schema that the answer must satisfy."""
        return self.with_request(schema=schema)

    def with_request(self, **changes: Any) -> Asked:
        """The same, with other fields of the request."""
        return msgspec.structs.replace(self, request=msgspec.structs.replace(self.request, **changes))


class Made(msgspec.Struct, frozen=True):
    """The bound of one execution of a step, and of what it makes: `text` and `json`."""

    bound: Bound
    text: Size
    json: Size = of_value(None)


class StepFacts(msgspec.Struct, frozen=True):
    """What the bound of a step may refer to besides its config.

    `at` is the step's place in the file, `prompt` what its prompt asks; `templates` are the sizes of its templates, by
    key as in StepContext. `ask(asked)` is one call of its chain, `run(inputs)` one run of the file that it names.
    """

    at: Path
    prompt: Asked | None
    templates: Mapping[str, Any]
    ask: Callable[[Asked], Made]
    run: Callable[[Mapping[str, Size]], Made]
