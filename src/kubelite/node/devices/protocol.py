"""What the node agent asks of those who know the node's devices."""

from collections.abc import Collection, Mapping
from typing import Final, Protocol

from msgspec import Struct

from kubelite.api.kinds.core.container_status import ResourceStatus
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.pods import AnyContainer
from kubelite.node.runtime import HostDevice, Mount

CLAIMS_FILE: Final = "dra_manager_state"  # in the kubelet's folder, as upstream's


class AllocationFailed(Exception):
    """A container cannot be given its devices; `str()` says why, in upstream's words."""


class DevicesBusy(Exception):
    """What a pod's claims have on the node cannot be given back yet; `str()` says why."""


class Injection(Struct, frozen=True):
    """What puts devices into a container."""

    environment: Mapping[str, str] = {}
    mounts: tuple[Mount, ...] = ()
    devices: tuple[HostDevice, ...] = ()
    annotations: Mapping[str, str] = {}
    cdi_devices: tuple[str, ...] = ()  # qualified names, such as vendor.com/gpu=0


class PodDevices(Protocol):
    """Gives containers their devices."""

    async def allocate(self, pod: Pod) -> None:
        """Allocate the devices of all containers of a pod that is being admitted. Raises AllocationFailed."""
        ...

    async def prepare(self, pod: Pod) -> None:
        """Prepare the resource claims of a pod whose sandbox is about to be made. Raises AllocationFailed."""
        ...

    async def injection(self, pod: Pod, container: AnyContainer) -> Injection:
        """Return what puts its devices into a container that is about to be created.

        Raises AllocationFailed or ConfigUnavailable.
        """
        ...

    def statuses(self, pod: Pod) -> Mapping[str, list[ResourceStatus]]:
        """Return the health of a pod's devices by container."""
        ...

    async def unprepare(self, pod_uid: str) -> None:
        """Give a pod's claims back once nothing of it runs, before the API is told so. Raises DevicesBusy."""
        ...

    async def release(self, pod_uid: str) -> None:
        """Free the devices of a pod that is refused, or whose containers are gone. Raises DevicesBusy."""
        ...

    def leftovers(self) -> Collection[str]:
        """Return the uids of the pods that have claims, also of those that are gone."""
        ...


class NoDevices:
    """Of a node without devices."""

    async def allocate(self, pod: Pod) -> None:
        """Allocate nothing."""

    async def prepare(self, pod: Pod) -> None:
        """Refuse claims, which nobody prepares. Raises AllocationFailed."""
        if pod.spec.resourceClaims:
            name = pod.spec.resourceClaims[0].name
            raise AllocationFailed(f'resource claim "{name}": no DRA driver is registered')

    async def injection(self, _pod: Pod, _container: AnyContainer) -> Injection:
        """Return nothing."""
        return Injection()

    def statuses(self, _pod: Pod) -> Mapping[str, list[ResourceStatus]]:
        """Return nothing."""
        return {}

    async def unprepare(self, pod_uid: str) -> None:
        """Give nothing back."""

    async def release(self, pod_uid: str) -> None:
        """Free nothing."""

    def leftovers(self) -> Collection[str]:
        """Return none."""
        return ()
