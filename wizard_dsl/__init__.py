"""Wizard: LLM pipelines as reviewed YAML, compiled into policy nodes.

    import wizard_dsl as wizard

    result = wizard.run("pipelines/triage.yaml", ticket="My invoice is wrong")

    async with wizard.open("pipelines/triage.yaml") as pipeline:
        async with pipeline.stream(ticket="…") as stream:
            async for delta in stream:
                print(delta.text, end="")

Names are imported when they are first used: `import wizard_dsl` alone loads nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wizard_dsl.core.errors import (
        AllFallbacksFailed,
        AttemptFailed,
        ContractViolated,
        DeadlineExceeded,
        InputInvalid,
        MaxRetriesExceeded,
        Rejected,
        SpecError,
        StreamBroken,
        WizardError,
    )
    from wizard_dsl.core.messages import Completion, Delta, Message, Request, Usage
    from wizard_dsl.core.response import Response
    from wizard_dsl.core.result import Result
    from wizard_dsl.observe.history import History
    from wizard_dsl.runtime.pipeline import Pipeline
    from wizard_dsl.runtime.runtime import open
    from wizard_dsl.runtime.stream import Stream
    from wizard_dsl.runtime.sync import run

_HOMES = {
    "wizard_dsl.core.errors": (
        "AllFallbacksFailed", "AttemptFailed", "ContractViolated", "DeadlineExceeded", "InputInvalid",
        "MaxRetriesExceeded", "Rejected", "SpecError", "StreamBroken", "WizardError",
    ),
    "wizard_dsl.core.messages": ("Completion", "Delta", "Message", "Request", "Usage"),
    "wizard_dsl.core.response": ("Response",),
    "wizard_dsl.observe.history": ("History",),
    "wizard_dsl.runtime.pipeline": ("Pipeline",),
    "wizard_dsl.runtime.stream": ("Stream",),
    "wizard_dsl.core.result": ("Result",),
    "wizard_dsl.runtime.runtime": ("open",),
    "wizard_dsl.runtime.sync": ("run",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AllFallbacksFailed",
    "AttemptFailed",
    "Completion",
    "ContractViolated",
    "DeadlineExceeded",
    "Delta",
    "History",
    "InputInvalid",
    "MaxRetriesExceeded",
    "Message",
    "Pipeline",
    "Rejected",
    "Request",
    "Response",
    "Result",
    "SpecError",
    "Stream",
    "StreamBroken",
    "Usage",
    "WizardError",
    "__version__",
    "open",
    "run",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'wizard_dsl' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return __all__
