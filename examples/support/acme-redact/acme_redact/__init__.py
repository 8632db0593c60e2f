"""Redact: keep e-mail addresses and chosen words out of what is sent.

The policy stands on the outermost rung, so that the cache's key holds the redacted text too.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from wizard_dsl.core.bound import bound_unchanged
from wizard_dsl.core.component import Example, PolicyConfig, PolicyType, Rung, Scope
from wizard_dsl.core.messages import Message, Request, Text
from wizard_dsl.core.node import BuildContext, Handler
from wizard_dsl.core.response import Response
from wizard_dsl.core.run import Run

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


class RedactConfig(PolicyConfig, frozen=True):
    """Keep addresses and words out of prompts."""

    emails: Annotated[bool, Meta(description="redact e-mail addresses")] = True
    words: Annotated[list[str], Meta(description="redact these words too, in any case")] = []
    replacement: Annotated[str, Meta(description="what stands there instead")] = "[redacted]"


class Redact:
    """Rewrites the texts of a request; answers pass unchanged."""

    def __init__(self, config: RedactConfig, next: Handler, context: BuildContext) -> None:
        self._next = next
        self._patterns = patterns(config)
        self._replacement = config.replacement

    async def call(self, request: Request, run: Run) -> Response:
        messages = tuple(self._message(each) for each in request.messages)
        texts = tuple(self._text(each) for each in request.texts)
        return await self._next(msgspec.structs.replace(request, messages=messages, texts=texts), run)

    def _message(self, message: Message) -> Message:
        parts = tuple(Text(self._text(part.text)) if isinstance(part, Text) else part for part in message.parts)
        return msgspec.structs.replace(message, parts=parts)

    def _text(self, text: str) -> str:
        for pattern in self._patterns:
            text = pattern.sub(lambda match: self._replacement, text)
        return text


def patterns(config: RedactConfig) -> list[re.Pattern[str]]:
    """What is looked for, addresses first."""
    words = [re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE) for word in config.words if word]
    return [_EMAIL, *words] if config.emails else words


REDACT = PolicyType(
    name="acme.redact",
    summary="Keeps e-mail addresses and chosen words out of what is sent.",
    rung=Rung.SAFETY,
    scope=Scope.CALL,
    config=RedactConfig,
    build=Redact,
    bound=bound_unchanged,
    examples=(Example("A code name", "acme.redact: {words: [Falcon]}"),),
)
