"""Bodies of requests: read within a limit, and decoded by what the Content-Type says they are."""

from typing import Any

import msgspec
from aiohttp import web

from kubelite.api.errors import BadRequest, RequestEntityTooLarge, UnsupportedMediaType
from kubelite.api.http.negotiation import ACCEPTED, JSON, PROTOBUF, YAML
from kubelite.api.http.wire import Disconnected, continue_if_expected
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.registry.verbs import PatchType

BODY_BYTES_MAX = 3 * 1024 * 1024
SUMMARY_LENGTH = 30
PATCH_TYPES: dict[str, PatchType] = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}


class Decoded(msgspec.Struct, frozen=True):
    """A body, and the paths of fields that stood in it twice."""

    value: Any
    duplicate_fields: tuple[str, ...] = ()


async def read_body(request: web.BaseRequest, limit_bytes: int = BODY_BYTES_MAX) -> bytes:
    """Return the body; raises RequestEntityTooLarge as soon as the limit is passed, and Disconnected."""
    length = request.content_length
    if length is not None and length > limit_bytes:
        raise _too_large(limit_bytes)
    if not request.can_read_body:
        return b""
    await continue_if_expected(request)
    parts = []
    size = 0
    try:
        while part := await request.content.readany():
            size += len(part)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            parts.append(part)
    except (ConnectionError, web.RequestPayloadError) as error:
        raise Disconnected from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit_bytes: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"Request entity too large: limit is {limit_bytes}")


def media_type(content_type: str) -> str:
    """Return a Content-Type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def check_media_type(content_type: str) -> None:
    """Raise UnsupportedMediaType for a body that cannot be decoded, before it is read."""
    if (media_type(content_type) or JSON) not in ACCEPTED:
        raise unsupported(ACCEPTED)


def decode(data: bytes, content_type: str, expected: GroupVersionKind) -> Decoded:
    """Decode an object; raises BadRequest and UnsupportedMediaType."""
    check_media_type(content_type)
    kind = media_type(content_type)
    if kind == PROTOBUF:
        decoded = _protobuf(data, expected)
    elif kind == YAML:
        decoded = yaml_value(data, expected.kind)
    else:
        decoded = json_value(data, expected.kind)
    if not isinstance(decoded.value, dict):
        raise _unrecognized(
            data,
            expected.kind,
            "couldn't get version/kind; json parse error: the body is not an object",
        )
    return decoded


def decode_patch(data: bytes, patch_type: str, kind: str) -> Decoded:
    """Decode a patch; raises BadRequest."""
    if patch_type == "apply":
        decoded = yaml_value(data, kind)
        if not isinstance(decoded.value, dict):
            raise BadRequest("error decoding YAML: the patch is not an object")
        return decoded
    decoded = json_value(data, kind)
    wanted = list if patch_type == "json" else dict
    if not isinstance(decoded.value, wanted):
        shape = "an array of operations" if wanted is list else "an object"
        raise BadRequest(f"error decoding patch: json: the patch is not {shape}")
    return decoded


def unsupported(accepted: tuple[str, ...]) -> UnsupportedMediaType:
    """Return the error for a body of unknown type."""
    return UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted)
    )


def json_value(data: bytes, kind: str) -> Decoded:
    """Decode JSON; raises BadRequest."""
    try:
        return Decoded(msgspec.json.decode(data))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        problem = f"couldn't get version/kind; json parse error: {error}"
        raise _unrecognized(data, kind, problem) from error


def yaml_value(data: bytes, kind: str) -> Decoded:
    """Decode YAML; raises BadRequest."""
    raise NotImplementedError


def _protobuf(data: bytes, expected: GroupVersionKind) -> Decoded:
    raise NotImplementedError


def _unrecognized(data: bytes, kind: str, problem: str) -> BadRequest:
    return BadRequest(
        f"the object provided is unrecognized (must be of type {kind}): {problem} ({_summary(data)})"
    )


def _summary(data: bytes) -> str:
    if not data:
        return "<empty>"
    shown = data[:SUMMARY_LENGTH]
    text = shown.decode(errors="replace") if data[:1] == b"{" else shown.hex()
    return text + (" ..." if len(data) > SUMMARY_LENGTH else "")
