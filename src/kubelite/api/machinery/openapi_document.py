"""What both OpenAPI services serve: an encoded document with its hash, and the rows it is made of.

A document shows the schemas of custom resources up to `limits.OPENAPI_SCHEMAS`; the kinds past it are shown without
their fields, as kinds without a schema are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kubelite import __version__
from kubelite.api.machinery.openapi import Served
from kubelite.api.machinery.openapi_custom import CustomType
from kubelite.limits import KIB, OBJECT, OPENAPI_SCHEMAS

BUILD_COST_BYTES = 64 * KIB  # of the paths and common types of a group version, for the offload
SCHEMA_PASSES = 4  # over a schema: to convert it, to encode it, to hash it, to join it


class OpenAPIDocument(Struct, frozen=True, weakref=True):
    """An encoded document, and the hash that names it."""

    body: bytes
    hash: str

    @property
    def etag(self) -> str:
        """Return the value of the ETag header."""
        return etag_of(self.hash)


def etag_of(hash_: str) -> str:
    """Return the value of the ETag header of a document with a hash."""
    return f'"{hash_}"'


def hashed(body: bytes) -> OpenAPIDocument:
    """Return a document with the hash of its content."""
    return OpenAPIDocument(body, hashlib.sha256(body).hexdigest().upper())


def fingerprint(rows: Iterable[Served]) -> str:
    """Return a hash of what a document of custom resources is made of, which costs less than the document.

    The release is part of it, since clients keep a document for ever under its hash.
    """
    facts = [
        (
            *(row.plural, row.namespaced, row.verbs, row.answers_whole),
            [(one.name, one.verbs) for one in row.subresources],
            row.schema.encoded.digest,
        )
        for row in rows
        if isinstance(row.schema, CustomType)
    ]
    return hashlib.sha256(msgspec.json.encode((__version__, facts))).hexdigest().upper()


def by_group_version(rows: Iterable[Served]) -> dict[str, tuple[Served, ...]]:
    """Return the rows of each group version, by its path such as ``apis/apps/v1``."""
    groups: dict[str, list[Served]] = {}
    for row in rows:
        groups.setdefault(row.group_path, []).append(row)
    return {path: tuple(group) for path, group in groups.items()}


def measuring_cost(rows: Iterable[Served]) -> int:
    """Return an upper bound of the bytes to pass over for the sizes of schemas that are not known yet."""
    return sum(OBJECT.value for type_ in _custom_types(rows) if not type_.is_measured)


def building_cost(rows: Iterable[Served]) -> int:
    """Return the cost of building a document, for the offload."""
    sizes = (
        each.encoded.size if each.is_measured else OBJECT.value for each in _custom_types(rows)
    )
    return BUILD_COST_BYTES + SCHEMA_PASSES * sum(sizes)


def measure(rows: Iterable[Served]) -> None:
    """Read the schemas of custom resources once, for their sizes and digests."""
    for type_ in _custom_types(rows):
        _ = type_.encoded


def _custom_types(rows: Iterable[Served]) -> Iterator[CustomType]:
    return (row.schema for row in rows if isinstance(row.schema, CustomType))


def within_limit(rows: Sequence[Served]) -> tuple[Served, ...]:
    """Return the rows as one document shows them: those past `limits.OPENAPI_SCHEMAS` without fields."""
    left = OPENAPI_SCHEMAS.value
    shown = []
    for row in rows:
        if isinstance(row.schema, CustomType):
            left -= row.schema.encoded.size
            if left < 0:
                OPENAPI_SCHEMAS.reached()
                left += row.schema.encoded.size
                shown.append(_without_fields(row, row.schema))
                continue
        shown.append(row)
    return tuple(shown)


def _without_fields(row: Served, type_: CustomType) -> Served:
    subresources = tuple(
        replace(one, schema=type_.bare) if one.schema is type_ else one for one in row.subresources
    )
    return replace(row, schema=type_.bare, subresources=subresources)
