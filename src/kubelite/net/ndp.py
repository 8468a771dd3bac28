"""Messages of neighbour discovery for IPv6 (RFC 4861) about the addresses of load balancers. Pure.

They are read as those of ARP, which mean the same: a solicitation is a request, an advertisement an announcement.
"""

import struct
from ipaddress import IPv6Address

from kubelite.net import arp

ETHERTYPE = 0x86DD
ICMP, HOPS = 58, 255  # a message that came through a router has fewer hops left
SOLICITATION, ADVERTISEMENT = 135, 136
SOLICITED, OVERRIDE = 0x40000000, 0x20000000
SOURCE_LINK, TARGET_LINK = 1, 2  # options
HEADER = struct.Struct(
    "!IHBB16s16s"
)  # version, payload length, next header, hops, source, destination
BODY = struct.Struct("!BBHI16s")  # type, code, checksum, flags, target
OPTION = struct.Struct("!BB6s")  # type, length in units of eight bytes, hardware address
VERSION = 6 << 28
NOBODY = bytes(16)
ALL_NODES = IPv6Address("ff02::1").packed
ALL_NODES_MAC = b"\x33\x33\x00\x00\x00\x01"
SOLICITED_NODE = IPv6Address("ff02::1:ff00:0").packed

# A packet filter of the kernel (linux/filter.h): of all packets of IPv6 it lets through these two messages only.
# Each instruction has a code, the jumps if true and if not, and an operand.
LOAD_BYTE, JUMP_IF_EQUAL, RETURN = 0x30, 0x15, 0x06
FILTER = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (LOAD_BYTE, 0, 0, 6),
        (JUMP_IF_EQUAL, 0, 6, ICMP),
        (LOAD_BYTE, 0, 0, 7),
        (JUMP_IF_EQUAL, 0, 4, HOPS),
        (LOAD_BYTE, 0, 0, HEADER.size),
        (JUMP_IF_EQUAL, 1, 0, SOLICITATION),
        (JUMP_IF_EQUAL, 0, 1, ADVERTISEMENT),
        (RETURN, 0, 0, 0xFFFF),
        (RETURN, 0, 0, 0),
    )
)


def solicited_group(address: bytes) -> bytes:
    """Return the multicast group at which a link asks for an address."""
    return SOLICITED_NODE[:13] + address[13:]


def decode(data: bytes, sender_mac: bytes) -> arp.Message | None:
    """Read a packet that came from a hardware address; None for anything but these two messages."""
    if len(data) < HEADER.size + BODY.size:
        return None
    version, _, protocol, hops, source, _ = HEADER.unpack_from(data)
    kind, code, _, _, target = BODY.unpack_from(data, HEADER.size)
    if (version >> 28, protocol, hops, code) != (6, ICMP, HOPS, 0):
        return None
    if kind == SOLICITATION:
        return arp.Message(arp.REQUEST, sender_mac, source, arp.NOBODY, target)
    if kind == ADVERTISEMENT:
        return arp.Message(arp.REPLY, sender_mac, target, arp.NOBODY, target)
    return None


def reply(asked: arp.Message, mac: bytes) -> bytes:
    """Return the answer to a solicitation: to all if it came from a machine that has no address yet."""
    if asked.sender == NOBODY:
        return _advertisement(asked.target, ALL_NODES, mac, OVERRIDE)
    return _advertisement(asked.target, asked.sender, mac, SOLICITED | OVERRIDE)


def announcement(address: bytes, mac: bytes) -> bytes:
    """Return the packet that tells a link where an address is."""
    return _advertisement(address, ALL_NODES, mac, OVERRIDE)


def _advertisement(target: bytes, destination: bytes, mac: bytes, flags: int) -> bytes:
    def body(checksum: int) -> bytes:
        fixed = BODY.pack(ADVERTISEMENT, 0, checksum, flags, target)
        return fixed + OPTION.pack(TARGET_LINK, 1, mac)

    length = len(body(0))
    pseudo = target + destination + struct.pack("!II", length, ICMP)
    header = HEADER.pack(VERSION, length, ICMP, HOPS, target, destination)
    return header + body(checksum(pseudo + body(0)))


def checksum(data: bytes) -> int:
    """Return the checksum of the internet protocols (RFC 1071) over an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
