"""The interface of the pod network, which the composition root injects into the node."""

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
        self, pod_uid: str, pod_key: str, netns: str, *, host_ports: Sequence[HostPort] = ()
    ) -> tuple[str, ...]:
        """Connect the network namespace of the file `netns`; return its addresses, the primary one first.

        The interface is up when this returns. Called again for the same pod, also after a restart of the process or
        with another path of the same namespace, it returns the same addresses.
        """
        ...

    async def addresses_in(self, pod_uid: str, netns: str) -> tuple[str, ...]:
        """Return the addresses by which a pod is connected in a namespace; none if it is not connected there."""
        ...

    async def detach(self, pod_uid: str) -> None:
        """Disconnect a pod and give its addresses back; does nothing when it is not connected."""
        ...

    async def restore(self, live: Mapping[str, int]) -> None:
        """Keep the links of `live` (pod uid to sandbox pid) after a restart; remove all others."""
        ...


def namespace_path(pid: int) -> str:
    """Return the path of the network namespace of a process."""
    return f"/proc/{pid}/ns/net"
