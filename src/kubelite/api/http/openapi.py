"""Serves /openapi/v2 and /openapi/v3 from the resource table."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kubelite.api.http.delegation import Delegation
from kubelite.api.http.dispatch import Asked
from kubelite.api.http.negotiation import JSON, parse_accept
from kubelite.api.http.pages import READING_METHODS, ServePage
from kubelite.api.http.respond import CACHE_CONTROL, Reply, text_reply
from kubelite.api.kinds.catalog import kinds
from kubelite.api.machinery.openapi import Served, ServedSubresource
from kubelite.api.machinery.openapi_custom import CustomType
from kubelite.api.machinery.openapi_document import OpenAPIDocument, etag_of
from kubelite.api.machinery.openapi_foreign import ForeignSpec
from kubelite.api.machinery.openapi_pages import IDENTITY, SERVER
from kubelite.api.machinery.openapi_v2 import PROTOBUF, OpenAPIV2
from kubelite.api.machinery.openapi_v3 import OpenAPIV3, joined_index
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.registry.resource import Resource, Subresource
from kubelite.api.registry.routes import not_allowed
from kubelite.api.registry.table import ResourceTable
from kubelite.limits import KIB
from kubelite.offload import AtOnce, Offload

if TYPE_CHECKING:
    from kubelite.api.http.aggregation.remote_openapi import RemoteOpenAPI

NOT_MODIFIED, MOVED = 304, 301
# Older clients write the version after an @, and with a plus that some proxies turn into a space.
PROTOBUF_TYPES = frozenset({PROTOBUF, PROTOBUF.replace("v2.v1.0", "v2@v1.0")})
ROW_COST_BYTES = (
    KIB  # to make plain data of a row, for the offload; of a built-in kind its type is compiled
)
FOREVER = "public, immutable, max-age=31536000"


class OpenAPIPages:
    """Serves the OpenAPI documents, built when asked for and outdated by changes of their group versions."""

    def __init__(
        self,
        resources: ResourceTable,
        *,
        serves_identity: bool = True,
        offload: Offload | None = None,
        delegation: Delegation | None = None,
    ) -> None:
        """`serves_identity`: the pages of the token issuer are served and so documented."""
        pages = (*SERVER, *(IDENTITY if serves_identity else ()))
        self._resources = resources
        self._offload = offload or AtOnce()
        self._served: dict[Resource, Served] = {}
        self._rows: tuple[Served, ...] = ()
        self._generation = (-1, -1)
        self._delegation = delegation or Delegation()
        self._specs: Sequence[ForeignSpec] = ()  # of other servers
        self._joined_index: tuple[tuple[str, int, int], OpenAPIDocument] | None = None
        self._v2 = OpenAPIV2(self.served, pages, self._offload, lambda: self._specs)
        self._v3 = OpenAPIV3(self.served, pages, self._offload)

    def pages(self) -> Mapping[str, ServePage]:
        """Return the handlers by path."""
        return {
            "/openapi/v2": self._whole,
            "/openapi/v3": self._index,
            "/openapi/v3/*": self._group,
        }

    def served(self) -> tuple[Served, ...]:
        """Return the rows of the table as plain data, without the group versions that other servers answer for."""
        generation = self._resources.generation, self._delegation.generation
        if self._generation != generation:
            self._generation = generation
            rows = self._own()
            known = self._served
            self._served = {row: known.get(row) or served(row) for row in rows}
            self._rows = tuple(self._served.values())
        return self._rows

    def _own(self) -> Sequence[Resource]:
        rows, remote = self._resources.all(), self._delegation.remote
        if not remote:
            return rows
        return [row for row in rows if (row.group, row.version) not in remote]

    async def _compile(self) -> None:
        """Make plain data of new rows in the offload: the types of all built-in kinds take 80 ms to compile."""
        if self._generation == (self._resources.generation, self._delegation.generation):
            return
        rows = [row for row in self._own() if row not in self._served]
        self._served |= await self._offload.run(
            ROW_COST_BYTES * len(rows), lambda: {row: served(row) for row in rows}
        )

    async def _whole(self, asked: Asked) -> Reply:
        _reading(asked)
        await self._compile()
        self._specs = await self._foreign()
        protobuf = _wants_protobuf(asked.request.headers.get("Accept", ""))
        content_type = PROTOBUF if protobuf else JSON
        etag = etag_of(await self._v2.hash("protobuf" if protobuf else "json"))
        if asked.request.headers.get("If-None-Match", "") == etag:
            return _not_modified(etag, content_type, CACHE_CONTROL)
        document = await (self._v2.protobuf() if protobuf else self._v2.json())
        return _reply(asked, document, content_type=content_type)

    async def _index(self, asked: Asked) -> Reply:
        _reading(asked)
        await self._compile()
        index = await self._v3.index()
        return _reply(asked, self._with_others(index))

    async def _group(self, asked: Asked) -> Reply:
        _reading(asked)
        await self._compile()
        path = asked.attributes.path.strip("/").removeprefix("openapi/v3/")
        document = await self._found(path)
        if document is None:
            return text_reply("", status=404)  # as upstream: nothing at all
        wanted = asked.query.get("hash", [""])[0]
        if wanted and wanted != document.hash:
            address = f"/openapi/v3/{path}?hash={document.hash}"
            return Reply(body=b"", status=MOVED, headers={"Location": address})
        return _reply(asked, document, cache=FOREVER if wanted else CACHE_CONTROL)

    def _openapi(self) -> "RemoteOpenAPI | None":
        """Return the documents of other servers; None while nothing is delegated."""
        aggregation = self._delegation.aggregation
        return aggregation.openapi if self._delegation.remote and aggregation is not None else None

    async def _foreign(self) -> Sequence[ForeignSpec]:
        remote = self._openapi()
        return await remote.specs() if remote is not None else ()

    def _with_others(self, index: OpenAPIDocument) -> OpenAPIDocument:
        """Return the index with the documents of other servers."""
        remote = self._openapi()
        if remote is None:
            return index
        key = index.hash, remote.generation, self._delegation.generation
        if self._joined_index is None or self._joined_index[0] != key:
            self._joined_index = key, joined_index(index, remote.hashes())
        return self._joined_index[1]

    async def _found(self, path: str) -> OpenAPIDocument | None:
        """Return a document of this server, or of the one that a group version is delegated to."""
        remote = self._openapi()
        if remote is None or remote.registration(path) is None:
            return await self._v3.document(path)
        return await remote.document(path)


def served(resource: Resource) -> Served:
    """Return what OpenAPI documents of a row of the resource table."""
    type_ = object_type(resource)
    return Served(
        group=resource.group,
        version=resource.version,
        plural=resource.plural,
        kind=resource.kind,
        namespaced=resource.namespaced,
        verbs=resource.verbs,
        schema=type_,
        answers_whole=resource.strategy.conduct.answered_whole,
        subresources=tuple(
            _subresource(resource, type_, each) for each in resource.subresources.values()
        ),
    )


def object_type(resource: Resource) -> Schema | CustomType:
    """Return the type of a row's objects; a custom resource that brings none is documented without fields."""
    if resource.type is not None:
        return resource.schema
    return resource.openapi or CustomType(
        kind=resource.kind, list_kind=f"{resource.kind.kind}List", source=None
    )


def _subresource(
    resource: Resource, type_: Schema | CustomType, subresource: Subresource
) -> ServedSubresource:
    kind = subresource.kind
    schema: Schema | CustomType | None = None
    is_object = subresource.name != "log" and not kind.kind.endswith("Options")
    if is_object and kind == resource.kind:
        schema = type_
    elif is_object and (struct := kinds().get(kind)) is not None:
        schema = compile_struct(struct)
    return ServedSubresource(subresource.name, subresource.verbs, kind, schema)


def _wants_protobuf(accept: str) -> bool:
    return any(
        media_type.replace(" ", "+") in PROTOBUF_TYPES for media_type, _ in parse_accept(accept)[:1]
    )


def _reply(
    asked: Asked, document: OpenAPIDocument, *, content_type: str = JSON, cache: str = CACHE_CONTROL
) -> Reply:
    if asked.request.headers.get("If-None-Match", "") == document.etag:
        return _not_modified(document.etag, content_type, cache)
    headers = {"ETag": document.etag, "Vary": "Accept"}
    return Reply(document.body, 200, content_type, headers=headers, cache_control=cache)


def _not_modified(etag: str, content_type: str, cache: str) -> Reply:
    headers = {"ETag": etag, "Vary": "Accept"}
    return Reply(b"", NOT_MODIFIED, content_type, headers=headers, cache_control=cache)


def _reading(asked: Asked) -> None:
    if asked.request.method not in READING_METHODS:
        raise not_allowed()
