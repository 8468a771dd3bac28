"""OpenAPI version 2 (Swagger): one document for all served paths, as JSON and as client-go's protobuf."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

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
from kubelite.api.machinery.openapi_proto import encode_document
from kubelite.api.machinery.openapi_v3 import INFO, OpenAPIDocument, hashed

PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_MEDIA_TYPES = ["application/json", "application/yaml"]
_CODES = {"200": "OK", "201": "Created", "202": "Accepted"}


class OpenAPIV2:
    """Serves /openapi/v2."""

    def __init__(
        self, served: Callable[[], Sequence[Served]], pages: Sequence[ServedPage] = SERVER
    ) -> None:
        """`served` returns the resources served now; `pages` are the other paths."""
        self._served = served
        self._pages = pages
        self._rows: tuple[Served, ...] = ()
        self._made: dict[str, OpenAPIDocument] = {}
        self._lock = asyncio.Lock()

    async def json(self) -> OpenAPIDocument:
        """Return the document as JSON."""
        return await self._document("json", msgspec.json.encode)

    async def protobuf(self) -> OpenAPIDocument:
        """Return the document as an `openapi_v2.Document` message."""
        return await self._document("protobuf", encode_document)

    async def _document(self, form: str, encode: Callable[[JSON], bytes]) -> OpenAPIDocument:
        async with self._lock:  # one build at a time, shared by all waiting requests
            rows = tuple(self._served())
            if rows != self._rows:
                self._rows = rows
                self._made.clear()
            if form not in self._made:
                self._made[form] = await asyncio.to_thread(
                    lambda: hashed(encode(document(rows, self._pages)))
                )
            return self._made[form]


def document(rows: Sequence[Served], pages: Sequence[ServedPage] = ()) -> JSON:
    """Return the document of resources, of their groups and versions, and of pages."""
    definitions, parameters = Definitions(2), _Parameters()
    described = {
        path.path: _path_item(definitions, parameters, resource, path)
        for resource in rows
        for path in paths(resource)
    }
    for resource in rows:
        definitions.reference(resource.schema)
    for page in (*pages, *discovery_pages(rows)):
        described[page.path] = {"get": _page(definitions, page), "parameters": []}
    return {
        "swagger": "2.0",
        "info": INFO,
        "paths": dict(sorted(described.items())),
        "definitions": definitions.schemas,
        "parameters": parameters.shared,
    }


# kubectl searches these in the operations themselves to learn whether the server supports them, so keep them inline.
_INLINE = frozenset(("dryRun", "fieldValidation"))


class _Parameters:
    """Collects the referenced parameters, which hundreds of operations share."""

    def __init__(self) -> None:
        self.shared: dict[str, JSON] = {}

    def reference(self, name: str, place: str, subresource: str = "") -> JSON:
        """Return a reference to a parameter and add it, or return the parameter itself if it must be inline."""
        about = parameter_words(name, subresource)
        made: JSON = {
            "name": name,
            "in": place,
            "description": about,
            "type": parameter_type(name),
            "uniqueItems": True,
        }
        if name in _INLINE:
            return made
        key = name if about == parameter_words(name) else f"{name}-{subresource}"
        if place == "path":
            key, made["required"] = f"{key}-path", True
        self.shared.setdefault(key, made)
        return {"$ref": f"#/parameters/{key}"}


def _page(definitions: Definitions, page: ServedPage) -> JSON:
    return {
        "description": page.about,
        "operationId": page.identifier,
        "tags": [page.tag],
        "consumes": list(page.produces),
        "produces": list(page.produces),
        "schemes": ["https"],
        "parameters": [],
        "responses": {
            "200": {"description": "OK", "schema": page.answer(definitions)},
            "401": {"description": "Unauthorized"},
        },
    }


def _path_item(
    definitions: Definitions, parameters: _Parameters, resource: Served, path: Path
) -> JSON:
    item: JSON = {
        operation.method: _operation(definitions, parameters, resource, operation)
        for operation in path.operations
    }
    item["parameters"] = [parameters.reference(name, "path") for name in path.names]
    if all(operation.action != "connect" for operation in path.operations):
        item["parameters"].append(parameters.reference("pretty", "query"))
    return item


def _operation(
    definitions: Definitions, shared: _Parameters, resource: Served, operation: Operation
) -> JSON:
    answered = answer(definitions, resource, operation)
    parameters = [
        shared.reference(name, "query", operation.subresource) for name in operation.parameters
    ]
    if (sent := body(definitions, operation)) is not None:
        about = parameter_words("body", operation.body)
        whole: JSON = {"name": "body", "in": "body", "description": about, "schema": sent}
        if operation.body != "options":
            whole["required"] = True
        parameters.insert(0, whole)
    return {
        "description": operation.about,
        "operationId": operation.identifier,
        "tags": [f"{tag_of(resource.group)}_{resource.version}"],
        "consumes": list(PATCH_TYPES) if operation.body == "patch" else ["*/*"],
        "produces": ["*/*"] if operation.answer == "text" else _MEDIA_TYPES,
        "schemes": ["https"],
        "parameters": parameters,
        "responses": {
            code: {"description": _CODES[code], "schema": answered} for code in operation.codes
        }
        | {"401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": operation.kind._asdict(),
    }
