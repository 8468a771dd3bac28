"""Messages of the Address Resolution Protocol for IPv4 on Ethernet (RFC 826), and announcements (RFC 5227). Pure."""

import struct
from ipaddress import IPv4Address

from msgspec import Struct

# Without the Ethernet header: types and lengths of addresses, operation, sender, target.
PACKET = struct.Struct("!HHBBH6s4s6s4s")
ETHERNET, IPV4 = 1, 0x0800
REQUEST, REPLY = 1, 2
ETHERTYPE = 0x0806
BROADCAST, NOBODY = b"\xff" * 6, bytes(6)


class Message(Struct, frozen=True):
    """A request or reply; addresses as bytes."""

    operation: int
    sender_mac: bytes
    sender: bytes
    target_mac: bytes
    target: bytes

    @property
    def is_announcement(self) -> bool:
        """Whether the sender tells everybody that it has an address."""
        return self.sender == self.target

    def encode(self) -> bytes:
        """Return the packet."""
        return PACKET.pack(
            ETHERNET,
            IPV4,
            6,
            4,
            self.operation,
            self.sender_mac,
            self.sender,
            self.target_mac,
            self.target,
        )


def decode(data: bytes) -> Message | None:
    """Read a packet; None for anything but a request or reply of IPv4 on Ethernet."""
    if len(data) < PACKET.size:
        return None
    hardware, protocol, mac_length, length, operation, *rest = PACKET.unpack_from(data)
    if (hardware, protocol, mac_length, length) != (ETHERNET, IPV4, 6, 4):
        return None
    return Message(operation, *rest) if operation in (REQUEST, REPLY) else None


def announcements(address: str, mac: bytes) -> tuple[bytes, bytes]:
    """Return the packets that tell a link where an address is: a request and a reply, since some heed only one."""
    own = IPv4Address(address).packed
    return tuple(  # type: ignore[return-value]  # of the two operations
        Message(operation, mac, own, target, own).encode()
        for operation, target in ((REQUEST, NOBODY), (REPLY, BROADCAST))
    )


def reply(asked: Message, mac: bytes) -> bytes:
    """Return the answer to a request."""
    return Message(REPLY, mac, asked.target, asked.sender_mac, asked.sender).encode()
