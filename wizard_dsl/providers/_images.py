"""Images as providers want them: a `data:` URL in its two pieces, or a guess of a URL's type."""

from __future__ import annotations

from wizard_dsl.core.errors import InvalidRequest

_TYPES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}


def data_of(url: str) -> tuple[str, str] | None:
    """(media type, base64) of a `data:` URL, None of any other. Raises InvalidRequest where it is not base64."""
    if not url.startswith("data:"):
        return None
    kind, comma, content = url[5:].partition(",")
    if not comma or not kind.endswith(";base64"):
        raise InvalidRequest(
            f"an image's data: URL must be base64, as in data:image/png;base64,…, not {url[:40]!r}", sent=False
        )
    return kind.removesuffix(";base64") or "image/png", content


def type_of(url: str) -> str:
    """The media type that a URL's ending suggests."""
    ending = url.partition("?")[0].rpartition(".")[2].lower()
    return _TYPES.get(ending, "image/jpeg")
