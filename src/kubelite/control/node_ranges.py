"""The allocation of pod CIDRs to nodes. Pure, and in constant time for each node.

A thousand nodes may ask again each time one of them reports, so nothing here visits all nodes or all parts.
"""

from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_network
from typing import TypeVar

from kubelite.api.kinds.core.nodes import Node
from kubelite.control.options import Network, Options

K = TypeVar("K", int, Network)


class CIDRNotAvailable(Exception):
    """No pod CIDR is free."""


class Parts:
    """The parts of one network, all of one size; a part may be taken by several nodes that were given the same."""

    def __init__(self, whole: Network, prefix: int) -> None:
        self.whole = whole
        self._prefix = max(prefix, whole.prefixlen)
        self._count = 1 << (self._prefix - whole.prefixlen)
        self._step = 1 << (whole.max_prefixlen - self._prefix)  # addresses in a part
        self._base = int(whole.network_address)
        self._taken: Counter[int] = Counter()  # how many nodes have it, by number of the part
        self._odd: Counter[Network] = (
            Counter()
        )  # networks of another size, which an administrator assigned
        self._first = 0  # no part with a lower number is free

    def take(self, network: Network) -> None:
        """Note that a node has a network; one outside of this network is ignored."""
        if network.version != self.whole.version or not network.overlaps(self.whole):
            return
        if network.prefixlen == self._prefix:
            self._taken[self._number(network)] += 1
        else:
            self._odd[network] += 1

    def release(self, network: Network) -> None:
        """Undo one `take` of a network."""
        if network.version != self.whole.version or not network.overlaps(self.whole):
            return
        if network.prefixlen == self._prefix:
            number = self._number(network)
            _subtract(self._taken, number)
        else:
            number = max(self._number(network), 0)
            _subtract(self._odd, network)
        self._first = min(self._first, number)

    def free(self) -> Network:
        """Return the first part that overlaps no taken network; raises CIDRNotAvailable."""
        number = self._first
        while number < self._count:
            part = self._part(number)
            odd = next((one for one in self._odd if one.overlaps(part)), None)
            if odd is not None:
                # A large network covers many parts, so continue behind it.
                behind = int(odd.broadcast_address) + 1 - self._base
                number = max(number + 1, behind // self._step)
            elif number in self._taken:
                number += 1
            else:
                self._first = number
                return part
        self._first = self._count
        raise CIDRNotAvailable(f"no part of {self.whole} is free")

    def _number(self, network: Network) -> int:
        return (int(network.network_address) - self._base) // self._step

    def _part(self, number: int) -> Network:
        address = self._base + number * self._step
        return ip_network((address, self._prefix))


def _subtract(counts: Counter[K], key: K) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]


class NodeRanges:
    """The parts of each of the cluster's networks."""

    def __init__(self, options: Options) -> None:
        self._networks = [
            Parts(whole, options.node_prefix_v4 if whole.version == 4 else options.node_prefix_v6)
            for whole in options.cluster_cidrs
        ]

    def node_changed(self, before: Node | None, after: Node | None) -> None:
        """Update the taken networks for a change of a node."""
        old, new = set(_networks(before)), set(_networks(after))
        for network in old - new:
            for parts in self._networks:
                parts.release(network)
        for network in new - old:
            for parts in self._networks:
                parts.take(network)

    def free(self) -> list[str]:
        """Return the CIDRs for a new node, one from each of the cluster's networks; raises CIDRNotAvailable."""
        return [str(parts.free()) for parts in self._networks]


def _networks(node: Node | None) -> Iterable[Network]:
    if node is None:
        return
    for text in node.spec.podCIDRs or [node.spec.podCIDR]:
        if text:
            yield ip_network(text, strict=False)
