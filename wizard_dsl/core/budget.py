"""Money: what an attempt may cost at most, and the books in which it is reserved, settled and kept.

Sums are whole nano-dollars, so that nothing drifts. A book has accounts, named `run/…`, `session/…`, `day/…` and
`month/…`; a reservation stands on several of them at once, or on none. What is spent and what is reserved count alike
against a limit, so a reservation that nobody settles (its process died) still counts: nothing is ever lost that may
have been billed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from wizard_dsl.core.errors import BudgetExceeded
    from wizard_dsl.core.messages import Request
    from wizard_dsl.core.run import Run
    from wizard_dsl.core.target import Facts

NANO = 1_000_000_000

#: Tokens of one image at most; the dearest way of counting we know of comes to 48,169.
IMAGE_TOKENS = 50_000
#: Tokens that a protocol adds of its own, at most: to each message, to a request, and where tools or a schema are sent.
PER_MESSAGE, _PER_REQUEST, _PER_FEATURE = 16, 64, 1_000
#: UTF-8 bytes of a character at most.
_WIDEST = 4


class Ceiling(msgspec.Struct, frozen=True):
    """An account that a reservation stands on. `limit` None: counted, never refused. `warn` is the sum from which on
    a warning is due, once for each account."""

    account: str
    limit: int | None = None
    warn: int | None = None


#: What is called with the accounts whose warning became due.
Told = Callable[[tuple[str, ...]], None]


class Reserved(msgspec.Struct, frozen=True):
    """`warned` are the accounts whose warning became due with this reservation. `away` says, once for an outage, why
    the book cannot be used, where it was noted here to be booked later."""

    id: str
    warned: tuple[str, ...] = ()
    away: str = ""


class Refused(msgspec.Struct, frozen=True):
    """The first account on which the amount does not fit; nothing was reserved on any."""

    account: str
    limit: int
    left: int


class Entry(msgspec.Struct, frozen=True):
    """What an account holds."""

    spent: int
    reserved: int


class BookUnavailable(Exception):
    """The book cannot be used now; the sentence says which, why, and how to mend it. `first`: of this outage."""

    def __init__(self, message: str, *, first: bool = False) -> None:
        super().__init__(message)
        self.first = first


class Book(Protocol):
    """Accounts that may be shared by many runs and processes."""

    async def reserve(
        self, amount: int, ceilings: Sequence[Ceiling], *, lasts: float, within: float
    ) -> Reserved | Refused:
        """Reserve `amount` on all accounts, or on none. A reservation that is not settled within `lasts` seconds is
        spent. A book that is away may note what has no limit, to book it later. Raises BookUnavailable, after `within`
        seconds at the latest. Cancelled, it leaves nothing reserved."""

    def settle(self, id: str, amount: int | None, told: Told | None = None) -> None:
        """Replace a reservation by what was spent; None: not known, so all of it. Only the first word counts. Never
        raises and never waits: what must be written elsewhere is written behind. `told` hears, at once or when it is
        written, whether what is spent has reached the warning of an account."""

    async def entries(self, prefix: str = "") -> Mapping[str, Entry]:
        """The accounts whose names begin with `prefix`. Raises BookUnavailable."""

    async def aclose(self) -> None:
        """Write what is still to be written."""


class Purse(Protocol):
    """What retry and strategies ask of a target's budget before they sleep for it."""

    async def hold(self, request: Request, run: Run) -> BudgetExceeded | None:
        """Reserve the worst case of the next attempt of this call, or say why not."""

    def drop(self, run: Run) -> None:
        """Give back what was held and not used."""


class _Account:
    __slots__ = ("reserved", "spent", "warned")

    def __init__(self) -> None:
        self.spent = 0
        self.reserved = 0
        self.warned = False


class MemoryBook:
    """A book of this process: that of one run, and the only one where nothing is to be written."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._holds: dict[str, tuple[int, Sequence[Ceiling]]] = {}
        self._made = 0

    def take(self, amount: int, ceilings: Sequence[Ceiling]) -> Reserved | Refused:
        """As `reserve`, for those who need not await."""
        accounts = [self._accounts.setdefault(each.account, _Account()) for each in ceilings]
        for account, ceiling in zip(accounts, ceilings, strict=True):
            total = account.spent + account.reserved
            if ceiling.limit is not None and total + amount > ceiling.limit:
                return Refused(ceiling.account, ceiling.limit, max(0, ceiling.limit - total))
        warned = []
        for account, ceiling in zip(accounts, ceilings, strict=True):
            if ceiling.warn is not None and not account.warned and account.spent + account.reserved >= ceiling.warn:
                account.warned = True
                warned.append(ceiling.account)
            account.reserved += amount
        self._made += 1
        id = str(self._made)
        self._holds[id] = amount, ceilings
        return Reserved(id, tuple(warned))

    async def reserve(
        self, amount: int, ceilings: Sequence[Ceiling], *, lasts: float, within: float
    ) -> Reserved | Refused:
        return self.take(amount, ceilings)

    def settle(self, id: str, amount: int | None, told: Told | None = None) -> None:
        reserved, ceilings = self._holds.pop(id, (0, ()))
        due = []
        for ceiling in ceilings:
            account = self._accounts[ceiling.account]
            account.reserved -= reserved
            account.spent += reserved if amount is None else amount
            if told is not None and ceiling.warn is not None and not account.warned and account.spent >= ceiling.warn:
                account.warned = True
                due.append(ceiling.account)
        if told is not None and due:
            told(tuple(due))

    async def entries(self, prefix: str = "") -> Mapping[str, Entry]:
        return {
            name: Entry(account.spent, account.reserved)
            for name, account in sorted(self._accounts.items())
            if name.startswith(prefix)
        }

    async def aclose(self) -> None:
        """Nothing is written anywhere."""


class Worst(msgspec.Struct, frozen=True):
    """The worst case of one attempt in nano-dollars; None where it has no bound, and then `lacks` says what is not
    known: a price or a bound of the output."""

    amount: int | None
    lacks: str = ""


def nano(usd: float) -> int:
    """Nano-dollars, rounded up: a sum may be booked too high by less than one, never too low."""
    exact = usd * NANO
    return int(exact) + (exact > int(exact) + 1e-6)


def usd(amount: int) -> float:
    return amount / NANO


def worst_case(request: Request, params: Mapping[str, Any], facts: Facts) -> Worst:
    """What an attempt with `request` may cost at most. `params` are the target's own, which win."""
    prices = facts.prices
    if prices is None:
        return Worst(None, "price")
    tokens = most_input(request)
    prices = prices.at(tokens)
    dearest = max(prices.input, prices.cached or 0.0)
    if dearest == 0.0 and prices.output == 0.0:
        return Worst(0)
    output = most_output(request, params, facts)
    if output is None:
        return Worst(None, "output")
    return Worst(nano((tokens * dearest + output * prices.output) / 1e6))


def most_input(request: Request) -> int:
    """Input tokens at most: a token is at least one byte of UTF-8; images and what a protocol adds have fixed ones."""
    return request.size() + protocol_tokens(request)


def protocol_tokens(request: Request) -> int:
    """Tokens besides those of the texts, at most: of what the protocols we know add, of images, tools and a schema."""
    total = _PER_REQUEST + PER_MESSAGE * (len(request.messages) + len(request.texts))
    for message in request.messages:
        total += sum(_WIDEST * (len(call.arguments) + len(call.name)) + PER_MESSAGE for call in message.tool_calls)
        if message.has_image:
            total += IMAGE_TOKENS * len(message.parts)
    if request.tools:
        total += _PER_FEATURE + len(msgspec.json.encode(request.tools))
    if request.schema is not None:
        total += _PER_FEATURE + len(msgspec.json.encode(request.schema))
    return total


def most_output(request: Request, params: Mapping[str, Any], facts: Facts) -> int | None:
    """Output tokens at most: `max_tokens`, else the model's largest output, else its whole window; None: unknown."""
    if request.kind == "embed":
        return 0
    asked = params.get("max_tokens", request.params.get("max_tokens"))
    known = facts.max_output if facts.max_output is not None else facts.context
    most = asked if isinstance(asked, int) and not isinstance(asked, bool) else known
    choices = params.get("n", request.params.get("n", 1))
    return most if most is None or not isinstance(choices, int) else most * max(1, choices)
