"""Mirrors Endpoints written by users, for services without a selector, into EndpointSlices."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any

import msgspec
from msgspec.structs import replace

from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.endpoints import EndpointAddress, Endpoints, EndpointSubset
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.endpointslice import MANAGED_BY, SERVICE
from kubelite.control.ownership import controller_reference
from kubelite.control.runtime import Context, Key, Watch

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
NOT_COPIED = frozenset(
    {
        "endpoints.kubernetes.io/last-change-trigger-time",
        "kubectl.kubernetes.io/last-applied-configuration",
    }
)
ADDRESSES_LIMIT = 1000  # of a subset
ADDRESS_COST_BYTES = 16  # cost of an address, for the offload: about five microseconds


def is_mirrored(endpoints: Endpoints, service: Service | None) -> bool:
    """Return whether Endpoints are written by users for a service without a selector, and to be mirrored."""
    meta = endpoints.metadata
    return (
        service is not None
        and not service.spec.selector
        and meta.deletionTimestamp is None
        and meta.labels.get(SKIP) != "true"
        and LEADER not in meta.annotations
    )


def slices_of(endpoints: Endpoints) -> list[EndpointSlice]:
    """Return one slice for each subset and address family that has addresses."""
    meta = endpoints.metadata
    annotations = {key: value for key, value in meta.annotations.items() if key not in NOT_COPIED}
    made: list[EndpointSlice] = []
    for subset in endpoints.subsets:
        by_family: dict[str, list[Endpoint]] = {}
        for address, ready in _addresses(subset):
            parsed = ip_address(address.ip)
            family = f"IPv{parsed.version}"
            by_family.setdefault(family, []).append(_endpoint(address, str(parsed), ready))
        made += (
            EndpointSlice(
                metadata=ObjectMeta(
                    generateName=f"{meta.name}-",
                    namespace=meta.namespace,
                    labels={**meta.labels, SERVICE: meta.name, MANAGED_BY: MANAGER},
                    annotations=annotations,
                    ownerReferences=[controller_reference(endpoints)],
                ),
                addressType=family,
                endpoints=found,
                ports=[
                    EndpointPort(
                        name=port.name,
                        port=port.port,
                        protocol=port.protocol or "TCP",
                        appProtocol=port.appProtocol,
                    )
                    for port in subset.ports
                ],
            )
            for family, found in sorted(by_family.items())
        )
    return made


def _addresses(subset: EndpointSubset) -> Iterable[tuple[EndpointAddress, bool]]:
    both = [(one, True) for one in subset.addresses] + [
        (one, False) for one in subset.notReadyAddresses
    ]
    return both[:ADDRESSES_LIMIT]


def _endpoint(address: EndpointAddress, text: str, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=[text],
        conditions=EndpointConditions(ready=ready),
        hostname=address.hostname or None,
        nodeName=address.nodeName,
        targetRef=address.targetRef,
    )


class EndpointSliceMirroringController:
    """Reconciles Endpoints."""

    name = "endpointslicemirroring-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._offload = context.offload
        self._services = context.mirror(Service)
        self._endpoints = context.mirror(Endpoints)
        self._slices = context.mirror(EndpointSlice)
        self._slices.add_index("mirrored", _mirrored_from)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch Endpoints, their services, and this controller's slices."""
        return (
            Watch(Endpoints),
            Watch(Service, where=_selector_changed),
            Watch(EndpointSlice, _keys_of_slice),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Bring the slices to the Endpoints, with updates of existing slices where family and ports match."""
        endpoints = self._endpoints.get(key.name, key.namespace)
        service = self._services.get(key.name, key.namespace)
        present = list(self._slices.indexed("mirrored", f"{key.namespace}/{key.name}"))
        wanted: list[EndpointSlice] = []
        if endpoints is not None and is_mirrored(endpoints, service):
            wanted = await self._offload.run(_cost_bytes(endpoints), lambda: slices_of(endpoints))
        alike: dict[tuple[str, bytes], list[EndpointSlice]] = {}
        for one in reversed(present):
            alike.setdefault(_shape(one), []).append(one)
        for one in wanted:
            await self._write(one, alike.get(_shape(one)))
        for one in (one for some in alike.values() for one in some):
            try:
                await self._client.delete(EndpointSlice, one.metadata.name, key.namespace)
            except NotFound:
                continue
        return None

    async def _write(self, wanted: EndpointSlice, alike: list[EndpointSlice] | None) -> None:
        """Update a slice of the same family and ports, removed from `alike`, or create one."""
        if not alike:
            await self._client.create(wanted)
            return
        current = alike.pop()
        metadata = replace(
            current.metadata,
            labels=wanted.metadata.labels,
            annotations=wanted.metadata.annotations,
        )
        fresh = replace(current, metadata=metadata, endpoints=wanted.endpoints)
        if fresh != current:
            await self._client.update(fresh)


def _shape(one: EndpointSlice) -> tuple[str, bytes]:
    """Return the address type and ports of a slice, which an update does not change."""
    return one.addressType, msgspec.json.encode(one.ports)


def _cost_bytes(endpoints: Endpoints) -> int:
    return sum(
        ADDRESS_COST_BYTES * (len(one.addresses) + len(one.notReadyAddresses)) + 4 * len(one.ports)
        for one in endpoints.subsets
    )


def _mirrored_from(one: EndpointSlice) -> tuple[str, ...]:
    labels = one.metadata.labels
    if labels.get(MANAGED_BY) != MANAGER or one.metadata.deletionTimestamp is not None:
        return ()
    return (f"{one.metadata.namespace}/{labels.get(SERVICE, '')}",)


def _keys_of_slice(one: EndpointSlice) -> tuple[Key, ...]:
    labels = one.metadata.labels
    if labels.get(MANAGED_BY) != MANAGER:
        return ()
    return (Key(one.metadata.namespace, labels.get(SERVICE, "")),)


def _selector_changed(before: Service | None, after: Service | None) -> bool:
    if before is None or after is None:
        return True
    return bool(before.spec.selector) != bool(after.spec.selector)
