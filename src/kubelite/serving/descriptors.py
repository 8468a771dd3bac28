"""Partition of the process's file descriptors, so that client connections never exhaust them.

The store, the engine's sockets, mirrors, DNS, probes and volumes need descriptors too, and each relayed stream needs a
connection to a node or pod.
"""

import resource

from msgspec import Struct

from kubelite.limits import API_CONNECTIONS, DESCRIPTORS_KEPT, NODE_CONNECTIONS


class Shares(Struct, frozen=True):
    """The maximum number of connections of each listener."""

    api: int
    node: int


def shares(descriptors: int) -> Shares:
    """Partition a number of descriptors: half of those not reserved to the API, an eighth to the node's port.

    The rest is for the connections that the process opens on behalf of these.
    """
    free = descriptors - min(DESCRIPTORS_KEPT.value, descriptors // 4)
    return Shares(
        api=max(1, min(API_CONNECTIONS.value, free // 2)),
        node=max(1, min(NODE_CONNECTIONS.value, free // 8)),
    )


def own_shares() -> Shares:
    """Partition the soft RLIMIT_NOFILE of this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return shares(API_CONNECTIONS.value * 4 if soft == resource.RLIM_INFINITY else soft)
