"""The rules, listed by hand, and the one function that applies them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from wizard_dsl.compiler.compile import Compiled
from wizard_dsl.lint import (
    breakers,
    cache,
    choice,
    clashes,
    conditions,
    idle,
    leftovers,
    limits,
    load,
    never,
    order,
    overridden,
    params,
    predicates,
    repeats,
    reservations,
    settings,
    streams,
    time,
    turns,
    usage,
)
from wizard_dsl.lint.budgets import BUDGET_RULES
from wizard_dsl.lint.fallback import FALLBACK_RULES
from wizard_dsl.lint.plugins import found_by_plugins
from wizard_dsl.lint.subject import Subject
from wizard_dsl.lint.unbounded import UNBOUNDED_RULES
from wizard_dsl.spec.diagnostics import Diagnostic, ordered

if TYPE_CHECKING:
    from wizard_dsl.registry import Registry

Rule = Callable[[Subject], Iterator[Diagnostic]]

RULES: Final[tuple[Rule, ...]] = (
    *BUDGET_RULES,
    time.w110_total_not_below_deadline,
    time.w147_deadline_that_never_applies,
    order.w112_odd_order,
    settings.w113_contradicting_settings,
    params.w114_ignored_parameter,
    limits.w140_breaker_that_never_trips,
    limits.w141_max_tokens_missing,
    reservations.w143_call_above_token_limit,
    limits.w142_limit_that_never_applies,
    reservations.w142_estimate_that_is_never_reserved,
    cache.w150_cache_with_temperature,
    cache.w151_cache_setting_without_effect,
    cache.w152_cache_scope_without_owner,
    usage.w120_unused_provider,
    usage.w121_unused_chain,
    usage.w122_unused_prompt,
    usage.w123_unused_input,
    usage.w124_unused_policy_set,
    overridden.w124_overridden_setting,
    overridden.w148_overridden_for_all,
    usage.w130_idle_weight,
    load.w133_hedge_without_limit,
    streams.w134_dropped_output,
    streams.w135_stream_setting_without_effect,
    choice.w136_nothing_to_choose_from,
    clashes.w137_rate_limit_settings,
    clashes.w138_time_that_never_applies,
    clashes.w139_nothing_to_act_on,
    never.w136_lifetime_of_no_fallback,
    never.w138_hedge_after_the_attempt,
    never.w139_nothing_to_move_on_from,
    never.w154_breaker_that_nothing_trips,
    never.w155_constant_judge,
    idle.w148_nothing_left_to_do,
    repeats.w154_breaker_never_acts,
    breakers.w154_breaker_setting_outdone,
    predicates.w155_predicate_of_retry,
    repeats.w156_wait_above_deadline,
    turns.w157_turns_that_never_come,
    repeats.w159_ladder_longer_than_deadline,
    *FALLBACK_RULES,
    *UNBOUNDED_RULES,
    conditions.w184_constant_condition,
    leftovers.w185_mock_among_real_targets,
)


def lint(compiled: Compiled, registry: Registry | None = None) -> list[Diagnostic]:
    """The warnings about a compiled file, by place; none where it has errors, for then too much is unknown. With a
    `registry`, those of installed rules, too."""
    if compiled.program is None or compiled.loaded.document is None:
        return []
    subject = Subject(compiled, compiled.program, compiled.loaded.document)
    found = [each for rule in RULES for each in rule(subject)]
    return ordered(found if registry is None else [*found, *found_by_plugins(subject, registry)])
