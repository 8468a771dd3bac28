"""Puts an object that a webhook or policy changed in place of a request's, in whatever version it was changed."""

from typing import Any, NamedTuple

from kubelite.api.errors import BadRequest, InternalError, internal_error
from kubelite.api.machinery.shaping.shape import Shape
from kubelite.api.machinery.work_cost import json_cost
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.api.registry.objects import decode, encode
from kubelite.api.registry.resource import Resource
from kubelite.offload import Offload

JSON = dict[str, Any]
# Set by the server after mutating admission upstream, so what changes objects does not see it.
SET_LATER = ("uid", "creationTimestamp", "generation")


class Copy(NamedTuple):
    """A copy of an object, and the size of that object in bytes of JSON."""

    item: JSON
    size: int


async def converted(origin: Resource, wanted: Resource, item: JSON, offload: Offload) -> Copy:
    """Return a copy of an object in the version of another row of the same storage; off the loop, if it is large."""
    data = encode(item)
    size = len(data)
    if wanted is origin:
        return Copy(await offload.run(json_cost(size), lambda: decode.decode(data)), size)
    write = None if origin is origin.canonical else origin.conversion
    read = None if wanted is wanted.canonical else wanted.conversion

    def convert() -> JSON:
        copy = decode.decode(data)
        copy = copy if write is None else write.write(copy)
        return copy if read is None else read.read(copy)

    if any(step is not None and step.waits for step in (write, read)):
        copy = await offload.run(json_cost(size), lambda: decode.decode(data))
        if write is not None:
            (copy,) = await write.write_all([copy])
        if read is not None:
            (copy,) = await read.read_all([copy])
        return Copy(copy, size)
    cost = json_cost(size) + origin.shape.cost(size) + wanted.shape.cost(size)
    return Copy(await offload.run(cost, convert), size)


async def put_back(
    request: AdmissionRequest,
    row: Resource,
    item: JSON,
    kept: JSON,
    offload: Offload,
    *,
    size: int | None,
) -> None:
    """Put a changed object, in the version of `row`, in place of the request's, which it becomes a part of.

    `kept` is from `take_out`. `size` is that of the object in bytes; None: it has its form already. Raises
    InternalError for what has the wrong type.
    """
    if size is not None:
        shape = shape_of(request, row)
        await offload.run(shape.cost(size), lambda: complete(shape, item))
    own, present = request.resource, request.object
    assert present is not None
    if request.form is not None:
        present.clear()
        present.update(item)
        return
    subresource = row.subresources.get(request.attributes.subresource)
    if subresource is not None and subresource.projection is not None:
        former = await converted(own, row, present, offload)
        whole = subresource.projection.write(former.item, item)
    else:
        whole = item
        if isinstance(metadata := whole.get("metadata"), dict):
            metadata |= kept
    changed = whole if row is own else (await converted(row, own, whole, offload)).item
    if own.type is not None:
        changed["apiVersion"], changed["kind"] = own.api_version, own.kind.kind
    present.clear()
    present.update(changed)


def shape_of(request: AdmissionRequest, row: Resource) -> Shape:
    """Return the form of what a request shows in the version of `row`."""
    if request.form is not None:
        return request.form
    subresource = row.subresources.get(request.attributes.subresource)
    if subresource is not None and subresource.projection is not None:
        return subresource.projection.shape
    return row.shape


def complete(shape: Shape, item: JSON) -> None:
    """Give a changed object its form; raises InternalError for what has the wrong type."""
    try:
        shape.complete(item)
    except BadRequest as error:
        raise misshapen(error) from error


def misshapen(error: BadRequest) -> InternalError:
    """Return the error for a changed object that is none of its kind."""
    return internal_error(error.message[max(error.message.find("json: "), 0) :])


def take_out(shown: JSON | None, request: AdmissionRequest) -> JSON:
    """Take from the metadata of an object what the server sets later, and return it."""
    if shown is None or request.operation is not Verb.CREATE:
        return {}
    metadata = shown.get("metadata") or {}
    return {name: metadata.pop(name) for name in SET_LATER if name in metadata}
