"""OpenAPI version 3: one document per group version, and an index with their URLs, which have the documents' hashes.

A document is built at its first request, in a thread, and rebuilt only if a resource of its group version changed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from kubelite.api.machinery.explanations import parameter_words
from kubelite.api.machinery.openapi import JSON, Definitions, Served
from kubelite.api.machinery.openapi_builder import INFO, Sent, build
from kubelite.api.machinery.openapi_operations import parameter_type
from kubelite.api.machinery.openapi_pages import SERVER, ServedPage, discovery_pages


class OpenAPIDocument(Struct, frozen=True):
    """An encoded document, and the hash of its content."""

    body: bytes
    hash: str

    @property
    def etag(self) -> str:
        """Return the value of the ETag header."""
        return f'"{self.hash}"'


def hashed(body: bytes) -> OpenAPIDocument:
    """Return a document with the hash of its content."""
    return OpenAPIDocument(body, hashlib.sha256(body).hexdigest().upper())


class OpenAPIV3:
    """Serves /openapi/v3 and the paths below it."""

    def __init__(
        self, served: Callable[[], Sequence[Served]], pages: Sequence[ServedPage] = SERVER
    ) -> None:
        """`served` returns the resources served now; `pages` are the other paths."""
        self._served = served
        self._pages = pages
        self._made: dict[str, tuple[_Content, OpenAPIDocument]] = {}
        self._lock = asyncio.Lock()

    async def index(self) -> OpenAPIDocument:
        """Return the index: the URL of each group version's document."""
        addresses = {}
        for path in sorted(self._groups()):
            document = await self.document(path)
            if document is not None:
                address = f"/openapi/v3/{path}?hash={document.hash}"
                addresses[path] = {"serverRelativeURL": address}
        return hashed(msgspec.json.encode({"paths": addresses}))

    async def document(self, path: str) -> OpenAPIDocument | None:
        """Return the document of a group version such as ``apis/apps/v1``; None if nothing is served there."""
        async with self._lock:  # one build at a time, shared by all waiting requests
            content = self._groups().get(path)
            if content is None:
                self._made.pop(path, None)
                return None
            known = self._made.get(path)
            if known is None or known[0] != content:
                known = content, await asyncio.to_thread(_document, content)
                self._made[path] = known
            return known[1]

    def _groups(self) -> dict[str, _Content]:
        rows = self._served()
        resources: dict[str, list[Served]] = {}
        for resource in rows:
            resources.setdefault(resource.group_path, []).append(resource)
        return {
            page.document: (tuple(resources.get(page.document, ())), page)
            for page in (*self._pages, *discovery_pages(rows))
        }


_Content = tuple[
    tuple[Served, ...], ServedPage
]  # the resources at a path, and the page that lists them


def _document(content: _Content) -> OpenAPIDocument:
    return hashed(msgspec.json.encode(group_document(*content)))


def group_document(rows: Sequence[Served], page: ServedPage | None = None) -> JSON:
    """Return the document of one group version's resources, and of the page that lists them."""
    dialect = OpenAPI()
    described = build(rows, (page,) if page is not None else (), dialect)
    return {
        "openapi": "3.0.0",
        "info": INFO,
        "paths": described,
        "components": {"schemas": dialect.definitions.schemas},
    }


class OpenAPI:
    """The dialect of version 3."""

    text_types = ("text/plain",)

    def __init__(self) -> None:
        self.definitions = Definitions(3)

    def parameter(self, name: str, place: str, subresource: str = "") -> JSON:
        """Return a parameter; the path items of a document share none."""
        made: JSON = {
            "name": name,
            "in": place,
            "description": parameter_words(name, subresource),
            "schema": {"type": parameter_type(name), "uniqueItems": True},
        }
        return {**made, "required": True} if place == "path" else made

    def request(
        self,
        sent: Sent | None,  # noqa: ARG002 - the protocol's
        accepted: Sequence[str],  # noqa: ARG002 - the protocol's
        produced: Sequence[str],  # noqa: ARG002 - the protocol's
        query: list[JSON],
    ) -> JSON:
        """Return the parameters; bodies have the media types."""
        return {"parameters": query}

    def response(self, about: str, produced: Sequence[str], schema: JSON) -> JSON:
        """Return a response with the same schema for each media type."""
        return {"description": about, "content": _content(produced, schema)}

    def body(self, sent: Sent) -> JSON:
        """Return the body of a request with the same schema for each media type."""
        made: JSON = {"content": _content(sent.media_types, sent.schema)}
        return {"requestBody": {**made, "required": True} if sent.required else made}

    def page(self, described: JSON, produced: Sequence[str]) -> JSON:  # noqa: ARG002 - the protocol's
        """Return the path item of a page."""
        return {"get": described}


def _content(media_types: Sequence[str], schema: JSON) -> JSON:
    return {media_type: {"schema": schema} for media_type in media_types}
