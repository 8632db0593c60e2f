"""What is known of the models of a program's targets. Apart from `link`, so that nobody who only asks imports what runs
programs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from wizard_dsl.compiler.program import TargetPlan
from wizard_dsl.core.target import Facts

#: Facts of a model by (provider type's price list, model), where the file does not state them.
Library = Callable[[str, str], Facts]


def known_facts(plan: TargetPlan, library: Library) -> Facts:
    """What is known of a target's model: the file's word, then the type's, then the price library's."""
    merged = plan.facts
    sources = []
    if plan.type.facts is not None:
        sources.append(plan.type.facts(plan.config))
    if plan.type.prices is not None:
        sources.append(library(plan.type.prices, plan.model))
    for source in sources:
        missing = {name: getattr(source, name) for name in Facts.__struct_fields__ if getattr(merged, name) is None}
        merged = msgspec.structs.replace(merged, **missing)
    return merged
