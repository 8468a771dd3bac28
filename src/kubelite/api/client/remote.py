"""The client over HTTPS, for agents and other processes than the server."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import msgspec

from kubelite.api.client.decoding import typed
from kubelite.api.client.https import JSON, Parameters, Request, Transport
from kubelite.api.client.mirror import ObjectMirror, metadata_of
from kubelite.api.client.protocol import Mirror, PatchType
from kubelite.api.client.reflector import Reflector, list_all
from kubelite.api.kinds.meta import DeleteOptions, PartialObjectMetadata, Preconditions
from kubelite.api.kinds.model import Kind, to_wire
from kubelite.api.machinery.field_selectors import NAME
from kubelite.api.registry.routes import not_found
from kubelite.api.registry.table import ResourceTable
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

K = TypeVar("K", bound=Kind)

METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PATCH_CONTENT: Mapping[PatchType, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class _Followed:
    """The watch of one object and the number of its followers."""

    def __init__(
        self, mirror: ObjectMirror[PartialObjectMetadata], task: "asyncio.Task[Any]"
    ) -> None:
        self.mirror = mirror
        self.task = task
        self.followers = 0


def _without_the_first(
    mirror: ObjectMirror[PartialObjectMetadata], changed: Callable[[], None]
) -> Callable[[], None]:
    """Subscribe to changes, without the initial calls for existing objects."""
    is_told = False

    def listen(_: object, __: object) -> None:
        if is_told:
            changed()

    unsubscribe = mirror.subscribe(listen)
    is_told = True
    return unsubscribe


class HTTPSource:
    """The lists and watches of one path."""

    def __init__(
        self, transport: Transport, path: str, selectors: Parameters, accept: str = JSON
    ) -> None:
        self._transport = transport
        self._path = path
        self._selectors = selectors
        self._accept = accept

    async def page(self, limit: int, continue_token: str) -> bytes:
        """Return the JSON of a page of the list; limit 0 means all items."""
        parameters = dict(self._selectors)
        if limit:
            parameters["limit"] = str(limit)
        if continue_token:
            parameters["continue"] = continue_token
        return await self._transport.send(self._request(parameters))

    def watch(self, resource_version: str, timeout_seconds: int) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a watch, with bookmarks."""
        parameters = {
            **self._selectors,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        return self._transport.lines(self._request(parameters))

    def _request(self, parameters: Parameters) -> Request:
        return Request("GET", self._path, parameters, accept=self._accept)


class RemoteClient:
    """Reads and writes objects over HTTPS; `transport.ssl_context` may be replaced at run time."""

    def __init__(
        self,
        server: str,
        resources: ResourceTable,
        *,
        ssl_context: ssl.SSLContext | None,
        token: Callable[[], str] | None = None,
        randomness: Randomness,
        field_manager: str = "kubelite",
    ) -> None:
        """`server` is a URL without a path: ``https://10.0.0.1:6443``."""
        self.transport = Transport(
            server,
            ssl_context=ssl_context,
            token=token,
            randomness=randomness,
            user_agent=field_manager,
        )
        self._resources = resources
        self._randomness = randomness
        self._manager = field_manager
        self._tasks = TaskSet()
        self._mirrors: dict[tuple[str, ...], ObjectMirror[Any]] = {}
        self._followed: dict[tuple[str, str], _Followed] = {}  # by path and name

    async def close(self) -> None:
        """End the mirrors and close all connections."""
        await self._tasks.stop()
        await self.transport.close()

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        """Return one object; raises NotFound."""
        return typed(kind, await self._send(Request("GET", self._path(kind, namespace, name))))

    async def list(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[K]:
        """Return the objects of one or all namespaces."""
        source = self._source(self._path(kind, namespace), label_selector, field_selector)
        items, _ = await list_all(source)
        return [typed(kind, item) for item in items]

    async def create(self, item: K) -> K:
        """Create an object; its metadata has the namespace and the name or `generateName`."""
        path = self._path(type(item), metadata_of(item).namespace)
        return typed(
            type(item), await self._send(Request("POST", path, self._writing(), to_wire(item)))
        )

    async def update(self, item: K, subresource: str = "") -> K:
        """Replace an object or subresource; raises Conflict if `metadata.resourceVersion` is set and not current."""
        metadata = metadata_of(item)
        path = self._path(type(item), metadata.namespace, metadata.name, subresource)
        return typed(
            type(item), await self._send(Request("PUT", path, self._writing(), to_wire(item)))
        )

    async def patch(
        self,
        kind: type[K],
        name: str,
        patch: dict[str, Any] | Sequence[dict[str, Any]],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        force: bool = False,
    ) -> K:
        """Patch an object or its subresource (``status``); `force` lets an apply take fields of other managers."""
        path = self._path(kind, namespace, name, subresource)
        parameters = self._writing() | ({"force": "true"} if force else {})
        body = await self._send(
            Request("PATCH", path, parameters, patch, PATCH_CONTENT[patch_type])
        )
        return typed(kind, body)

    async def delete(
        self,
        kind: type[K],
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: Literal["", "Foreground", "Background", "Orphan"] = "",
    ) -> None:
        """Delete an object; `uid` and `resource_version` are preconditions that raise Conflict."""
        preconditions = Preconditions(uid=uid or None, resourceVersion=resource_version or None)
        options = DeleteOptions(
            gracePeriodSeconds=grace_seconds,
            propagationPolicy=propagation or None,
            preconditions=preconditions if uid or resource_version else None,
        )
        path = self._path(kind, namespace, name)
        await self._send(Request("DELETE", path, body=to_wire(options)))

    async def post(
        self,
        kind: type[Kind],
        name: str,
        subresource: str,
        body: Kind,
        namespace: str = "",
    ) -> dict[str, Any]:
        """Create a subresource (pods/binding, pods/eviction, serviceaccounts/token); return the answer as JSON."""
        path = self._path(kind, namespace, name, subresource)
        answer: dict[str, Any] = msgspec.json.decode(
            await self._send(Request("POST", path, self._writing(), to_wire(body)))
        )
        return answer

    def mirror(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Mirror[K]:
        """Return the mirror of a kind; the same arguments return the same mirror."""
        path = self._path(kind, namespace)
        return self._mirror(kind, path, label_selector, field_selector)

    def follow(
        self, kind: type[Kind], name: str, namespace: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call `changed` after each change of one object; return a call that ends it.

        All followers of an object share one watch of its metadata, which ends with the last follower.
        """
        key = (self._path(kind, namespace), name)
        followed = self._followed.get(key)
        if followed is None:
            mirror: ObjectMirror[PartialObjectMetadata] = ObjectMirror()
            source = self._source(key[0], "", f"{NAME}={name}", METADATA_LIST)
            reflector = Reflector(source, PartialObjectMetadata, mirror, self._randomness)
            task = self._tasks.start(reflector.run(), name=f"watch of {key[0]}/{name}")
            followed = self._followed[key] = _Followed(mirror, task)
        followed.followers += 1
        unsubscribe = _without_the_first(followed.mirror, changed)

        def end() -> None:
            unsubscribe()
            followed.followers -= 1
            if not followed.followers:
                followed.task.cancel()
                del self._followed[key]

        return end

    def dynamic_mirror(
        self, group: str, version: str, resource: str
    ) -> Mirror[PartialObjectMetadata]:
        """Return a mirror of the metadata of any served resource."""
        path = f"/apis/{group}/{version}/{resource}" if group else f"/api/{version}/{resource}"
        return self._mirror(PartialObjectMetadata, path, accept=METADATA_LIST)

    def _mirror(
        self,
        kind: type[K],
        path: str,
        label_selector: str = "",
        field_selector: str = "",
        accept: str = JSON,
    ) -> ObjectMirror[K]:
        key = (path, label_selector, field_selector, accept)
        mirror = self._mirrors.get(key)
        if mirror is None:
            mirror = self._mirrors[key] = ObjectMirror()
            source = self._source(path, label_selector, field_selector, accept)
            reflector = Reflector(source, kind, mirror, self._randomness)
            self._tasks.supervise(reflector.run, name=f"reflector {path}")
        return mirror

    def _source(
        self, path: str, label_selector: str, field_selector: str, accept: str = JSON
    ) -> HTTPSource:
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        chosen = {name: value for name, value in selectors.items() if value}
        return HTTPSource(self.transport, path, chosen, accept)

    def _writing(self) -> dict[str, str]:
        return {"fieldManager": self._manager, "fieldValidation": "Ignore"}

    def _path(
        self, kind: type[Kind], namespace: str = "", name: str = "", subresource: str = ""
    ) -> str:
        row = self._resources.by_kind(kind.gvk)
        if row is None:
            raise not_found()
        parts = ["apis", row.group, row.version] if row.group else ["api", row.version]
        if row.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (row.plural, name, subresource) if part]
        return "/" + "/".join(quote(part, safe=":") for part in parts)

    async def _send(self, request: Request) -> bytes:
        return await self.transport.send(request)
