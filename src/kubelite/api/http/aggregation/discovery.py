"""Keeps what other API servers say of their resources, for the aggregated discovery document.

A server is asked when an APIService of it changes, each minute, and after failures with back-off. Discovery serves what
is there and waits for nobody: a group version whose server is unavailable or silent is listed as stale.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from kubelite.api.http.aggregation.documents import NOT_MODIFIED, Documents, Unfetched
from kubelite.api.http.aggregation.identity import AGGREGATOR
from kubelite.api.http.aggregation.remote_groups import (
    ACCEPT,
    GroupVersion,
    Unreadable,
    entry,
    is_aggregated,
    read_aggregated,
    read_legacy,
    stale,
)
from kubelite.api.http.aggregation.remote_openapi import RemoteOpenAPI
from kubelite.api.http.delegation import Delegation, Registration, ServiceKey
from kubelite.api.http.negotiation import JSON
from kubelite.limits import AGGREGATED_DISCOVERY, AGGREGATED_DISCOVERY_SECONDS
from kubelite.offload import Offload
from kubelite.tasks import TaskSet
from kubelite.workqueue import QueueClosed, WorkQueue

log = logging.getLogger(__name__)

REFRESH_SECONDS = 60.0  # as upstream, also the longest back-off
RETRY_FIRST_SECONDS = 0.5
PASSES = 4  # over a document: to estimate its size, to decode and to encode it


class RemoteDiscovery:
    """Follows the servers of delegated group versions."""

    def __init__(
        self,
        delegation: Delegation,
        documents: Documents,
        openapi: RemoteOpenAPI,
        offload: Offload,
    ) -> None:
        self._delegation = delegation
        self._documents = documents
        self._openapi = openapi
        self._offload = offload
        self._entries: dict[GroupVersion, bytes] = {}
        # What a server said last in the aggregated form, with its entity tag.
        self._known: dict[ServiceKey, tuple[str, Mapping[GroupVersion, bytes]]] = {}
        self._queue: WorkQueue[ServiceKey] | None = None  # None while nothing is delegated
        self._tasks = TaskSet()

    def entry(self, group: str, version: str) -> bytes:
        """Return the encoded entry of a delegated version."""
        return self._entries.get((group, version)) or stale(version)

    def changed(self, old: Registration | None, new: Registration | None) -> None:
        """Ask the servers concerned anew; the last registration that goes ends all work."""
        for gone in (old,) if old is not None else ():
            if self._delegation.remote.get((gone.group, gone.version)) is None:
                self._entries.pop((gone.group, gone.version), None)
        keys = {one.service for one in (old, new) if one is not None and one.service is not None}
        for key in keys:
            self._known.pop(key, None)
        if not self._delegation.remote:
            self._stop()
            return
        if self._queue is None:
            self._start()
        assert self._queue is not None, "it was started"
        for key in keys:
            self._queue.add(key)

    async def close(self) -> None:
        """End all work."""
        self._stop()
        await self._tasks.stop()

    def _start(self) -> None:
        queue: WorkQueue[ServiceKey] = WorkQueue(
            name="aggregated-discovery",
            retry_first_seconds=RETRY_FIRST_SECONDS,
            retry_max_seconds=REFRESH_SECONDS,
        )
        self._queue = queue
        self._tasks.supervise(partial(self._work, queue), name="aggregated discovery")

    def _stop(self) -> None:
        if self._queue is not None:
            self._queue.close()
            self._queue = None

    async def _work(self, queue: WorkQueue[ServiceKey]) -> None:
        """Refresh each key in a task of its own, since a server may be silent for long."""
        while True:
            try:
                key = await queue.get()
            except QueueClosed:
                return
            self._tasks.start(self._refreshed(queue, key), name="aggregated discovery of a server")

    async def _refreshed(self, queue: WorkQueue[ServiceKey], key: ServiceKey) -> None:
        try:
            if problem := await self.refresh(key):
                log.info("cannot read discovery", extra={"service": str(key), "reason": problem})
                queue.retry(key)
            else:
                queue.forget(key)
                if any(one.is_available for one in self._of(key)):
                    queue.add_after(key, REFRESH_SECONDS)
        finally:
            queue.done(key)

    def _of(self, key: ServiceKey) -> Sequence[Registration]:
        return [one for one in self._delegation.remote.values() if one.service == key]

    async def refresh(self, key: ServiceKey) -> str:
        """Ask a server once; return why its group versions are stale, "" if they are not."""
        registrations = self._of(key)
        available = [one for one in registrations if one.is_available]
        found: Mapping[GroupVersion, bytes] = {}
        problem = ""
        if available:  # what becomes available is asked then
            try:
                found = await self._read(key, available)
            except (Unfetched, Unreadable) as error:
                problem = str(error)
        for one in self._of(key):
            known = found.get((one.group, one.version)) if one.is_available else None
            self._show(one, known or stale(one.version))
        if available and not problem:
            await self._openapi.refresh(available)
        return problem

    def _show(self, registration: Registration, entry: bytes) -> None:
        place = registration.group, registration.version
        if self._entries.get(place) != entry:
            self._entries[place] = entry
            self._delegation.generation += 1

    async def _read(
        self, key: ServiceKey, registrations: Sequence[Registration]
    ) -> Mapping[GroupVersion, bytes]:
        """Return the entries of group versions. Raises Unfetched and Unreadable."""
        wanted = [(one.group, one.version) for one in registrations]
        etag, known = self._known.get(key, ("", {}))
        if not all(place in known for place in wanted):
            etag = ""
        answer = await self._documents.fetch(
            registrations[0],
            "/apis",
            caller=AGGREGATOR,
            accept=ACCEPT,
            limit=AGGREGATED_DISCOVERY,
            seconds=AGGREGATED_DISCOVERY_SECONDS,
            etag=etag,
        )
        if answer.status == NOT_MODIFIED and etag:
            return known
        if answer.status == 503:
            raise Unfetched(f"service {key} returned non-success response code: 503")
        if answer.status != 200 or not is_aggregated(answer.content_type):
            return await self._read_legacy(registrations)
        read = await self._offload.run(
            PASSES * len(answer.body), lambda: read_aggregated(answer.body, wanted)
        )
        # A version that the server does not name has no resources; it is not stale.
        found = {place: read.get(place) or entry(place[1], ()) for place in wanted}
        self._known[key] = answer.etag, found
        return found

    async def _read_legacy(
        self, registrations: Sequence[Registration]
    ) -> Mapping[GroupVersion, bytes]:
        found = {}
        for one in registrations:
            answer = await self._documents.fetch(
                one,
                f"/{one.path}",
                caller=AGGREGATOR,
                accept=JSON,
                limit=AGGREGATED_DISCOVERY,
                seconds=AGGREGATED_DISCOVERY_SECONDS,
            )
            if answer.status != 200:
                raise Unfetched(
                    f"failed to download legacy discovery for /{one.path}: {answer.status}"
                )
            found[one.group, one.version] = await self._offload.run(
                PASSES * len(answer.body), partial(read_legacy, answer.body, one.version)
            )
        return found
