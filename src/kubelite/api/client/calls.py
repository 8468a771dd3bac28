"""The calls of a client, typed and as dicts, over three methods: send a call, list, and open a mirror."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from kubelite.api.client.call import Call, Of
from kubelite.api.client.decoding import PLAIN, typed
from kubelite.api.client.mirror import metadata_of
from kubelite.api.client.protocol import (
    Mirror,
    Object,
    PatchType,
    Propagation,
    ResourceClient,
    ServedResources,
)
from kubelite.api.kinds.model import Kind, to_wire
from kubelite.api.kinds.object_metadata import ObjectMetadata
from kubelite.api.kinds.resource_names import ResourceName

K = TypeVar("K", bound=Kind)
Body = bytes | msgspec.Raw


class Calls(ABC):
    """What a client must do to have all calls."""

    @abstractmethod
    async def send(self, call: Call) -> bytes:
        """Return the JSON of the answer."""

    @abstractmethod
    async def listed(self, call: Call, type_: Any) -> list[Any]:
        """Return the objects of a list as `type_`: a Kind, or dict."""

    @abstractmethod
    def opened(self, call: Call, type_: Any) -> Mirror[Any]:
        """Return the mirror of the objects that a list call selects, as `type_`."""


class TypedCalls(Calls):
    """The calls of `Client`."""

    @property
    @abstractmethod
    def served(self) -> ServedResources:
        """The resources that the server serves."""

    @abstractmethod
    def follow(
        self, kind: type[Kind], name: str, namespace: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call `changed` after each change of one object; return a call that ends it."""

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        """Return one object; raises NotFound."""
        call = Call(verb="get", of=kind.gvk, namespace=namespace, name=name)
        return typed(kind, await self.send(call))

    async def list(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[K]:
        """Return the objects of one or all namespaces."""
        return await self.listed(
            _listing(kind.gvk, namespace, label_selector, field_selector), kind
        )

    async def create(self, item: K) -> K:
        """Create an object; its metadata has the namespace and the name or `generateName`."""
        namespace = metadata_of(item).namespace
        call = Call(verb="create", of=item.gvk, namespace=namespace, body=to_wire(item))
        return typed(type(item), await self.send(call))

    async def update(self, item: K, subresource: str = "") -> K:
        """Replace an object or subresource; raises Conflict if `metadata.resourceVersion` is set and not current."""
        metadata = metadata_of(item)
        call = Call(
            verb="update",
            of=item.gvk,
            namespace=metadata.namespace,
            name=metadata.name,
            subresource=subresource,
            body=to_wire(item),
        )
        return typed(type(item), await self.send(call))

    async def patch(
        self,
        kind: type[K],
        name: str,
        patch: Object | Sequence[Object],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        force: bool = False,
    ) -> K:
        """Patch an object or its subresource (``status``); `force` lets an apply take fields of other managers."""
        call = Call(
            verb="patch",
            of=kind.gvk,
            namespace=namespace,
            name=name,
            subresource=subresource,
            body=patch,
            patch_type=patch_type,
            force=force,
        )
        return typed(kind, await self.send(call))

    async def delete(
        self,
        kind: type[K],
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: Propagation = "",
    ) -> None:
        """Delete an object; `uid` and `resource_version` are preconditions that raise Conflict."""
        call = Call(
            verb="delete",
            of=kind.gvk,
            namespace=namespace,
            name=name,
            uid=uid,
            resource_version=resource_version,
            grace_seconds=grace_seconds,
            propagation=propagation,
        )
        await self.send(call)

    async def post(
        self,
        kind: type[Kind],
        name: str,
        subresource: str,
        body: Kind,
        namespace: str = "",
    ) -> Object:
        """Create a subresource (pods/binding, pods/eviction, serviceaccounts/token); return the answer as JSON."""
        call = Call(
            verb="create",
            of=kind.gvk,
            namespace=namespace,
            name=name,
            subresource=subresource,
            body=to_wire(body),
        )
        return PLAIN.decode(await self.send(call))

    def mirror(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Mirror[K]:
        """Return the mirror of a kind; a local client raises Forbidden if its caller may not list and watch it."""
        return self.opened(_listing(kind.gvk, namespace, label_selector, field_selector), kind)

    def resource(self, group: str, version: str, plural: str) -> ResourceClient:
        """Return the client of any resource, whether its kind has a Python type or not; makes no request."""
        return PlainCalls(self, ResourceName(group, version, plural))


class PlainCalls:
    """The calls of `ResourceClient`."""

    def __init__(self, calls: Calls, of: ResourceName) -> None:
        self._calls = calls
        self._of = of

    async def get(
        self,
        name: str,
        namespace: str = "",
        *,
        subresource: str = "",
        parameters: Mapping[str, str] | None = None,
    ) -> Object:
        """Return one object, or its subresource (``scale``); raises NotFound."""
        return await self._send(
            Call(
                verb="get",
                of=self._of,
                namespace=namespace,
                name=name,
                subresource=subresource,
                parameters=parameters or {},
            )
        )

    async def list(
        self, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> list[Object]:
        """Return the objects of one or all namespaces."""
        call = _listing(self._of, namespace, label_selector, field_selector)
        return await self._calls.listed(call, dict)

    async def create(self, item: Object, *, name: str = "", subresource: str = "") -> Object:
        """Create an object, or a subresource of the object `name`; the metadata has the namespace."""
        namespace, _ = _place_of(item)
        return await self._send(
            Call(
                verb="create",
                of=self._of,
                namespace=namespace,
                name=name,
                subresource=subresource,
                body=_copied(item),
            )
        )

    async def update(self, item: Object, *, subresource: str = "") -> Object:
        """Replace an object or subresource; raises Conflict if `metadata.resourceVersion` is set and not current."""
        namespace, name = _place_of(item)
        return await self._send(
            Call(
                verb="update",
                of=self._of,
                namespace=namespace,
                name=name,
                subresource=subresource,
                body=_copied(item),
            )
        )

    async def patch(
        self,
        name: str,
        patch: Object | Sequence[Object],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        force: bool = False,
    ) -> Object:
        """Patch an object or subresource; `force` lets an apply take fields of other managers."""
        return await self._send(
            Call(
                verb="patch",
                of=self._of,
                namespace=namespace,
                name=name,
                subresource=subresource,
                body=patch,
                patch_type=patch_type,
                force=force,
            )
        )

    async def delete(
        self,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: Propagation = "",
    ) -> None:
        """Delete an object; `uid` and `resource_version` are preconditions that raise Conflict."""
        await self._calls.send(
            Call(
                verb="delete",
                of=self._of,
                namespace=namespace,
                name=name,
                uid=uid,
                resource_version=resource_version,
                grace_seconds=grace_seconds,
                propagation=propagation,
            )
        )

    async def delete_collection(
        self,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        grace_seconds: int | None = None,
        propagation: Propagation = "",
    ) -> None:
        """Delete the selected objects of one namespace, or of a resource outside of namespaces."""
        await self._calls.send(
            Call(
                verb="deletecollection",
                of=self._of,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                grace_seconds=grace_seconds,
                propagation=propagation,
            )
        )

    def mirror(
        self, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Mirror[Object]:
        """Return the mirror of the resource's objects; a local client raises NotFound and Forbidden."""
        call = _listing(self._of, namespace, label_selector, field_selector)
        return self._calls.opened(call, dict)

    def metadata_mirror(self) -> Mirror[ObjectMetadata]:
        """Return the mirror of the metadata of all objects, without annotations and managed fields."""
        return self._calls.opened(Call(verb="list", of=self._of), ObjectMetadata)

    async def _send(self, call: Call) -> Object:
        return PLAIN.decode(await self._calls.send(call))


def _listing(of: Of, namespace: str, label_selector: str, field_selector: str) -> Call:
    return Call(
        verb="list",
        of=of,
        namespace=namespace,
        label_selector=label_selector,
        field_selector=field_selector,
    )


def _place_of(item: Object) -> tuple[str, str]:
    """Return namespace and name of an object in wire form, which may lack both."""
    metadata = item.get("metadata") or {}
    return metadata.get("namespace", ""), metadata.get("name", "")


def _copied(item: Object) -> Object:
    """Copy an object, since a verb changes the body of its request."""
    return PLAIN.decode(msgspec.json.encode(item))
