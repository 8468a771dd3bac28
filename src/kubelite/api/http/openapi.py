"""Serves /openapi/v2 and /openapi/v3 from the resource table."""

import asyncio
from collections.abc import Mapping

from kubelite.api.http.dispatch import Asked
from kubelite.api.http.negotiation import JSON, parse_accept
from kubelite.api.http.pages import READING_METHODS, ServePage
from kubelite.api.http.respond import CACHE_CONTROL, Reply
from kubelite.api.kinds.catalog import kinds
from kubelite.api.machinery.openapi import Served, ServedSubresource
from kubelite.api.machinery.openapi_pages import IDENTITY, SERVER
from kubelite.api.machinery.openapi_v2 import PROTOBUF, OpenAPIV2
from kubelite.api.machinery.openapi_v3 import OpenAPIDocument, OpenAPIV3
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.registry.resource import Resource, Subresource
from kubelite.api.registry.routes import not_allowed, not_found
from kubelite.api.registry.table import ResourceTable

NOT_MODIFIED, MOVED = 304, 301
# Older clients write the version after an @, and with a plus that some proxies turn into a space.
PROTOBUF_TYPES = frozenset({PROTOBUF, PROTOBUF.replace("v2.v1.0", "v2@v1.0")})
FOREVER = "public, immutable, max-age=31536000"


class OpenAPIPages:
    """Serves the OpenAPI documents, built on first use and rebuilt when the resource table changes."""

    def __init__(self, resources: ResourceTable, *, serves_identity: bool = True) -> None:
        """`serves_identity`: the pages of the token issuer are served and so documented."""
        pages = (*SERVER, *(IDENTITY if serves_identity else ()))
        self._resources = resources
        self._served: tuple[Served, ...] = ()
        self._generation = -1
        self._v2 = OpenAPIV2(self.served, pages)
        self._v3 = OpenAPIV3(self.served, pages)

    def pages(self) -> Mapping[str, ServePage]:
        """Return the handlers by path."""
        return {
            "/openapi/v2": self._whole,
            "/openapi/v3": self._index,
            "/openapi/v3/*": self._group,
        }

    def served(self) -> tuple[Served, ...]:
        """Return the rows of the table as plain data."""
        if self._generation != self._resources.generation:
            self._generation = self._resources.generation
            self._served = tuple(map(served, self._resources.all()))
        return self._served

    async def _compile(self) -> None:
        """Compile the types of all rows in a thread, since the first time takes 80 ms."""
        if self._generation != self._resources.generation:
            rows = tuple(self._resources.all())
            await asyncio.to_thread(lambda: [served(row) for row in rows])

    async def _whole(self, asked: Asked) -> Reply:
        _reading(asked)
        await self._compile()
        if _wants_protobuf(asked.request.headers.get("Accept", "")):
            return _reply(asked, await self._v2.protobuf(), content_type=PROTOBUF)
        return _reply(asked, await self._v2.json())

    async def _index(self, asked: Asked) -> Reply:
        _reading(asked)
        await self._compile()
        return _reply(asked, await self._v3.index())

    async def _group(self, asked: Asked) -> Reply:
        _reading(asked)
        await self._compile()
        path = asked.attributes.path.strip("/").removeprefix("openapi/v3/")
        document = await self._v3.document(path)
        if document is None:
            raise not_found()
        wanted = asked.query.get("hash", [""])[0]
        if wanted and wanted != document.hash:
            address = f"/openapi/v3/{path}?hash={document.hash}"
            return Reply(body=b"", status=MOVED, headers={"Location": address})
        return _reply(asked, document, cache=FOREVER if wanted else CACHE_CONTROL)


def served(resource: Resource) -> Served:
    """Return what OpenAPI documents of a row of the resource table."""
    return Served(
        group=resource.group,
        version=resource.version,
        plural=resource.plural,
        kind=resource.kind,
        namespaced=resource.namespaced,
        verbs=resource.verbs,
        schema=resource.schema,
        answers_whole=resource.strategy.conduct.answered_whole,
        subresources=tuple(_subresource(resource, each) for each in resource.subresources.values()),
    )


def _subresource(resource: Resource, subresource: Subresource) -> ServedSubresource:
    kind = subresource.kind
    schema: Schema | None = None
    is_object = subresource.name != "log" and not kind.kind.endswith("Options")
    if is_object and kind == resource.kind:
        schema = resource.schema
    elif is_object and (type_ := kinds().get(kind)) is not None:
        schema = compile_struct(type_)
    return ServedSubresource(subresource.name, subresource.verbs, kind, schema)


def _wants_protobuf(accept: str) -> bool:
    return any(
        media_type.replace(" ", "+") in PROTOBUF_TYPES for media_type, _ in parse_accept(accept)[:1]
    )


def _reply(
    asked: Asked, document: OpenAPIDocument, *, content_type: str = JSON, cache: str = CACHE_CONTROL
) -> Reply:
    headers = {"ETag": document.etag, "Vary": "Accept"}
    if asked.request.headers.get("If-None-Match", "") == document.etag:
        return Reply(b"", NOT_MODIFIED, content_type, headers=headers, cache_control=cache)
    return Reply(document.body, 200, content_type, headers=headers, cache_control=cache)


def _reading(asked: Asked) -> None:
    if asked.request.method not in READING_METHODS:
        raise not_allowed()
