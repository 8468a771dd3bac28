"""Puts an object that a webhook or policy changed in place of a request's, in whatever version it was changed."""

from typing import Any

import msgspec

from kubelite.api.errors import BadRequest, InternalError, internal_error
from kubelite.api.machinery.shaping.shape import Shape
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.api.registry.objects import encode
from kubelite.api.registry.resource import Resource

JSON = dict[str, Any]
# Set by the server after mutating admission upstream, so what changes objects does not see it.
SET_LATER = ("uid", "creationTimestamp", "generation")


async def converted(origin: Resource, wanted: Resource, item: JSON) -> JSON:
    """Return a copy of an object in the version of another row of the same storage."""
    copy: JSON = msgspec.json.decode(encode(item))
    if wanted is origin:
        return copy
    if origin.conversion is not None and origin is not origin.canonical:
        (copy,) = await origin.conversion.write_all([copy])
    if wanted.conversion is not None and wanted is not wanted.canonical:
        (copy,) = await wanted.conversion.read_all([copy])
    return copy


async def put_back(
    request: AdmissionRequest,
    row: Resource,
    item: JSON,
    kept: JSON,
    *,
    is_complete: bool = False,
) -> None:
    """Put a changed object, in the version of `row`, in place of the request's, which it becomes a part of.

    `kept` is from `take_out`. `is_complete`: it has its form already. Raises InternalError for what has the wrong type.
    """
    if not is_complete:
        complete(shape_of(request, row), item)
    own, present = request.resource, request.object
    assert present is not None
    if request.form is not None:
        present.clear()
        present.update(item)
        return
    subresource = row.subresources.get(request.attributes.subresource)
    if subresource is not None and subresource.projection is not None:
        whole = subresource.projection.write(await converted(own, row, present), item)
    else:
        whole = item
        if isinstance(metadata := whole.get("metadata"), dict):
            metadata |= kept
    changed = whole if row is own else await converted(row, own, whole)
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
