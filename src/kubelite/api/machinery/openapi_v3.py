"""OpenAPI version 3: one document per group version, and an index with their URLs, which have the documents' hashes.

A document is built at its first request, in a thread, and rebuilt only if a resource of its group version changed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.machinery.explanations import parameter_words
from kubelite.api.machinery.openapi import JSON, Definitions, Served
from kubelite.api.machinery.openapi_operations import (
    PATCH_TYPES,
    Operation,
    Path,
    answer,
    body,
    parameter_type,
    paths,
    tag_of,
)
from kubelite.api.machinery.openapi_pages import SERVER, ServedPage, discovery_pages

INFO = {"title": "Kubernetes", "version": "v1.36.2"}
_MEDIA_TYPES = ("application/json", "application/yaml")


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
    definitions = Definitions(3)
    described = {
        path.path: _path_item(definitions, resource, path)
        for resource in rows
        for path in paths(resource)
    }
    for resource in rows:
        definitions.reference(resource.schema)
    if page is not None:
        described[page.path] = {"get": _page(definitions, page)}
    return {
        "openapi": "3.0.0",
        "info": INFO,
        "paths": dict(sorted(described.items())),
        "components": {"schemas": definitions.schemas},
    }


def _page(definitions: Definitions, page: ServedPage) -> JSON:
    return {
        "description": page.about,
        "operationId": page.identifier,
        "tags": [page.tag],
        "responses": {
            "200": {
                "description": "OK",
                "content": _content(page.produces, page.answer(definitions)),
            },
            "401": {"description": "Unauthorized"},
        },
    }


def _path_item(definitions: Definitions, resource: Served, path: Path) -> JSON:
    item: JSON = {
        operation.method: _operation(definitions, resource, operation)
        for operation in path.operations
    }
    item["parameters"] = [_parameter(name, "path") for name in path.names]
    if all(operation.action != "connect" for operation in path.operations):
        item["parameters"].append(_parameter("pretty", "query"))
    return item


def _parameter(name: str, place: str, subresource: str = "") -> JSON:
    made: JSON = {
        "name": name,
        "in": place,
        "description": parameter_words(name, subresource),
        "schema": {"type": parameter_type(name), "uniqueItems": True},
    }
    return {**made, "required": True} if place == "path" else made


def _operation(definitions: Definitions, resource: Served, operation: Operation) -> JSON:
    media_types = ("text/plain",) if operation.answer == "text" else _MEDIA_TYPES
    answered = _content(media_types, answer(definitions, resource, operation))
    made: JSON = {
        "description": operation.about,
        "operationId": operation.identifier,
        "tags": [f"{tag_of(resource.group)}_{resource.version}"],
        "parameters": [
            _parameter(name, "query", operation.subresource) for name in operation.parameters
        ],
        "responses": {
            code: {"description": _CODES[code], "content": answered} for code in operation.codes
        }
        | {"401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": operation.kind._asdict(),
    }
    if (sent := body(definitions, operation)) is not None:
        accepted = PATCH_TYPES if operation.body == "patch" else ("*/*",)
        made["requestBody"] = {"content": _content(accepted, sent)}
        if operation.body != "options":
            made["requestBody"]["required"] = True
    return made


_CODES = {"200": "OK", "201": "Created", "202": "Accepted"}


def _content(media_types: Sequence[str], schema: dict[str, Any]) -> JSON:
    return {media_type: {"schema": schema} for media_type in media_types}
