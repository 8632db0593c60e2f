"""Assertions of promptfoo as what a test here expects.

An expectation has each of its words once, so several assertions of one kind become one: parts a list, patterns one
pattern that has all of them, negations one pattern that has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from wizard_dsl.analysis.importing import values
from wizard_dsl.analysis.importing.findings import Ledger
from wizard_dsl.analysis.importing.names import seconds
from wizard_dsl.core.regex import regex
from wizard_dsl.core.units import show_money, show_ratio
from wizard_dsl.spec.diagnostics import DocPath

_MODEL: Final = "graded by a model: tests here give the same result each time; a step of its own may judge an answer"
_CODE: Final = "code of its own, which is not run; write an expression under `that`"
_NONE: Final = "there is no such expectation; write an expression under `that`"
_REASONS: Final = {
    **dict.fromkeys(("javascript", "python", "ruby", "webhook"), _CODE),
    **dict.fromkeys(
        ("llm-rubric", "g-eval", "factuality", "model-graded-closedqa", "model-graded-factuality", "answer-relevance",
         "context-faithfulness", "context-recall", "context-relevance", "conversation-relevance", "select-best",
         "max-score", "pi", "moderation", "classifier", "trajectory:goal-success", "is-refusal"), _MODEL,
    ),
}  # fmt: skip
_LENGTH: Final = regex(r"output\.length\s*(<=|<|>=|>)\s*(\d+);?")
_INCLUDES: Final = regex(r"""(!?)output\.includes\((['"])(.*)\2\);?""")

Inline = Callable[[str], str | None]


class Expectation(msgspec.Struct):
    """What the assertions of one test come to."""

    contains: list[str] = []
    all_of: list[str] = []
    none_of: list[str] = []
    schemas: list[dict[str, Any]] = []
    text: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    finish_reason: str | None = None
    used: bool = False

    def made(self, step: str | None) -> dict[str, Any]:
        """The key `expect` of a test; `step` is the only one that asks, if there is only one."""
        text = dict(self.text)
        if self.contains:
            text["contains"] = self.contains[0] if len(self.contains) == 1 else self.contains
        if self.all_of:
            text["matches"] = self.all_of[0] if len(self.all_of) == 1 else "".join(map(_ahead, self.all_of))
        if self.none_of:
            text["not"] = {"matches": "|".join(self.none_of)}
        if self.schemas:
            text["schema"] = self.schemas[0] if len(self.schemas) == 1 else {"allOf": self.schemas}
        made = {"text": text} if text else {}
        if self.finish_reason is not None and step is not None:
            made["steps"] = {step: {"finish_reason": self.finish_reason}}
        return made | self.whole


def _ahead(pattern: str) -> str:
    return rf"(?=[\s\S]*(?:{pattern}))"


def asserted(held: Any, path: DocPath, expectation: Expectation, ledger: Ledger | None, inline: Inline) -> None:
    """Take one assertion over. Without a ledger it is one of a table, whose cells are no settings."""
    _Assertion(held, path, expectation, ledger, inline).take()


def parsed(text: str) -> dict[str, Any]:
    """An assertion in short: `type:value`, `type(threshold):value`; a text alone is what is equal."""
    match = re.fullmatch(r"(not-)?([a-z][a-z-]*)(?:\(([\d.]+)\))?(?::([\s\S]*))?", text)
    kind = {"fn": "javascript", "eval": "javascript", "grade": "llm-rubric"}.get(match[2], match[2]) if match else ""
    if match is None or (kind not in _KINDS and kind not in _REASONS):
        return {"type": "equals", "value": text}
    value: Any = match[4]
    if kind.endswith(("-any", "-all")) and value is not None:
        value = [each.strip() for each in value.split(",")]
    made = {"type": f"{match[1] or ''}{kind}", "value": value}
    return made | ({"threshold": float(match[3])} if match[3] else {})


class _Assertion:
    def __init__(
        self, held: Any, path: DocPath, expectation: Expectation, ledger: Ledger | None, inline: Inline
    ) -> None:
        self._held = held if isinstance(held, dict) else {}
        self._path = path
        self._to = expectation
        self._ledger = ledger
        self._inline = inline

    def take(self) -> None:
        type = self._held.get("type")
        if not isinstance(type, str):
            self._drop("an assertion has a `type`; one that is named is among assertionTemplates")
            return
        negative, kind = type.startswith("not-"), type.removeprefix("not-")
        if kind == "assert-set":
            self._set()
        elif self._held.get("weight") == 0:
            self._drop("its weight is 0: it always passes")
        elif "transform" in self._held:
            self._drop("it is about a transformed output; code is not run")
        elif kind == "javascript" and not negative and self._javascript():
            return
        elif kind in _REASONS or kind not in _KINDS:
            self._drop(_REASONS.get(kind, _NONE))
        else:
            self._known(kind, negative)

    def _set(self) -> None:
        if values.number(self._held.get("threshold", 1)) != 1:
            self._drop("some of several: here every expectation has to hold")
            return
        inner = self._held.get("assert")
        for index, each in enumerate(inner if isinstance(inner, list) else ()):
            asserted(each, (*self._path, "assert", index), self._to, self._ledger, self._inline)
        self._done("tests.*.expect")

    def _known(self, kind: str, negative: bool) -> None:
        value = self._held.get("value")
        listed = value if isinstance(value, list) else [value]
        texts = [self._inline(each if isinstance(each, str) else _shown(each)) for each in listed if each is not None]
        if any(each is None for each in texts):
            self._drop("its value is made by code or by a template with more than vars")
            return
        found = [each for each in texts if each is not None]
        if kind in _PATTERNS and found:
            self._pattern(kind, negative, found)
        elif not negative:
            _KINDS[kind](self, found)
        else:
            self._drop(_NONE)

    def _pattern(self, kind: str, negative: bool, found: list[str]) -> None:
        pattern = _PATTERNS[kind](found)
        try:
            re.compile(pattern)
        except (re.error, OverflowError):
            self._drop("the pattern is none in Python's regular expressions")
            return
        if negative:
            self._to.none_of.append(pattern)
            self._done("tests.*.expect.text.not")
        elif kind in ("contains", "contains-all"):
            self._to.contains += found
            self._done("tests.*.expect.text.contains")
        elif kind == "equals" and isinstance(self._held.get("value"), dict | list):
            self._to.schemas.append({"const": self._held["value"]})
            self._done("tests.*.expect.text.schema")
        elif kind in ("equals", "starts-with"):
            name = kind.replace("-", "_")
            if name in self._to.text:
                self._to.all_of.append(pattern)
            self._to.text.setdefault(name, found[0])
            self._done(f"tests.*.expect.text.{name}")
        else:
            self._to.all_of.append(pattern)
            self._done("tests.*.expect.text.matches")

    def is_json(self, found: list[str]) -> None:
        schema = self._held.get("value")
        if isinstance(schema, dict) and not _is_schema(schema):
            self._drop("its value is no JSON Schema of draft 2020-12")
            return
        self._to.schemas.append(schema if isinstance(schema, dict) else {})
        self._done("tests.*.expect.text.schema")

    def latency(self, found: list[str]) -> None:
        limit = values.positive(self._held.get("threshold"))
        if limit is None:
            self._drop("it has no threshold")
            return
        self._to.whole["elapsed"] = {"at_most": seconds(limit / 1000)}
        self._done("tests.*.expect.elapsed.at_most", "as long as it took when it was recorded")

    def cost(self, found: list[str]) -> None:
        limit = values.positive(self._held.get("threshold"))
        if limit is None:
            self._drop("it has no threshold")
            return
        self._to.whole["cost"] = {"at_most": show_money(limit)}
        self._done("tests.*.expect.cost.at_most")

    def similar(self, found: list[str]) -> None:
        share = values.number(self._held.get("threshold", 0.75))
        if not found or share is None or not 0 < share <= 1:
            self._drop("it has no text to compare with, or a threshold that is no share")
            return
        self._to.text["similar"] = {"to": found[0], "at_least": show_ratio(share)}
        self._approximate("tests.*.expect.text.similar", "by the characters that both have in common, not by meaning")

    def levenshtein(self, found: list[str]) -> None:
        distance = values.number(self._held.get("threshold", 5))
        if not found or not found[0] or distance is None or distance >= len(found[0]):
            self._drop("it has no text to compare with, or a distance that any text has")
            return
        self._to.text["similar"] = {"to": found[0], "at_least": show_ratio(round(1 - distance / len(found[0]), 4))}
        self._approximate("tests.*.expect.text.similar", "a share of equal characters in place of a number of edits")

    def finish_reason(self, found: list[str]) -> None:
        if not found:
            self._drop("it has no value")
            return
        self._to.finish_reason = found[0]
        self._approximate("tests.*.expect.steps", "of the step, where there is one prompt")

    def _javascript(self) -> bool:
        """The two lines of code that everybody writes; whether it was one of them."""
        code = str(self._held.get("value", "")).strip()
        length, includes = _LENGTH.fullmatch(code), _INCLUDES.fullmatch(code)
        if length:
            sign, number = length[1], int(length[2])
            bound = {"<": ("at_most", number - 1), "<=": ("at_most", number), ">": ("at_least", number + 1)}
            key, limit = bound.get(sign, ("at_least", number))
            self._to.text["length"] = {**self._to.text.get("length", {}), key: limit}
            self._done("tests.*.expect.text.length")
        elif includes and "\\" not in includes[3]:
            if includes[1]:
                self._to.none_of.append(re.escape(includes[3]))
            else:
                self._to.contains.append(includes[3])
            self._done("tests.*.expect.text.contains")
        return bool(length or (includes and "\\" not in includes[3]))

    def _done(self, to: str, why: str | None = None) -> None:
        self._rest()
        if self._ledger is not None:
            self._ledger.mapped(self._path, to, why)

    def _approximate(self, to: str, why: str) -> None:
        self._rest()
        if self._ledger is not None:
            self._ledger.approximated(self._path, to, why)

    def _rest(self) -> None:
        """What an assertion has besides what it says."""
        self._to.used = True
        for name in ("weight", "metric", "provider", "config", "rubricPrompt"):
            if name in self._held and self._ledger is not None:
                self._ledger.dropped((*self._path, name), "there are no scores: every expectation has to hold")

    def _drop(self, why: str) -> None:
        if self._ledger is not None:
            self._ledger.dropped(self._path, why)


def _is_schema(schema: dict[str, Any]) -> bool:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError:
        return False
    return True


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _any_of(found: list[str]) -> str:
    return "|".join(map(re.escape, found))


#: What assertions about a text look for, as patterns.
_PATTERNS: Final[dict[str, Callable[[list[str]], str]]] = {
    "equals": lambda found: rf"\A{re.escape(found[0])}\Z",
    "contains": lambda found: re.escape(found[0]),
    "contains-all": lambda found: "".join(_ahead(re.escape(each)) for each in found),
    "contains-any": _any_of,
    "icontains": lambda found: f"(?i:{re.escape(found[0])})",
    "icontains-any": lambda found: f"(?i:{_any_of(found)})",
    "icontains-all": lambda found: "".join(_ahead(f"(?i:{re.escape(each)})") for each in found),
    "starts-with": lambda found: rf"\A{re.escape(found[0])}",
    "regex": lambda found: re.sub(r"\(\?<(?=[A-Za-z])", "(?P<", found[0]),
}
_KINDS: Final[dict[str, Callable[[_Assertion, list[str]], None]]] = {
    **dict.fromkeys(_PATTERNS, lambda assertion, found: assertion._drop("it has no value")),
    "is-json": _Assertion.is_json,
    "latency": _Assertion.latency,
    "cost": _Assertion.cost,
    "similar": _Assertion.similar,
    "levenshtein": _Assertion.levenshtein,
    "finish-reason": _Assertion.finish_reason,
}
