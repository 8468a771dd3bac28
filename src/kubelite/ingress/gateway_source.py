"""The Gateway API's objects as they are now; nothing is followed while its definitions are not installed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kubelite.api.client.protocol import Client, Mirror, Object
from kubelite.api.errors import APIError
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.ingress.gateway_listeners import World
from kubelite.ingress.gateway_objects import (
    CONTROLLER,
    GROUP,
    BackendTLSPolicy,
    Gateway,
    GatewayClass,
    HTTPRoute,
    ReferenceGrant,
    read,
)

PLURALS = ("gatewayclasses", "gateways", "httproutes", "referencegrants", "backendtlspolicies")


class Snapshot(Struct, frozen=True):
    """All objects at one time, which are shared with the mirrors and so never changed."""

    items: Mapping[str, Sequence[Object]]  # by plural
    labels: Mapping[str, Mapping[str, str]]  # of namespaces

    @property
    def size(self) -> int:
        """How many objects there are."""
        return sum(len(one) for one in self.items.values())

    def world(self) -> World:
        """Return what a plan is made of, without Services and the settings of the node."""
        return World(
            classes=read(self.items["gatewayclasses"], GatewayClass),
            gateways=read(self.items["gateways"], Gateway),
            routes=read(self.items["httproutes"], HTTPRoute),
            grants=read(self.items["referencegrants"], ReferenceGrant),
            policies=read(self.items["backendtlspolicies"], BackendTLSPolicy),
            namespaces=self.labels,
        )


class GatewayObjects:
    """Follows the resources, each one from when it is served until it is no longer."""

    def __init__(
        self, client: Client, changed: Callable[[], None], plurals: Sequence[str] = PLURALS
    ) -> None:
        """`changed` is called on the loop after each change that a plan may depend on; only `plurals` are followed."""
        self._plurals = plurals
        self._client = client
        self._changed = changed
        self._mirrors: dict[str, tuple[str, Mirror[Object]]] = {}  # by plural, with the version
        self._ends: dict[str, Callable[[], None]] = {}
        self._namespaces: Mirror[Namespace] | None = None
        self._end_namespaces: Callable[[], None] = lambda: None
        self._end_served = client.served.subscribe(self._served_changed)
        self._served_changed()

    @property
    def is_empty(self) -> bool:
        """Whether no Gateway can be kubelite's, so that there is nothing to plan for one."""
        return not self._list("gateways") or not any(
            one.spec.controller_name == CONTROLLER
            for one in read(self._list("gatewayclasses"), GatewayClass)
        )

    @property
    def has_policies(self) -> bool:
        """Whether there are policies, which hold for Ingresses too."""
        return bool(self._list("backendtlspolicies"))

    @property
    def versions(self) -> dict[str, str]:
        """The version of each resource that is followed, by its plural."""
        return {plural: version for plural, (version, _) in self._mirrors.items()}

    def get(self, plural: str, name: str, namespace: str) -> Object | None:
        """Return an object as last seen."""
        found = self._mirrors.get(plural)
        return found[1].get(name, namespace) if found is not None else None

    def snapshot(self) -> Snapshot:
        """Return the objects as they are now, to be decoded off the loop."""
        namespaces = self._namespaces.list() if self._namespaces is not None else ()
        return Snapshot(
            {plural: self._list(plural) for plural in PLURALS},
            {one.metadata.name: one.metadata.labels for one in namespaces},
        )

    async def synced(self) -> None:
        """Wait until the first lists of what is served have arrived."""
        for _, mirror in tuple(self._mirrors.values()):
            await mirror.synced()
        if self._namespaces is not None:
            await self._namespaces.synced()

    def close(self) -> None:
        """Follow nothing."""
        self._end_served()
        for plural in tuple(self._mirrors):
            self._drop(plural)
        self._follow_namespaces()

    def _list(self, plural: str) -> list[Object]:
        found = self._mirrors.get(plural)
        return list(found[1].list()) if found is not None else []

    def _served_changed(self) -> None:
        served = {
            one.resource: one.version
            for one in self._client.served.resources()
            if one.group == GROUP and one.resource in self._plurals
        }
        before = self.versions
        for plural in before:
            if served.get(plural) != before[plural]:
                self._drop(plural)
        for plural in served.keys() - self._mirrors.keys():
            self._begin(plural, served[plural])
        self._follow_namespaces()
        if before != self.versions:
            self._changed()

    def _begin(self, plural: str, version: str) -> None:
        try:
            mirror = self._client.resource(GROUP, version, plural).mirror()
        except APIError:
            return  # it was removed in this moment, which is told next
        self._mirrors[plural] = version, mirror
        self._ends[plural] = mirror.subscribe(self._object_changed)

    def _drop(self, plural: str) -> None:
        self._ends.pop(plural)()
        _, mirror = self._mirrors.pop(plural)
        mirror.close()

    def _follow_namespaces(self) -> None:
        """Follow Namespaces, whose labels listeners select, only while there can be listeners."""
        is_wanted = "gateways" in self._mirrors and "httproutes" in self._plurals
        if is_wanted == (self._namespaces is not None):
            return
        if self._namespaces is None:
            self._namespaces = self._client.mirror(Namespace)
            self._end_namespaces = self._namespaces.subscribe(self._namespace_changed)
        else:
            self._end_namespaces()
            self._namespaces.close()
            self._namespaces = None

    def _object_changed(self, before: Any, after: Any) -> None:
        if before is None or after is None or _view(before) != _view(after):
            self._changed()

    def _namespace_changed(self, before: Namespace | None, after: Namespace | None) -> None:
        if before is None or after is None or before.metadata.labels != after.metadata.labels:
            self._changed()


def _view(item: Object) -> object:
    """Return what plans are made of: a status, which this cluster itself writes, is none of it."""
    metadata = item.get("metadata") or {}
    return (item.get("spec"), metadata.get("uid"), metadata.get("deletionTimestamp"))
