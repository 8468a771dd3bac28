"""Connects an exec or attach with its client: over WebSocket channels, or over SPDY streams.

Both are `Channels` here: input, output, errors and the terminal's size. What the process ends with goes to the error
channel, as a `Status` from version 4 of the protocol on, as bare text before.
"""

import asyncio
import base64
import binascii
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Annotated, Any, Protocol

import msgspec
from aiohttp import WSMsgType, web
from msgspec import Meta, Struct

from kubelite.limits import STREAM_IDLE_SECONDS, Limit
from kubelite.node.runtime import EngineUnavailable, RuntimeFailure, Session, StreamName
from kubelite.node.spdy import SPDYConnection, SPDYStream
from kubelite.node.stream_end import StreamEnd, stream_end
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

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
STREAMS_SECONDS = 30.0  # for a client to open all its streams


class Wanted(Struct, frozen=True):
    """The streams that the client requested."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


class Input(Struct, frozen=True):
    """A message from the client: input, its end, or a new terminal size."""

    data: bytes = b""
    is_end: bool = False
    size: tuple[int, int] | None = None  # width and height of the terminal


class Channels(Protocol):
    """The client of an exec or attach."""

    async def receive(self) -> Input | None:
        """Return the next input, or None when the client says that it leaves."""
        ...

    async def send(self, stream: StreamName, data: bytes) -> None:
        """Send output; raises ConnectionError when the client is gone."""
        ...

    async def gone(self) -> None:
        """Wait until the client is gone, also while `receive` is not called."""
        ...

    async def finish(self, status: dict[str, Any]) -> None:
        """Send how it ended, and close; may raise ConnectionError."""
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


class _Activity:
    """When a stream last carried something, by the loop's time in seconds."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()

    def note(self) -> None:
        """Take that something was carried."""
        self._last = self._loop.time()

    async def until_idle(self, limit: Limit) -> None:
        """Return once nothing was carried for the limit's seconds."""
        while (left := self._last + limit.value - self._loop.time()) > 0:  # noqa: ASYNC110 - each piece moves the end
            await asyncio.sleep(left)
        limit.reached()


async def converse(session: Session, channels: Channels, ended: Coroutine[Any, Any, None]) -> None:
    """Carry input and output between a process and its client until either has ended.

    `ended` returns once the container has ended, which ends the stream whatever the engine does. So does the client's
    leaving, and that nothing was carried for `STREAM_IDLE_SECONDS`: a process whose client does not read waits for so
    long, with no more in memory than the buffers on the way.
    """
    activity = _Activity()
    tasks = TaskSet()
    try:
        async with stream_end(ended) as end:
            output = tasks.start(
                _carry_output(session, channels, end, activity), name="stream output"
            )
            others = {
                tasks.start(_carry_input(session, channels, activity), name="stream input"),
                tasks.start(channels.gone(), name="stream client"),
                tasks.start(activity.until_idle(STREAM_IDLE_SECONDS), name="stream idle"),
            }
            await asyncio.wait({output, *others}, return_when=asyncio.FIRST_COMPLETED)
            status = output.result() if output.done() else None
        if status is not None:
            with suppress(ConnectionError):
                await channels.finish(status)
    finally:
        await tasks.stop()
        await session.close()


async def _carry_output(
    session: Session, channels: Channels, end: StreamEnd, activity: _Activity
) -> dict[str, Any] | None:
    """Carry all output; return the Status the process ended with, None when the client left before."""
    try:
        while (piece := await end.read(session.read())) is not None:
            activity.note()
            await channels.send(*piece)
            activity.note()
        return exited(await session.exit_code())
    except (EngineUnavailable, RuntimeFailure) as error:
        return failed(str(error))
    except ConnectionError as error:
        log.debug("the client of a stream left: %s", error)
        return None


async def _carry_input(session: Session, channels: Channels, activity: _Activity) -> None:
    """Carry all input; returns when the client is gone."""
    try:
        while (given := await channels.receive()) is not None:
            activity.note()
            if given.data:
                await session.write(given.data)
                activity.note()
            if given.size is not None:
                await session.resize(*given.size)
            if given.is_end:
                await session.close_stdin()
    except EngineUnavailable as error:
        log.debug("input not carried: %s", error)
        await asyncio.Event().wait()  # the end of the output shows the failure as well


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
            raise ConnectionResetError("the client closed the WebSocket")
        if self._is_text:
            await self._socket.send_str(f"{channel}{base64.b64encode(data).decode()}")
        else:
            await self._socket.send_bytes(bytes([channel]) + data)

    async def gone(self) -> None:
        """Wait for ever: the request is cancelled when its connection is lost."""
        await asyncio.Event().wait()

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
        self._inputs: asyncio.Queue[Input] = asyncio.Queue(16)
        self._tasks = TaskSet()
        for name in ("stdin", "resize"):
            if name in streams:
                self._tasks.start(self._pump(name, streams[name]), name=f"SPDY {name}")

    async def _pump(self, name: str, stream: SPDYStream) -> None:
        rest = b""  # of a size message that has arrived in part
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

    async def gone(self) -> None:
        """Wait until the connection has ended: clients close their end of a stream at once."""
        await self._streams["error"].gone.wait()

    async def receive(self) -> Input | None:
        """Return the next input."""
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
    """Wait until the client has opened all requested streams; None if it leaves or takes too long."""
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
