"""Does a component keep to the rules that all others rely on? One line tells, for ours and for a plug-in's.

    from wizard_dsl.testing.conformance import cases, check

    @pytest.mark.parametrize("case", cases(ACME_REDACT), ids=str)
    def test_it_behaves(case):
        case()

    check(ACME_REDACT)                                     # all of them; raises AssertionError

Everything happens in virtual time on scripted targets; stores are opened in a temporary folder. A case is one rule in
one situation: with the defaults and with each example of the declaration, in the smallest chain and in a full ladder.
What fails names the rule (see RULES) and what was seen.

Options, by kind:

- policies and strategies: `configs`, more keys to try besides the defaults and the examples; `request`, which makes
  what is asked from a text; `answer`, what the targets say; `at_once`, how many calls at once show that nothing is
  held back, which should be more than the limits that the configs set; `learns`, whether a config lets a node learn
  from calls how many it serves at once, so that later ones may take another time.
- providers: `config`, its keys, those of its first example unless given; `model`; `exchanges`, answers as its server
  sends them, see Exchange; `alone=True` for one that answers without a transport.
- stores: `threads=True` for one that is to be tried with a thread, in real time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wizard_dsl.core.component import PolicyType, ProviderType, RuleType, StepType, StoreType, StrategyType
from wizard_dsl.registry import Component
from wizard_dsl.testing._conformance_case import RULES, RULES_BY_KIND, Case
from wizard_dsl.testing._conformance_declared import declared_cases
from wizard_dsl.testing._conformance_provider import Exchange, provider_cases
from wizard_dsl.testing._conformance_rule import linted, rule_cases
from wizard_dsl.testing._conformance_running import running_cases
from wizard_dsl.testing._conformance_stage import How, policy_stages, strategy_stages
from wizard_dsl.testing._conformance_store import store_cases
from wizard_dsl.testing._conformance_strategy import choosing_cases

__all__ = ["RULES", "RULES_BY_KIND", "Case", "Exchange", "cases", "check", "linted"]


def cases(component: Component, **how: Any) -> list[Case]:
    """Every rule that holds for this kind of component, in each situation, as callables with a name."""
    return [*_cases(component, how)]


def check(component: Component, **how: Any) -> None:
    """Run all cases. Raises the first AssertionError, which names the rule that is broken and what was seen."""
    for case in cases(component, **how):
        case()


def _cases(component: Component, how: dict[str, Any]) -> Iterator[Case]:
    match component:
        case StoreType():
            yield from store_cases(component, **how)
            return
        case ProviderType():
            yield from declared_cases(component)
            yield from provider_cases(component, **how)
        case PolicyType():
            yield from declared_cases(component)
            for stage in policy_stages(component, How(**how)):
                yield from running_cases(stage)
        case StrategyType():
            yield from declared_cases(component)
            for stage in strategy_stages(component, How(**how)):
                yield from running_cases(stage)
                if not stage.around:
                    yield from choosing_cases(stage)
        case StepType():
            yield from declared_cases(component)
        case RuleType():
            yield from rule_cases(component)
