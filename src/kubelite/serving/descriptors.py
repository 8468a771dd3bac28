"""How the file descriptors of the process are shared out, so that connections of others never use them up.

Beside the listeners' connections there are the store, the engine's sockets, mirrors, DNS, probes, volumes, and for each
relayed stream a connection to a node or pod.
"""

import resource

from msgspec import Struct

from kubelite.limits import API_CONNECTIONS, DESCRIPTORS_KEPT, NODE_CONNECTIONS


class Shares(Struct, frozen=True):
    """How many connections each listener may have."""

    api: int
    node: int


def shares(descriptors: int) -> Shares:
    """Share out a number of descriptors: half of what is not kept to the API, an eighth to the node's port.

    The rest is for connections the process makes itself on behalf of these.
    """
    free = descriptors - min(DESCRIPTORS_KEPT.value, descriptors // 4)
    return Shares(
        api=max(1, min(API_CONNECTIONS.value, free // 2)),
        node=max(1, min(NODE_CONNECTIONS.value, free // 8)),
    )


def own_shares() -> Shares:
    """Share out what this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return shares(API_CONNECTIONS.value * 4 if soft == resource.RLIM_INFINITY else soft)
