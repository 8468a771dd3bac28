"""A pod network, volumes and probes that exist only in memory."""

import asyncio
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from kubelite.api.client.protocol import Client
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.containers import LifecycleHandler, Probe
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.pod_claims import claim_name, claim_names
from kubelite.node.devices.protocol import NoDevices
from kubelite.node.environment import Surroundings
from kubelite.node.local_storage import LocalStorage
from kubelite.node.network import HostPort
from kubelite.node.pods import AnyContainer
from kubelite.node.probes import Outcome, ProbeTarget
from kubelite.node.runtime import (
    EngineUnavailable,
    HostDevice,
    Mount,
)


class AddressPool:
    """Addresses of a network, handed out in order; shared by the nodes of a simulated cluster."""

    def __init__(self, network: str = "10.42.0.0/16", skip: int = 0) -> None:
        self._hosts = ipaddress.ip_network(network)
        self._next = skip
        self._free: list[str] = []

    def take(self) -> str:
        """Return a free address."""
        if self._free:
            return self._free.pop(0)
        self._next += 1
        assert self._next < self._hosts.num_addresses - 1, "the simulated network is full"
        return str(self._hosts[self._next])

    def give_back(self, address: str) -> None:
        """Let an address be taken again."""
        self._free.append(address)


class SimulatedNetwork:
    """Gives addresses and connects nothing."""

    def __init__(self, pool: AddressPool, second: str = "") -> None:
        """`second` is a network of IPv6, of which each pod has an address too; its low bits are those of the first."""
        self._pool = pool
        self._second = ipaddress.IPv6Network(second) if second else None
        self._is_first_hidden = False  # pods have the second address only
        self.addresses: dict[str, str] = {}  # by pod uid

    async def attach(
        self, pod_uid: str, pod_key: str, netns: str, *, host_ports: Sequence[HostPort] = ()
    ) -> tuple[str, ...]:
        """Return the pod's addresses."""
        del pod_key, netns, host_ports
        if pod_uid not in self.addresses:
            self.addresses[pod_uid] = self._pool.take()
        return self._both(self.addresses[pod_uid])

    async def addresses_in(self, pod_uid: str, netns: str) -> tuple[str, ...]:
        """Return the pod's addresses, whichever namespace is asked about."""
        del netns
        return self._both(self.addresses[pod_uid]) if pod_uid in self.addresses else ()

    def _both(self, address: str) -> tuple[str, ...]:
        if self._second is None:
            return (address,)
        other = str(self._second[int(ipaddress.ip_address(address))])
        return (other,) if self._is_first_hidden else (address, other)

    async def detach(self, pod_uid: str) -> None:
        """Give the pod's address back."""
        address = self.addresses.pop(pod_uid, None)
        if address is not None:
            self._pool.give_back(address)

    async def restore(self, live: Mapping[str, int]) -> None:
        """Give back the addresses of pods that do not live."""
        for pod_uid in [uid for uid in self.addresses if uid not in live]:
            await self.detach(pod_uid)


class RangedNetwork(SimulatedNetwork):
    """Gives addresses of the range that the cluster has assigned to the node; until then pods wait."""

    def __init__(self, client: Client, node: str) -> None:
        super().__init__(AddressPool())
        self._nodes = client.mirror(Node, field_selector=f"metadata.name={node}")
        self._ranges: Sequence[str] = ()

    async def attach(
        self, pod_uid: str, pod_key: str, netns: str, *, host_ports: Sequence[HostPort] = ()
    ) -> tuple[str, ...]:
        """Return the pod's addresses."""
        if not self._ranges:
            self._use(await self._assigned())
        return await super().attach(pod_uid, pod_key, netns, host_ports=host_ports)

    def _use(self, ranges: Sequence[str]) -> None:
        self._ranges = ranges
        networks = [ipaddress.ip_network(text) for text in ranges]
        first = next((str(one) for one in networks if one.version == 4), "")
        second = next((one for one in networks if isinstance(one, ipaddress.IPv6Network)), None)
        # With IPv6 alone the low bits are those of addresses that no pod has.
        self._pool = AddressPool(first or "10.42.0.0/16", skip=1)
        self._second = second
        self._is_first_hidden = not first

    async def _assigned(self) -> Sequence[str]:
        changed = asyncio.Event()
        unsubscribe = self._nodes.subscribe(lambda *_: changed.set())
        try:
            while True:
                for node in self._nodes.list():
                    if ranges := node.spec.podCIDRs or [*filter(None, [node.spec.podCIDR])]:
                        return ranges
                changed.clear()
                await changed.wait()
        finally:
            unsubscribe()


class SimulatedFolders:
    """The folders of provisioned volumes, which exist only in memory and outlive the node agent."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.names: dict[str, int | None] = {}  # with their limits in bytes

    def make(self, name: str, limit_bytes: int | None) -> bool:
        """Make a folder if it is missing, and note its limit."""
        self.names[name] = limit_bytes
        return True

    def has(self, name: str) -> bool:
        """Return whether a folder exists."""
        return name in self.names

    def remove(self, name: str) -> None:
        """Remove a folder."""
        self.names.pop(name, None)


class SimulatedDevices(NoDevices):
    """Devices that exist for the scheduler only: the claims of pods count as prepared."""

    async def prepare(self, _pod: Pod) -> None:
        """Prepare nothing."""


class SimulatedVolumes:
    """Volumes that hold nothing; those that are provisioned have a folder."""

    changed: Callable[[str], None]

    def __init__(self, client: Client, local: LocalStorage) -> None:
        self._client = client
        self._local = local

    async def set_up(self, pod: Pod, around: Surroundings) -> datetime | None:
        """Make the folders of a pod's provisioned volumes. Raises ConfigUnavailable and APIError.

        A claim that is not bound, as of a pod that was given its node by hand, holds nothing like other volumes.
        """
        del around
        for name, _ in claim_names(pod):
            with suppress(NotFound):
                claim = await self._client.get(PersistentVolumeClaim, name, pod.metadata.namespace)
                if claim.status.phase == "Bound":
                    volume = await self._client.get(PersistentVolume, claim.spec.volumeName)
                    if self._local.keeps(volume):
                        await self._local.prepare(volume)
        return None

    async def mounts(
        self,
        pod: Pod,
        container: AnyContainer,
        attempt: int,
        around: Surroundings,
        environment: Mapping[str, str],
    ) -> tuple[Mount, ...]:
        """Return no mounts."""
        del pod, container, attempt, around, environment
        return ()

    async def devices(self, pod: Pod, container: AnyContainer) -> tuple[HostDevice, ...]:
        """Return a device, which does nothing, for each block volume whose claim is bound."""
        claims = {}
        for volume in pod.spec.volumes:
            with suppress(NotFound):
                name, namespace = claim_name(pod, volume), pod.metadata.namespace
                if name:
                    claims[volume.name] = await self._client.get(
                        PersistentVolumeClaim, name, namespace
                    )
        return tuple(
            HostDevice("/dev/null", device.devicePath)
            for device in container.volumeDevices
            if (claim := claims.get(device.name)) is not None and claim.status.phase == "Bound"
        )

    async def termination_message(self, pod_uid: str, name: str, attempt: int) -> str:
        """Return nothing."""
        del pod_uid, name, attempt
        return ""

    def rest(self, pod_uid: str) -> None:
        """Do nothing."""

    async def tear_down(self, pod_uid: str) -> None:
        """Do nothing."""

    async def leftovers(self) -> list[str]:
        """Return nothing."""
        return []


class SimulatedProber:
    """Finds every container healthy unless a test says otherwise."""

    def __init__(self) -> None:
        self.unhealthy: set[str] = set()  # container ids
        self.asked: dict[str, str] = {}  # container id -> the address it was last asked at
        self.engine_error = ""  # why no probe can be carried out

    async def probe(self, target: ProbeTarget, probe: Probe) -> Outcome:
        """Return the outcome that a test has set; healthy by default."""
        del probe
        if self.engine_error:
            raise EngineUnavailable(self.engine_error)
        self.asked[target.container_id] = target.address
        if target.container_id in self.unhealthy:
            return Outcome(healthy=False, message="simulated failure")
        return Outcome(healthy=True)

    async def hook(self, target: ProbeTarget, handler: LifecycleHandler) -> Outcome:
        """Run nothing but sleeps."""
        del target
        if handler.sleep is not None:
            await asyncio.sleep(handler.sleep.seconds)
        return Outcome(healthy=True)
