"""Keeps Endpoints, the predecessor of EndpointSlices, for services with a selector."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from kubelite.api.errors import AlreadyExists, Forbidden, NotFound
from kubelite.api.kinds.core.endpoints import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
)
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.batches import NAMESPACE_TERMINATING
from kubelite.control.pods import is_ready
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.service_pods import (
    Ports,
    TargetPorts,
    addresses_of,
    endpoints_cost_bytes,
    families,
    hostname_of,
    is_selecting,
    matters,
    pod_reference,
    selected_pods,
    served_ports,
    service_selectors,
)

HEADLESS = "service.kubernetes.io/headless"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
ADDRESSES_LIMIT = 1000


def subsets_of(service: Service, pods: Sequence[Pod]) -> list[EndpointSubset]:
    """Return the subsets: addresses grouped by the ports that they serve, ready and not ready ones separate."""
    ready: dict[Ports, list[EndpointAddress]] = defaultdict(list)
    unready: dict[Ports, list[EndpointAddress]] = defaultdict(list)
    publish = service.spec.publishNotReadyAddresses
    family = families(service)[0]
    targets = TargetPorts(service)
    for pod in pods:
        if pod.metadata.deletionTimestamp is not None and not publish:
            continue
        for address in addresses_of(pod, family)[:1]:
            group = ready if publish or is_ready(pod) else unready
            group[served_ports(targets, pod)].append(_address(service, pod, address))
    return [
        EndpointSubset(
            addresses=sorted(ready.get(ports, []), key=lambda one: one.ip),
            notReadyAddresses=sorted(unready.get(ports, []), key=lambda one: one.ip),
            ports=[
                EndpointPort(name=name, port=number, protocol=protocol, appProtocol=app or None)
                for name, protocol, number, app in ports
            ],
        )
        for ports in sorted({*ready, *unready})
        # A pod with none of the target ports cannot be reached, so it is left out, unless the service has no ports.
        if ports or not service.spec.ports
    ]


def _address(service: Service, pod: Pod, address: str) -> EndpointAddress:
    return EndpointAddress(
        ip=address,
        hostname=hostname_of(pod, service),
        nodeName=pod.spec.nodeName or None,
        targetRef=pod_reference(pod),
    )


def truncated(subsets: Sequence[EndpointSubset]) -> tuple[list[EndpointSubset], bool]:
    """Return at most 1000 addresses, ready ones first, and whether any were left out."""
    total = sum(len(one.addresses) + len(one.notReadyAddresses) for one in subsets)
    if total <= ADDRESSES_LIMIT:
        return list(subsets), False
    room = ADDRESSES_LIMIT
    kept = []
    for one in subsets:
        addresses = one.addresses[:room]
        room -= len(addresses)
        kept.append(replace(one, addresses=addresses, notReadyAddresses=[]))
    for index, one in enumerate(subsets):
        unready = one.notReadyAddresses[:room]
        room -= len(unready)
        kept[index] = replace(kept[index], notReadyAddresses=unready)
    return [one for one in kept if one.addresses or one.notReadyAddresses], True


def endpoints_of(service: Service, pods: Sequence[Pod], current: Endpoints | None) -> Endpoints:
    """Return the Endpoints that the service should have; `current` are the existing ones."""
    subsets, over = truncated(subsets_of(service, pods))
    labels = {**service.metadata.labels, MANAGED_BY: "endpoint-controller"}
    if service.spec.clusterIP in {"", "None"}:
        labels[HEADLESS] = ""
    meta = (
        current.metadata
        if current
        else ObjectMeta(name=service.metadata.name, namespace=service.metadata.namespace)
    )
    annotations = {key: value for key, value in meta.annotations.items() if key != OVER_CAPACITY}
    if over:
        annotations[OVER_CAPACITY] = "truncated"
    meta = replace(meta, labels=labels, annotations=annotations)
    return Endpoints(metadata=meta, subsets=subsets)


class EndpointsController:
    """Reconciles services."""

    name = "endpoint-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._offload = context.offload
        self._selecting = service_selectors(context)
        self._services = context.mirror(Service)
        self._pods = context.mirror(Pod)
        self._endpoints = context.mirror(Endpoints)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch services, the pods they select, and deleted Endpoints."""
        return (
            Watch(Service),
            Watch(Pod, self._services_of, where=matters),
            Watch(Endpoints, where=lambda before, after: before is not None and after is None),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Write the Endpoints if they differ."""
        service = self._services.get(key.name, key.namespace)
        current = self._endpoints.get(key.name, key.namespace)
        if service is None:
            if current is not None and MANAGED_BY in current.metadata.labels:
                await self._delete(key)
            return None
        if not is_selecting(service) or service.metadata.deletionTimestamp is not None:
            return None
        pods = await selected_pods(self._offload, service, self._pods)
        wanted = await self._offload.run(
            endpoints_cost_bytes(service, pods), lambda: endpoints_of(service, pods, current)
        )
        if current is None:
            await self._create(wanted)
        elif (
            wanted.subsets != current.subsets
            or wanted.metadata.labels != current.metadata.labels
            or wanted.metadata.annotations != current.metadata.annotations
        ):
            await self._client.update(wanted)
        return None

    def _services_of(self, pod: Pod) -> Iterable[Key | None]:
        return self._selecting.keys(pod.metadata.namespace, pod.metadata.labels)

    async def _create(self, wanted: Endpoints) -> None:
        try:
            await self._client.create(wanted)
        except AlreadyExists:
            return
        except Forbidden as error:
            if NAMESPACE_TERMINATING not in error.message:
                raise

    async def _delete(self, key: Key) -> None:
        try:
            await self._client.delete(Endpoints, key.name, key.namespace)
        except NotFound:
            return
