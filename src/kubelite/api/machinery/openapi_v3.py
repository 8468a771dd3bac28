"""OpenAPI version 3: one document per group version, and an index with their URLs, which have the documents' hashes.

A document is built at its first request, in the offload, and rebuilt only if a resource of its group version changed.
The hash of a document of custom resources is that of the schemas it is made of, so the index needs no such document.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import msgspec

from kubelite.api.machinery.explanations import parameter_words
from kubelite.api.machinery.openapi import Definitions, Served
from kubelite.api.machinery.openapi_builder import INFO, Sent, build
from kubelite.api.machinery.openapi_custom import JSON
from kubelite.api.machinery.openapi_document import (
    OpenAPIDocument,
    building_cost,
    by_group_version,
    fingerprint,
    hashed,
    measuring_cost,
    within_limit,
)
from kubelite.api.machinery.openapi_operations import parameter_type
from kubelite.api.machinery.openapi_pages import SERVER, ServedPage, discovery_pages
from kubelite.limits import OPENAPI_DOCUMENTS, Limit
from kubelite.offload import AtOnce, Offload

HASHES_A_STEP = 16  # group versions of custom resources whose schemas are read in one piece of work

# The resources at a path, and the page that lists them; none is documented for custom resources.
_Content = tuple[tuple[Served, ...], ServedPage | None]


class OpenAPIV3:
    """Serves /openapi/v3 and the paths below it."""

    def __init__(
        self,
        served: Callable[[], Sequence[Served]],
        pages: Sequence[ServedPage] = SERVER,
        offload: Offload | None = None,
    ) -> None:
        """`served` returns the resources served now; `pages` are the other paths."""
        self._served = served
        self._pages = pages
        self._offload = offload or AtOnce()
        self._rows: tuple[Served, ...] | None = None
        self._groups: Mapping[str, _Content] = {}
        self._index: OpenAPIDocument | None = None
        self._hashes: dict[str, tuple[_Content, str]] = {}  # of custom resources
        self._built: dict[str, tuple[_Content, OpenAPIDocument]] = {}  # of built-in kinds and pages
        self._kept = KeptDocuments(OPENAPI_DOCUMENTS.value)  # of custom resources
        self._lock = asyncio.Lock()  # one build at a time, shared by all waiting requests

    async def index(self) -> OpenAPIDocument:
        """Return the index: the URL of each group version's document."""
        async with self._lock:
            self._follow()
            if self._index is None:
                await self._hash(self._groups)
                hashes = {path: await self._hash_of(path) for path in sorted(self._groups)}
                self._index = hashed(msgspec.json.encode({"paths": _addresses(hashes)}))
            return self._index

    async def document(self, path: str) -> OpenAPIDocument | None:
        """Return the document of a group version such as ``apis/apps/v1``; None if nothing is served there."""
        async with self._lock:
            self._follow()
            content = self._groups.get(path)
            if content is None:
                return None
            return await (self._custom if _is_custom(content) else self._built_in)(path, content)

    def _follow(self) -> None:
        """Forget what was made of rows that are not served any more."""
        rows = tuple(self._served())
        if rows == self._rows:
            return
        self._rows, self._index = rows, None
        groups: dict[str, _Content] = {
            path: (served, None) for path, served in by_group_version(rows).items()
        }
        for page in (*self._pages, *discovery_pages(rows)):
            groups[page.document] = (groups.get(page.document, ((), None))[0], page)
        self._groups = groups
        self._hashes = {
            path: old for path, old in self._hashes.items() if old[0] == groups.get(path)
        }
        self._built = {path: old for path, old in self._built.items() if old[0] == groups.get(path)}
        self._kept.retain({path: hash_ for path, (_, hash_) in self._hashes.items()})

    async def _built_in(self, path: str, content: _Content) -> OpenAPIDocument:
        if path not in self._built:
            rows, page = content
            made = await self._offload.run(building_cost(rows), lambda: hashed(_encode(rows, page)))
            self._built[path] = content, made
        return self._built[path][1]

    async def _custom(self, path: str, content: _Content) -> OpenAPIDocument:
        await self._hash({path: content})
        hash_ = self._hashes[path][1]
        if (known := self._kept.find(path)) is not None:
            return known
        rows, page = content
        body = await self._offload.run(building_cost(rows), lambda: _encode(rows, page))
        made = OpenAPIDocument(body, hash_)
        self._kept.keep(path, made)
        return made

    async def _hash(self, groups: Mapping[str, _Content]) -> None:
        """Hash the schemas of custom resources that are not hashed yet, in steps."""
        missing = [
            (path, content)
            for path, content in groups.items()
            if path not in self._hashes and _is_custom(content)
        ]
        for start in range(0, len(missing), HASHES_A_STEP):
            batch = missing[start : start + HASHES_A_STEP]
            rows = [row for _, content in batch for row in content[0]]
            self._hashes |= await self._offload.run(
                measuring_cost(rows), partial(_fingerprints, batch)
            )

    async def _hash_of(self, path: str) -> str:
        content = self._groups[path]
        if _is_custom(content):
            return self._hashes[path][1]
        return (await self._built_in(path, content)).hash


def _addresses(hashes: Mapping[str, str]) -> JSON:
    return {
        path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={hash_}"}
        for path, hash_ in hashes.items()
    }


def joined_index(index: OpenAPIDocument, hashes: Mapping[str, str]) -> OpenAPIDocument:
    """Return an index with further documents, by path; they take the place of those at the same paths."""
    paths = msgspec.json.decode(index.body)["paths"] | _addresses(hashes)
    return hashed(msgspec.json.encode({"paths": dict(sorted(paths.items()))}))


def _is_custom(content: _Content) -> bool:
    rows, page = content
    return page is None and all(row.custom for row in rows)


def _fingerprints(batch: Iterable[tuple[str, _Content]]) -> dict[str, tuple[_Content, str]]:
    return {path: (content, fingerprint(content[0])) for path, content in batch}


class KeptDocuments:
    """The documents that were asked for last, up to a number of bytes."""

    def __init__(self, bytes_max: int, limit: Limit = OPENAPI_DOCUMENTS) -> None:
        self.bytes = 0
        self._limit = limit
        self._bytes_max = bytes_max
        self._documents: OrderedDict[str, OpenAPIDocument] = OrderedDict()

    def __len__(self) -> int:
        return len(self._documents)

    def find(self, path: str) -> OpenAPIDocument | None:
        """Return a document, which counts as asked for; None if it is not kept."""
        if path in self._documents:
            self._documents.move_to_end(path)
        return self._documents.get(path)

    def keep(self, path: str, document: OpenAPIDocument) -> None:
        """Keep a document, and drop others if there are too many bytes; one that is larger than all is not kept."""
        self._documents[path] = document
        self.bytes += len(document.body)
        while self.bytes > self._bytes_max:
            self._limit.reached()
            self._drop(next(iter(self._documents)))

    def retain(self, hashes: Mapping[str, str]) -> None:
        """Drop the documents that have other hashes than these, or none."""
        for path, document in list(self._documents.items()):
            if hashes.get(path) != document.hash:
                self._drop(path)

    def forget(self, path: str) -> None:
        """Drop a document, if it is kept."""
        if path in self._documents:
            self._drop(path)

    def _drop(self, path: str) -> None:
        self.bytes -= len(self._documents.pop(path).body)


def _encode(rows: Sequence[Served], page: ServedPage | None) -> bytes:
    return msgspec.json.encode(group_document(within_limit(rows), page))


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
        """Return the parameters, if any; bodies have the media types."""
        return {"parameters": query} if query else {}

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
