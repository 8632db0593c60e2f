"""`--mock`: every target is answered by the mock provider, with its own name and place in the chain."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from wizard_dsl.core.component import ModelSpec
from wizard_dsl.providers.mock import MOCK

if TYPE_CHECKING:
    from wizard_dsl.compiler.link import Provide
    from wizard_dsl.compiler.program import TargetPlan
    from wizard_dsl.core.node import BuildContext, Node


def mock_of(plan: TargetPlan, context: BuildContext) -> Node:
    """A mock in the target's place; a target that is a mock already keeps its own settings."""
    model = ModelSpec(name=plan.model, target=plan.name, facts=plan.facts, pool=plan.provider)
    config = plan.config if plan.type.name == MOCK.name else MOCK.config()
    return MOCK.build(config, model, context)


def provide_mocks(plan: TargetPlan, context: BuildContext) -> Node | None:
    """Mocks for all targets; see compiler.link.Provide."""
    return mock_of(plan, context)


def provide_missing(keyless: Collection[str]) -> Provide:
    """Mocks for the targets of providers without a key, as WIZARD_ENV=development asks for."""

    def provide(plan: TargetPlan, context: BuildContext) -> Node | None:
        return mock_of(plan, context) if plan.provider in keyless else None

    return provide
