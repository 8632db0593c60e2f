"""The one-file declarations: a value at the foot of each component's file, from which schema, docs, lint, tests
and the executor are made. Built-ins are listed by name in `registry.py`, third parties by entry points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from wizard_dsl.core import units
from wizard_dsl.core.bound import Bound, BoundFacts

if TYPE_CHECKING:
    from wizard_dsl.core.errors import WizardError
    from wizard_dsl.core.events import Event
    from wizard_dsl.core.messages import Request
    from wizard_dsl.core.node import BuildContext, Node
    from wizard_dsl.core.outcomes import OutcomeType
    from wizard_dsl.core.step_bound import Made, StepFacts
    from wizard_dsl.core.target import Branch, Facts


def _unit(unit: units.Unit, *words: str, above_zero: bool = False) -> Meta:
    """A Meta whose pattern is the unit's, or one of `words`; with `above_zero`, some digit is not 0."""
    inner = unit.pattern[1:-1]
    own = f"(?=.*[1-9]){inner}" if above_zero else inner
    pattern = f"^(?:{'|'.join((*words, own))})$" if words else f"^{own}$"
    extra: dict[str, Any] = {"x-unit": unit.name, "x-words": list(words)}
    return Meta(pattern=pattern, extra_json_schema={**extra, "x-above-zero": True} if above_zero else extra)


Duration = Annotated[str, _unit(units.DURATION)]
DurationOrOff = Annotated[str, _unit(units.DURATION, "off")]
AboveZero = Annotated[str, _unit(units.DURATION, above_zero=True)]
AboveZeroOrOff = Annotated[str, _unit(units.DURATION, "off", above_zero=True)]
DurationOrP95 = Annotated[str, _unit(units.DURATION, "p95")]
Size = Annotated[str, _unit(units.SIZE)]
Money = Annotated[str, _unit(units.MONEY)]
Ratio = Annotated[str, _unit(units.RATIO)]
RatioOrOff = Annotated[str, _unit(units.RATIO, "off")]
RateText = Annotated[str, _unit(units.RATE)]


def expression_over(**names: tuple[str, ...]) -> Meta:
    """Declares a text of a policy's or strategy's config as a bare expression over these names, each with the fields
    it has (empty: any). `validate` then compiles it; the node compiles it for itself when it is built."""
    return Meta(extra_json_schema={"x-expression": {name: list(fields) for name, fields in names.items()}})


def seconds(text: str) -> float | None:
    """Seconds of a duration; None for `off`."""
    return None if text == "off" else units.parse_duration(text)


class Rung(IntEnum):
    """Places in the canonical ladder, from the outside in. Plug-ins may stand on any of them; those that share
    a rung keep the order of their names."""

    SAFETY = 10
    DEADLINE = 20
    CACHE = 30
    ADMISSION = 40
    CONTRACT = 50
    STRATEGY = 60
    RETRY = 70
    RATE_LIMIT = 80
    CONCURRENCY = 85
    CIRCUIT_BREAKER = 90
    BUDGET = 100
    TIMEOUT = 110
    ATTEMPT = 120


class Scope(Enum):
    """Whose policy it is. `call` and `chain` stand above the strategy (allowed in a set and a chain), `target`
    below it (allowed in a set, a chain and a target)."""

    CALL = "call"
    CHAIN = "chain"
    TARGET = "target"


class PolicyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every config: inert, compared, printed and hashed; it never opens, sleeps or counts."""


class NoConfig(PolicyConfig, frozen=True):
    """A component with nothing to set."""


class Example(msgspec.Struct, frozen=True):
    """A fragment of YAML that is documented and run by the tests."""

    title: str
    yaml: str


class RuleFinding(msgspec.Struct, frozen=True):
    """What a rule finds: a sentence, and the path of what it is about in the document. `key` puts it at the key instead
    of the value; `related` are other paths that have a part in it, each with what it is."""

    message: str
    path: tuple[str | int, ...]
    key: bool = False
    suggestion: str | None = None
    related: Sequence[tuple[tuple[str | int, ...], str]] = ()


class RuleType(msgspec.Struct, frozen=True):
    """A rule of lint. `name` has a dot and is the code of its findings, which are warnings; `title`, `explanation`, and
    `bad` and `good`, whole pipeline files, are its page.

    `check(subject)` gets a file without errors, a `wizard_dsl.lint.subject.Subject`: its `program`, `document`, and
    which paths the file has `written`. It must be a function of the file alone.
    """

    name: str
    title: str
    explanation: str
    bad: str
    good: str
    check: Callable[[Any], Iterable[RuleFinding]]


class PolicyType(msgspec.Struct, frozen=True):
    """A policy. `summary` is one line for tables; `scalar` is the config field that a bare scalar sets.

    `build(config, next, context)` makes the node; for scope `chain` it is `build(config, None, context)` and
    puts its state into `context.chain`. `provider` allows it under a provider, `per` names the config field
    that moves its state from the target to the chain. `buffers`: the node reads the whole answer.
    `check` says what makes no sense, `refuse` what cannot be built, as a code and a sentence. `parts` are the
    parts of a config of call scope that keep one state for all chains, which may not set them differently.
    `outcomes` are what it may do in a run, by which tests are measured.
    """

    name: str
    summary: str
    rung: Rung
    scope: Scope
    config: type[PolicyConfig]
    build: Callable[[Any, Any, BuildContext], Any]
    bound: Callable[[Any, Bound, BoundFacts], Bound]
    scalar: str = ""
    provider: bool = False
    shared_state: bool = False
    buffers: bool = False
    emits: tuple[type[Event], ...] = ()
    raises: tuple[type[WizardError], ...] = ()
    outcomes: tuple[OutcomeType, ...] = ()
    examples: tuple[Example, ...] = ()
    check: Callable[[Any], Sequence[str]] = lambda config: ()
    refuse: Callable[[Any], tuple[str, str] | None] = lambda config: None
    parts: Callable[[Any], Mapping[str, Any]] = lambda config: {}


class StrategyType(msgspec.Struct, frozen=True):
    """An order, or a race, over the targets of a chain. `build(config, branches, context)`; `bound` gets the
    branches' bounds in order. `repeats` allows a target to be listed twice, `weighs` says that it looks at the
    targets' weights; `at_once(config)` is how many targets begin at once where nothing fails; one that
    was sent a call is not asked again in it, unless it answers.

    `asks` says what is asked for, as far as the cache's key is concerned: the `first` target's model and params,
    those of `all` targets (whoever answers, it is the answer), or of the `chosen` one; then `build` sets
    `context.chain.asked`. `expression` names the config field that is a bare expression over the inputs; its value
    reaches the strategy as `run.scope.sticky`. `outcomes` are what it may do in a run, by which tests are measured.
    """

    name: str
    summary: str
    config: type[PolicyConfig]
    build: Callable[[Any, Sequence[Branch], BuildContext], Node]
    bound: Callable[[Any, Sequence[Bound], BoundFacts], Bound]
    repeats: bool = False
    weighs: bool = False
    at_once: Callable[[Any], int] = lambda config: 1
    asks: Literal["first", "all", "chosen"] = "all"
    expression: str = ""
    emits: tuple[type[Event], ...] = ()
    raises: tuple[type[WizardError], ...] = ()
    outcomes: tuple[OutcomeType, ...] = ()
    examples: tuple[Example, ...] = ()


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of a provider's config. The sections every provider has (`policies`, `models`, `pool`, `model`) are
    taken out before, by the document."""


class ModelSpec(msgspec.Struct, frozen=True):
    """The model a node is built for, its facts, the target's name and parameters that override the prompt's."""

    name: str
    target: str
    facts: Facts
    pool: str


class ProviderType(msgspec.Struct, frozen=True):
    """A wire protocol or a preset of one. `build(config, model, context)` makes the node of one target.

    `key_variable` is the conventional environment variable of its key, None where it takes none. `endpoint`
    tells the base URL a config leads to, which, with provider, model and key, makes a target's identity.
    `prices` names the list of the price library, `facts(config)` tells what is known of every model of the type.
    `overhead(request)` tells how many tokens it adds at most to one for each byte of the texts; without it nothing
    bounds what an attempt costs. `ignores` are common parameters that the protocol does not have; they are left out,
    and lint says so. `refuse` says what in a config cannot be built, each with its path below the provider, a sentence
    and a suggestion.
    """

    name: str
    summary: str
    config: type[ProviderConfig]
    build: Callable[[Any, ModelSpec, BuildContext], Node]
    endpoint: Callable[[Any], str]
    key_variable: str | None = None
    default_model: str | None = None
    prices: str | None = None
    facts: Callable[[Any], Facts] | None = None
    overhead: Callable[[Request], int] | None = None
    ignores: frozenset[str] = frozenset()
    refuse: Callable[[Any], Sequence[tuple[tuple[str | int, ...], str, str]]] = lambda config: ()
    emits: tuple[type[Event], ...] = ()
    examples: tuple[Example, ...] = ()


class StoreType(msgspec.Struct, frozen=True):
    """A keyed store of bytes for the cache, a `core.node.Store`. `open(*, folder, max_entries, eviction, clock,
    worker)` is called with a folder of its own and the worker that does what would block; it touches neither."""

    name: str
    summary: str
    open: Callable[..., Any]


class StepType(msgspec.Struct, frozen=True):
    """A kind of step. `config` holds the keys of its own; `templates` names those of them that are rendered
    (texts, or lists or mappings of texts). `calls`: the step asks a chain, named by its key `chain`.
    `build(config, context)` makes the runner, see `core.step.StepContext`; `bound(config, facts)` is the worst case of
    one execution, see `core.step_bound.StepFacts`: without it nothing bounds the step."""

    name: str
    summary: str
    config: type[PolicyConfig]
    build: Callable[[Any, Any], Any]
    bound: Callable[[Any, StepFacts], Made] | None = None
    templates: tuple[str, ...] = ()
    calls: bool = False
    examples: tuple[Example, ...] = ()
