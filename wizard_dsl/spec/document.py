"""The typed shape of a pipeline file, on two levels.

The structs here are what every file has; `providers`, `policies`, `strategy` and `steps` hold raw maps, and each
of those converts with the struct its kind declares in the registry. The JSON Schema is generated from both
levels. Units stay strings until link.

Its annotations are no texts, which other modules' are: msgspec would evaluate each before the first file is read.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from wizard_dsl.core.component import (
    AboveZero,
    Duration,
    Money,
    PolicyConfig,
    ProviderConfig,
    ProviderType,
    Ratio,
    StepType,
    StrategyType,
)
from wizard_dsl.core.errors import KINDS
from wizard_dsl.core.target import MidStream
from wizard_dsl.spec import grammar

NAME_PATTERN = grammar.NAME_PATTERN

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Loss = Literal["tools", "json_schema", "images", "system", "streaming"]
KindKey = Annotated[str, Meta(pattern=grammar.KIND_KEY_PATTERN, extra_json_schema={"x-words": list(KINDS)})]
KindMap = Annotated[
    dict[KindKey, bool], Meta(description="{error kind or HTTP status: true|false}, over the error table")
]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the file's structs: unknown keys are errors."""


class PriceSpec(Section, frozen=True):
    """US dollars for a million tokens."""

    input: Money
    output: Money
    cached: Money | None = None


class ModelFacts(Section, frozen=True):
    """What a model can do, where the price library does not know or is wrong. Windows are tokens."""

    context: Annotated[int, Meta(ge=1)] | None = None
    max_output: Annotated[int, Meta(ge=1)] | None = None
    tools: bool | None = None
    images: bool | None = None
    json_schema: bool | None = None
    system: bool | None = None
    streaming: bool | None = None
    prices: PriceSpec | None = None


class PoolSpec(Section, frozen=True):
    """Connections of one provider."""

    size: Annotated[int, Meta(ge=0, description="open connections at most; 0: no limit")] = 100
    per_host: Annotated[int, Meta(ge=0, description="of these to one host; 0: no limit")] = 0
    keep_alive: Annotated[Duration, Meta(description="an idle connection is closed after this time")] = "30s"
    dns_ttl: Annotated[Duration, Meta(description="a looked-up address is used this long")] = "5m"


class ProviderCommon(Section, frozen=True):
    """What every provider has besides the keys of its type."""

    type: Annotated[str, Meta(description="a wire protocol or a preset")]
    model: Annotated[str, Meta(description="the model of a target that names the provider alone")] | None = None
    models: Annotated[dict[str, ModelFacts], Meta(description="facts by model name")] = {}
    pool: PoolSpec = PoolSpec()
    policies: Annotated[dict[str, Any], Meta(description="one state for the whole provider and key")] = {}


class TargetSpec(Section, frozen=True):
    """A target written as a mapping."""

    provider: Name
    model: str | None = None
    params: dict[str, Any] = {}
    policies: dict[str, Any] = {}
    weight: Annotated[float, Meta(ge=0, description="share of the calls of a weighted chain; 0: only a spare")] = 1
    priority: Annotated[int, Meta(description="targets with a lower number are tried before those with a higher")] = 0
    enabled: Annotated[bool, Meta(description="false takes the target out of the chain")] = True


class RateLimitSpec(Section, frozen=True):
    """What a 429 does in a chain."""

    wait_up_to: Annotated[Duration, Meta(description="waits and repeats up to that long")] = "2s"
    then: Annotated[Literal["fallback", "fail"], Meta(description="beyond it: the next target, or the error")] = (
        "fallback"
    )
    max_retry_after: Annotated[Duration, Meta(description="believed beyond that, never waited for")] = "5m"
    quota_block: Annotated[Duration, Meta(description="how long an exhausted quota blocks the target")] = "1h"


class ChainSpec(Section, frozen=True):
    """The targets of one logical call. `policies` may hold `use:` and `stack:` beside the kinds."""

    targets: Annotated[
        list[str | dict[str, Any]], Meta(min_length=1, description="provider, provider/model, or a mapping")
    ]
    strategy: Annotated[str | dict[str, Any], Meta(description="a name, or a mapping with `type`")] = "sequential"
    policies: dict[str, Any] = {}
    fallback_on: KindMap = {}
    on_rate_limit: Annotated[str | dict[str, Any], Meta(description="wait_up_to alone, or a mapping")] = {}
    when_all_open: Annotated[
        Literal["fail", "probe_first"],
        Meta(description="every breaker open: fail, or let one call through to the first target to see"),
    ] = "fail"
    on_mid_stream_error: Annotated[
        MidStream,
        Meta(
            description="what a break after the first content does: ends the answer, begins it anew, or goes on with "
            "it; `buffer` shows nothing before it is complete"
        ),
    ] = "fail"
    allow_loss: Annotated[list[Loss], Meta(description="capabilities a target may lack")] = []


class StepCommon(Section, frozen=True):
    """What every step has besides the keys of its type."""

    type: str = "generate"
    when: Annotated[str, Meta(description="an expression; false skips the step")] | None = None
    for_each: (
        Annotated[str, Meta(description="an expression that gives a list; the step runs once for each item")] | None
    ) = None
    concurrency: Annotated[int, Meta(ge=1, description="items of for_each at once")] = 4
    needs: Annotated[
        list[Name] | dict[str, Literal["done", "ran"]],
        Meta(description="steps that must end before; `ran`: and not be skipped"),
    ] = []
    on_error: Annotated[str | dict[str, Any], Meta(description="fail, skip, or {default: value}")] = "fail"


class LogSpec(Section, frozen=True):
    """Logs go to stderr and never hold a prompt, a completion or a key."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    format: Literal["text", "json"] = "text"


class ObserveSpec(Section, frozen=True):
    log: LogSpec = LogSpec()


class InputGuardSpec(Section, frozen=True):
    """What is looked for in the inputs of a run."""

    control: Annotated[Literal["reject", "strip"], Meta(description="control characters, in every input")] = "reject"
    roles: Annotated[
        Literal["escape", "reject", "off"], Meta(description="role markers of chat templates, in untrusted inputs")
    ] = "escape"
    injection: Annotated[
        Literal["off", "warn", "block"], Meta(description="signs of prompt injection, in untrusted inputs")
    ] = "off"


class SafetySpec(Section, frozen=True):
    """What may go in and come out."""

    input: InputGuardSpec = InputGuardSpec()
    block_when: Annotated[
        str | None, Meta(description="an expression over `text` and `json` of an answer; true refuses it")
    ] = None


class StreamSpec(Section, frozen=True):
    """Between a streamed run and a consumer that is slower than its provider."""

    buffer: Annotated[int, Meta(ge=1, description="deltas that are kept unread, where the run is not held back")] = 256
    when_full: Annotated[
        Literal["block", "drop_oldest", "error"],
        Meta(description="block holds the run back, down to the socket; the others never do"),
    ] = "block"


class BudgetLimit(Section, frozen=True):
    """One limit, in US dollars."""

    limit: Money
    warn_at: Annotated[Ratio, Meta(description="of the limit: a warning is given once this much is spent")] = "80%"
    then: Annotated[Literal["stop", "degrade"], Meta(description="at it: refuse, or the cheapest target only")] = "stop"


class BudgetsSpec(Section, frozen=True):
    """What may be spent; the worst case of each attempt is reserved before it is made. Days and months are UTC's."""

    run: Annotated[Money | BudgetLimit | None, Meta(description="on one run, its nested pipelines included")] = None
    session: Annotated[Money | BudgetLimit | None, Meta(description="on the runs of one session")] = None
    day: Annotated[Money | BudgetLimit | None, Meta(description="on one day")] = None
    month: Annotated[Money | BudgetLimit | None, Meta(description="in one month")] = None


class BoundsSpec(Section, frozen=True):
    """What one run may need in the worst case. It is held against the plan, whatever a run then needs."""

    attempts: Annotated[int, Meta(ge=0, description="calls of targets, repeats and repairs among them")] | None = None
    latency: Annotated[AboveZero, Meta(description="from the start of a run to its end")] | None = None
    cost: Annotated[Money, Meta(description="of a run, in US dollars")] | None = None


class HistorySpec(Section, frozen=True):
    """What the run store keeps of a run besides what the policies did."""

    content: Annotated[
        Literal["none", "redacted", "full"],
        Meta(
            description="inputs, messages and replies: nothing of them, all but personal data and keys, or all but keys"
        ),
    ] = "none"


class PromptPart(Section, frozen=True):
    """One part of a message: a text or an image, each a template. An image is an https: or data: URL."""

    text: str | None = None
    image: str | None = None


class PromptMessage(Section, frozen=True):
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str | list[PromptPart]


class ToolSpec(Section, frozen=True):
    """A function the model may call, passed through; `parameters` is a JSON Schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class PromptSpec(Section, frozen=True):
    """`system` and `user`, or `messages`, or a `file`."""

    system: str | None = None
    user: str | None = None
    messages: list[PromptMessage] = []
    file: Annotated[str, Meta(description="a Markdown file with `# system` and `# user` sections")] | None = None
    params: Annotated[dict[str, Any], Meta(description="sampling parameters; prompt < step < target")] = {}
    tools: list[ToolSpec] = []


class PipelineFile(Section, frozen=True):
    """One resolved document: the layers merged, references resolved or left for later."""

    version: Literal[1]
    name: str = ""
    description: str = ""
    inputs: Annotated[
        dict[str, dict[str, Any]], Meta(description="name → JSON Schema, plus `trusted` and `default`")
    ] = {}
    providers: Annotated[dict[str, dict[str, Any]], Meta(description="keyed by name")] = {}
    policies: Annotated[
        dict[str, dict[str, Any]], Meta(description="named sets; `default` applies where a chain names none")
    ] = {}
    chains: dict[str, ChainSpec] = {}
    prompts: dict[str, PromptSpec] = {}
    steps: dict[str, dict[str, Any]] = {}
    output: Annotated[str | dict[str, str], Meta(description="a template, or a mapping of templates")] | None = None
    deadline: Annotated[AboveZero, Meta(description="of the whole run")] = "10m"
    stream: StreamSpec = StreamSpec()
    observe: ObserveSpec = ObserveSpec()
    safety: SafetySpec = SafetySpec()
    state: Annotated[
        str,
        Meta(description="where breakers, limits and the like live: `memory`, an SQLite file, or a server's URL"),
    ] = "memory"
    budgets: Annotated[BudgetsSpec, Meta(description="US dollars that may be spent")] = BudgetsSpec()
    bounds: Annotated[
        BoundsSpec, Meta(description="what a run may need in the worst case: `plan` and `validate` see to it")
    ] = BoundsSpec()
    history: Annotated[HistorySpec, Meta(description="what the run store keeps")] = HistorySpec()
    invariants: Annotated[
        dict[Name, str],
        Meta(description="name → an expression over a run that holds whatever targets do; `wizard prove` tries them"),
    ] = {}


class InputSpec(msgspec.Struct, frozen=True):
    """One declared input. `schema` is the JSON Schema without our own keys; `default` is UNSET where required."""

    name: str
    schema: dict[str, Any]
    trusted: bool = False
    default: Any = msgspec.UNSET


class ProviderEntry(msgspec.Struct, frozen=True):
    """A provider, converted: its type, that type's config, and what every provider has."""

    name: str
    type: ProviderType
    config: ProviderConfig
    common: ProviderCommon


#: Policies of one place, normalised: kind → map of its keys, or "off".
PolicyMap = dict[str, dict[str, Any] | Literal["off"]]


class ChainEntry(msgspec.Struct, frozen=True):
    """A chain, converted. `use` is the set under `policies` (None: the default rule), `stack` an order by hand."""

    name: str
    spec: ChainSpec
    targets: tuple[TargetSpec, ...]
    names: tuple[str, ...]
    strategy: StrategyType
    strategy_config: PolicyConfig
    rate_limit: RateLimitSpec
    policies: PolicyMap
    target_policies: tuple[PolicyMap, ...]
    use: str | None = None
    stack: tuple[str, ...] | None = None


class StepEntry(msgspec.Struct, frozen=True):
    """A step, converted: its type, that type's config, and what every step has."""

    name: str
    type: StepType
    config: PolicyConfig
    common: StepCommon


class Document(msgspec.Struct, frozen=True):
    """A whole pipeline file, both levels converted; names are not resolved yet."""

    file: PipelineFile
    inputs: dict[str, InputSpec]
    providers: dict[str, ProviderEntry]
    provider_policies: dict[str, PolicyMap]
    policies: dict[str, PolicyMap]
    chains: dict[str, ChainEntry]
    prompts: dict[str, PromptSpec]
    steps: dict[str, StepEntry]
