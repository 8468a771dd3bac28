"""Connects an exec or attach with its client: over WebSocket channels, or over SPDY streams.

Both are `Channels` here: input, output, errors and the terminal's size. What the process ends with goes to the error
channel, as a `Status` from version 4 of the protocol on, as bare text before.
"""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import msgspec
from aiohttp import WSMsgType, web
from msgspec import Meta, Struct

from kubelite.node.runtime import RuntimeFailure, Session, StreamName
from kubelite.node.spdy import SPDYConnection, SPDYStream
from kubelite.tasks import TaskSet

WEBSOCKET_PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
MESSAGE_LIMIT_BYTES = 1 << 20
SIZE_LIMIT_BYTES = 256  # of the JSON of a terminal's size
STREAMS_SECONDS = 30.0  # within which the client has to open all its streams


class Wanted(Struct, frozen=True):
    """Which streams the client asked for."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


class Input(Struct, frozen=True):
    """Something from the client."""

    data: bytes = b""
    is_end: bool = False
    size: tuple[int, int] | None = None  # width and height of the terminal


class Channels(Protocol):
    """The client of an exec or attach."""

    async def receive(self) -> Input | None:
        """Return the next input, or None once the client is gone."""
        ...

    async def send(self, stream: StreamName, data: bytes) -> None:
        """Send output."""
        ...

    async def finish(self, status: dict[str, Any]) -> None:
        """Send how it ended, and close."""
        ...


def success() -> dict[str, Any]:
    """Return the Status of a process that ended well."""
    return {"metadata": {}, "status": "Success"}


def exited(code: int) -> dict[str, Any]:
    """Return the Status of a process that ended with a code."""
    if code == 0:
        return success()
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failed(message: str) -> dict[str, Any]:
    """Return the Status of something that could not be run."""
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "InternalError",
        "message": message,
        "code": 500,
    }


async def converse(session: Session, channels: Channels) -> None:
    """Carry input and output between a process and its client until either has ended."""
    tasks = TaskSet()
    output = tasks.start(_carry_output(session, channels), name="stream output")
    source = tasks.start(_carry_input(session, channels), name="stream input")
    try:
        await asyncio.wait({output, source}, return_when=asyncio.FIRST_COMPLETED)
        if not output.done():
            return  # the client is gone
        try:
            status = exited(await session.exit_code())
        except RuntimeFailure as error:
            status = failed(str(error))
        await channels.finish(status)
    finally:
        await tasks.stop()
        await session.close()


async def _carry_output(session: Session, channels: Channels) -> None:
    while (piece := await session.read()) is not None:
        await channels.send(*piece)


async def _carry_input(session: Session, channels: Channels) -> None:
    while (given := await channels.receive()) is not None:
        if given.data:
            await session.write(given.data)
        if given.size is not None:
            await session.resize(*given.size)
        if given.is_end:
            await session.close_stdin()


class _Size(Struct):
    """A terminal's size as Kubernetes has it: two numbers of 16 bits."""

    Width: Annotated[int, Meta(ge=0, le=0xFFFF)]
    Height: Annotated[int, Meta(ge=0, le=0xFFFF)]


def read_size(data: bytes) -> tuple[int, int] | None:
    """Read a terminal's size from its JSON; None if it does not parse."""
    try:
        size = msgspec.json.decode(data[:SIZE_LIMIT_BYTES], type=_Size)
    except (msgspec.DecodeError, RecursionError):
        return None
    return size.Width, size.Height


class WebSocketChannels:
    """Channels as messages of a WebSocket: their number, then the data."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._protocol = socket.ws_protocol or ""
        self._is_text = "base64" in self._protocol

    async def receive(self) -> Input | None:
        """Return the next input, or None once the client is gone."""
        while True:
            message = await self._socket.receive()
            if message.type not in {WSMsgType.BINARY, WSMsgType.TEXT}:
                return None
            channel, data = self._split(message.data)
            if channel == STDIN:
                return Input(data)
            if channel == RESIZE and (size := read_size(data)) is not None:
                return Input(size=size)
            if channel == CLOSE and data == bytes([STDIN]):
                return Input(is_end=True)

    def _split(self, data: bytes | str) -> tuple[int, bytes]:
        if isinstance(data, str):
            if not self._is_text:
                data = data.encode()
            else:
                try:
                    return int(data[:1] or "-1"), base64.b64decode(data[1:])
                except (ValueError, binascii.Error):
                    return -1, b""
        return (data[0], data[1:]) if data else (-1, b"")

    async def send(self, stream: StreamName, data: bytes) -> None:
        """Send output."""
        await self._send(STDOUT if stream == "stdout" else STDERR, data)

    async def _send(self, channel: int, data: bytes) -> None:
        if self._socket.closed:
            return
        if self._is_text:
            await self._socket.send_str(f"{channel}{base64.b64encode(data).decode()}")
        else:
            await self._socket.send_bytes(bytes([channel]) + data)

    async def finish(self, status: dict[str, Any]) -> None:
        """Send how it ended, and close."""
        if self._protocol.startswith(("v4.", "v5.")):
            await self._send(ERROR, msgspec.json.encode(status))
        elif status["status"] != "Success":
            await self._send(ERROR, str(status["message"]).encode())
        await self._socket.close()


class SPDYChannels:
    """Channels as streams of a SPDY connection."""

    def __init__(self, streams: dict[str, SPDYStream], protocol: str) -> None:
        self._streams = streams
        self._protocol = protocol
        self._inputs: asyncio.Queue[Input | None] = asyncio.Queue(16)
        self._tasks = TaskSet()
        for name in ("stdin", "resize"):
            if name in streams:
                self._tasks.start(self._pump(name, streams[name]), name=f"SPDY {name}")
        self._tasks.start(self._until_gone(streams["error"]), name="SPDY error")

    async def _pump(self, name: str, stream: SPDYStream) -> None:
        rest = b""  # of a size whose end has not arrived yet
        while data := await stream.read():
            if name == "stdin":
                await self._inputs.put(Input(data))
                continue
            *sizes, rest = (rest + data).split(b"}")
            rest = rest[-SIZE_LIMIT_BYTES:]
            if sizes and (size := read_size(sizes[-1] + b"}")) is not None:
                await self._inputs.put(Input(size=size))
        if name == "stdin":
            await self._inputs.put(Input(is_end=True))

    async def _until_gone(self, stream: SPDYStream) -> None:
        # Clients close their end of this stream at once; only the connection's end matters.
        await stream.gone.wait()
        await self._inputs.put(None)

    async def receive(self) -> Input | None:
        """Return the next input, or None once the client is gone."""
        return await self._inputs.get()

    async def send(self, stream: StreamName, data: bytes) -> None:
        """Send output."""
        if stream in self._streams:
            await self._streams[stream].write(data)

    async def finish(self, status: dict[str, Any]) -> None:
        """Send how it ended, and close."""
        error = self._streams["error"]
        if self._protocol == "v4.channel.k8s.io":
            await error.write(msgspec.json.encode(status))
        elif status["status"] != "Success":
            await error.write(str(status["message"]).encode())
        for stream in self._streams.values():
            await stream.close()
        await self._tasks.stop()


async def open_spdy_channels(
    connection: SPDYConnection, wanted: Wanted, protocol: str
) -> SPDYChannels | None:
    """Wait until the client has opened all streams it asked for; None if it leaves or takes too long."""
    names = {"error"}
    names |= {name for name in ("stdin", "stdout") if getattr(wanted, name)}
    if wanted.stderr and not wanted.tty:
        names.add("stderr")
    if wanted.tty and protocol in SPDY_PROTOCOLS[:2]:
        names.add("resize")
    streams: dict[str, SPDYStream] = {}
    try:
        async with asyncio.timeout(STREAMS_SECONDS):
            while not names <= streams.keys():
                stream = await connection.accept()
                if stream is None:
                    return None
                name = stream.headers.get("streamtype", "")
                if name in streams or name not in names:
                    await stream.reset()
                    connection.forget(stream)
                else:
                    streams[name] = stream
    except TimeoutError:
        return None
    return SPDYChannels(streams, protocol)


def choose_protocol(offered: Sequence[str], known: Sequence[str]) -> str | None:
    """Return the first known protocol that is offered; the oldest when nothing is offered; None if none fits."""
    if not offered:
        return known[-1]
    return next((protocol for protocol in known if protocol in offered), None)
