"""Builds the parts of a document that both versions of OpenAPI have: paths, operations, and the types they reference.

A `Dialect` says what one version writes in a form of its own: parameters, bodies, responses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from kubelite.api.machinery.openapi import Definitions, Served
from kubelite.api.machinery.openapi_custom import JSON
from kubelite.api.machinery.openapi_operations import (
    MEDIA_TYPES,
    Operation,
    Path,
    answer,
    body,
    paths,
    tag_of,
)
from kubelite.api.machinery.openapi_pages import ServedPage

INFO = {"title": "Kubernetes", "version": "v1.36.2"}
CODES = {"200": "OK", "201": "Created", "202": "Accepted"}
UNAUTHORIZED = {"401": {"description": "Unauthorized"}}


class Sent(Struct, frozen=True):
    """The body of a request."""

    schema: JSON
    media_types: Sequence[str]
    role: str  # object, patch or options
    required: bool


class Dialect(Protocol):
    """What one version of OpenAPI writes in a form of its own."""

    @property
    def definitions(self) -> Definitions:
        """The types referenced so far."""
        ...

    @property
    def text_types(self) -> Sequence[str]:
        """The media types of a response that is no object."""
        ...

    def parameter(self, name: str, place: str, subresource: str = "") -> JSON:
        """Return a parameter in the query or in the path, or a reference to it."""
        ...

    def request(
        self, sent: Sent | None, accepted: Sequence[str], produced: Sequence[str], query: list[JSON]
    ) -> JSON:
        """Return the keys of an operation that say what it accepts, written before its responses."""
        ...

    def response(self, about: str, produced: Sequence[str], schema: JSON) -> JSON:
        """Return a response with a body."""
        ...

    def body(self, sent: Sent) -> JSON:
        """Return the keys of an operation that say what its body is, written after its responses."""
        ...

    def page(self, described: JSON, produced: Sequence[str]) -> JSON:
        """Return the path item of a page from its operation, which lacks its media types."""
        ...


def build(rows: Sequence[Served], pages: Iterable[ServedPage], dialect: Dialect) -> dict[str, JSON]:
    """Return the paths of resources and pages, in order; the types they reference are in `dialect.definitions`."""
    described = {
        path.path: _path_item(dialect, resource, path)
        for resource in rows
        for path in paths(resource)
    }
    for resource in rows:
        dialect.definitions.reference(resource.schema)
    for page in pages:
        described[page.path] = _page(dialect, page)
    return dict(sorted(described.items()))


def _page(dialect: Dialect, page: ServedPage) -> JSON:
    answered = dialect.response("OK", page.produces, page.answer(dialect.definitions))
    described = {
        "description": page.about,
        "operationId": page.identifier,
        "tags": [page.tag],
        "responses": {"200": answered} | UNAUTHORIZED,
    }
    return dialect.page(described, page.produces)


def _path_item(dialect: Dialect, resource: Served, path: Path) -> JSON:
    item: JSON = {
        operation.method: _operation(dialect, resource, operation) for operation in path.operations
    }
    item["parameters"] = [dialect.parameter(name, "path") for name in path.names]
    if all(operation.action != "connect" for operation in path.operations):
        item["parameters"].append(dialect.parameter("pretty", "query"))
    return item


def _operation(dialect: Dialect, resource: Served, operation: Operation) -> JSON:
    produced = dialect.text_types if operation.answer == "text" else MEDIA_TYPES
    answered = answer(dialect.definitions, resource, operation)
    query = [
        dialect.parameter(name, "query", operation.subresource) for name in operation.parameters
    ]
    sent = _sent(dialect.definitions, operation)
    return {
        "description": operation.about,
        "operationId": operation.identifier,
        "tags": [f"{tag_of(resource.group)}_{resource.version}"],
        **dialect.request(sent, operation.accepted, produced, query),
        "responses": {
            code: dialect.response(CODES[code], produced, answered) for code in operation.codes
        }
        | UNAUTHORIZED,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": operation.kind._asdict(),
        **(dialect.body(sent) if sent else {}),
    }


def _sent(definitions: Definitions, operation: Operation) -> Sent | None:
    schema = body(definitions, operation)
    if schema is None:
        return None
    role = operation.body
    return Sent(schema, operation.accepted, role, required=role != "options")
