"""OpenAPI version 2 (Swagger): all that is served in one document, as JSON and as the protobuf client-go asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from kubelite.api.machinery.openapi import JSON, Definitions, Served
from kubelite.api.machinery.openapi_operations import (
    PATCH_TYPES,
    Operation,
    Path,
    answer,
    body,
    parameter_type,
    paths,
)
from kubelite.api.machinery.openapi_proto import encode_document
from kubelite.api.machinery.openapi_v3 import INFO, OpenAPIDocument, hashed

PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_MEDIA_TYPES = ["application/json", "application/yaml"]
_CODES = {"200": "OK", "201": "Created", "202": "Accepted"}


class OpenAPIV2:
    """Answers /openapi/v2."""

    def __init__(self, served: Callable[[], Sequence[Served]]) -> None:
        """Take what lists the resources that are served at the time."""
        self._served = served
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
        async with self._lock:  # one build at a time, and the same one for all who wait
            rows = tuple(self._served())
            if rows != self._rows:
                self._rows = rows
                self._made.clear()
            if form not in self._made:
                self._made[form] = await asyncio.to_thread(lambda: hashed(encode(document(rows))))
            return self._made[form]


def document(rows: Sequence[Served]) -> JSON:
    """Return the document of some resources."""
    definitions = Definitions(2)
    described = {
        path.path: _path_item(definitions, resource, path)
        for resource in rows
        for path in paths(resource)
    }
    for resource in rows:
        definitions.reference(resource.schema)
    return {
        "swagger": "2.0",
        "info": INFO,
        "paths": described,
        "definitions": definitions.schemas,
    }


def _path_item(definitions: Definitions, resource: Served, path: Path) -> JSON:
    item: JSON = {
        operation.method: _operation(definitions, resource, operation)
        for operation in path.operations
    }
    item["parameters"] = [
        *(_parameter(name, "path") for name in path.names),
        _parameter("pretty", "query"),
    ]
    return item


def _parameter(name: str, place: str) -> JSON:
    made: JSON = {"name": name, "in": place, "type": parameter_type(name), "uniqueItems": True}
    return {**made, "required": True} if place == "path" else made


def _operation(definitions: Definitions, resource: Served, operation: Operation) -> JSON:
    answered = answer(definitions, resource, operation)
    parameters = [_parameter(name, "query") for name in operation.parameters]
    if (sent := body(definitions, operation)) is not None:
        whole: JSON = {"name": "body", "in": "body", "schema": sent}
        if operation.body != "options":
            whole["required"] = True
        parameters.insert(0, whole)
    return {
        "description": operation.about,
        "operationId": operation.identifier,
        "tags": [f"{resource.group or 'core'}_{resource.version}"],
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
