"""Netlink messages: their encoding, and requests over a socket, where pyroute2 is too slow or too large.

An endpoint that goes has every tracked connection of the host read, each change of nftables by anybody is a message on
the loop, and the host's own addresses are read at the start of every server, whether or not it has a node. Calls block.
Failures are `OSError` with the kernel's errno.
"""

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Final

HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
MESSAGE_ERROR, MESSAGE_DONE = 2, 3
NESTED = 0x8000
RECEIVE_BYTES = 1 << 18
NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12

Attributes = Mapping[int, bytes]


def encode_attributes(attributes: Attributes) -> bytes:
    """Encode attributes as type-length-value, each padded to four bytes."""
    parts = []
    for kind, value in attributes.items():
        parts.append(ATTRIBUTE.pack(len(value) + ATTRIBUTE.size, kind) + value)
        parts.append(b"\0" * (-len(value) % 4))
    return b"".join(parts)


def decode_attributes(data: bytes) -> dict[int, bytes]:
    """Decode attributes, without the flags of their types; stops at the first malformed one."""
    attributes = {}
    offset = 0
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size:
            break
        attributes[kind & 0x3FFF] = data[offset + ATTRIBUTE.size : offset + length]
        offset += length + -length % 4
    return attributes


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (type, flags, sequence, payload) of each message in a datagram."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            return
        yield kind, flags, sequence, data[offset + HEADER.size : offset + length]
        offset += length + -length % 4


class NetlinkSocket:
    """A netlink socket; each request is answered before the next is sent."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> "NetlinkSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(
        self, kind: int, payload: bytes, attributes: Attributes | None = None, flags: int = ACK
    ) -> list[bytes]:
        """Send one message; return the payloads of the answer, which is empty for a plain acknowledgement."""
        body = payload + encode_attributes(attributes or {})
        self._sequence += 1
        header = HEADER.pack(HEADER.size + len(body), kind, flags | REQUEST, self._sequence, 0)
        self._socket.send(header + body)
        found: list[bytes] = []
        while not self._is_complete(found):
            pass
        return found

    def _is_complete(self, found: list[bytes]) -> bool:
        """Read one datagram into `found`; True if the answer is complete."""
        for kind, _, sequence, payload in messages(self._socket.recv(RECEIVE_BYTES)):
            if sequence != self._sequence:
                continue  # the rest of a reply that was not read to its end
            if kind == MESSAGE_DONE:
                return True
            if kind == MESSAGE_ERROR:
                code = -struct.unpack_from("=i", payload)[0]
                if code:
                    raise OSError(code, os.strerror(code))
                return True
            found.append(payload)
        return False
