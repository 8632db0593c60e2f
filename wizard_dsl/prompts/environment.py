"""The one jinja2 environment: sandboxed, strict about names, mapping keys before attributes, metered.

Source text goes through three stages: `parse` (text to tree, or the fault with its line), analysis (which names
are used, see analysis.py), and `link` (the tree with its meter put in, to a render function). There is no loader, so
a template is one text: nothing is included, imported or extended. Values are never templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import BuiltinMethodType
from typing import Any

import msgspec
from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.environment import Template as Linked
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Joiner, Namespace, missing, pass_context

from wizard_dsl.prompts.budget import ELEMENT, TURN, Meter
from wizard_dsl.prompts.filters import FILTERS, INTERNAL, TESTS, settled
from wizard_dsl.prompts.metering import put_meter_in
from wizard_dsl.prompts.names import GLOBALS
from wizard_dsl.prompts.operators import METHODS, binary, pay_method
from wizard_dsl.prompts.simple import parts_of
from wizard_dsl.prompts.trees import children, tree_of

#: Characters of one template's source.
MAX_SOURCE = 1 << 20
#: Levels of nesting in a template's syntax; Python's own compiler gives up soon after.
MAX_DEPTH = 100
#: Loops inside loops; Python allows 20 blocks in one another.
MAX_LOOPS = 8
#: The file name in tracebacks of template code.
FILENAME = "<prompt>"
#: The name that holds a bare expression's value; no input can be called so.
RESULT = "_value"

_MISSING: Any = object()
Render = Callable[[Context], Iterator[str]]


class Fault(msgspec.Struct, frozen=True):
    """A template that cannot be parsed: what is wrong at which line, 1 for the first."""

    line: int
    message: str


class Missing(StrictUndefined):
    """What a missing name or key becomes; any use of it raises, saying what is there instead."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name, owner = self._undefined_name, self._undefined_obj
        if self._undefined_hint:
            return self._undefined_hint
        if owner is missing:
            return f"{name!r} is not defined"
        if isinstance(owner, Mapping):
            keys = ", ".join(str(key)[:40] for key in list(owner)[:12])
            return f"no key {name!r}; " + (f"there is {keys}" if keys else "the mapping is empty")
        if isinstance(owner, list | tuple) and isinstance(name, int):
            return f"no element {name}: the list has {len(owner)}"
        if owner is None:
            return f"no {name!r} in null"
        return f"a {_WORDS.get(type(owner), type(owner).__name__)} has no {name!r}"


_WORDS: Mapping[type, str] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    list: "list",
    tuple: "list",
}


class Sandbox(ImmutableSandboxedEnvironment):
    """jinja2's sandbox, narrowed from what is forbidden to what is allowed."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})
    context_class = Meter

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: a mapping's key, else an allowed method or public data; else undefined."""
        if isinstance(obj, Undefined):
            return str(obj)  # raises
        if isinstance(obj, (dict, Mapping)):  # dict first: asking an abstract class takes longer than the rest
            found = obj.get(attribute, _MISSING)
            if found is not _MISSING:
                return found
        return self._reach(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`: a key or an index; a string on what has no keys is as `obj.argument`."""
        if isinstance(obj, Undefined):
            return str(obj)  # raises
        if isinstance(argument, str) and not isinstance(obj, Mapping):
            return self._reach(obj, argument)
        if isinstance(obj, Mapping | list | tuple | str | range):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                pass
        return self.undefined(obj=obj, name=argument)

    def _reach(self, obj: Any, attribute: str) -> Any:
        allowed = METHODS.get(type(obj))
        if allowed is not None:
            return getattr(obj, attribute) if attribute in allowed else self._unavailable(obj, attribute)
        if not attribute.startswith("_"):
            value = getattr(obj, attribute, _MISSING)
            if value is not _MISSING and (type(obj) is Namespace or not callable(value)):
                return value
        return self._unavailable(obj, attribute)

    def _unavailable(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, str | list | tuple | dict) and hasattr(obj, attribute):
            hint = f"{attribute!r} is not available in a template"
            return self.undefined(hint, obj=obj, name=attribute)
        return self.undefined(obj=obj, name=attribute)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a macro, an allowed method or a global, paid for; jinja2 passes keyword arguments by name."""
        meter: Any = __context
        meter.charge(TURN + ELEMENT * (len(args) + len(kwargs)))
        if isinstance(__obj, BuiltinMethodType):
            pay_method(meter, __obj.__name__, __obj.__self__, (*args, *kwargs.values()))
        elif not isinstance(__obj, Macro | Joiner):
            for each in () if isinstance(__obj, LoopContext) else args:
                meter.weigh(each)
        return settled(meter, super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        return binary(context, operator, left, right)  # type: ignore[arg-type]  # context_class says so


@pass_context
def _finalize(context: Meter, value: Any) -> str:
    return context.printed(value)


def _sandbox() -> Sandbox:
    made = Sandbox(undefined=Missing, autoescape=False, finalize=_finalize, optimized=False, cache_size=0)
    made.globals = {name: made.globals[name] for name in sorted(GLOBALS)}
    made.filters = {**FILTERS, **INTERNAL}
    made.tests = dict(TESTS)
    return made


#: Shared by all templates: it is set up once, here, and nothing changes it.
ENVIRONMENT = _sandbox()


def parse(source: str) -> nodes.Template | Fault:
    """The syntax tree of a template; a Fault for whatever is wrong with it. Never raises."""
    if len(source) > MAX_SOURCE:
        return Fault(1, f"the template has {len(source):,} characters; at most {MAX_SOURCE:,} are allowed")
    parts = parts_of(source)
    return tree_of(parts) if parts is not None else _guarded(lambda: ENVIRONMENT.parse(source))


def parse_expression(source: str) -> nodes.Template | Fault:
    """A tree that sets `RESULT` to the value of the bare expression `source`."""
    if len(source) > MAX_SOURCE:
        return Fault(1, f"the expression has {len(source):,} characters; at most {MAX_SOURCE:,} are allowed")
    return _guarded(lambda: _expression(source))


def _expression(source: str) -> nodes.Template:
    if not source.strip():
        raise TemplateSyntaxError("the expression is empty", 1)
    parser = Parser(ENVIRONMENT, source, state="variable")
    value = parser.parse_expression()
    if not parser.stream.eos:
        token = parser.stream.current
        raise TemplateSyntaxError(f"unexpected {str(token.value)!r} after the end of the expression", token.lineno)
    return as_value(value)


def as_value(expression: nodes.Expr) -> nodes.Template:
    """A tree that sets `RESULT` to the value of an expression."""
    target = nodes.Name(RESULT, "store", lineno=expression.lineno)
    return nodes.Template([nodes.Assign(target, expression, lineno=expression.lineno)], lineno=1)


def _guarded(make: Callable[[], nodes.Template]) -> nodes.Template | Fault:
    try:
        tree = make()
        return too_deep(tree) or tree
    except TemplateSyntaxError as error:
        return Fault(error.lineno, _sentence(error.message or "syntax error"))
    except RecursionError:
        return Fault(1, "the template is nested too deeply")
    except (ValueError, OverflowError, SyntaxError) as error:  # a number of 5,000 digits, a lone escape
        return Fault(1, f"the template cannot be read: {error}")


def _sentence(message: str) -> str:
    return (message[0].lower() + message[1:]).rstrip(".") if message[1:2].islower() else message.rstrip(".")


def too_deep(tree: nodes.Node) -> Fault | None:
    """The first place that is nested beyond what Python's compiler takes."""
    pending = [(tree, 0, 0)]
    while pending:
        node, depth, loops = pending.pop()
        loops += isinstance(node, nodes.For)
        if depth > MAX_DEPTH or loops > MAX_LOOPS:
            limit = f"{MAX_LOOPS} loops" if loops > MAX_LOOPS else f"{MAX_DEPTH} levels"
            return Fault(node.lineno or 1, f"nested too deeply: at most {limit} inside one another")
        pending += [(child, depth + 1, loops) for child in children(node)]
    return None


def link(tree: nodes.Template) -> Linked | Fault:
    """The runnable form of a tree, metered. A Fault for what only code generation notices. Consumes the tree."""
    try:
        put_meter_in(tree)
        tree.set_environment(ENVIRONMENT)
        code = ENVIRONMENT.compile(tree, filename=FILENAME)
        return Linked.from_code(ENVIRONMENT, code, {})
    except TemplateSyntaxError as error:
        return Fault(error.lineno, _sentence(error.message or "syntax error"))
    except (RecursionError, SyntaxError, ValueError, MemoryError) as error:
        return Fault(1, f"the template cannot be compiled: {error}")
