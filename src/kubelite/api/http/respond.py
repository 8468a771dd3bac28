"""Replies for objects, errors and text, in JSON or YAML, with the headers that Kubernetes sends."""

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kubelite.api.errors import APIError, PageNotFound, Unauthorized
from kubelite.api.http.negotiation import JSON, PLAIN_JSON, Media
from kubelite.api.http.unsent import Charge
from kubelite.api.http.wire import Body, Pieces, slices
from kubelite.api.registry.answers import Listed
from kubelite.limits import WARNING, WARNINGS
from kubelite.offload import Offload

GZIP_THRESHOLD_BYTES = 128 * 1024
GZIP_LEVEL = 1  # upstream's choice: within 1.3x of the best size at the least CPU
GZIP_WINDOW_BITS = 31  # gzip framing
# What work costs, in the unit of `limits.INLINE_WORK`.
YAML_COST = 2  # of one byte
GZIP_BYTES = 16  # to compress, for a cost of one
PRETTY_BYTES = 128  # to indent, for a cost of one
CACHE_CONTROL = "no-cache, private"


class Reply(msgspec.Struct):
    """An answer before it is written."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    warnings: Sequence[str] = ()
    headers: dict[str, str] | None = None
    cache_control: str = CACHE_CONTROL
    pieces: Pieces | None = None  # the body, if it is joined as it is written; `body` is then empty
    charge: Charge | None = None  # for the unsent bytes; released once the answer is written

    @property
    def content(self) -> Body:
        """The body: `pieces` if set, else `body`."""
        return self.body if self.pieces is None else self.pieces


async def object_reply(
    body: Body,
    media: Media,
    offload: Offload,
    *,
    status: int = 200,
    warnings: Sequence[str] = (),
) -> Reply:
    """Return a reply with JSON `body` in the negotiated encoding; long encodings run in the offload."""
    if media != PLAIN_JSON:
        plain, cost = body, rendering_cost(len(body), media)
        body = await offload.run(cost, lambda: _rendered(plain, media))
    return Reply(
        body=b"" if isinstance(body, Pieces) else body,
        pieces=body if isinstance(body, Pieces) else None,
        status=status,
        content_type=media.content_type,
        warnings=warnings,
    )


def rendering_cost(size: int, media: Media) -> int:
    """Return the cost for `Offload.run` of encoding `size` bytes."""
    if media.encoding == "yaml":
        return size * YAML_COST
    return size // PRETTY_BYTES if media.pretty else 0


def _rendered(body: Body, media: Media) -> Body:
    """Return a body in the chosen encoding.

    A list is encoded item by item, so that no step holds the GIL for long.
    """
    if isinstance(body, bytes):
        return rendered(body, media)
    if media.encoding == "yaml":
        return _yaml_list(body)
    return _pretty_list(body) if media.pretty else body


def _yaml_list(body: Pieces) -> Pieces:
    value = msgspec.json.decode(body.head + body.tail)
    (name,) = (name for name, field in value.items() if field == [])
    if not body.items:
        return Pieces(yaml_of(value), (), b"")
    before = {one: value[one] for one in value if one < name}
    after = {one: value[one] for one in value if one > name}
    items = [yaml_of([msgspec.json.decode(item)]) for item in body.items]
    head = (yaml_of(before) if before else b"") + b"%b:\n" % name.encode()
    return Pieces(head, items, yaml_of(after) if after else b"", separator=b"")


def _pretty_list(body: Pieces) -> Pieces:
    formatted = msgspec.json.format(body.head + body.tail, indent=2) + b"\n"
    if not body.items:
        return Pieces(formatted, (), b"")
    end = b"]\n}\n"
    assert formatted.endswith(end), "the items come last"
    items = [
        b"\n    " + msgspec.json.format(item, indent=2).replace(b"\n", b"\n    ")
        for item in body.items
    ]
    return Pieces(formatted.removesuffix(end), items, b"\n  " + end)


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


def list_body(api_version: str, kind: str, listed: Listed, *, custom: bool = False) -> Pieces:
    """Return a list object that shares the stored bytes of its items; `custom` as in `list_metadata`."""
    head = b'{"kind":"%s","apiVersion":"%s","metadata":%s,"items":[' % (
        kind.encode(),
        api_version.encode(),
        msgspec.json.encode(list_metadata(listed, custom=custom)),
    )
    return Pieces(head, listed.items, b"]}", listed.size_bytes)


def list_metadata(listed: Listed, *, custom: bool = False) -> dict[str, Any]:
    """Return the ListMeta of a list as a JSON object; `custom`: of custom resources, which always have a token."""
    metadata: dict[str, Any] = {"resourceVersion": listed.resource_version}
    if listed.continue_token or custom:
        metadata["continue"] = listed.continue_token
    if listed.remaining:
        metadata["remainingItemCount"] = listed.remaining
    return metadata


def error_reply(error: APIError, media: Media = PLAIN_JSON) -> Reply:
    """Return a reply with the error's Status, and Retry-After or WWW-Authenticate where it applies.

    A path that nobody serves is answered with a text.
    """
    if isinstance(error, PageNotFound):
        return text_reply("404 page not found\n", error.code)
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
        warnings=tuple(error.warnings),
    )


def text_reply(
    text: str, status: int = 200, content_type: str = "text/plain; charset=utf-8"
) -> Reply:
    """Return a reply with text, marked nosniff so that browsers do not guess another type."""
    return Reply(
        body=text.encode(),
        status=status,
        content_type=content_type,
        headers={"X-Content-Type-Options": "nosniff"},
    )


def warning_headers(texts: Iterable[str]) -> list[str]:
    """Return the values of the Warning headers (RFC 7234, code 299), each text once.

    If the texts exceed WARNINGS in all, each is truncated to WARNING characters and the last are dropped, as upstream.
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
    """Return the value of a Warning header; unprintable characters, such as CR and LF, become spaces."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    escaped = clean.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'


async def compressed(body: Body, offload: Offload) -> bytes:
    """Return `body` compressed with gzip, in the offload if it is long."""
    return await offload.run(len(body) // GZIP_BYTES, lambda: _gzip(body))


def _gzip(body: Body) -> bytes:
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW_BITS)
    parts = [packer.compress(part) for part in slices(body)]
    return b"".join((*parts, packer.flush()))


def accepts_gzip(header: str) -> bool:
    """Return whether an Accept-Encoding header names gzip (without a weight)."""
    return "gzip" in header and any(token.strip() == "gzip" for token in header.split(","))
