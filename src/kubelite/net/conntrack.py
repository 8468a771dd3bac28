"""Makes the kernel forget UDP flows that its rules would send elsewhere by now.

A UDP flow is sent where its first packet was sent as long as packets keep coming; without this a client that never
falls silent would talk for ever to a dead pod, or to the node itself when the pod came after its first packet.
Numbers are those of linux/netfilter/nfnetlink_conntrack.h.
"""

import errno
import logging
import socket
import struct
from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from kubelite.net.families import IPV4, Family
from kubelite.net.host_addresses import local_addresses
from kubelite.net.netlink_messages import (
    ACK,
    DUMP,
    NESTED,
    NETLINK_NETFILTER,
    NetlinkSocket,
    decode_attributes,
)

log = logging.getLogger(__name__)

GET, DELETE = (1 << 8) | 1, (1 << 8) | 2
FAMILY_HEADER = struct.Struct("=BBH")
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
TUPLE_ORIGINAL, TUPLE_REPLY = 1, 2
TUPLE_IP, TUPLE_PROTOCOL = 1, 2
SOURCE, DESTINATION = 1, 2  # of IPv4
SOURCE_V6, DESTINATION_V6 = 3, 4
PROTOCOL_NUMBER, DESTINATION_PORT = 1, 3

# UDP address ("" for any of the node's) and port -> the addresses of its endpoints
Frontends = Mapping[tuple[str, int], frozenset[str]]


class Flow(Struct, frozen=True):
    """A tracked connection: its original destination, and the address that replies come from."""

    tuple_original: bytes
    protocol: int
    destination: str
    port: int
    answering: str


def parse_flow(payload: bytes) -> Flow:
    """Read an entry as the kernel dumps it; raises KeyError when it has no tuple of addresses."""
    attributes = decode_attributes(payload[FAMILY_HEADER.size :])
    original = decode_attributes(attributes[TUPLE_ORIGINAL])
    reply = decode_attributes(attributes[TUPLE_REPLY])
    protocol = decode_attributes(original[TUPLE_PROTOCOL])
    return Flow(
        attributes[TUPLE_ORIGINAL],
        protocol[PROTOCOL_NUMBER][0],
        _text(decode_attributes(original[TUPLE_IP]), DESTINATION, DESTINATION_V6),
        int.from_bytes(protocol.get(DESTINATION_PORT, b""), "big"),
        _text(decode_attributes(reply[TUPLE_IP]), SOURCE, SOURCE_V6),
    )


def _text(addresses: Mapping[int, bytes], of_ipv4: int, of_ipv6: int) -> str:
    if of_ipv4 in addresses:
        return socket.inet_ntop(socket.AF_INET, addresses[of_ipv4])
    return socket.inet_ntop(socket.AF_INET6, addresses[of_ipv6])


def is_stale(flow: Flow, frontends: Frontends, node_addresses: Collection[str]) -> bool:
    """Return whether a flow leads from one of `frontends` to something that is no endpoint of it.

    Replies may come from a former endpoint, or from the destination itself if there was no endpoint.
    """
    if flow.protocol != socket.IPPROTO_UDP:
        return False
    endpoints = frontends.get((flow.destination, flow.port))
    is_local = flow.destination in node_addresses or flow.destination.startswith("127.")
    if endpoints is None and is_local:
        # Else it has a node port's number, but is another machine's.
        endpoints = frontends.get(("", flow.port))
    return endpoints is not None and flow.answering not in endpoints


def forget_stale(frontends: Frontends, besides: Collection[str] = (), family: Family = IPV4) -> int:
    """Delete the flows of `frontends`, of one family, that lead to no endpoint of theirs; return how many. Blocks.

    `besides` are addresses of the node at which only its own programs answer.
    """
    node_addresses = local_addresses().difference(besides)
    header = FAMILY_HEADER.pack(FAMILIES[family.version], 0, 0)
    with NetlinkSocket(NETLINK_NETFILTER) as conntrack:
        stale = [
            flow for flow in _flows(conntrack, header) if is_stale(flow, frontends, node_addresses)
        ]
        for flow in stale:
            try:
                tuples = {TUPLE_ORIGINAL | NESTED: flow.tuple_original}
                conntrack.request(DELETE, header, tuples, flags=ACK)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
    return len(stale)


def _flows(conntrack: NetlinkSocket, header: bytes) -> Iterator[Flow]:
    for payload in conntrack.request(GET, header, flags=DUMP):
        try:
            yield parse_flow(payload)
        except KeyError:
            continue
