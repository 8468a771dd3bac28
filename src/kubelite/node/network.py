"""What the node asks of the pod network; the composition root passes an object that has this shape."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct


class HostPort(Struct, frozen=True):
    """A port of the node that leads to a pod's port."""

    host_port: int
    container_port: int
    protocol: str = "TCP"
    host_ip: str = ""


class PodNetwork(Protocol):
    """Gives pods their addresses."""

    async def attach(
        self, pod_uid: str, pod_key: str, pid: int, *, host_ports: Sequence[HostPort] = ()
    ) -> tuple[str, ...]:
        """Connect the network namespace of process `pid`; return its addresses, the primary one first.

        The interface is up when this returns. Asked again for the same pod, also after a restart of the process, it
        answers the same addresses.
        """
        ...

    async def detach(self, pod_uid: str) -> None:
        """Disconnect a pod and give its addresses back; does nothing when it is not connected."""
        ...

    async def restore(self, live: Mapping[str, int]) -> None:
        """Take up what was there before a restart: pod uid to sandbox pid; all else that was left is removed."""
        ...
