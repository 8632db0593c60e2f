"""Every public error, and the one table that says what each kind may do.

    WizardError                    kind, message, where, suggestion, retryable, retry_after, to_json()
    ├─ SpecError                   spec: the file or its environment is wrong; holds diagnostics
    ├─ InputInvalid                input: the caller's input is wrong
    ├─ Rejected                    refused before sending; costs nothing
    │   ├─ CircuitOpen             circuit_open
    │   ├─ TargetBlocked           rate_limited: every target is still blocked by an earlier 429
    │   ├─ RateLimitExceeded       local_limit: our own limiter or bulkhead said no
    │   ├─ BudgetExceeded          budget: the worst case does not fit what is left to spend
    │   ├─ SafetyBlocked           safety: the input, or the answer, was refused by our own policy
    │   ├─ Unsupported             unsupported: no target can do what is asked
    │   └─ WindowTooSmall          context_length: the prompt does not fit the target's declared window
    ├─ AttemptFailed               sent, perhaps billed
    │   ├─ ConnectError            connect
    │   ├─ AttemptTimeout          timeout
    │   ├─ ServerError             server
    │   ├─ RateLimited             rate_limited
    │   ├─ QuotaExhausted          quota_exhausted
    │   ├─ AuthError               auth
    │   ├─ NotFound                not_found
    │   ├─ ContextLength           context_length
    │   ├─ ContentFiltered         content_filter
    │   ├─ InvalidRequest          invalid_request
    │   └─ MalformedResponse       malformed_response
    ├─ ResponseRejected            an answer arrived and was judged unfit
    │   └─ ContractViolated        contract
    ├─ Interrupted                 cut short, with the partial and what it cost
    │   ├─ StreamBroken            mid_stream
    │   ├─ StreamBufferFull        stream_buffer: the consumer was too slow
    │   ├─ DeadlineExceeded        deadline
    │   └─ Cancelled               cancelled
    ├─ AllFallbacksFailed          every target's error, in order; the kind of the last one really called
    ├─ MaxRetriesExceeded          the last error of one target, after more than one attempt
    └─ StepFailed                  spec or input: a template or an expression of a step failed at run time

What a kind may do – repeat in place, move to the next target, count for the breaker – is `TABLE`, used by
retry, strategies, breaker and cache alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wizard_dsl.core.messages import Completion

Verdict = Literal["success", "failure", "neutral", "none"]
Move = Literal["yes", "no", "rule"]  # rule: the policy that owns the kind decides (429, context window, repairs)


class Row(msgspec.Struct, frozen=True):
    """One row of the error table. `stale_ok`: an expired cache entry may stand in, where that is asked for."""

    retry: Move
    fallback: Move
    verdict: Verdict
    exit_code: int
    summary: str
    negative: bool = False
    stale_ok: bool = False


TABLE: dict[str, Row] = {
    "connect": Row("yes", "yes", "failure", 5, "no connection; nothing was sent", stale_ok=True),
    "timeout": Row("yes", "yes", "failure", 5, "no answer in the time allowed", stale_ok=True),
    "server": Row("yes", "yes", "failure", 5, "the provider failed", stale_ok=True),
    "rate_limited": Row("rule", "rule", "neutral", 5, "the provider says: too many requests", stale_ok=True),
    "quota_exhausted": Row("no", "yes", "neutral", 5, "the account has no quota or credit left", stale_ok=True),
    "auth": Row("no", "no", "neutral", 4, "the provider refused the key"),
    "not_found": Row("no", "no", "neutral", 5, "no such model or endpoint", negative=True),
    "context_length": Row("no", "rule", "neutral", 5, "the prompt does not fit the model", negative=True),
    "content_filter": Row("no", "no", "neutral", 5, "refused by the provider's policy"),
    "invalid_request": Row("no", "no", "neutral", 5, "the provider does not accept the request", negative=True),
    "malformed_response": Row("yes", "yes", "failure", 5, "the answer cannot be read", stale_ok=True),
    "contract": Row("rule", "rule", "neutral", 7, "the output does not satisfy its schema"),
    "mid_stream": Row("rule", "rule", "failure", 5, "the stream broke after its first content", stale_ok=True),
    "unsupported": Row("no", "no", "neutral", 3, "no target has the capability asked for"),
    "local_limit": Row("no", "no", "neutral", 6, "our own limit said no"),
    "circuit_open": Row("no", "yes", "none", 5, "the breaker is open, or the target is blocked", stale_ok=True),
    "cancelled": Row("no", "no", "neutral", 130, "the caller went away"),
    "deadline": Row("no", "no", "neutral", 8, "no time left"),
    "budget": Row("no", "rule", "neutral", 6, "no money left"),
    "safety": Row("no", "no", "neutral", 6, "refused by the safety policy"),
    "stream_buffer": Row("no", "no", "neutral", 6, "the consumer is too slow"),
    "input": Row("no", "no", "none", 2, "the caller's input is wrong"),
    "session": Row("no", "no", "none", 2, "the session is unknown, expired, or its store is gone"),
    "spec": Row("no", "no", "none", 3, "the file or its environment is wrong"),
}
KINDS = tuple(TABLE)


class WizardError(Exception):
    """The root of everything this package raises on purpose.

    `kind` is a row of TABLE. `where` is a path in the program, such as `chains.writer.targets[1]`.
    `retry_after` is seconds until it makes sense to ask again. `marks` are facts about how the error left
    (`deadline`, `breaker_opened`, `retry_budget_exhausted`, `cached`). `partial` holds what had arrived, if anything.
    `attempt` is the number of the ledger row it belongs to, `result` the whole run's (core.result.Result) and
    `transcript` its events (core.run.Transcript), both set when the error leaves a run. `unpaid` is why no repeat
    followed, where a budget refused it.
    """

    kind: str = "spec"
    suggestion: str | None = None
    unpaid: BudgetExceeded | None = None

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        suggestion: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        if suggestion is not None:
            self.suggestion = suggestion
        self.retry_after = retry_after
        self.marks: tuple[str, ...] = ()
        self.partial: Completion | None = None
        self.attempt: int | None = None
        self.result: Any = None
        self.transcript: Any = None

    def mark(self, *marks: str) -> WizardError:
        """Add marks once each; returns self."""
        self.marks += tuple(each for each in marks if each not in self.marks)
        return self

    @property
    def row(self) -> Row:
        return TABLE[self.kind]

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed if it is made again later."""
        return self.row.retry != "no" or self.retry_after is not None

    @property
    def exit_code(self) -> int:
        return self.row.exit_code

    def to_json(self) -> dict[str, Any]:
        """The error object of `schemas/result.schema.json`; keys never disappear."""
        return {
            "kind": self.kind,
            "message": self.message,
            "suggestion": self.suggestion,
            "retryable": self.retryable,
            "retry_after": self.retry_after,
            "where": self.where or None,
            "marks": list(self.marks),
        }


class SpecError(WizardError):
    """The file, or the environment it refers to, is wrong. `diagnostics` are spec.diagnostics.Diagnostic."""

    kind = "spec"

    def __init__(self, message: str, *, diagnostics: Sequence[Any] = (), where: str = "") -> None:
        super().__init__(message, where=where)
        self.diagnostics = tuple(diagnostics)


class InputInvalid(WizardError):
    """An input is missing, of the wrong type or too long; `where` is its name."""

    kind = "input"


class StepFailed(WizardError):
    """A template or expression of a step failed with the values of this run."""

    kind = "input"


class Rejected(WizardError):
    """Refused before anything was sent; costs nothing."""


class CircuitOpen(Rejected):
    """The breaker, or an earlier refusal that blocks the target, said no."""

    kind = "circuit_open"
    suggestion = "wait for retry_after, or add a target to the chain"


class TargetBlocked(Rejected):
    """Every target is still blocked by an earlier 429."""

    kind = "rate_limited"
    suggestion = "wait for retry_after, or raise on_rate_limit.wait_up_to"


class RateLimitExceeded(Rejected):
    """`limit` names the limit that applied."""

    kind = "local_limit"
    suggestion = "raise the limit or its max_wait, or lower the concurrency"

    def __init__(
        self,
        message: str,
        *,
        limit: str,
        where: str = "",
        suggestion: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, where=where, suggestion=suggestion, retry_after=retry_after)
        self.limit = limit


class BudgetExceeded(Rejected):
    """`scope` is run, session, day or month; `limit` and `left` are US dollars, `needed` the worst case that was asked
    for, None where it has no bound. `__cause__` is the last real error of the call, if there was one."""

    kind = "budget"
    suggestion = "raise the budget, lower max_tokens, or add a cheaper target"

    def __init__(
        self,
        message: str,
        *,
        scope: str,
        limit: float,
        left: float,
        needed: float | None,
        where: str = "",
        suggestion: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, where=where, suggestion=suggestion, retry_after=retry_after)
        self.scope = scope
        self.limit = limit
        self.left = left
        self.needed = needed


class SafetyBlocked(Rejected):
    """The input or the answer was refused by our own policy. `findings` say why, without quoting content."""

    kind = "safety"
    suggestion = "look at the findings; allow what is known to be fine in the `safety` section"

    def __init__(self, message: str, *, findings: Sequence[str] = (), where: str = "") -> None:
        super().__init__(message, where=where)
        self.findings = tuple(findings)


class Unsupported(Rejected):
    """`lost` names the capabilities that no target has."""

    kind = "unsupported"

    def __init__(self, message: str, *, lost: Sequence[str] = (), where: str = "") -> None:
        super().__init__(
            message, where=where, suggestion="add a target that can do it, or allow the loss with `allow_loss`"
        )
        self.lost = tuple(lost)


class WindowTooSmall(Rejected):
    """The prompt does not fit the target's declared window."""

    kind = "context_length"
    suggestion = "shorten the prompt, or add a target with a larger window"


class AttemptFailed(WizardError):
    """An exchange with one target failed; it was sent, and perhaps billed.

    `status` is the HTTP status if one arrived, `headers` the response's, `body` at most 2,000 characters of it,
    `request_id` the provider's id of the exchange. `sent` is False where nothing left this machine, None where
    nobody knows. `should_retry` is the provider's explicit word (`x-should-retry`).
    """

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        suggestion: str | None = None,
        retry_after: float | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: str = "",
        request_id: str | None = None,
        sent: bool | None = True,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message, where=where, suggestion=suggestion, retry_after=retry_after)
        self.status = status
        self.headers: Mapping[str, str] = headers or {}
        self.body = body[:2000]
        self.request_id = request_id
        self.sent = sent
        self.should_retry = should_retry


class ConnectError(AttemptFailed):
    """No connection; nothing was sent, or nobody knows (`sent` None)."""

    kind = "connect"
    suggestion = "check base_url, the network and the provider's status page"


class AttemptTimeout(AttemptFailed):
    """`phase` is connect, first_chunk, idle or total: whose limit passed; empty where the provider gave up waiting."""

    kind = "timeout"
    suggestion = "raise the timeout of that phase, or add a fallback target"

    def __init__(self, message: str, *, phase: str, where: str = "", sent: bool | None = True) -> None:
        super().__init__(message, where=where, sent=sent)
        self.phase = phase


class ServerError(AttemptFailed):
    """The provider failed, or the connection was lost after sending."""

    kind = "server"


class RateLimited(AttemptFailed):
    """A 429; `retry_after` is what the provider announced."""

    kind = "rate_limited"
    suggestion = "lower the rate with `rate_limit`, or add a fallback target"


class QuotaExhausted(AttemptFailed):
    """The account has no quota or credit left."""

    kind = "quota_exhausted"
    suggestion = "check the plan and billing of this account"


class AuthError(AttemptFailed):
    """The provider refused the key."""

    kind = "auth"
    suggestion = "check the variable that holds the key, and that the key may use this model"


class NotFound(AttemptFailed):
    """No such model or endpoint."""

    kind = "not_found"
    suggestion = "check the model's name and base_url"


class ContextLength(AttemptFailed):
    """The provider says that the prompt does not fit the model."""

    kind = "context_length"
    suggestion = "shorten the prompt, or add a target with a larger window"


class ContentFiltered(AttemptFailed):
    """Refused by the provider's policy."""

    kind = "content_filter"


class InvalidRequest(AttemptFailed):
    """The provider does not accept the request."""

    kind = "invalid_request"


class MalformedResponse(AttemptFailed):
    """The answer cannot be read, or is empty though it claims to be complete."""

    kind = "malformed_response"


ATTEMPT_ERRORS: dict[str, type[AttemptFailed]] = {
    each.kind: each
    for each in (
        ConnectError, ServerError, RateLimited, QuotaExhausted, AuthError, NotFound, ContextLength,
        ContentFiltered, InvalidRequest, MalformedResponse,
    )
}  # fmt: skip


class ResponseRejected(WizardError):
    """An answer arrived and was judged unfit; `partial` holds it."""


class ContractViolated(ResponseRejected):
    """`violations` are the validator's sentences, one for each place."""

    kind = "contract"
    suggestion = "show the schema in the prompt, raise `repairs`, or use a model that keeps to a JSON schema"

    def __init__(self, message: str, *, violations: Sequence[str] = (), where: str = "") -> None:
        super().__init__(message, where=where)
        self.violations = tuple(violations)


class Interrupted(WizardError):
    """Cut short; `partial` holds what had arrived."""


class StreamBroken(Interrupted):
    """The stream broke after its commit point; `__cause__` is what broke it."""

    kind = "mid_stream"
    suggestion = "use the partial, or ask again"


class StreamBufferFull(Interrupted):
    """Nobody read, and the buffer of the stream was full (`stream.when_full: error`)."""

    kind = "stream_buffer"
    suggestion = "read faster, raise stream.buffer, or set stream.when_full to block"


class DeadlineExceeded(Interrupted):
    """The deadline of the run or of the call passed."""

    kind = "deadline"
    suggestion = "raise the deadline, or lower timeouts and retries so that the ladder fits it"


class Cancelled(Interrupted):
    """The caller went away."""

    kind = "cancelled"


class MaxRetriesExceeded(WizardError):
    """One target failed more than once; `last` is its last error and decides the kind. `attempts` counts all."""

    def __init__(self, last: WizardError, *, attempts: int, where: str = "") -> None:
        super().__init__(
            f"gave up after {attempts} attempts: {last.message}",
            where=where or last.where,
            suggestion=last.suggestion,
            retry_after=last.retry_after,
        )
        self.kind = last.kind
        self.last = last
        self.attempts = attempts
        self.marks = last.marks
        self.partial = last.partial
        self.attempt = last.attempt


class AllFallbacksFailed(WizardError, ExceptionGroup[WizardError]):
    """Several targets of a chain were tried and none answered. `exceptions` are theirs, in order."""

    message: str

    def __new__(cls, errors: Sequence[WizardError], last: WizardError, *, where: str = "") -> AllFallbacksFailed:
        return ExceptionGroup.__new__(cls, cls._sentence(errors), list(errors))

    def __init__(self, errors: Sequence[WizardError], last: WizardError, *, where: str = "") -> None:
        self.where = where
        self.kind = last.kind
        self.suggestion = last.suggestion
        self.retry_after = last.retry_after
        self.marks = tuple(dict.fromkeys(mark for error in errors for mark in error.marks))
        self.partial = last.partial
        self.attempt = last.attempt
        self.result = self.transcript = None

    def derive(self, excs: Sequence[Exception]) -> ExceptionGroup[Any]:  # type: ignore[override]
        return ExceptionGroup(self.message, list(excs))

    def __str__(self) -> str:
        return self.message

    @staticmethod
    def _sentence(errors: Sequence[WizardError]) -> str:
        reasons = "; ".join(f"{error.where}: {error.message}" if error.where else error.message for error in errors)
        return f"all {len(errors)} targets failed: {reasons}"


def root(error: WizardError) -> WizardError:
    """The error of the attempt itself, under the wrappers that a chain puts around it."""
    while isinstance(error, MaxRetriesExceeded):
        error = error.last
    return error
