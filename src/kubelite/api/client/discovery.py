"""What a remote server serves, read from its discovery documents.

Aggregated discovery (``apidiscovery.k8s.io/v2``) takes two requests; a server without it is asked for each group and
version. The answer is cached. A kind that it lacks makes it be read again, at most once in `AGAIN_SECONDS`, and whoever
subscribes to changes has it read again after each change of a definition or an APIService.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.client.mirror import tell
from kubelite.api.client.protocol import Mirror, ServedResource
from kubelite.api.errors import APIError, NotFound, ServiceUnavailable
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.kinds.resource_names import ResourceName
from kubelite.backoff import backoff_seconds
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

AGAIN_SECONDS = 5.0  # between two reads that unknown kinds cause
SPACING_SECONDS = 0.5  # between two reads that changes cause
SETTLED_SECONDS = (
    5.0  # after a change, until discovery shows it even on a server that is slow to do so
)
ACCEPT = ",".join(
    [
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        "application/json",
    ]
)
FOLLOWED = {
    "list",
    "watch",
    "delete",
}  # the verbs of resources that controllers of all resources follow
SIGNALS = (
    ResourceName("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    ResourceName("apiregistration.k8s.io", "v1", "apiservices"),
)

# Reads a path with an Accept header; raises APIError.
Read = Callable[[str, str], Awaitable[bytes]]


class _Named(Struct, frozen=True, rename="camel"):
    name: str = ""


class _Kind(Struct, frozen=True, rename="camel"):
    group: str = ""
    version: str = ""
    kind: str = ""


class _Resource(Struct, frozen=True, rename="camel"):
    resource: str = ""
    response_kind: _Kind | None = None
    scope: str = ""
    verbs: list[str] = []


class _Version(Struct, frozen=True, rename="camel"):
    version: str = ""
    resources: list[_Resource] | None = None


class _Group(Struct, frozen=True, rename="camel"):
    metadata: _Named = _Named()
    versions: list[_Version] = []


class _OldResource(Struct, frozen=True, rename="camel"):
    name: str = ""
    kind: str = ""
    namespaced: bool = False
    verbs: list[str] = []


class _GroupVersion(Struct, frozen=True, rename="camel"):
    group_version: str = ""
    version: str = ""


class _OldGroup(Struct, frozen=True, rename="camel"):
    name: str = ""
    versions: list[_GroupVersion] = []
    preferred_version: _GroupVersion = _GroupVersion()


class _Document(Struct, frozen=True, rename="camel"):
    """Any discovery document; which fields it has depends on its kind."""

    kind: str = ""
    items: list[_Group] | None = None  # APIGroupDiscoveryList
    versions: list[str] = []  # APIVersions
    groups: list[_OldGroup] = []  # APIGroupList
    resources: list[_OldResource] | None = None  # APIResourceList


_decoder = msgspec.json.Decoder(_Document)


class Discovery:
    """The resources of a server; also its `ServedResources`."""

    def __init__(self, read: Read, signal: Callable[[ResourceName], Mirror[Any]]) -> None:
        """`signal` opens the mirror of a resource whose changes may change what is served."""
        self._read = read
        self._signal = signal
        self._found: Sequence[ServedResource] | None = None
        self._preferred: Sequence[ServedResource] = ()
        self._by_kind: Mapping[GroupVersionKind, ServedResource] = {}
        self._reading: asyncio.Task[APIError | None] | None = None
        self._next_read = 0.0  # time of the loop
        self._tasks = TaskSet()
        self._listeners: list[Callable[[], None]] = []
        self._mirrors: list[Mirror[Any]] = []
        self._changed = asyncio.Event()
        self._following: asyncio.Task[Any] | None = None

    async def find(self, kind: GroupVersionKind) -> ServedResource:
        """Return the resource of a kind; raises NotFound, and the APIError of a server that does not answer."""
        known = self._by_kind.get(kind)
        if known is None:
            await self._read_again()
            known = self._by_kind.get(kind)
        if known is None:
            raise NotFound(f'no matches for kind "{kind.kind}" in version "{kind.api_version}"')
        return known

    async def refresh(self) -> None:
        """Read the documents now, and tell a change; raises APIError. Concurrent calls share one read."""
        if self._reading is None or self._reading.done():
            self._reading = self._tasks.start(self._read_once(), name="discovery")
        error = await asyncio.shield(self._reading)
        if error is not None:
            raise error

    def resources(self) -> Sequence[ServedResource]:
        """Return what was found last: each resource that can be listed, watched and deleted, once."""
        return self._preferred

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each change, the first complete answer included; return a function that ends it."""
        self._listeners.append(listener)
        if self._following is None:
            self._mirrors = [self._signal(name) for name in SIGNALS]
            self._changed.set()
            for mirror in self._mirrors:
                mirror.subscribe(lambda _before, _after: self._changed.set())
            self._following = self._tasks.supervise(self._follow, name="discovery changes")
        return lambda: self._listeners.remove(listener)

    async def close(self) -> None:
        """End all reads."""
        for mirror in self._mirrors:
            mirror.close()
        await self._tasks.stop()

    async def _read_again(self) -> None:
        """Read the documents for a kind that they lack, unless they were read for one a moment ago."""
        is_reading = self._reading is not None and not self._reading.done()
        now = asyncio.get_running_loop().time()
        if is_reading or self._found is None or now >= self._next_read:
            self._next_read = now + AGAIN_SECONDS
            await self.refresh()

    async def _follow(self) -> None:
        """Read the documents after each change, and once more when changes have ended."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._read_until_answered()
            await asyncio.sleep(SPACING_SECONDS)
            try:
                async with asyncio.timeout(SETTLED_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                await self._read_until_answered()

    async def _read_until_answered(self) -> None:
        if self._reading is not None:
            await asyncio.wait((self._reading,))  # it may have begun before the change
        failures = 0
        while True:
            try:
                return await self.refresh()
            except APIError as error:
                log.debug("cannot read discovery", extra={"reason": error.message})
            await asyncio.sleep(backoff_seconds(failures, 1.0, 60.0))
            failures += 1

    async def _read_once(self) -> APIError | None:
        try:
            await self._refresh()
        except APIError as error:
            return error
        return None

    async def _refresh(self) -> None:
        found = [*await self._root("/api"), *await self._root("/apis")]
        if found == self._found:
            return
        self._found = found
        self._by_kind = {
            GroupVersionKind(one.group, one.version, one.kind): one for one in reversed(found)
        }
        before, self._preferred = self._preferred, preferred(found)
        if before != self._preferred:
            tell(self._listeners)

    async def _document(self, path: str, accept: str) -> _Document:
        body = await self._read(path, accept)
        try:
            return _decoder.decode(body)
        except msgspec.DecodeError as error:
            raise ServiceUnavailable(f"cannot read discovery at {path}: {error}") from error

    async def _root(self, root: str) -> list[ServedResource]:
        document = await self._document(root, ACCEPT)
        if document.kind == "APIGroupDiscoveryList":
            return list(_aggregated(document))
        if document.kind == "APIVersions":
            versions = [("", version) for version in document.versions]
        else:
            versions = [(group.name, one) for group in document.groups for one in _ordered(group)]
        found: list[ServedResource] = []
        for group, version in versions:
            found += await self._legacy(root, group, version)
        return found

    async def _legacy(self, root: str, group: str, version: str) -> list[ServedResource]:
        """Return the resources of one version; what was known of it if its server does not answer."""
        path = f"{root}/{group}/{version}" if group else f"{root}/{version}"
        try:
            document = await self._document(path, "application/json")
        except NotFound:
            return []
        except APIError as error:
            log.warning("cannot read discovery", extra={"path": path, "reason": error.message})
            known = self._found or ()
            return [one for one in known if (one.group, one.version) == (group, version)]
        return [
            ServedResource(group, version, one.name, one.kind, one.namespaced, tuple(one.verbs))
            for one in document.resources or ()
            if "/" not in one.name
        ]


def _aggregated(document: _Document) -> Iterable[ServedResource]:
    for group in document.items or ():
        for version in group.versions:
            for one in version.resources or ():
                kind = one.response_kind.kind if one.response_kind is not None else ""
                yield ServedResource(
                    group.metadata.name,
                    version.version,
                    one.resource,
                    kind,
                    one.scope == "Namespaced",
                    tuple(one.verbs),
                )


def _ordered(group: _OldGroup) -> list[str]:
    """Return the versions of a group, the preferred one first."""
    versions = [one.version for one in group.versions]
    return list(dict.fromkeys([group.preferred_version.version or versions[0], *versions]))


def preferred(found: Iterable[ServedResource]) -> Sequence[ServedResource]:
    """Return each resource that controllers can follow once, at the first version that has it."""
    chosen: dict[tuple[str, str], ServedResource] = {}
    for one in found:
        if set(one.verbs) >= FOLLOWED:
            chosen.setdefault((one.group, one.resource), one)
    return list(chosen.values())
