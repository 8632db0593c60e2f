"""The grammar of test files, `triage.test.yaml` beside `triage.yaml`: structs alone. What each key does is said where
it is declared, and stands in the reference from here.

Its annotations are no texts, which other modules' are: msgspec would evaluate each before the first file is read.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from wizard_dsl.core.component import Duration, Money, Ratio
from wizard_dsl.core.errors import KINDS
from wizard_dsl.spec.project import TEST_ENDINGS
from wizard_dsl.testing.documents import Grammar
from wizard_dsl.testing.scripted import Item

_Count = Annotated[int, Meta(ge=0)]
Words = str | Annotated[list[str], Meta(min_length=1)]
Kind = Annotated[str, Meta(pattern=f"^(?:{'|'.join(KINDS)})$", extra_json_schema={"enum": list(KINDS)})]
Ending = Annotated[str, Meta(pattern=f"^(?:ok|{'|'.join(KINDS)})$", extra_json_schema={"enum": ["ok", *KINDS]})]
CacheState = Literal["hit", "miss", "stale", "shared"]
BreakerIs = Literal["closed", "open", "half_open", "forced_open", "forced_closed"]


class _Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all mappings of a test file are."""


class Similar(_Keys, frozen=True, kw_only=True):
    """A text that is nearly the same: the share of characters that two texts have in common, in their order."""

    to: Annotated[str, Meta(description="the text to compare with")]
    at_least: Annotated[Ratio, Meta(description="the share of equal characters that is enough")] = "80%"


class Number(_Keys, frozen=True, kw_only=True, omit_defaults=True):
    """A range of numbers."""

    equals: Annotated[float, Meta(description="the very number")] | UnsetType = UNSET
    at_least: Annotated[float, Meta(description="the smallest one")] | UnsetType = UNSET
    at_most: Annotated[float, Meta(description="the largest one")] | UnsetType = UNSET


class Check(_Keys, frozen=True, kw_only=True, omit_defaults=True):
    """What a value has to be; of several keys, each has to hold."""

    equals: Annotated[Any, Meta(description="the very value; a number is no text, and true is no 1")] = UNSET
    contains: Annotated[
        Any, Meta(description="of a text, a part or a list of them; of a list, an entry; of a mapping, some keys")
    ] = UNSET
    matches: (
        Annotated[str, Meta(description="a regular expression that is found somewhere in the text")] | UnsetType
    ) = UNSET
    starts_with: Annotated[str, Meta(description="how the text begins")] | UnsetType = UNSET
    ends_with: Annotated[str, Meta(description="how the text ends")] | UnsetType = UNSET
    one_of: Annotated[list[Any], Meta(min_length=1, description="the values it may be")] | UnsetType = UNSET
    similar: (
        Annotated[str | Similar, Meta(description="a text that is nearly the same, at 80% or as said")] | UnsetType
    ) = UNSET
    schema: Annotated[dict[str, Any], Meta(description="a JSON Schema; a text is read as JSON first")] | UnsetType = (
        UNSET
    )
    length: Annotated[_Count | Number, Meta(description="of a text, list or mapping")] | UnsetType = UNSET
    at_least: Annotated[float, Meta(description="of a number")] | UnsetType = UNSET
    at_most: Annotated[float, Meta(description="of a number")] | UnsetType = UNSET
    at: (
        Annotated[
            dict[str, "Value"],
            Meta(min_length=1, description="what stands at a path, such as `topic` or `lines[0].text`"),
        ]
        | UnsetType
    ) = UNSET
    not_: Annotated["Value", Meta(description="what must not hold")] | UnsetType = msgspec.field(
        default=UNSET, name="not"
    )


class Time(_Keys, frozen=True, kw_only=True, omit_defaults=True):
    """A range of virtual time."""

    equals: Annotated[Duration, Meta(description="to the millisecond")] | UnsetType = UNSET
    at_least: Annotated[Duration, Meta(description="the shortest one")] | UnsetType = UNSET
    at_most: Annotated[Duration, Meta(description="the longest one")] | UnsetType = UNSET


class Sum(_Keys, frozen=True, kw_only=True, omit_defaults=True):
    """A range of US dollars. A cost that is not known is in none."""

    equals: Annotated[Money, Meta(description="the very sum")] | UnsetType = UNSET
    at_least: Annotated[Money, Meta(description="the smallest one")] | UnsetType = UNSET
    at_most: Annotated[Money, Meta(description="the largest one")] | UnsetType = UNSET


#: A value that has to be equal, or what it has to be.
Value = None | bool | int | float | str | list[Any] | Check
_Text = str | Check
_Attempts = _Count | Number
_Elapsed = Duration | Time
_Cost = Money | Sum


class ErrorCheck(_Keys, frozen=True, kw_only=True, omit_defaults=True):
    """An error, by more than its kind."""

    kind: Annotated[Kind, Meta(description="the kind")] | UnsetType = UNSET
    message: Annotated[_Text, Meta(description="what it says")] | UnsetType = UNSET
    suggestion: Annotated[_Text | None, Meta(description="what it says is to be done")] | UnsetType = UNSET
    where: Annotated[_Text | None, Meta(description="the place it names")] | UnsetType = UNSET
    retry_after: Annotated[Duration | Time | None, Meta(description="when to try again")] | UnsetType = UNSET


class StepExpect(_Keys, frozen=True, kw_only=True, omit_defaults=True):
    """What a step has to come to."""

    text: Annotated[_Text, Meta(description="its text")] | UnsetType = UNSET
    json: Annotated[Value, Meta(description="its answer as JSON, null where it has none")] | UnsetType = UNSET
    items: (
        Annotated[Value, Meta(description="of a `for_each` step: {text, json, skipped, error} of each item")]
        | UnsetType
    ) = UNSET
    skipped: Annotated[bool, Meta(description="whether it did not run")] | UnsetType = UNSET
    served_by: Annotated[str | None, Meta(description="the target that answered, or a pattern")] | UnsetType = UNSET
    attempts: Annotated[_Attempts, Meta(description="how many exchanges with targets it took")] | UnsetType = UNSET
    elapsed: Annotated[_Elapsed, Meta(description="virtual time that it took")] | UnsetType = UNSET
    cost: Annotated[_Cost, Meta(description="of all its attempts")] | UnsetType = UNSET
    cache: Annotated[CacheState, Meta(description="where the answer came from")] | UnsetType = UNSET
    finish_reason: Annotated[str | None, Meta(description="why the answer ended")] | UnsetType = UNSET
    tool_calls: (
        Annotated[Value, Meta(description="the functions that the answer calls: {name, arguments} of each")] | UnsetType
    ) = UNSET
    error: (
        Annotated[Kind | ErrorCheck | None, Meta(description="null, an error kind, or more of the error")] | UnsetType
    ) = UNSET


class Expect(_Keys, frozen=True, kw_only=True, omit_defaults=True):
    """What a run has to come to."""

    text: Annotated[_Text, Meta(description="the text of the run")] | UnsetType = UNSET
    json: (
        Annotated[Value, Meta(description="the output where it is no text, else the JSON of the step it comes from")]
        | UnsetType
    ) = UNSET
    output: Annotated[Value, Meta(description="the output, as `output` of the pipeline makes it")] | UnsetType = UNSET
    served_by: (
        Annotated[str | None, Meta(description="the target that answered, or a pattern such as `claude/*`")] | UnsetType
    ) = UNSET
    attempts: Annotated[_Attempts, Meta(description="how many exchanges with targets all steps took")] | UnsetType = (
        UNSET
    )
    elapsed: Annotated[_Elapsed, Meta(description="virtual time")] | UnsetType = UNSET
    cost: Annotated[_Cost, Meta(description="of all attempts")] | UnsetType = UNSET
    cache: (
        Annotated[CacheState, Meta(description="where the answer of the step that the text comes from is from")]
        | UnsetType
    ) = UNSET
    error: (
        Annotated[
            Kind | ErrorCheck | None,
            Meta(description="null (also where nothing is said), an error kind, or more of the error"),
        ]
        | UnsetType
    ) = UNSET
    steps: Annotated[dict[str, StepExpect], Meta(min_length=1, description="steps by name")] | UnsetType = UNSET
    breakers: (
        Annotated[
            dict[str, BreakerIs], Meta(min_length=1, description="the state of circuit breakers, by target or pattern")
        ]
        | UnsetType
    ) = UNSET
    logs: (
        Annotated[dict[str, _Attempts], Meta(min_length=1, description="how often an event was logged, by its name")]
        | UnsetType
    ) = UNSET
    transcript: Annotated[_Text, Meta(description="what the policies did, as `--transcript` shows it")] | UnsetType = (
        UNSET
    )
    that: Annotated[Words, Meta(description="expressions that have to be true")] | UnsetType = UNSET


_Inputs = Annotated[dict[str, Any], Meta(description="inputs by name, added to those below")]
_Env = Annotated[dict[str, str], Meta(description="all variables that the pipeline sees")]
_Status = Annotated[int, Meta(ge=200, le=599)]
_Script = Annotated[list[str | _Status | Item], Meta(min_length=1)]
_Targets = Annotated[
    dict[str, _Script], Meta(description="by name or pattern of a target, what it does in one call after the other")
]
_Cassette = Annotated[
    str,
    Meta(min_length=1, description="recorded exchanges, relative to this file; they answer where no script does"),
]
_Overlay = Annotated[str | list[str], Meta(description="documents over the pipeline, relative to this file")]
_Set = Annotated[dict[str, Any], Meta(description="single values over everything else, by path")]
_Chain = Annotated[str, Meta(description="asked in every step")]
_Deadline = Annotated[Duration, Meta(description="of each run; tightens the file's")]
_Session = Annotated[
    str, Meta(min_length=1, description="whose runs they are, where a cache, a limit or a budget counts by session")
]
_Principal = Annotated[
    str, Meta(min_length=1, description="for whom they are made, where a cache keeps answers by principal")
]
_Seed = Annotated[int, Meta(ge=0, description="chance and ids derive from it")]
_Steps = Annotated[int, Meta(ge=1, description="turns of the event loop after which a test is stopped")]

#: Turns of the loop; an hour of outage with retries takes a few thousand.
MAX_STEPS: Final = 200_000


class _Given(_Keys, frozen=True, kw_only=True):
    """What may stand in `defaults`, in a test and in a row of its table."""

    inputs: _Inputs = {}
    env: _Env = {}
    targets: _Targets = {}
    cassette: _Cassette | None = None
    overlay: _Overlay | None = None
    set: _Set = {}
    chain: _Chain | None = None
    deadline: _Deadline | None = None
    session: _Session | None = None
    principal: _Principal | None = None
    seed: _Seed | None = None
    max_steps: _Steps | None = None


class Defaults(_Given, frozen=True, kw_only=True):
    """What all tests of the file have, unless they say otherwise. Items of these scripts may be left over."""


class Row(_Given, frozen=True, kw_only=True):
    """One case of a table: the test with these changes."""

    name: Annotated[str, Meta(min_length=1, description="of the case; default: its inputs, or its number")] | None = (
        None
    )
    expect: Annotated[Expect, Meta(description="replaces the same keys of the test's")] = Expect()


class RunSpec(_Keys, frozen=True, kw_only=True):
    """One of several runs in the same runtime, which share caches, breakers and limits."""

    inputs: _Inputs = {}
    after: Annotated[Duration, Meta(description="virtual time that passes before it begins")] = "0s"
    times: Annotated[int, Meta(ge=1, description="how many such runs begin at once")] = 1
    deadline: _Deadline | None = None
    session: _Session | None = None
    principal: _Principal | None = None
    expect: Annotated[Expect, Meta(description="what each of them has to come to")] = Expect()
    outcomes: (
        Annotated[
            dict[Ending, _Attempts],
            Meta(min_length=1, description="how many of them end well (`ok`), and with an error of a kind; no others"),
        ]
        | UnsetType
    ) = UNSET


class TestSpec(_Given, frozen=True, kw_only=True):
    """One test, or, with `for_each`, a table of cases."""

    __test__ = False

    for_each: (
        Annotated[list[Row], Meta(min_length=1, description="a case a row, each the test with its changes")] | None
    ) = None
    runs: (
        Annotated[
            list[RunSpec],
            Meta(
                min_length=1, description="several runs in one runtime, one after the other; `expect` is about the last"
            ),
        ]
        | None
    ) = None
    stream: Annotated[bool, Meta(description="read the answer as a stream")] = False
    cancel_after: Annotated[Duration, Meta(description="give each run up after that time")] | None = None
    expect: Annotated[Expect, Meta(description="what the run has to come to")] = Expect()
    snapshot: Annotated[bool, Meta(description="compare messages, output and transcript with what was approved")] = (
        False
    )
    repeat: Annotated[int, Meta(ge=1, description="samples, each with a seed and a runtime of its own")] = 1
    pass_rate: Annotated[Ratio, Meta(description="the share of samples that have to pass")] = "100%"


#: What reports and annotations show in one line.
TestName = Annotated[
    str,
    Meta(
        pattern=r"^(?![\s\S]*[\n\r])[\s\S]*\S",
        extra_json_schema={"x-code": "E040", "x-says": "a test is named by one line of text"},
    ),
]


class TestFile(_Keys, frozen=True, kw_only=True):
    """A test file."""

    __test__ = False

    version: Annotated[Literal[1], Meta(description="the version of this grammar", extra_json_schema={"const": 1})]
    pipeline: Annotated[str, Meta(min_length=1, description="the pipeline file, relative to this one")]
    tests: Annotated[dict[TestName, TestSpec], Meta(min_length=1, description="tests by name")]
    defaults: Annotated[Defaults, Meta(description="what all tests have")] = Defaults()


TEST_FILE: Final = Grammar(kind="test", title="Tests of a Wizard pipeline", struct=TestFile, endings=TEST_ENDINGS)
