"""The OpenAPI documents of other API servers.

Of version 3 the hash of each group version's document is known in advance; the document is fetched when it is asked
for, and kept. Of version 2 a document is fetched when the merged one is asked for. A server's documents count only for
the group versions that an APIService delegates to it.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Struct, field

from kubelite.api.errors import RequestEntityTooLarge, ServiceUnavailable
from kubelite.api.http.aggregation.documents import Documents, Fetched, Unfetched
from kubelite.api.http.aggregation.identity import DOCUMENT_READER
from kubelite.api.http.delegation import Delegation, Registration, ServiceKey
from kubelite.api.http.negotiation import JSON
from kubelite.api.machinery.document_size import check_json
from kubelite.api.machinery.openapi_document import OpenAPIDocument, hashed
from kubelite.api.machinery.openapi_foreign import ForeignSpec, Malformed, chosen, version_3
from kubelite.api.machinery.openapi_v3 import KeptDocuments
from kubelite.limits import (
    AGGREGATED_DISCOVERY,
    AGGREGATED_DISCOVERY_SECONDS,
    AGGREGATED_OPENAPI,
    AGGREGATED_OPENAPI_KEPT,
    AGGREGATED_OPENAPI_SECONDS,
    Limit,
)
from kubelite.offload import Offload
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

HASH = re.compile(r"[0-9A-Za-z]{1,128}")
SPEC_SECONDS = 60.0  # after which a document of version 2 is asked for anew, as upstream
PASSES = 6  # over a document of version 2: size, decoding, choice, conversion, encoding, hash


class _Item(Struct):
    url: str = field(name="serverRelativeURL", default="")


class _Index(Struct):
    paths: dict[str, _Item] | None = None


class _Spec(Struct, frozen=True):
    """What a server's document of version 2 says of its group versions, by path."""

    etag: str
    since: float  # loop time
    parts: Mapping[str, ForeignSpec]


_Outcome = Mapping[str, ForeignSpec] | Unfetched | Malformed
_INDEX = msgspec.json.Decoder(_Index)


class RemoteOpenAPI:
    """Follows the OpenAPI documents of delegated group versions."""

    def __init__(self, delegation: Delegation, documents: Documents, offload: Offload) -> None:
        self.generation = 0  # changes with each hash
        self._delegation = delegation
        self._documents = documents
        self._offload = offload
        self._hashes: dict[str, str] = {}  # of documents of version 3, by path such as apis/g/v1
        self._kept = KeptDocuments(AGGREGATED_OPENAPI_KEPT.value, AGGREGATED_OPENAPI_KEPT)
        self._fetching: dict[str, asyncio.Task[OpenAPIDocument | Unfetched]] = {}
        self._tasks = TaskSet()
        self._specs: dict[ServiceKey, _Spec] = {}
        self._reading: dict[ServiceKey, asyncio.Task[_Outcome]] = {}
        self._has_no_version_3: set[ServiceKey] = set()

    def hashes(self) -> Mapping[str, str]:
        """Return the hash of each known document of version 3, by path."""
        delegated = {one.path for one in self._delegation.remote.values() if one.is_available}
        return {path: hash_ for path, hash_ in self._hashes.items() if path in delegated}

    def registration(self, path: str) -> Registration | None:
        """Return who serves the document at a path below /openapi/v3; None: nobody else."""
        match path.split("/"):
            case ["apis", group, version]:
                return self._delegation.remote.get((group, version))
            case _:
                return None

    async def refresh(self, registrations: Sequence[Registration]) -> None:
        """Ask the server of some group versions for the hashes of its documents."""
        key = registrations[0].service
        assert key is not None, "they are delegated"
        try:
            found = await self._read_index(key, registrations)
        except (Unfetched, Malformed) as error:
            log.info("cannot read OpenAPI", extra={"service": str(key), "reason": str(error)})
            return  # what was known stays, as upstream
        hashes = dict(self._hashes)
        for one in registrations:
            hashes.pop(one.path, None)
        hashes |= found
        if hashes != self._hashes:
            self._hashes = hashes
            self._kept.retain(hashes)
            self.generation += 1

    def changed(self, old: Registration | None, new: Registration | None) -> None:
        """Have a server's document of version 2 read anew, and forget what another one said of a group version."""
        for one in (old, new):
            if one is not None and one.service is not None:
                self._specs.pop(one.service, None)
                self._has_no_version_3.discard(one.service)
        if old is None or (new is not None and new.service == old.service):
            return
        if self._hashes.pop(old.path, None) is not None:
            self._kept.retain(self._hashes)
            self.generation += 1

    async def _read_index(
        self, key: ServiceKey, registrations: Sequence[Registration]
    ) -> Mapping[str, str]:
        answer = await self._fetch(registrations[0], "/openapi/v3", AGGREGATED_DISCOVERY)
        if answer.status == 404:
            self._has_no_version_3.add(key)
            return await self._convert(registrations)
        self._has_no_version_3.discard(key)
        if answer.status != 200:
            raise Unfetched("Error, could not get list of group versions for APIService")
        try:
            check_json(answer.body)
            paths = _INDEX.decode(answer.body).paths or {}
        except (msgspec.MsgspecError, ValueError, RecursionError, RequestEntityTooLarge) as error:
            raise Malformed(str(error)) from error
        listed = {one.path: paths[one.path] for one in registrations if one.path in paths}
        return {path: hash_of(item.url) for path, item in listed.items()}

    async def _convert(self, registrations: Sequence[Registration]) -> Mapping[str, str]:
        """Keep documents of version 3 that are made of a server's document of version 2."""
        parts = await self._parts(registrations[0])
        made: dict[str, str] = {}
        for one in registrations:
            spec = parts.get(one.path)
            if spec is None:
                continue
            document = await self._offload.run(
                PASSES * len(spec.content), partial(_converted, spec)
            )
            if self._kept.find(one.path) is None or self._hashes.get(one.path) != document.hash:
                self._kept.forget(one.path)
                self._kept.keep(one.path, document)
            made[one.path] = document.hash
        return made

    async def document(self, path: str) -> OpenAPIDocument | None:
        """Return the document of version 3 at a path; None if it is not known. Raises ServiceUnavailable."""
        registration, hash_ = self.registration(path), self._hashes.get(path)
        if registration is None or hash_ is None or not registration.is_available:
            return None
        known = self._kept.find(path)
        if known is not None and known.hash == hash_:
            return known
        if registration.service in self._has_no_version_3:  # it was dropped for others
            await self.refresh([registration])
            return self._kept.find(path)
        task = self._fetching.get(path)
        if task is None:  # all who ask meanwhile share it, and none of them may cancel it
            task = self._tasks.start(
                self._document(registration, path, hash_), name="aggregated OpenAPI document"
            )
            self._fetching[path] = task
            task.add_done_callback(lambda _: self._fetching.pop(path, None))
        outcome = await asyncio.shield(task)
        if isinstance(outcome, Unfetched):
            raise ServiceUnavailable(f"error trying to reach service: {outcome}") from outcome
        return outcome

    async def _document(
        self, registration: Registration, path: str, hash_: str
    ) -> OpenAPIDocument | Unfetched:
        try:
            answer = await self._fetch(registration, f"/openapi/v3/{path}", AGGREGATED_OPENAPI)
        except Unfetched as error:
            return error
        if answer.status != 200:
            return Unfetched(f"the document could not be read: status {answer.status}")
        document = OpenAPIDocument(answer.body, hash_)
        if self._hashes.get(path) == hash_:
            self._kept.forget(path)
            self._kept.keep(path, document)
        return document

    async def close(self) -> None:
        """End all work."""
        await self._tasks.stop()

    async def specs(self) -> Sequence[ForeignSpec]:
        """Return what the documents of version 2 say of the delegated group versions, by priority of the groups."""
        by_service = {
            one.service: one
            for one in self._delegation.remote.values()
            if one.is_available and one.service is not None
        }
        reading = [
            self._tasks.start(self._try_parts(one), name="aggregated OpenAPI")
            for key, one in by_service.items()
            if not self._is_recent(key)
        ]
        if reading:  # a document that comes later counts from the next request on
            await asyncio.wait(reading, timeout=AGGREGATED_DISCOVERY_SECONDS.value)
        ordered = sorted(
            (one for one in self._delegation.remote.values() if one.is_available),
            key=lambda one: (-one.group_priority, -one.version_priority, one.name),
        )
        found = []
        for one in ordered:
            spec = self._specs.get(one.service) if one.service is not None else None
            if spec is not None and (part := spec.parts.get(one.path)) is not None:
                found.append(part)
        return found

    async def _try_parts(self, registration: Registration) -> None:
        try:
            await self._parts(registration)
        except (Unfetched, Malformed) as error:
            log.info(
                "cannot read OpenAPI",
                extra={"service": str(registration.service), "reason": str(error)},
            )

    def _is_recent(self, key: ServiceKey) -> bool:
        known = self._specs.get(key)
        now = asyncio.get_running_loop().time()
        return known is not None and now - known.since < SPEC_SECONDS

    async def _parts(self, registration: Registration) -> Mapping[str, ForeignSpec]:
        """Return a server's document of version 2 by group version. Raises Unfetched and Malformed."""
        key = registration.service
        assert key is not None, "it is delegated"
        if self._is_recent(key):
            return self._specs[key].parts
        task = self._reading.get(key)
        if task is None:
            task = self._tasks.start(self._read(key, registration), name="aggregated OpenAPI")
            self._reading[key] = task
            task.add_done_callback(lambda _: self._reading.pop(key, None))
        outcome = await asyncio.shield(task)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _read(self, key: ServiceKey, registration: Registration) -> _Outcome:
        """Read a server's document of version 2; what comes of it counts for a minute."""
        known = self._specs.get(key) or _Spec("", 0.0, {})
        outcome: _Outcome
        try:
            read = await self._read_after(key, registration, known)
            outcome = read.parts
        except (Unfetched, Malformed) as error:
            read, outcome = _Spec("", 0.0, {}), error
        now = asyncio.get_running_loop().time()
        self._specs[key] = _Spec(read.etag, now, read.parts)
        return outcome

    async def _read_after(self, key: ServiceKey, registration: Registration, known: _Spec) -> _Spec:
        answer = await self._fetch(registration, "/openapi/v2", AGGREGATED_OPENAPI, known.etag)
        if known.etag and answer.status == 304:
            return known
        if answer.status == 404:
            return _Spec("", 0.0, {})
        if answer.status != 200:
            raise Unfetched(f"failed to retrieve openAPI spec, http error: {answer.status}")
        paths = [one.path for one in self._delegation.remote.values() if one.service == key]
        parts = await self._offload.run(
            PASSES * len(answer.body), lambda: chosen(answer.body, paths)
        )
        return _Spec(answer.etag, 0.0, self._within_bound(key, parts))

    def _within_bound(
        self, key: ServiceKey, parts: Mapping[str, ForeignSpec]
    ) -> Mapping[str, ForeignSpec]:
        others = (
            len(part.content)
            for other, spec in self._specs.items()
            if other != key
            for part in spec.parts.values()
        )
        if sum(others) + sum(len(part.content) for part in parts.values()) > (
            AGGREGATED_OPENAPI_KEPT.value
        ):
            AGGREGATED_OPENAPI_KEPT.reached()
            return {}
        return parts

    async def _fetch(
        self, registration: Registration, path: str, limit: Limit, etag: str = ""
    ) -> Fetched:
        is_index = limit is AGGREGATED_DISCOVERY
        return await self._documents.fetch(
            registration,
            path,
            caller=DOCUMENT_READER,
            accept=JSON,
            limit=limit,
            seconds=AGGREGATED_DISCOVERY_SECONDS if is_index else AGGREGATED_OPENAPI_SECONDS,
            etag=etag,
        )


def _converted(spec: ForeignSpec) -> OpenAPIDocument:
    return hashed(version_3(spec))


def hash_of(url: str) -> str:
    """Return the hash that a document's URL names; of the URL where it names none that can be passed on."""
    try:
        named = parse_qs(urlsplit(url).query).get("hash", [""])[0]
    except ValueError:
        named = ""
    if HASH.fullmatch(named):
        return named
    return hashlib.sha256(url.encode(errors="replace")).hexdigest().upper()
