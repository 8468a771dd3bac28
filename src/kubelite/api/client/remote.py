"""The client over HTTPS, for agents and other processes than the server."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from kubelite.api.client.availability import Availability
from kubelite.api.client.call import Call, Of
from kubelite.api.client.calls import TypedCalls
from kubelite.api.client.decoding import decoded
from kubelite.api.client.discovery import Discovery
from kubelite.api.client.https import JSON, Parameters, Request, Transport
from kubelite.api.client.link import Link
from kubelite.api.client.mirror import ObjectMirror
from kubelite.api.client.protocol import Mirror, PatchType, ServedResources
from kubelite.api.client.reflector import Reflector, list_all
from kubelite.api.errors import NotFound
from kubelite.api.kinds.meta import DeleteOptions, Preconditions
from kubelite.api.kinds.model import Kind, to_wire
from kubelite.api.kinds.object_metadata import ObjectMetadata
from kubelite.api.kinds.resource_names import ResourceName, built_in, is_built_in
from kubelite.api.machinery.field_selectors import NAME
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METHODS = {
    "get": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}
PATCH_CONTENT: Mapping[PatchType, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class _Accepted(Struct, frozen=True):
    """The forms in which lists and watches are asked for."""

    list: str = JSON
    watch: str = JSON


class HTTPSource:
    """The lists and watches of one path, which is asked for anew with each request."""

    def __init__(
        self,
        transport: Transport,
        path: Callable[[], Awaitable[str]],
        selectors: Parameters,
        *,
        only_metadata: bool = False,
    ) -> None:
        self._transport = transport
        self._path = path
        self._selectors = selectors
        self._accepted = _Accepted(METADATA_LIST, METADATA) if only_metadata else _Accepted()

    async def page(self, limit: int, continue_token: str) -> bytes:
        """Return the JSON of a page of the list; limit 0 means all items."""
        parameters = dict(self._selectors)
        if limit:
            parameters["limit"] = str(limit)
        if continue_token:
            parameters["continue"] = continue_token
        request = Request("GET", await self._path(), parameters, accept=self._accepted.list)
        return await self._transport.send(request)

    async def watch(
        self, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a watch, with bookmarks."""
        parameters = {
            **self._selectors,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        request = Request("GET", await self._path(), parameters, accept=self._accepted.watch)
        async with aclosing(self._transport.lines(request)) as lines:
            async for line in lines:
                yield line


class RemoteClient(TypedCalls):
    """Reads and writes objects over HTTPS; `transport.ssl_context` may be replaced at run time."""

    def __init__(
        self,
        server: str,
        *,
        ssl_context: ssl.SSLContext | None,
        token: Callable[[], str] | None = None,
        randomness: Randomness,
        field_manager: str = "kubelite",
        availability: Availability | None = None,
    ) -> None:
        """`server` is a URL without a path: ``https://10.0.0.1:6443``; its clients share `availability`."""
        self.transport = Transport(
            server,
            ssl_context=ssl_context,
            token=token,
            randomness=randomness,
            user_agent=field_manager,
            availability=availability,
        )
        self._link = Link(self.transport.availability)
        self._randomness = randomness
        self._manager = field_manager
        self._tasks = TaskSet()
        self._mirrors: dict[tuple[Any, ...], ObjectMirror[Any]] = {}
        self._discovery = Discovery(
            self._read, lambda name: self.opened(Call(verb="list", of=name), ObjectMetadata)
        )

    def on_return(self, returned: Callable[[], None]) -> Callable[[], None]:
        """Call `returned` each time the server answers again after it did not; return a call that ends it."""
        return self.transport.availability.subscribe(returned)

    @property
    def served(self) -> ServedResources:
        """The resources that the server serves, read when somebody subscribes to them."""
        return self._discovery

    async def close(self) -> None:
        """End the mirrors and close all connections."""
        await self._discovery.close()
        await self._tasks.stop()
        await self.transport.close()

    async def send(self, call: Call) -> bytes:
        """Return the JSON of the answer to a call."""
        parameters = {**call.selectors, **call.parameters}
        body, content_type = call.body, JSON
        match call.verb:
            case "create" | "update" | "patch":
                parameters |= {"fieldManager": self._manager, "fieldValidation": "Ignore"}
            case "delete" | "deletecollection":
                body = to_wire(_deletion(call))
            case _:
                pass
        if call.verb == "patch":
            content_type = PATCH_CONTENT[call.patch_type]
            if call.force:
                parameters["force"] = "true"
        return await self.transport.send(
            Request(METHODS[call.verb], await self._path(call), parameters, body, content_type)
        )

    async def listed(self, call: Call, type_: Any) -> list[Any]:
        """Return the objects of a list as `type_`: a Kind, or dict."""
        async with self._link.list_turn(call.of):
            items, _ = await list_all(self._source(call), lambda body: decoded(type_, body))
        return items

    def opened(self, call: Call, type_: Any) -> Mirror[Any]:
        """Return the mirror of the objects that a list call selects, as `type_`."""
        key = (call.of, type_, call.namespace, call.label_selector, call.field_selector)
        mirror = self._mirrors.get(key)
        if mirror is None:
            mirror = self._mirrors[key] = self._reflected(call, type_, key)
        return mirror.opened()

    def follow(
        self, kind: type[Kind], name: str, namespace: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call `changed` after each change of one object; return a call that ends it.

        All followers of an object share one watch of its metadata, which ends with the last follower.
        """
        call = Call(verb="list", of=kind.gvk, namespace=namespace, field_selector=f"{NAME}={name}")
        mirror = self.opened(call, ObjectMetadata)
        unsubscribe = _without_the_first(mirror, changed)

        def end() -> None:
            unsubscribe()
            mirror.close()

        return end

    def _reflected(self, call: Call, type_: Any, key: tuple[Any, ...]) -> ObjectMirror[Any]:
        """Return a new mirror, kept in sync until its last reader closes it."""

        def released() -> None:
            task.cancel()
            del self._mirrors[key]

        mirror: ObjectMirror[Any] = ObjectMirror(released)
        source = self._source(call, only_metadata=type_ is ObjectMetadata)
        reflector = Reflector(
            source,
            type_,
            mirror,
            self._randomness,
            link=self._link,
            of=call.of,
            may_vanish=not _is_built_in(call.of),
        )
        task: asyncio.Task[Any] = self._tasks.supervise(
            reflector.run, name=f"reflector of {_text(call.of)}"
        )
        return mirror

    def _source(self, call: Call, *, only_metadata: bool = False) -> HTTPSource:
        return HTTPSource(
            self.transport, lambda: self._path(call), call.selectors, only_metadata=only_metadata
        )

    async def _path(self, call: Call) -> str:
        of = await self._name(call.of)
        parts = ["apis", of.group, of.version] if of.group else ["api", of.version]
        if call.namespace:
            parts += ["namespaces", call.namespace]
        parts += [part for part in (of.plural, call.name, call.subresource) if part]
        for part in parts:
            if part in (".", "..") or "/" in part or "%" in part:
                # No object has such a name, and its path would lead to another one: ``..`` to the namespace.
                raise NotFound(f'invalid resource name "{part}"')
        return "/" + "/".join(quote(part, safe=":") for part in parts)

    async def _name(self, of: Of) -> ResourceName:
        """Return the resource of a kind: by rule if it is built in, else as the server says; raises NotFound."""
        if isinstance(of, ResourceName):
            return of
        known = built_in(of)
        if known is not None:
            return known
        found = await self._discovery.find(of)
        return ResourceName(found.group, found.version, found.resource)

    async def _read(self, path: str, accept: str) -> bytes:
        return await self.transport.send(Request("GET", path, accept=accept))


def _without_the_first(mirror: Mirror[Any], changed: Callable[[], None]) -> Callable[[], None]:
    """Subscribe to changes, without the initial calls for existing objects."""
    is_told = False

    def listen(_: object, __: object) -> None:
        if is_told:
            changed()

    unsubscribe = mirror.subscribe(listen)
    is_told = True
    return unsubscribe


def _deletion(call: Call) -> DeleteOptions:
    preconditions = Preconditions(
        uid=call.uid or None, resourceVersion=call.resource_version or None
    )
    return DeleteOptions(
        gracePeriodSeconds=call.grace_seconds,
        propagationPolicy=call.propagation or None,
        preconditions=preconditions if call.uid or call.resource_version else None,
    )


def _is_built_in(of: Of) -> bool:
    return is_built_in(of) if isinstance(of, ResourceName) else built_in(of) is not None


def _text(of: Of) -> str:
    return of.path if isinstance(of, ResourceName) else f"{of.api_version} {of.kind}"
