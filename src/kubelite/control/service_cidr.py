"""Makes ServiceCIDRs Ready, which gives Services their addresses, and keeps those with addresses in use."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from msgspec.structs import replace

from kubelite.api.kinds.meta import Condition
from kubelite.api.kinds.model import to_wire
from kubelite.api.kinds.networking import IPAddress, ServiceCIDR
from kubelite.api.machinery.times import format_time, parse_time
from kubelite.control.conditions import find
from kubelite.control.runtime import Context, Key, Watch

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
DELETION_GRACE = timedelta(seconds=10)  # wait for allocations in flight, as in Kubernetes
READY = Condition(type="Ready", status="True", message="Kubernetes Service CIDR is ready")
IN_USE = Condition(
    type="Ready",
    status="False",
    reason="Terminating",
    message="There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
)

ADDRESS_COST_BYTES = 16  # what the offload counts for an address compared with a range

Network = IPv4Network | IPv6Network


def is_needed(
    cidr: ServiceCIDR, others: Sequence[ServiceCIDR], addresses: Sequence[IPAddress]
) -> bool:
    """Return whether an address would have no range without `cidr`; `others` are the other ranges."""
    remaining = [network for other in others for network in networks_of(other)]
    for network in networks_of(cidr):
        if any(network.version == one.version and network.subnet_of(one) for one in remaining):  # type: ignore[arg-type]  # of one version
            continue
        for item in addresses:
            address = ip_address(item.metadata.name)
            if address in network and not any(address in one for one in remaining):
                return True
    return False


def networks_of(cidr: ServiceCIDR) -> list[Network]:
    """Return the networks of a ServiceCIDR."""
    return [ip_network(text) for text in cidr.spec.cidrs]


class ServiceCIDRController:
    """Reconciles ServiceCIDRs. What the flags say of the default one is compared by `system_needs`."""

    name = "service-cidrs-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._offload = context.offload
        self._cidrs = context.mirror(ServiceCIDR)
        self._addresses = context.mirror(IPAddress)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch the ranges, and addresses while a range is being deleted."""
        return (Watch(ServiceCIDR, self._ranges), Watch(IPAddress, lambda _: self._going()))

    def _ranges(self, cidr: ServiceCIDR) -> Iterator[Key]:
        """Yield the keys of a range, and of those that may go because of it."""
        yield Key("", cidr.metadata.name)
        yield from self._going()

    def _going(self) -> Iterator[Key]:
        for cidr in self._cidrs.list():
            if cidr.metadata.deletionTimestamp is not None:
                yield Key("", cidr.metadata.name)

    async def reconcile(self, key: Key) -> float | None:
        """Add the finalizer and the condition, or remove it from a deleted range that no address needs."""
        cidr = self._cidrs.get(key.name)
        if cidr is None:
            return None
        if cidr.metadata.deletionTimestamp is not None:
            return await self._finish(cidr)
        if FINALIZER not in cidr.metadata.finalizers:
            finalizers = [*cidr.metadata.finalizers, FINALIZER]
            cidr = await self._client.update(
                replace(cidr, metadata=replace(cidr.metadata, finalizers=finalizers))
            )
        ready = find(cidr.status.conditions, "Ready")
        if ready is None or ready.status != "True":
            await self._tell(cidr, READY)
        return None

    async def _finish(self, cidr: ServiceCIDR) -> float | None:
        if FINALIZER not in cidr.metadata.finalizers:
            return None
        # Of two ranges that are being deleted neither may count on the other.
        others = [one for one in self._cidrs.list() if one.metadata.deletionTimestamp is None]
        addresses = self._addresses.list()
        cost = len(addresses) * (1 + len(others)) * ADDRESS_COST_BYTES
        if await self._offload.run(cost, lambda: is_needed(cidr, others, addresses)):
            known = find(cidr.status.conditions, "Ready")
            if known is None or known.reason != IN_USE.reason:
                await self._tell(cidr, IN_USE)
            return None
        since = parse_time(cidr.metadata.deletionTimestamp or "")
        left = since + DELETION_GRACE - self._clock.now()
        if left > timedelta():
            return left.total_seconds()
        finalizers = [one for one in cidr.metadata.finalizers if one != FINALIZER]
        await self._client.update(
            replace(cidr, metadata=replace(cidr.metadata, finalizers=finalizers))
        )
        return None

    async def _tell(self, cidr: ServiceCIDR, condition: Condition) -> None:
        dated = replace(condition, lastTransitionTime=format_time(self._clock.now()))
        patch = {"status": {"conditions": [to_wire(dated)]}}
        await self._client.patch(
            ServiceCIDR,
            cidr.metadata.name,
            patch,
            patch_type="strategic",
            subresource="status",
        )
