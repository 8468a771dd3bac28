"""What the node agent asks of those who know the node's devices."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from kubelite.api.kinds.core.container_status import ResourceStatus
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.pods import AnyContainer
from kubelite.node.runtime import HostDevice, Mount


class AllocationFailed(Exception):
    """A container cannot be given its devices; `str()` says why, in upstream's words."""


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

    async def injection(self, pod: Pod, container: AnyContainer) -> Injection:
        """Return what puts its devices into a container that is about to be created.

        Raises AllocationFailed or ConfigUnavailable.
        """
        ...

    def statuses(self, pod_uid: str) -> Mapping[str, list[ResourceStatus]]:
        """Return the health of a pod's devices by container."""
        ...

    async def release(self, pod_uid: str) -> None:
        """Free the devices of a pod that is refused, or whose containers are gone."""
        ...


class NoDevices:
    """Of a node without devices."""

    async def allocate(self, pod: Pod) -> None:
        """Allocate nothing."""

    async def injection(self, _pod: Pod, _container: AnyContainer) -> Injection:
        """Return nothing."""
        return Injection()

    def statuses(self, _pod_uid: str) -> Mapping[str, list[ResourceStatus]]:
        """Return nothing."""
        return {}

    async def release(self, pod_uid: str) -> None:
        """Free nothing."""
