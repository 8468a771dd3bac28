"""Forwards connections of a client to ports inside a pod's network namespace.

A connection is made from inside the namespace to the loopback address, so that also servers that listen only there are
reached. Over SPDY a forwarded connection is a pair of streams, data and error, with the same request id; over WebSocket
each port has two channels.
"""

import asyncio
import ctypes
import errno
import logging
import os
import socket
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web
from msgspec import Struct

from kubelite.limits import FORWARDED_CONNECTIONS, FORWARDED_PAIRS
from kubelite.node.process_tree import is_in_container, open_process
from kubelite.node.spdy import SPDYConnection, SPDYStream
from kubelite.serving.table import ConnectionTable, Slot
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

SPDY_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
WEBSOCKET_PROTOCOLS = (TUNNEL_PROTOCOL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io")
CONNECT_SECONDS = 10.0
PIECE_BYTES = 64 * 1024
PORTS_LIMIT = 100  # of one WebSocket: a channel number is a byte
CLONE_NEWNET = 0x40000000

Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Forwarded(Struct):
    """A connection into a pod."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    slot: Slot

    def close(self) -> None:
        """End it and give its place back."""
        self.slot.release()
        self.writer.close()


def forwarded_places() -> ConnectionTable:
    """Return the places of the connections that port-forward makes on a node."""
    return ConnectionTable(FORWARDED_CONNECTIONS, FORWARDED_CONNECTIONS.value, kept=0)


class PodPorts:
    """Connects to the ports of one pod."""

    def __init__(self, pid: int, sandbox_id: str, pod: str, places: ConnectionTable) -> None:
        """`pid` is that of the sandbox's process, 0 for the host's own network.

        `places` are those of all pods, of which `pod` gets a share.
        """
        self._pid = pid
        self._sandbox_id = sandbox_id
        self._pod = pod
        self._places = places

    async def connect(self, port: int) -> "Forwarded":
        """Open a connection; raises OSError, also when there are too many."""
        if not is_port(port):
            raise OSError(errno.EINVAL, "not a port", str(port))
        slot = self._places.admit(self._pod)
        if slot is None:
            raise OSError(errno.EMFILE, "too many connections are forwarded")
        try:
            reader, writer = await self._connect(port)
        except BaseException:
            slot.release()
            raise
        return Forwarded(reader, writer, slot)

    async def _connect(self, port: int) -> Connected:
        last: OSError | None = None
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            made = await self._socket(family)
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await asyncio.get_running_loop().sock_connect(made, (address, port))
                    return await asyncio.open_connection(sock=made)
            except OSError as error:
                made.close()
                last = last or error
            except asyncio.CancelledError:
                made.close()
                raise
        assert last is not None
        raise last

    async def _socket(self, family: int) -> socket.socket:
        """Make a socket that belongs to the pod's namespace; it keeps that wherever it is used."""
        if not self._pid:
            made = socket.socket(family, socket.SOCK_STREAM)
            made.setblocking(False)
            return made
        # A thread of its own, since changing the namespace changes it for the thread; it ends right after.
        executor = ThreadPoolExecutor(1)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                executor, _socket_inside, self._pid, self._sandbox_id, family
            )
        finally:
            executor.shutdown(wait=False)


def is_port(number: int) -> bool:
    """Return whether a number is one of a port."""
    return 0 < number < 1 << 16


def _socket_inside(pid: int, sandbox_id: str, family: int) -> socket.socket:
    """Make a socket in a sandbox's network namespace; raises OSError, also when its process has ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder = open_process(pid)
    try:
        # The number may be another process's by now, and with it the namespace of another pod, or the host's.
        if not is_in_container(folder, sandbox_id):
            raise OSError(errno.ESRCH, "network namespace for sandbox is closed", sandbox_id)
        descriptor = os.open("ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        return made
    finally:
        os.close(descriptor)


async def forward_spdy(connection: SPDYConnection, ports: PodPorts, pod: str) -> None:
    """Serve a client's pairs of streams until it is gone."""
    waiting: dict[str, dict[str, SPDYStream]] = {}
    running: set[asyncio.Task[None]] = set()
    tasks = TaskSet()
    try:
        while (stream := await connection.accept()) is not None:
            request = stream.headers.get("requestid", stream.headers.get("port", ""))
            kind = stream.headers.get("streamtype", "")
            if len(waiting) + len(running) >= FORWARDED_PAIRS.value:
                _drop_gone(waiting)
            pair = waiting.get(request, {})
            is_full = len(waiting) + len(running) >= FORWARDED_PAIRS.value
            if is_full and not pair:
                FORWARDED_PAIRS.reached()
            if kind not in {"data", "error"} or kind in pair or (is_full and not pair):
                await stream.reset()
                connection.forget(stream)
                continue
            waiting[request] = pair
            pair[kind] = stream
            if len(pair) == 2:
                del waiting[request]
                work = _forward_pair(connection, pair["data"], pair["error"], ports, pod)
                task = tasks.start(work, name=f"port-forward {pod}")
                running.add(task)
                task.add_done_callback(running.discard)
    finally:
        await tasks.stop()


def _drop_gone(waiting: dict[str, dict[str, SPDYStream]]) -> None:
    """Forget halves of pairs that the client gave up before it opened the other half."""
    for request, pair in list(waiting.items()):
        if any(stream.gone.is_set() for stream in pair.values()):
            del waiting[request]


async def _forward_pair(
    connection: SPDYConnection, data: SPDYStream, error: SPDYStream, ports: PodPorts, pod: str
) -> None:
    port = data.headers.get("port", "")
    try:
        made = await ports.connect(int(port))
    except (OSError, ValueError) as reason:
        message = f"error forwarding port {port} to pod {pod}: {reason}"
        await error.write(message.encode())
    else:
        await _splice(data, made)
    for stream in (data, error):
        await stream.close()
        connection.forget(stream)


async def _splice(data: SPDYStream, made: Forwarded) -> None:
    """Carry bytes both ways until the server side ends, or the client gives the stream up or breaks it."""
    reader, writer = made.reader, made.writer

    async def up() -> None:
        try:
            while piece := await data.read():
                writer.write(piece)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            log.debug("forwarded connection broke", extra={"stream": data.number})

    async def down() -> None:
        try:
            while piece := await reader.read(PIECE_BYTES):
                await data.write(piece)
        except OSError:
            log.debug("forwarded connection broke", extra={"stream": data.number})

    tasks = TaskSet()
    tasks.start(up(), name="port-forward up")
    ends = {
        tasks.start(down(), name="port-forward down"),
        # A server that waits for its client would else keep the connection for as long as it likes.
        tasks.start(data.gone.wait(), name="port-forward gone"),
    }
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await tasks.stop()
        made.close()


async def forward_websocket(
    client: web.WebSocketResponse, ports: PodPorts, numbers: Sequence[int], pod: str
) -> None:
    """Serve a client that speaks channels: number 2n carries the data of the n-th port, 2n + 1 its errors."""
    if not all(is_port(number) for number in numbers):
        await client.close(code=WSCloseCode.POLICY_VIOLATION, message=b"not a port")
        return
    opened: dict[int, Forwarded] = {}
    tasks = TaskSet()
    try:
        for index, number in enumerate(numbers):
            for channel in (2 * index, 2 * index + 1):
                await client.send_bytes(bytes([channel]) + struct.pack("<H", number))
            try:
                made = opened[2 * index] = await ports.connect(number)
            except OSError as error:
                message = f"error forwarding port {number} to pod {pod}: {error}"
                await client.send_bytes(bytes([2 * index + 1]) + message.encode())
            else:
                tasks.start(_down(client, 2 * index, made.reader), name=f"port-forward {pod}")
        while (message_ := await client.receive()).type in {WSMsgType.BINARY, WSMsgType.TEXT}:
            body = message_.data if isinstance(message_.data, bytes) else message_.data.encode()
            target = opened.get(body[0]) if body else None
            if target is not None:
                with suppress(OSError):  # this port's server has gone; the others go on
                    target.writer.write(body[1:])
                    await target.writer.drain()
    finally:
        await tasks.stop()
        for made in opened.values():
            made.close()


async def _down(client: web.WebSocketResponse, channel: int, reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            await client.send_bytes(bytes([channel]) + piece)
