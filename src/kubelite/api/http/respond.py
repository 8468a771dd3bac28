"""Answers: bytes, objects and errors with the headers Kubernetes gives them."""

import asyncio
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kubelite.api.errors import APIError, Unauthorized
from kubelite.api.http.negotiation import JSON, PLAIN_JSON, Media
from kubelite.api.registry.answers import Listed
from kubelite.limits import WARNING, WARNINGS

GZIP_THRESHOLD_BYTES = 128 * 1024
GZIP_LEVEL = 1  # upstream's choice: within 1.3x of the best size at the least CPU
GZIP_WINDOW_BITS = 31  # gzip framing
INLINE_GZIP_BYTES_MAX = 512 * 1024  # about 5 ms of the loop
INLINE_YAML_BYTES_MAX = 16 * 1024  # about 8 ms of the loop
INLINE_PRETTY_BYTES_MAX = 4 * 1024 * 1024  # about 7 ms of the loop
CACHE_CONTROL = "no-cache, private"


class Reply(msgspec.Struct):
    """An answer before it is written."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    warnings: Sequence[str] = ()
    headers: dict[str, str] | None = None
    cache_control: str = CACHE_CONTROL


async def object_reply(
    body: bytes, media: Media = PLAIN_JSON, *, status: int = 200, warnings: Sequence[str] = ()
) -> Reply:
    """Answer with an encoded object, in the encoding the client chose."""
    return Reply(
        body=await _rendered_in_time(body, media),
        status=status,
        content_type=media.content_type,
        warnings=warnings,
    )


async def _rendered_in_time(body: bytes, media: Media) -> bytes:
    limit_bytes = INLINE_YAML_BYTES_MAX if media.encoding == "yaml" else INLINE_PRETTY_BYTES_MAX
    if media == PLAIN_JSON or len(body) <= limit_bytes:
        return rendered(body, media)
    return await asyncio.get_running_loop().run_in_executor(None, rendered, body, media)


def rendered(body: bytes, media: Media) -> bytes:
    """Return JSON bytes in the chosen encoding."""
    if media.encoding == "yaml":
        return yaml_of(msgspec.json.decode(body))
    if media.pretty:
        return msgspec.json.format(body, indent=2) + b"\n"
    return body


def yaml_of(value: Any) -> bytes:
    """Return a JSON value as YAML."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(value, Dumper=dumper, sort_keys=True, default_flow_style=False)
    return text.encode()


def list_body(api_version: str, kind: str, listed: Listed) -> bytes:
    """Return the bytes of a list from the bytes of its items."""
    head = b'{"kind":"%s","apiVersion":"%s","metadata":%s,"items":[' % (
        kind.encode(),
        api_version.encode(),
        msgspec.json.encode(list_metadata(listed)),
    )
    return b"".join((head, b",".join(listed.items), b"]}"))


def list_metadata(listed: Listed) -> dict[str, Any]:
    """Return the metadata of a list."""
    metadata: dict[str, Any] = {"resourceVersion": listed.resource_version}
    if listed.continue_token:
        metadata["continue"] = listed.continue_token
    if listed.remaining:
        metadata["remainingItemCount"] = listed.remaining
    return metadata


def error_reply(error: APIError, media: Media = PLAIN_JSON) -> Reply:
    """Answer with the error's Status."""
    headers: dict[str, str] = {}
    if error.retry_after_seconds:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="kubelite"'
    if error.code in (403, 404):
        headers["X-Content-Type-Options"] = "nosniff"
    return Reply(
        body=rendered(msgspec.json.encode(error.status()), media),
        status=error.code,
        content_type=media.content_type,
        headers=headers,
    )


def text_reply(
    text: str, status: int = 200, content_type: str = "text/plain; charset=utf-8"
) -> Reply:
    """Answer with plain text."""
    return Reply(
        body=text.encode(),
        status=status,
        content_type=content_type,
        headers={"X-Content-Type-Options": "nosniff"},
    )


def warning_headers(texts: Iterable[str]) -> list[str]:
    """Return the values of the Warning headers (RFC 7234, code 299), each text once.

    When the texts are too long in all, each is cut and the last ones are left out, as upstream.
    """
    whole = [text for text in dict.fromkeys(texts) if text]
    if sum(map(len, whole)) <= WARNINGS.value:
        return [warning_header(text) for text in whole]
    WARNINGS.reached()
    headers = []
    written = 0
    for text in whole:
        if written >= WARNINGS.value:
            break
        cut = text[: WARNING.value]
        written += len(cut)
        headers.append(warning_header(cut))
    return headers


def warning_header(text: str) -> str:
    """Return a header's value, without what could end the header."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    escaped = clean.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'


async def compressed(body: bytes) -> bytes:
    """Return a gzip of `body`."""
    if len(body) <= INLINE_GZIP_BYTES_MAX:
        return _gzip(body)
    return await asyncio.get_running_loop().run_in_executor(None, _gzip, body)


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, GZIP_LEVEL, GZIP_WINDOW_BITS)


def accepts_gzip(header: str) -> bool:
    """Say whether an Accept-Encoding header names gzip."""
    return "gzip" in header and any(token.strip() == "gzip" for token in header.split(","))
