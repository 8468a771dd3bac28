"""Request bodies: read up to a limit, and decoded by Content-Type."""

from aiohttp import web

from kubelite.api.errors import BadRequest, RequestEntityTooLarge, UnsupportedMediaType
from kubelite.api.http.negotiation import ACCEPTED, JSON, PROTOBUF, YAML
from kubelite.api.http.wire import Disconnected, continue_if_expected, transport_of
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.json_patch import unknown_members
from kubelite.api.machinery.json_reading import Reading, Refuse, expecting, read_json
from kubelite.api.machinery.work_cost import json_cost, protobuf_cost, yaml_cost
from kubelite.api.registry.verbs import PatchType
from kubelite.limits import REQUEST_BODY, Limit
from kubelite.offload import Offload

PROTOBUF_AS_JSON = (
    4  # bytes of JSON per byte of protobuf: two bytes can decode to an object with all its defaults
)
PATCH_TYPES: dict[str, PatchType] = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}


async def read_body(request: web.BaseRequest, limit: Limit = REQUEST_BODY) -> bytes:
    """Return the body; b"" if there is none. Sends 100 Continue if the client expects it.

    Raises:
        RequestEntityTooLarge: As soon as the body exceeds the limit.
        BadRequest: Its transfer coding is broken.
        Disconnected: The client disconnected.
    """
    length = request.content_length
    if length is not None and length > limit.value:
        raise _too_large(limit)
    if not request.can_read_body:
        return b""
    await continue_if_expected(request)
    parts = []
    size = 0
    try:
        while part := await request.content.readany():
            size += len(part)
            if size > limit.value:
                raise _too_large(limit)
            parts.append(part)
    except ConnectionError as error:
        raise Disconnected from error
    except web.RequestPayloadError as error:
        transport_of(request)  # raises Disconnected if the client is gone
        raise BadRequest("cannot read the request body: malformed chunked encoding") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: Limit) -> RequestEntityTooLarge:
    limit.reached()
    return RequestEntityTooLarge(f"Request entity too large: limit is {limit.value}")


def media_type(content_type: str) -> str:
    """Return the media type of a Content-Type, in lower case and without parameters."""
    return content_type.partition(";")[0].strip().lower()


def check_media_type(content_type: str) -> None:
    """Raise UnsupportedMediaType unless the body can be decoded; called before the body is read."""
    if (media_type(content_type) or JSON) not in ACCEPTED:
        raise unsupported(ACCEPTED)


async def decode(
    data: bytes, content_type: str, expected: GroupVersionKind, offload: Offload
) -> Reading:
    """Decode an object of any accepted media type. Raises BadRequest and UnsupportedMediaType."""
    check_media_type(content_type)
    kind = media_type(content_type)
    if kind == PROTOBUF:
        reading = await _protobuf(data, offload)
    elif kind == YAML:
        reading = await _yaml(data, expecting(expected.kind), offload)
    else:
        reading = await _json(data, expecting(expected.kind), offload)
    if not isinstance(reading.value, dict):
        problem = (
            "json parse error: json: cannot unmarshal into Go value of type map[string]interface {}"
        )
        raise expecting(expected.kind)(data, problem)
    return reading


async def decode_patch(data: bytes, patch_type: PatchType, offload: Offload) -> Reading:
    """Decode a patch: YAML for apply, else JSON. Raises BadRequest; what kind of value it is, the verb checks."""
    if patch_type == "apply":
        return await _yaml(data, _broken_configuration, offload)
    reading = await _json(data, _broken_patch, offload)
    if patch_type != "json":
        return reading
    strange = (*reading.duplicates, *unknown_members(reading.value))
    return reading._replace(duplicates=tuple(f"json patch {each}" for each in strange))


def _broken_patch(body: bytes, reason: str) -> BadRequest:
    del body
    return BadRequest(f"error decoding patch: {reason.removeprefix('json parse error: ')}")


def _broken_configuration(body: bytes, reason: str) -> BadRequest:
    del body
    return BadRequest(f"error decoding YAML: error converting YAML to JSON: {reason}")


def unsupported(accepted: tuple[str, ...]) -> UnsupportedMediaType:
    """Return the error for a Content-Type that is not in `accepted`."""
    return UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted)
    )


async def _json(data: bytes, refuse: Refuse, offload: Offload) -> Reading:
    reading = await offload.run(
        json_cost(len(data)), lambda: read_json(data, refuse=refuse, find_duplicates=True)
    )
    return reading._replace(cost_bytes=len(data))


async def _yaml(data: bytes, refuse: Refuse, offload: Offload) -> Reading:
    # Most clients send JSON, so the YAML reader is imported on first use.
    from kubelite.api.machinery.yaml_reading import read_yaml

    reading = await offload.run(
        yaml_cost(len(data)), lambda: read_yaml(data, refuse=refuse, find_duplicates=True)
    )
    return reading._replace(cost_bytes=len(data))


async def _protobuf(data: bytes, offload: Offload) -> Reading:
    # The import builds the tables of field numbers, so it waits for the first protobuf body.
    from kubelite.api.machinery.protobuf import read_protobuf

    value = await offload.run(protobuf_cost(len(data)), lambda: read_protobuf(data))
    return Reading(value, cost_bytes=len(data) * PROTOBUF_AS_JSON)
