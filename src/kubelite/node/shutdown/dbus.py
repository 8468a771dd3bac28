"""A connection to a message bus of D-Bus, for a few calls and signals. Create and use it on the loop."""

import array
import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from kubelite.limits import DBUS_FDS, DBUS_QUEUE
from kubelite.node.shutdown.dbus_wire import (
    ERROR,
    METHOD_CALL,
    METHOD_RETURN,
    DBusViolation,
    Message,
    decode,
    encode,
    message_length,
)

SYSTEM_BUS = "/var/run/dbus/system_bus_socket"
BUS = "org.freedesktop.DBus"
CALL_SECONDS = 25.0  # as the reference library
_READ_BYTES = 64 * 1024


class BusUnavailable(Exception):
    """There is no bus, or its connection ended."""


class CallFailed(Exception):
    """The called service answered with an error; `str()` is its name and text."""


def system_bus(environment: Mapping[str, str]) -> str:
    """Return the path of the socket of the system bus."""
    for address in environment.get("DBUS_SYSTEM_BUS_ADDRESS", "").split(";"):
        transport, _, options = address.partition(":")
        for option in options.split(","):
            key, _, value = option.partition("=")
            if transport == "unix" and key == "path":
                return value
    return SYSTEM_BUS


class BusConnection:
    """One connection; `next_message` returns what is no answer to a call."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._data = bytearray()
        self._fds: list[int] = []
        self._serial = 0
        self._calls: dict[int, asyncio.Future[tuple[Message, list[int]]]] = {}
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(DBUS_QUEUE.value + 1)
        self.name = ""  # the unique name on the bus

    async def open(self) -> None:
        """Connect and authenticate as the process's user. Raises BusUnavailable."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._open()
        except (OSError, TimeoutError, CallFailed) as error:
            self.close()
            raise BusUnavailable(f"{self._path}: {str(error) or 'no answer'}") from error

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        await loop.sock_connect(self._socket, self._path)
        user = str(os.geteuid()).encode().hex()
        for line, answer in (
            (f"\0AUTH EXTERNAL {user}\r\n", "OK"),
            ("NEGOTIATE_UNIX_FD\r\n", "AGREE_UNIX_FD"),
        ):
            await loop.sock_sendall(self._socket, line.encode())
            said = await self._line()
            if not said.startswith(answer):
                raise CallFailed(f"the bus answers {said!r}")
        await loop.sock_sendall(self._socket, b"BEGIN\r\n")
        loop.add_reader(self._socket.fileno(), self._readable)
        answer_body, _ = await self.call(BUS, "/org/freedesktop/DBus", BUS, "Hello")
        self.name = str(answer_body[0])

    async def _line(self) -> str:
        assert self._socket is not None, "it is open"
        line = b""
        while not line.endswith(b"\r\n") and len(line) < _READ_BYTES:
            piece = await asyncio.get_running_loop().sock_recv(self._socket, 1)
            if not piece:
                raise ConnectionResetError("the bus closed the connection")
            line += piece
        return line.decode("ascii", "replace").strip()

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *body: Any,
    ) -> tuple[tuple[Any, ...], list[int]]:
        """Call a method; return the values and the descriptors of its answer, which the caller closes.

        Raises CallFailed and BusUnavailable.
        """
        message = Message(METHOD_CALL, 0, path, interface, member, destination=destination)
        answer: asyncio.Future[tuple[Message, list[int]]] = asyncio.Future()
        serial = await self.send(replace(message, signature=signature, body=body), answer)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                reply, fds = await answer
        except TimeoutError:
            raise CallFailed(f"{member}: no answer") from None
        finally:
            self._calls.pop(serial, None)
        if reply.type == ERROR:
            _close_all(fds)
            raise CallFailed(f"{reply.error_name}: {' '.join(map(str, reply.body))}")
        return reply.body, fds

    async def send(
        self, message: Message, answer: asyncio.Future[tuple[Message, list[int]]] | None = None
    ) -> int:
        """Send a message; return its serial number. Raises BusUnavailable."""
        if self._socket is None:
            raise BusUnavailable(f"{self._path}: the connection has ended")
        self._serial += 1
        serial = self._serial
        if answer is not None:
            self._calls[serial] = answer
        data = encode(replace(message, serial=serial))
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except OSError as error:
            self.close()
            raise BusUnavailable(f"{self._path}: {error}") from error
        return serial

    async def next_message(self) -> Message:
        """Return the next signal or call. Raises BusUnavailable once the connection has ended."""
        message = await self._messages.get()
        if message is None:
            self._messages.put_nowait(None)
            raise BusUnavailable(f"{self._path}: the connection has ended")
        return message

    def _readable(self) -> None:
        assert self._socket is not None, "it is open"
        try:
            data = self._receive(self._socket)
            if not data:
                raise ConnectionResetError("the bus closed the connection")
            self._data += data
            while length := message_length(self._data):
                if len(self._data) < length:
                    return
                message = decode(bytes(self._data[:length]))
                del self._data[:length]
                self._happened(message)
        except BlockingIOError:
            return
        except (OSError, DBusViolation):
            self.close()

    def _receive(self, connection: socket.socket) -> bytes:
        size = socket.CMSG_SPACE(DBUS_FDS.value * array.array("i").itemsize)
        data, ancillary, _, _ = connection.recvmsg(_READ_BYTES, size, socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(content[: len(content) - len(content) % found.itemsize])
                self._fds += found
        if len(self._fds) > DBUS_FDS.value:
            DBUS_FDS.reached()
            raise DBusViolation("too many descriptors")
        return data

    def _happened(self, message: Message) -> None:
        if message.fds > len(self._fds):
            raise DBusViolation("a message without its descriptors")
        fds, self._fds = self._fds[: message.fds], self._fds[message.fds :]
        if message.type in (METHOD_RETURN, ERROR):
            waiting = self._calls.get(message.reply_to)
            if waiting is not None and not waiting.done():
                waiting.set_result((message, fds))
                return
            _close_all(fds)
            return
        _close_all(fds)
        if self._messages.qsize() >= DBUS_QUEUE.value:
            DBUS_QUEUE.reached()
            raise DBusViolation("more messages than are read")
        self._messages.put_nowait(message)

    def close(self) -> None:
        """End the connection; calls in flight fail."""
        if self._socket is None:
            return
        # Not open yet: then nothing reads it.
        with suppress(ValueError, OSError):
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        _close_all(self._fds)
        self._fds = []
        for waiting in self._calls.values():
            if not waiting.done():
                waiting.set_exception(BusUnavailable(f"{self._path}: the connection has ended"))
        self._messages.put_nowait(None)


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
