"""The dict side of the fake client: what `FakeClient.resource` and `FakeClient.served` return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kubelite.api.client.protocol import Object, PatchType, Propagation, ServedResource
from kubelite.api.errors import NotFound
from kubelite.api.kinds.model import Kind, to_wire
from kubelite.api.registry.builtin import RESOURCES
from kubelite.api.registry.subresources.scale import put_scale, scale_of

if TYPE_CHECKING:
    from fakes.fake_client import FakeClient

Name = tuple[str, str, str]
BUILT_IN = {(row.group, row.version, row.plural): row for row in RESOURCES}


class FakeServed:
    """Resources that tests begin and end to serve; those that are built in are not listed."""

    def __init__(self) -> None:
        self.found: list[ServedResource] = []
        self.listeners: list[Callable[[], None]] = []

    def resources(self) -> Sequence[ServedResource]:
        return tuple(self.found)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def tell(self) -> None:
        for listener in list(self.listeners):
            listener()


class PlainMirror:
    """A mirror of dicts over the fake's mirror of typed objects."""

    def __init__(self, mirror: Any) -> None:
        self._mirror = mirror

    async def synced(self) -> None:
        return

    def get(self, name: str, namespace: str = "") -> Object | None:
        found: Object | None = _plain(self._mirror.get(name, namespace))
        return found

    def list(self, namespace: str = "") -> list[Any]:
        return [_plain(item) for item in self._mirror.list(namespace)]

    def add_index(self, index_name: str, index: Callable[[Any], Sequence[str]]) -> None:
        self._mirror.add_index(index_name, lambda item: index(_plain(item)))

    def indexed(self, index_name: str, value: str) -> Sequence[Any]:
        return [_plain(item) for item in self._mirror.indexed(index_name, value)]

    def subscribe(self, listener: Callable[[Any, Any], None]) -> Callable[[], None]:
        end: Callable[[], None] = self._mirror.subscribe(
            lambda before, after: listener(_plain(before), _plain(after))
        )
        return end

    def close(self) -> None:
        self._mirror.close()


def _plain(item: Any) -> Any:
    return None if item is None else to_wire(item)


class FakeResource:
    """Implements `ResourceClient` over the typed objects of a fake client."""

    def __init__(self, client: FakeClient, name: Name) -> None:
        self._client = client
        self._name = name

    async def get(
        self,
        name: str,
        namespace: str = "",
        *,
        subresource: str = "",
        parameters: Mapping[str, str] | None = None,
    ) -> Object:
        assert not parameters, "only another server takes them"
        found = to_wire(await self._client.get(self._kind(namespace), name, namespace))
        return scale_of(found) if subresource == "scale" else found

    async def list(
        self, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> list[Object]:
        found = await self._client.list(
            self._kind(),
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        return [to_wire(item) for item in found]

    async def create(self, item: Object, *, name: str = "", subresource: str = "") -> Object:
        namespace = (item.get("metadata") or {}).get("namespace", "")
        assert not subresource, "only objects"
        kind = self._kind(namespace)
        return to_wire(await self._client.create(msgspec.convert(item, kind)))

    async def update(self, item: Object, *, subresource: str = "") -> Object:
        metadata = item["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        kind = self._kind(namespace)
        if subresource == "scale":
            whole = put_scale(to_wire(await self._client.get(kind, name, namespace)), item)
            return scale_of(to_wire(await self._client.update(msgspec.convert(whole, kind))))
        return to_wire(await self._client.update(msgspec.convert(item, kind), subresource))

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
        kind = self._kind(namespace)
        if subresource != "scale":
            patched = await self._client.patch(
                kind,
                name,
                patch,
                namespace,
                patch_type=patch_type,
                subresource=subresource,
                force=force,
            )
            return to_wire(patched)
        assert isinstance(patch, dict)
        replicas = {"spec": {"replicas": patch["spec"]["replicas"]}}
        return scale_of(to_wire(await self._client.patch(kind, name, replicas, namespace)))

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
        await self._client.delete(
            self._kind(namespace),
            name,
            namespace,
            uid=uid,
            resource_version=resource_version,
            grace_seconds=grace_seconds,
            propagation=propagation,
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
        selectors = {"label_selector": label_selector, "field_selector": field_selector}
        for item in await self.list(namespace, **selectors):
            metadata = item["metadata"]
            await self.delete(
                metadata["name"],
                metadata.get("namespace", ""),
                grace_seconds=grace_seconds,
                propagation=propagation,
            )

    def mirror(
        self, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Any:
        key = (*self._name, namespace, label_selector, field_selector)
        chosen = self._client.mirror(
            self._kind(),
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
        )
        return self._client.plain.setdefault(key, PlainMirror(chosen))

    def metadata_mirror(self) -> Any:
        return self._client.mirror(self._kind())

    def _kind(self, namespace: str = "") -> type[Kind]:
        """Return the type in which the fake keeps the objects; raises NotFound."""
        found = self._client.dynamic.get(self._name)
        row = BUILT_IN.get(self._name)
        if found is None and row is not None:
            found = row.type
        if found is None or (row is not None and namespace and not row.namespaced):
            raise NotFound("the server could not find the requested resource")
        return found
