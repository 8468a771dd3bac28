"""What Services allocate: the interface of the allocator, and what a Service holds of it."""

from collections.abc import Iterable
from typing import Any, Protocol

from kubelite.store.protocol import Operation


class Unavailable(Exception):
    """A number cannot be allocated; the message gives the reason, worded as in Kubernetes."""


class Allocator(Protocol):
    """Allocates the cluster addresses and node ports of Services."""

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the cluster, the primary one first."""
        ...

    def take_address(self, wanted: str = "", family: str = "") -> str:
        """Allocate `wanted`, or any free address of a family, by default the primary one; raises Unavailable."""
        ...

    def give_back_address(self, address: str) -> None:
        """Release an address."""
        ...

    def take_port(self, wanted: int = 0) -> int:
        """Allocate the node port `wanted`, or any free one; raises Unavailable."""
        ...

    def give_back_port(self, port: int) -> None:
        """Release a node port."""
        ...

    def record(
        self,
        taken: Iterable[str],
        given_back: Iterable[str],
        service: dict[str, Any],
        now: str,
        uid: str,
    ) -> list[Operation]:
        """Return the operations that record the addresses in the commit of a Service."""
        ...


def addresses_of(spec: dict[str, object]) -> tuple[str, ...]:
    """Return the cluster addresses of a Service; none for a headless or ExternalName Service."""
    found = spec.get("clusterIPs")
    if not isinstance(found, list) or spec.get("type") == "ExternalName":
        return ()
    return tuple(address for address in found if address and address != "None")


def ports_of(spec: dict[str, object]) -> frozenset[int]:
    """Return the node ports of a Service, its health check port included."""
    ports = spec.get("ports")
    listed: Iterable[dict[str, int]] = ports if isinstance(ports, list) else ()
    found = {port.get("nodePort", 0) for port in listed}
    health = spec.get("healthCheckNodePort")
    if isinstance(health, int):
        found.add(health)
    return frozenset(found - {0})
