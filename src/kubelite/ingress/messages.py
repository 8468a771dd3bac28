"""What the node's process and the proxy's tell each other: msgpack behind its length in four bytes."""

import asyncio
import struct
from typing import TypeVar

import msgspec
from msgspec import Struct

from kubelite.ingress.endpoints import Speech
from kubelite.ingress.routes import Route, Scope

LENGTH = struct.Struct(">I")
MESSAGE_BYTES_MAX = 256 * 1024 * 1024
DURATION_BUCKETS_SECONDS = (0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0)

T = TypeVar("T")


class Certificate(Struct, frozen=True):
    """A certificate chain with its key, and the host names that get it: as routes have them."""

    hosts: tuple[str, ...]
    pem: bytes
    port: int = 0  # of the listener; 0: the port of Ingresses


class Routes(Struct, frozen=True, tag=True):
    """All routes."""

    routes: tuple[Route, ...]
    scopes: tuple[Scope, ...] = ()  # the listeners


class EndpointChanges(Struct, frozen=True, tag=True):
    """Sets of endpoints that changed, by key, with the addresses that they have now."""

    changed: dict[str, tuple[str, ...]]
    speeches: dict[str, Speech] = {}  # what they speak, where it is not plain HTTP/1.1


class Certificates(Struct, frozen=True, tag=True):
    """All certificates, and the one for names that have none."""

    default: bytes
    certificates: tuple[Certificate, ...]


class Port(Struct, frozen=True):
    """A port of the node that is listened on."""

    number: int  # 0 only before it is open: a free one
    is_https: bool
    is_extra: bool = False  # for listeners of Gateways alone, and not for Ingresses


class Ports(Struct, frozen=True, tag=True):
    """Ports that are opened and closed; the sockets of the opened ones come one by one beside this message."""

    opened: tuple[Port, ...] = ()
    closed: tuple[Port, ...] = ()


Order = Routes | EndpointChanges | Certificates | Ports


class Count(Struct):
    """What was counted for one owner of routes ("": no route) and one class of statuses."""

    owner: str
    status_class: int
    requests: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    buckets: list[int] = msgspec.field(
        default_factory=lambda: [0] * (len(DURATION_BUCKETS_SECONDS) + 1)
    )


class Counts(Struct, tag=True):
    """What was counted since the last report."""

    counts: list[Count]
    connections: int
    malformed: int
    limits: dict[str, int] = {}  # how often each was reached


class Ready(Struct, frozen=True, tag=True):
    """The proxy accepts connections."""


Report = Counts | Ready


def encode(message: Struct) -> bytes:
    """Return a message behind its length."""
    body = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(body)) + body


async def receive(reader: asyncio.StreamReader, decoder: "msgspec.msgpack.Decoder[T]") -> T:
    """Read one message. Raises IncompleteReadError when the other side is gone, ValueError for what is no message."""
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if length > MESSAGE_BYTES_MAX:
        raise ValueError("a message is too large")
    return decoder.decode(await reader.readexactly(length))
