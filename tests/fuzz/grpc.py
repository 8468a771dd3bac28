"""Fuzz targets of gRPC: protobuf messages of drivers and engines, and the frames of HTTP/2 on both ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from fuzz.target import Target, pure
from fuzz.wire import AsyncCheck, Complaints, in_loop
from kubelite.grpc import frames
from kubelite.grpc.client import ClientConnection
from kubelite.grpc.connection import Connection
from kubelite.grpc.hpack import encode_headers
from kubelite.grpc.protobuf import Malformed, Message, decode, encode
from kubelite.grpc.server import Handler, ServerConnection
from kubelite.grpc.status import GrpcError
from kubelite.limits import GRPC_CALLS, GRPC_HELD, GRPC_MESSAGE
from kubelite.node.cri.messages import ListContainersResponse
from kubelite.node.devices.messages import AllocateResponse, DeviceList
from kubelite.node.dra.messages import HealthReport, PrepareResponse
from kubelite.node.plugins.messages import GET_INFO, Empty, PluginInfo
from kubelite.tasks import TaskSet

KINDS: tuple[type[Message], ...] = (
    PluginInfo,
    DeviceList,
    AllocateResponse,
    PrepareResponse,
    HealthReport,
    ListContainersResponse,
)
PIECE_BYTES = 1000  # as much of an input arrives at once
FIXED_ANSWERS_BYTES = 4096  # greetings, and the end of a connection
# Of what one frame of nine bytes can be answered with: a reset call costs its headers and its status.
ANSWER_FACTOR = 64


def messages(data: bytes) -> None:
    """An input is a message, which is the same after it was written and read once more, or is refused."""
    for kind in KINDS:
        with suppress(Malformed):
            found = decode(kind, data)
            again = encode(found)
            assert encode(decode(kind, again)) == again


class Wire:
    """The transport of a connection whose peer reads all."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.is_closed = False

    def write(self, data: bytes) -> None:
        """Count what is sent."""
        self.sent_bytes += len(data)

    def close(self) -> None:
        """Close."""
        self.is_closed = True

    abort = close

    def is_closing(self) -> bool:
        """Return whether the transport is closed."""
        return self.is_closed

    def get_write_buffer_size(self) -> int:
        """Return 0: the peer reads all."""
        return 0


@asynccontextmanager
async def both_ends(_: Complaints) -> AsyncIterator[AsyncCheck]:
    """Frames make calls and answer one, or end their connection; what is held and sent stays bounded."""

    async def info(_: Empty) -> PluginInfo:
        return PluginInfo(name="x")

    handler: Handler = info
    tasks = TaskSet()

    async def check(data: bytes) -> None:
        connections: set[ServerConnection] = set()
        server = ServerConnection({GET_INFO.path: (GET_INFO, handler)}, tasks, connections)
        await _fed(server, frames.PREFACE + _with_call(data), len(data))
        client = ClientConnection(GRPC_MESSAGE)
        await _fed(client, data, len(data))
        await tasks.stop()
        assert not connections
        assert not server.streams
        assert not client.streams

    yield check
    await tasks.stop()


def _with_call(data: bytes) -> bytes:
    """Return frames behind the headers of a call, whose stream they may use."""
    headers = [
        (":method", "POST"),
        (":path", GET_INFO.path),
        ("content-type", "application/grpc"),
    ]
    block = encode_headers(headers)
    return frames.pack_frame(frames.HEADERS, frames.END_HEADERS, 1, block) + data


async def _fed(connection: Connection, data: bytes, given: int) -> None:
    wire = Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    waiting: asyncio.Task[Any] | None = None
    if isinstance(connection, ClientConnection):
        stream = connection.open_stream()
        waiting = asyncio.create_task(stream.receive())
    for start in range(0, len(data), PIECE_BYTES):
        connection.data_received(data[start : start + PIECE_BYTES])
        await asyncio.sleep(0)
        assert len(connection.streams) <= GRPC_CALLS.value
        assert 0 <= connection.held_bytes <= GRPC_HELD.value + PIECE_BYTES
    assert wire.sent_bytes <= FIXED_ANSWERS_BYTES + ANSWER_FACTOR * given
    connection.connection_lost(None)
    if waiting is not None:
        with suppress(GrpcError):
            await waiting


TARGETS = (
    Target("grpc-message", pure(messages)),
    Target("grpc-frames", lambda: in_loop(both_ends), cost=2),
)
