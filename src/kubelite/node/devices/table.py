"""The devices that plugins offer, and those that containers have. Pure; the names of states are upstream's.

A device is allocated to one container, and init containers hand theirs on to the containers after them. Devices of a
plugin that is away stay allocated: the containers that have them go on.
"""

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from kubelite.api.kinds.core.container_status import ResourceHealth, ResourceStatus
from kubelite.limits import DEVICES
from kubelite.node.devices.messages import HEALTHY, ContainerAllocation, PluginDevice
from kubelite.node.devices.protocol import AllocationFailed

NO_NODE = -1  # stands for the NUMA node of a device that has none
ByResource = dict[str, "Allocated"]


class Allocated(Struct, frozen=True):
    """The devices of one resource that a container has, and what puts them into it."""

    nodes: dict[str, tuple[int, ...]]  # NUMA nodes by device
    response: ContainerAllocation

    @property
    def devices(self) -> frozenset[str]:
        """The ids of the devices."""
        return frozenset(self.nodes)


class DeviceTable:
    """Devices by resource, and allocations by pod, container and resource."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, PluginDevice]] = {}  # as last listed, by device
        self.away: set[str] = set()  # resources whose plugin does not answer
        self.pods: dict[str, dict[str, ByResource]] = {}

    # Devices

    def offer(self, resource: str, devices: Iterable[PluginDevice]) -> set[str]:
        """Store the devices that a plugin lists; return the pods whose devices changed their health.

        A device without an id is none; those past the bound are left out.
        """
        before, listed = self.resources.get(resource, {}), dict[str, PluginDevice]()
        was_away = resource in self.away
        for device in devices:
            if len(listed) >= DEVICES.value:
                DEVICES.reached()
                break
            if device.ID:
                listed[device.ID] = device
        self.resources[resource] = listed
        self.away.discard(resource)
        changed = {
            name
            for name in before.keys() | listed.keys()
            if was_away or _health(before.get(name)) != _health(listed.get(name))
        }
        return self._holders(resource, changed)

    def leave(self, resource: str) -> set[str]:
        """Note that a plugin is away, its devices unhealthy; return the pods that have some of them."""
        self.away.add(resource)
        return self._holders(resource, self.resources.setdefault(resource, {}).keys())

    def drop(self, resource: str) -> None:
        """Forget the devices of a plugin that stayed away; its allocations stay."""
        self.resources.pop(resource, None)
        self.away.discard(resource)

    def healthy(self, resource: str) -> set[str]:
        """Return the devices that may be allocated, or are."""
        if resource in self.away:
            return set()
        devices = self.resources.get(resource, {})
        return {name for name, device in devices.items() if _health(device)}

    def healthy_nodes(self, resource: str) -> dict[str, tuple[int, ...]]:
        """Return the NUMA nodes of the devices that may be allocated, or are."""
        devices = self.resources.get(resource, {})
        return {name: _nodes(devices[name]) for name in sorted(self.healthy(resource))}

    def capacity(self) -> dict[str, tuple[int, int]]:
        """Return capacity and allocatable of each resource."""
        return {
            resource: (len(devices), len(self.healthy(resource)))
            for resource, devices in self.resources.items()
        }

    def is_known(self, resource: str) -> bool:
        """Return whether a resource is that of a plugin, or was when some of it was allocated."""
        return resource in self.resources or any(
            resource in held for containers in self.pods.values() for held in containers.values()
        )

    # Allocations

    def allocated(self, uid: str, container: str, resource: str) -> Allocated | None:
        """Return what a container has of a resource."""
        return self.pods.get(uid, {}).get(container, {}).get(resource)

    def used(self, resource: str) -> set[str]:
        """Return the devices of a resource that containers have."""
        return {
            device
            for containers in self.pods.values()
            for held in containers.values()
            if resource in held
            for device in held[resource].nodes
        }

    def allocate(
        self,
        uid: str,
        container: str,
        resource: str,
        devices: Collection[str],
        response: ContainerAllocation,
    ) -> None:
        """Store what a plugin answered to an allocation."""
        listed = self.resources.get(resource, {})
        nodes = {name: _nodes(listed.get(name)) for name in sorted(devices)}
        held = self.pods.setdefault(uid, {}).setdefault(container, {})
        held[resource] = Allocated(nodes, response)

    def forget(self, uid: str, container: str, resource: str) -> None:
        """Free what a container has of one resource."""
        self.pods.get(uid, {}).get(container, {}).pop(resource, None)

    def release(self, uid: str) -> bool:
        """Free the devices of a pod; return whether it had any."""
        return self.pods.pop(uid, None) is not None

    def retain(self, uids: Collection[str]) -> None:
        """Free the devices of all other pods."""
        for uid in [uid for uid in self.pods if uid not in uids]:
            del self.pods[uid]

    def lacking(self, uid: str, container: str, resource: str, required: int) -> int:
        """Return how many devices a container is to be given. Raises AllocationFailed.

        It is 0 where the container has what it asks for, as after a restart.
        """
        held = self.allocated(uid, container, resource)
        had = frozenset[str]() if held is None else held.devices
        if held is not None and len(had) != required:
            raise AllocationFailed(
                f'pod "{uid}" container "{container}" changed request for resource "{resource}" '
                f"from {len(had)} to {required}"
            )
        if resource not in self.resources:
            raise AllocationFailed(f"cannot allocate unregistered device {resource}")
        healthy = self.healthy(resource)
        if not healthy:
            raise AllocationFailed(
                f"no healthy devices present; cannot allocate unhealthy devices {resource}"
            )
        if not healthy.issuperset(had):
            raise AllocationFailed(
                "previously allocated devices are no longer healthy; cannot allocate unhealthy "
                f"devices {resource}"
            )
        return required - len(had)

    def candidates(self, resource: str, reusable: Collection[str], needed: int) -> "Candidates":
        """Return the devices that `needed` are to be chosen from. Raises AllocationFailed if they are too few."""
        healthy = self.healthy(resource)
        reused = sorted(healthy.intersection(reusable))[:needed]
        missing = needed - len(reused)
        free = healthy - self.used(resource) if missing else set()
        if len(free) < missing:
            raise AllocationFailed(
                f"requested number of devices unavailable for {resource}. "
                f"Requested: {missing}, Available: {len(free)}"
            )
        return Candidates(tuple(reused), frozenset(free), missing)

    # Health

    def statuses(self, uid: str) -> dict[str, list[ResourceStatus]]:
        """Return the health of a pod's devices by container, as its status has it."""
        return {
            container: [
                ResourceStatus(
                    name=resource,
                    resources=[
                        ResourceHealth(resourceID=name, health=self._state(resource, name))
                        for name in allocated.nodes
                    ],
                )
                for resource, allocated in sorted(held.items())
            ]
            for container, held in self.pods.get(uid, {}).items()
        }

    def _state(self, resource: str, name: str) -> str:
        """Return a device's health; one that no plugin lists counts as healthy, as upstream has it."""
        device = self.resources.get(resource, {}).get(name)
        is_healthy = device is None or (_health(device) and resource not in self.away)
        return "Healthy" if is_healthy else "Unhealthy"

    def _holders(self, resource: str, devices: Collection[str]) -> set[str]:
        """Return the pods that have one of the devices."""
        return {
            uid
            for uid, containers in self.pods.items()
            for held in containers.values()
            if resource in held and not held[resource].devices.isdisjoint(devices)
        }


class Candidates(Struct, frozen=True):
    """The devices that an allocation is made from: `reused` is taken whole, and `missing` of `free`."""

    reused: tuple[str, ...]  # handed on by init containers
    free: frozenset[str]
    missing: int

    def chosen(self, preferred: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the devices to allocate: as far as possible those that the plugin prefers."""
        wanted = [name for name in dict.fromkeys(preferred) if name in self.free]
        others = sorted(self.free.difference(wanted))
        return (*self.reused, *[*wanted, *others][: self.missing])


def _health(device: PluginDevice | None) -> bool:
    return device is not None and device.health == HEALTHY


def _nodes(device: PluginDevice | None) -> tuple[int, ...]:
    if device is None or device.topology is None or not device.topology.nodes:
        return (NO_NODE,)
    return tuple(node.ID for node in device.topology.nodes)


def capacity_texts(
    capacity: Mapping[str, tuple[int, int]],
) -> tuple[dict[str, str], dict[str, str]]:
    """Return capacity and allocatable as a Node has them."""
    return (
        {resource: str(whole) for resource, (whole, _) in capacity.items()},
        {resource: str(free) for resource, (_, free) in capacity.items()},
    )
