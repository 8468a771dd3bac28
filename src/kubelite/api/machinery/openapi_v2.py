"""OpenAPI version 2 (Swagger): one document for all served paths, as JSON and as client-go's protobuf."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from kubelite.api.machinery.explanations import parameter_words
from kubelite.api.machinery.openapi import JSON, Definitions, Served
from kubelite.api.machinery.openapi_builder import INFO, Sent, build
from kubelite.api.machinery.openapi_operations import parameter_type
from kubelite.api.machinery.openapi_pages import SERVER, ServedPage, discovery_pages
from kubelite.api.machinery.openapi_proto import encode_document
from kubelite.api.machinery.openapi_v3 import OpenAPIDocument, hashed

PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


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
    dialect = Swagger()
    described = build(rows, (*pages, *discovery_pages(rows)), dialect)
    return {
        "swagger": "2.0",
        "info": INFO,
        "paths": described,
        "definitions": dialect.definitions.schemas,
        "parameters": dialect.shared,
    }


# kubectl searches these in the operations themselves to learn whether the server supports them, so keep them inline.
_INLINE = frozenset(("dryRun", "fieldValidation"))


class Swagger:
    """The dialect of version 2; collects the parameters in `shared`, since hundreds of operations reference them."""

    text_types = ("*/*",)

    def __init__(self) -> None:
        self.definitions = Definitions(2)
        self.shared: dict[str, JSON] = {}

    def parameter(self, name: str, place: str, subresource: str = "") -> JSON:
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

    def request(
        self, sent: Sent | None, accepted: Sequence[str], produced: Sequence[str], query: list[JSON]
    ) -> JSON:
        """Return media types, schemes and parameters; a body is one of the parameters."""
        whole = [_body_parameter(sent)] if sent else []
        return {
            "consumes": list(accepted),
            "produces": list(produced),
            "schemes": ["https"],
            "parameters": whole + query,
        }

    def response(self, about: str, produced: Sequence[str], schema: JSON) -> JSON:  # noqa: ARG002 - the protocol's
        """Return a response; `request` has its media types."""
        return {"description": about, "schema": schema}

    def body(self, sent: Sent) -> JSON:  # noqa: ARG002 - the protocol's
        """Return nothing: a body is a parameter."""
        return {}

    def page(self, described: JSON, produced: Sequence[str]) -> JSON:
        """Return the path item of a page."""
        responses = described.pop("responses")
        whole = described | self.request(None, produced, produced, []) | {"responses": responses}
        return {"get": whole, "parameters": []}


def _body_parameter(sent: Sent) -> JSON:
    about = parameter_words("body", sent.role)
    made: JSON = {"name": "body", "in": "body", "description": about, "schema": sent.schema}
    return {**made, "required": True} if sent.required else made
