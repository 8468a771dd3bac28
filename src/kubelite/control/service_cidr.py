"""Protects the default ServiceCIDR: marks it Ready, and keeps its finalizer while Services have its addresses."""

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

DEFAULT = "kubernetes"
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
DELETION_GRACE = timedelta(seconds=10)  # wait for allocations in flight, as in Kubernetes
READY = Condition(type="Ready", status="True", message="Kubernetes Service CIDR is ready")
IN_USE = Condition(
    type="Ready",
    status="False",
    reason="Terminating",
    message="There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
)

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
    """Reconciles the default ServiceCIDR. No addresses are allocated from others, so they never become Ready."""

    name = "service-cidrs-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._cidrs = context.mirror(ServiceCIDR)
        self._addresses = context.mirror(IPAddress)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch the ranges, and addresses once the default range is being deleted."""
        return (Watch(ServiceCIDR, lambda _: (Key("", DEFAULT),)), Watch(IPAddress, self._if_going))

    def _if_going(self, _: IPAddress) -> Iterator[Key]:
        cidr = self._cidrs.get(DEFAULT)
        if cidr is not None and cidr.metadata.deletionTimestamp is not None:
            yield Key("", DEFAULT)

    async def reconcile(self, key: Key) -> float | None:
        """Add the finalizer, or remove it from a deleted range that no address needs."""
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
        if find(cidr.status.conditions, "Ready") is None:
            await self._tell(cidr, READY)
        return None

    async def _finish(self, cidr: ServiceCIDR) -> float | None:
        if FINALIZER not in cidr.metadata.finalizers:
            return None
        others = [one for one in self._cidrs.list() if one.metadata.name != cidr.metadata.name]
        if is_needed(cidr, others, self._addresses.list()):
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
