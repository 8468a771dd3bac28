"""Representations of objects that a client can negotiate: Table and PartialObjectMetadata."""

from functools import partial

import msgspec

from kubelite.api.errors import BadRequest, NotAcceptable
from kubelite.api.http.negotiation import META_GROUP, REFUSED, Media
from kubelite.api.http.query import text
from kubelite.api.http.request import Query
from kubelite.api.http.respond import list_body, list_metadata
from kubelite.api.http.wire import Body, Pieces
from kubelite.api.machinery.columns.layout import Layout
from kubelite.api.machinery.table import (
    INCLUDE_OBJECT,
    IncludeObject,
    object_table,
    rows,
    table,
    table_frame,
)
from kubelite.api.registry.answers import Listed
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.watch import PLAIN, Form
from kubelite.clock import Clock
from kubelite.offload import AtOnce, Offload

# What work costs, in the unit of `limits.INLINE_WORK`.
ROW_COST = 160  # a row of a table: about 50 µs
HEAD_COST = 12  # an object's metadata: about 3 µs
TABLED_BYTES = 32  # bytes of an object to decode, for a cost of one
METADATA_LIST = "PartialObjectMetadataList"


class Head(msgspec.Struct):
    """The part of an object that PartialObjectMetadata carries."""

    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_head_decoder = msgspec.json.Decoder(Head)


class MetadataForm:
    """An object as a PartialObjectMetadata of the given meta.k8s.io version."""

    event_cost = HEAD_COST

    def __init__(self, version: str) -> None:
        self.name = f"metadata {version}"
        self._start = b'{"kind":"PartialObjectMetadata","apiVersion":"%s/%s","metadata":' % (
            META_GROUP.encode(),
            version.encode(),
        )

    def single(self, value: bytes) -> bytes:
        """Return the PartialObjectMetadata of an encoded object."""
        return self._start + bytes(_head_decoder.decode(value).metadata) + b"}"

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return one line of a watch."""
        return b'{"type":"%s","object":%s}\n' % (event_type.encode(), self.single(value))


class TableForm:
    """An object as a table of one row."""

    event_cost = ROW_COST

    def __init__(
        self, layout: Layout, name: str, include: IncludeObject, clock: Clock, api_version: str
    ) -> None:
        self.name = f"table {api_version} {name} {include}"
        self._api_version = api_version
        self._layout = layout
        self._include = include
        self._clock = clock

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return one line of a watch; a bookmark has no row."""
        now = self._clock.now()
        if event_type == "BOOKMARK":
            metadata = msgspec.json.decode(_head_decoder.decode(value).metadata)
            shown = table(self._layout, [], now, self._include, metadata, self._api_version)
        else:
            shown = object_table(self._layout, value, now, self._include, self._api_version)
        return b'{"type":"%s","object":%s}\n' % (event_type.encode(), shown)


METADATA_FORMS = {version: MetadataForm(version) for version in ("v1", "v1beta1")}


class Forms:
    """Turns stored objects into the representation that content negotiation chose."""

    def __init__(self, clock: Clock, offload: Offload | None = None) -> None:
        self._clock = clock
        self._offload = offload or AtOnce()

    async def single(
        self,
        resource: Resource,
        media: Media,
        query: Query,
        body: bytes,
        layout: Layout | None = None,
    ) -> bytes:
        """Return one object; `layout` is that of its table, by default the resource's.

        Raises BadRequest (query) and NotAcceptable (a form the resource does not have).
        """
        match media.form:
            case "Table":
                if (
                    "list" not in resource.verbs
                ):  # create-only resources, such as reviews, have no columns
                    raise NotAcceptable(REFUSED)
                now, include = self._clock.now(), include_object(query)
                shown, version = layout or resource.layout, media.form_api_version
                return await self._offload.run(
                    ROW_COST + len(body) // TABLED_BYTES,
                    lambda: object_table(shown, body, now, include, version),
                )
            case "PartialObjectMetadata":
                return METADATA_FORMS[media.form_version].single(body)
            case "PartialObjectMetadataList":
                raise NotAcceptable(
                    f"you requested {METADATA_LIST}, but the requested object is not a list "
                    f"({_go_type(resource, resource.kind.kind)})"
                )
            case _:
                return body

    async def list(self, resource: Resource, media: Media, query: Query, listed: Listed) -> Body:
        """Return a list. Raises BadRequest (query) and NotAcceptable (the form of a single object)."""
        match media.form:
            case "Table":
                return await self._table(resource, media, query, listed)
            case "PartialObjectMetadataList":
                return await self._offload.run(
                    len(listed.items) * HEAD_COST,
                    partial(_metadata_list, media.form_version, listed),
                )
            case "PartialObjectMetadata":
                raise NotAcceptable(
                    "you requested PartialObjectMetadata, but the requested object is a list "
                    f"({_go_type(resource, resource.kind_of_list)})"
                )
            case _:
                custom = resource.type is None
                return list_body(resource.api_version, resource.kind_of_list, listed, custom=custom)

    def watch(self, resource: Resource, media: Media, query: Query) -> Form:
        """Return the form of a watch's events. Raises BadRequest."""
        if media.form == "Table":
            kind = "/".join(resource.kind)
            return TableForm(
                resource.layout, kind, include_object(query), self._clock, media.form_api_version
            )
        return METADATA_FORMS[media.form_version] if media.form else PLAIN

    async def _table(
        self, resource: Resource, media: Media, query: Query, listed: Listed
    ) -> Pieces:
        layout, now, include = resource.layout, self._clock.now(), include_object(query)
        items, version = listed.items, media.form_api_version
        head, tail = table_frame(layout, list_metadata(listed), version)
        cost = len(items) * ROW_COST + sum(map(len, items)) // TABLED_BYTES
        made = await self._offload.run(cost, lambda: rows(layout, items, now, include, version))
        return Pieces(head, made, tail)


def _go_type(resource: Resource, kind: str) -> str:
    """Return the type that an error names: of a custom resource that of Go's generic objects."""
    if resource.type is not None:
        return kind
    return "*unstructured.Unstructured" + ("List" if kind == resource.kind_of_list else "")


def _metadata_list(version: str, listed: Listed) -> Pieces:
    form = METADATA_FORMS[version]
    shown = msgspec.structs.replace(listed, items=[form.single(item) for item in listed.items])
    return list_body(f"{META_GROUP}/{version}", METADATA_LIST, shown)


def include_object(query: Query) -> IncludeObject:
    """Return the includeObject option: how much of each object a row carries. Raises BadRequest."""
    value = text(query, "includeObject") or "Metadata"
    for known in INCLUDE_OBJECT:
        if value == known:
            return known
    raise BadRequest(f'unrecognized includeObject value: "{value}"')
