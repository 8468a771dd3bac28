"""OpenAPI version 2 (Swagger): one document for all served paths, as JSON and as client-go's protobuf.

A document is joined from encoded parts: one of the built-in kinds, and one of each group version of custom resources.
Only the parts whose resources changed are built again, at the next request.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Literal
from weakref import ref

import msgspec
from msgspec import Struct

from kubelite.api.machinery.explanations import parameter_words
from kubelite.api.machinery.openapi import Definitions, Served
from kubelite.api.machinery.openapi_builder import INFO, Sent, build
from kubelite.api.machinery.openapi_custom import JSON
from kubelite.api.machinery.openapi_document import (
    OpenAPIDocument,
    building_cost,
    by_group_version,
    measure,
    measuring_cost,
    within_limit,
)
from kubelite.api.machinery.openapi_foreign import ForeignSpec, merge
from kubelite.api.machinery.openapi_operations import parameter_type
from kubelite.api.machinery.openapi_pages import SERVER, ServedPage, discovery_pages
from kubelite.api.machinery.openapi_proto import (
    encode_definition,
    encode_parameter,
    encode_path,
    join_document,
)
from kubelite.offload import AtOnce, Offload

PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

MERGE_PASSES = 6  # over what other servers say: to decode, compare, rename and encode it

FormName = Literal["json", "protobuf"]
Chunks = list[bytes]


class Form(Struct, frozen=True):
    """How the entries of a document are encoded, and joined."""

    path: Callable[[str, JSON], bytes]
    definition: Callable[[str, JSON], bytes]
    parameter: Callable[[str, JSON], bytes]
    separator: bytes
    # Takes the chunks of paths, definitions and parameters, with separators.
    join: Callable[[Chunks, Chunks, Chunks], Chunks]


def _json_entry(name: str, value: JSON) -> bytes:
    return b"%b:%b" % (msgspec.json.encode(name), msgspec.json.encode(value))


def _join_json(paths: Chunks, definitions: Chunks, parameters: Chunks) -> Chunks:
    head = b'{"swagger":"2.0","info":%b,"paths":{' % msgspec.json.encode(INFO)
    ends = b'},"definitions":{', b'},"parameters":{', b"}}"
    return [head, *paths, ends[0], *definitions, ends[1], *parameters, ends[2]]


def _join_protobuf(paths: Chunks, definitions: Chunks, parameters: Chunks) -> Chunks:
    return join_document(paths, definitions, parameters, INFO)


AS_JSON = Form(_json_entry, _json_entry, _json_entry, b",", _join_json)
AS_PROTOBUF = Form(encode_path, encode_definition, encode_parameter, b"", _join_protobuf)


class Part(Struct, frozen=True):
    """The encoded part of a document that some resources make."""

    paths: bytes
    definitions: Mapping[str, bytes]
    parameters: Mapping[str, bytes]
    digest: bytes

    @property
    def size(self) -> int:
        """The bytes of the part, in round numbers."""
        return len(self.paths) + sum(map(len, self.definitions.values()))


class OpenAPIV2:
    """Serves /openapi/v2."""

    def __init__(
        self,
        served: Callable[[], Sequence[Served]],
        pages: Sequence[ServedPage] = SERVER,
        offload: Offload | None = None,
        foreign: Callable[[], Sequence[ForeignSpec]] = tuple,
    ) -> None:
        """`served` returns the resources served now; `pages` are the other paths; `foreign` is of other servers."""
        offload = offload or AtOnce()
        as_json = _JoinedDocument(served, AS_JSON, pages, offload, foreign)
        self._documents: dict[FormName, _JoinedDocument] = {
            "json": as_json,
            "protobuf": _JoinedDocument(served, AS_PROTOBUF, pages, offload, foreign, as_json),
        }

    async def json(self) -> OpenAPIDocument:
        """Return the document as JSON."""
        return await self._documents["json"].current()

    async def protobuf(self) -> OpenAPIDocument:
        """Return the document as an `openapi_v2.Document` message."""
        return await self._documents["protobuf"].current()

    async def hash(self, form: FormName) -> str:
        """Return the hash of the document in a form, without joining it."""
        return await self._documents[form].hash()


class _JoinedDocument:
    """The document in one form. Its parts are kept; it is not, since it would take as much memory again."""

    def __init__(
        self,
        served: Callable[[], Sequence[Served]],
        form: Form,
        pages: Sequence[ServedPage],
        offload: Offload,
        foreign: Callable[[], Sequence[ForeignSpec]],
        as_json: _JoinedDocument | None = None,
    ) -> None:
        """`as_json` is the same document as JSON, None: this one is."""
        self._served = served
        self._form = form
        self._foreign = foreign
        self._as_json = as_json
        self._specs: tuple[ForeignSpec, ...] = ()
        self._merged: tuple[Part, ...] = ()  # what other servers add
        self._pages = pages
        self._offload = offload
        self._rows: tuple[Served, ...] | None = None
        self._hash = ""
        self._joined: ref[OpenAPIDocument] | None = None
        self._base: tuple[tuple[Served, ...], Part] | None = None
        self._parts: dict[str, tuple[tuple[Served, ...], Part]] = {}
        self._lock = asyncio.Lock()  # one build at a time, shared by all waiting requests

    async def hash(self) -> str:
        """Return the hash of the document of the resources served now."""
        async with self._lock:
            await self._follow()
            return self._hash

    async def current(self) -> OpenAPIDocument:
        """Return the document of the resources served now."""
        async with self._lock:
            await self._follow()
            document = self._joined() if self._joined is not None else None
            if document is None:
                document = await self._join()
                self._joined = ref(document)
            return document

    async def _follow(self) -> None:
        """Build the parts whose resources changed."""
        rows, specs = tuple(self._served()), tuple(self._foreign())
        if rows == self._rows and specs == self._specs:
            return
        self._rows = self._joined = None  # until all parts are built: a request may be cancelled
        base = await self._built_in(tuple(row for row in rows if not row.custom))
        await self._custom(base, tuple(row for row in rows if row.custom))
        self._merged = ()
        if specs:
            self._merged = (await self._merge(specs),)
        digests = b"".join(part.digest for part in self._all_parts())
        self._hash = hashlib.sha256(digests).hexdigest().upper()
        self._rows, self._specs = rows, specs

    async def _merge(self, specs: Sequence[ForeignSpec]) -> Part:
        """Return the part that other servers add; names are compared as JSON in either form."""
        local = self._all_parts() if self._as_json is None else await self._as_json.local()
        cost = MERGE_PASSES * sum(len(spec.content) for spec in specs)
        return await self._offload.run(cost, lambda: merged_part(specs, local, self._form))

    async def local(self) -> list[Part]:
        """Return the parts of the resources served here."""
        async with self._lock:
            await self._follow()
            return [part for part in self._all_parts() if part not in self._merged]

    async def _join(self) -> OpenAPIDocument:
        parts = self._all_parts()
        cost = sum(part.size for part in parts)
        body = await self._offload.run(cost, lambda: joined(parts, self._form))
        return OpenAPIDocument(body, self._hash)

    def _all_parts(self) -> list[Part]:
        assert self._base is not None, "the parts are built first"
        return [self._base[1], *(part for _, part in self._parts.values()), *self._merged]

    async def _built_in(self, rows: tuple[Served, ...]) -> Part:
        if self._base is None or self._base[0] != rows:
            pages = (*self._pages, *discovery_pages(rows))
            made = await self._offload.run(
                building_cost(rows), lambda: encoded_part(rows, pages, self._form)
            )
            self._base = rows, made
            self._parts.clear()  # they lack what the built-in part has
        return self._base[1]

    async def _custom(self, base: Part, rows: tuple[Served, ...]) -> None:
        await self._offload.run(measuring_cost(rows), lambda: measure(rows))
        groups = by_group_version(within_limit(rows))
        for path in self._parts.keys() - groups.keys():
            del self._parts[path]
        for path, group in groups.items():
            if path not in self._parts or self._parts[path][0] != group:
                self._parts[path] = group, await self._part(base, group)

    async def _part(self, base: Part, rows: tuple[Served, ...]) -> Part:
        return await self._offload.run(
            building_cost(rows), lambda: encoded_part(rows, (), self._form, base)
        )


_NOTHING = Part(b"", {}, {}, b"")


def encoded_part(
    rows: Sequence[Served], pages: Iterable[ServedPage], form: Form, base: Part = _NOTHING
) -> Part:
    """Return the part that some resources make, without the types and parameters that `base` has."""
    dialect = Swagger(base.definitions.keys(), base.parameters.keys())
    described = build(rows, pages, dialect)
    paths = form.separator.join(form.path(path, item) for path, item in described.items())
    definitions = {
        name: form.definition(name, item) for name, item in dialect.definitions.schemas.items()
    }
    parameters = {name: form.parameter(name, item) for name, item in dialect.shared.items()}
    digest = hashlib.sha256(paths)
    for encoded in (*definitions.values(), *parameters.values()):
        digest.update(encoded)
    return Part(paths, definitions, parameters, digest.digest())


def merged_part(specs: Sequence[ForeignSpec], local: Sequence[Part], form: Form) -> Part:
    """Return the part that other servers add to the local ones, which are encoded as JSON."""
    definitions: dict[str, bytes] = {}
    parameters: dict[str, bytes] = {}
    for part in local:
        definitions |= part.definitions
        parameters |= part.parameters
    added = merge(specs, definitions, parameters)
    digest = hashlib.sha256(b"".join(spec.digest for spec in specs))
    return Part(
        form.separator.join(form.path(path, item) for path, item in added.paths.items()),
        {name: form.definition(name, item) for name, item in added.definitions.items()},
        {name: form.parameter(name, item) for name, item in added.parameters.items()},
        digest.digest(),
    )


def joined(parts: Sequence[Part], form: Form) -> bytes:
    """Return the document of some parts; what two of them define is that of the first."""
    definitions: dict[str, bytes] = {}
    parameters: dict[str, bytes] = {}
    for part in parts:
        for merged, own in ((definitions, part.definitions), (parameters, part.parameters)):
            for name, encoded in own.items():
                merged.setdefault(name, encoded)
    chunks = form.join(
        _separated([part.paths for part in parts if part.paths], form.separator),
        _separated(definitions.values(), form.separator),
        _separated(parameters.values(), form.separator),
    )
    # Joined once, since a copy of the document holds the interpreter for milliseconds.
    return b"".join(chunks)


def _separated(chunks: Iterable[bytes], separator: bytes) -> Chunks:
    made = [each for chunk in chunks for each in (chunk, separator)]
    return made[:-1]


# kubectl searches these in the operations themselves to learn whether the server supports them, so keep them inline.
_INLINE = frozenset(("dryRun", "fieldValidation"))


class Swagger:
    """The dialect of version 2; collects the parameters in `shared`, since hundreds of operations reference them."""

    text_types = ("*/*",)

    def __init__(
        self, definitions: Set[str] = frozenset(), parameters: Set[str] = frozenset()
    ) -> None:
        """`definitions` and `parameters` of these names are referenced, and not added."""
        self.definitions = Definitions(2, definitions)
        self.shared: dict[str, JSON] = {}
        self._known = parameters

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
        if key not in self._known:
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
