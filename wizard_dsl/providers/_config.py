"""What the configs of all HTTP providers share: where to ask, with which key, and extra headers."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any

from msgspec import Meta

from wizard_dsl.core.component import ProviderConfig
from wizard_dsl.core.errors import SpecError
from wizard_dsl.core.run import Run
from wizard_dsl.providers._secrets import spellings

Secret = Annotated[
    str, Meta(description="a reference, such as ${env:OPENAI_API_KEY}", extra_json_schema={"x-secret": True})
]
BaseUrl = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        description="without the endpoint's own path",
        extra_json_schema={"x-form": "an http: or https: URL without user, query and fragment"},
    ),
]
HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue = Annotated[str, Meta(pattern=r"^[^\r\n\x00]*$")]
Headers = Annotated[dict[HeaderName, HeaderValue], Meta(description="sent with each request, over the type's own")]


JSON_HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "user-agent": "wizard-dsl",
}


class EndpointConfig(ProviderConfig, frozen=True, kw_only=True):
    """Base of the configs of providers that are asked over HTTP. Printing one never shows a key."""

    base_url: BaseUrl | None = None
    api_key: Secret | None = None
    headers: Headers = {}

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name == "api_key" and value is not None:
                value = "***"
            elif name == "headers":
                value = dict.fromkeys(value, "***")
            shown.append((name, value))
        return shown

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


def secrets_of(config: EndpointConfig) -> tuple[str, ...]:
    """What must not appear in a message: the key, and the values of configured headers."""
    return spellings((config.api_key, *config.headers.values()))


def build_headers(own: Mapping[str, str], config: EndpointConfig, where: str) -> dict[str, str]:
    """The static headers of each request; those of the config win, whatever their case.

    Raises SpecError where a value cannot be sent, which a schema cannot see in a referenced one.
    """
    named = {name.lower() for name in config.headers}
    merged = {name: value for name, value in own.items() if name.lower() not in named} | config.headers
    for name, value in merged.items():
        if not value.isprintable() or not value.isascii():
            raise SpecError(
                f"the header {name} of {where} holds a character that cannot be sent; "
                "look for a line break or a copied quotation mark in the variable or file it comes from",
                where=where,
            )
    return merged


def join_url(base: str, path: str) -> str:
    """`path` below `base`, with one slash between them."""
    return f"{base.rstrip('/')}/{path}"


def idempotency_key(run: Run, target: str, body: bytes) -> str:
    """The same for every repeat of one request on one target; a contract's repair asks something else."""
    scope = run.scope
    return sha256(f"{scope.run_id}/{scope.step}/{scope.item}/{target}/".encode() + body).hexdigest()[:32]
