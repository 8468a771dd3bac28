"""Converts the object of a request to the version in which a webhook or policy is asked."""

from typing import Any

import msgspec

from kubelite.api.registry.objects import encode
from kubelite.api.registry.resource import Resource

JSON = dict[str, Any]


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
