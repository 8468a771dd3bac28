"""The client of a CRI engine's exec and attach: SPDY/3.1 at the URL that the engine has returned.

The URL names an endpoint of the engine's streaming server and a token that is good for one connection. The request for
the URL says which streams there are, and the client opens exactly those. What the process ends with comes as a `Status`
on the error stream (version 4 of the protocol). WebSocket is not used: its version 4 cannot end the input.

A connection is never closed before the engine has answered for each stream. If such an answer cannot be sent, the
engine's library waits for it for ever when it closes the stream, and an attach holds a lock of the container's output
meanwhile: containerd then never learns that the container has ended, and StopContainer does not return.
Source: k8s.io/cri-streaming and k8s.io/streaming (remotecommand).
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct

from kubelite.limits import ENGINE_STREAM_ANSWER, ENGINE_STREAM_STATUS
from kubelite.node.runtime import EngineUnavailable, RuntimeFailure, StreamName
from kubelite.node.spdy import SPDYConnection, SPDYStream, SPDYViolation
from kubelite.serving.closing import close_within_bounds
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

PROTOCOL = "v4.channel.k8s.io"
PIECE_BYTES = 64 * 1024
OPEN_SECONDS = 30.0  # until the engine has taken the connection over, as it gives its clients


class StreamingRefused(RuntimeFailure):
    """The engine's streaming server did not take the connection over; `str()` says why."""


async def open_session(
    url: str,
    *,
    tty: bool,
    stdin: bool,
    stdout: bool = True,
    stderr: bool = True,
    kill: Callable[[], None] = lambda: None,
) -> "CRISession":
    """Start the exec or attach that `url` stands for; the flags are those of the request that returned it.

    `kill` ends the process of an exec, in the background: no call of the CRI does.
    Raises EngineUnavailable, and StreamingRefused with the engine's words.
    """
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            reader, writer = await _upgraded(url)
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:  # TimeoutError is an OSError
        raise EngineUnavailable(f"cannot reach the engine's streaming server: {error}") from error
    names = ["error"]
    names += [name for name, has in (("stdin", stdin), ("stdout", stdout)) if has]
    if stderr and not tty:
        names.append("stderr")
    if tty:
        names.append("resize")
    session = CRISession(reader, writer, kill)
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            await session.open_streams(names)
    except TimeoutError as error:
        session.abort()
        raise EngineUnavailable(
            "the engine's streaming server does not open the streams"
        ) from error
    except EngineUnavailable:
        session.abort()
        raise
    except BaseException:
        session.leave()
        raise
    return session


class CRISession:
    """The streams of one exec or attach (a `Session`)."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        kill: Callable[[], None],
    ) -> None:
        self._kill = kill
        self._reader = reader
        self._writer = writer
        self._may_read = asyncio.Event()  # cleared while too much is unread
        self._may_read.set()
        self._connection = SPDYConnection(self._send, self._hold, is_client=True)
        self._arrived = asyncio.Event()
        self._streams: dict[str, SPDYStream] = {}
        self._outputs: list[tuple[StreamName, SPDYStream]] = []
        self._failure = "the engine closed the connection before the process ended"
        self._is_closed = False
        self._has_status = False
        self._tasks = TaskSet()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._is_closed

    @property
    def is_held(self) -> bool:
        """Whether the engine waits, because too much of its output is unread."""
        return not self._may_read.is_set()

    async def open_streams(self, names: list[str]) -> None:
        """Open the streams with these names, and begin to receive. Raises EngineUnavailable."""
        self._tasks.start(self._receive(), name="streams of the engine")
        for name in names:
            self._streams[name] = await self._connection.open({"streamtype": name})
        output: tuple[StreamName, ...] = ("stdout", "stderr")
        for stream_name in output:
            if stream_name in self._streams:
                stream = self._streams[stream_name]
                stream.share_arrival(self._arrived)
                self._outputs.append((stream_name, stream))
        if not await self._connection.answered():
            raise EngineUnavailable(self._failure)

    async def _receive(self) -> None:
        try:
            while data := await self._reader.read(PIECE_BYTES):
                await self._connection.feed(data)
                await self._may_read.wait()
        except (OSError, SPDYViolation) as error:
            self._failure = f"the connection to the engine broke: {error}"
        finally:
            self._connection.feed_end()

    def _hold(self, is_held: bool) -> None:
        if is_held:
            self._may_read.clear()
        else:
            self._may_read.set()

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def read(self) -> tuple[StreamName, bytes] | None:
        """Return the next output, or None at the end; with a terminal all is stdout."""
        while True:
            for place, (name, stream) in enumerate(self._outputs):
                if data := stream.take():
                    # The other stream is next, so that one that never rests does not starve it.
                    self._outputs.append(self._outputs.pop(place))
                    return name, data
            if self._is_closed or all(stream.is_over for _, stream in self._outputs):
                return None
            self._arrived.clear()
            await self._arrived.wait()

    async def write(self, data: bytes) -> None:
        """Send input; waits while the process does not read. Input for a process that has ended is dropped."""
        if "stdin" in self._streams:
            await self._streams["stdin"].write(data)

    async def close_stdin(self) -> None:
        """Send end-of-file to the process's standard input."""
        if "stdin" in self._streams:
            await self._streams["stdin"].close()

    async def resize(self, width: int, height: int) -> None:
        """Change the terminal's size, in characters; without a terminal nothing happens."""
        if "resize" in self._streams:
            size = msgspec.json.encode({"Width": width, "Height": height})
            await self._streams["resize"].write(size + b"\n")

    async def exit_code(self) -> int:
        """Return the exit code once `read` has returned None; 0 for an attach whose container has ended.

        Raises RuntimeFailure with the engine's words, as when there is no such program, and EngineUnavailable when the
        connection ended without a Status.
        """
        text = b""
        # A process may close its output and go on, so the Status may be long in coming.
        while piece := await self._streams["error"].read():
            text += piece
            if len(text) > ENGINE_STREAM_STATUS.value:
                ENGINE_STREAM_STATUS.reached()
                raise RuntimeFailure("the engine sent too long a status")
        if not text:
            raise EngineUnavailable(self._failure)
        self._has_status = True
        return code_of(text)

    async def close(self) -> None:
        """Close the streams; the process keeps running."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._tasks.stop()
        self._arrived.set()
        close_within_bounds(self._writer.transport)

    def kill(self) -> None:
        """Kill the process of an exec with all it started, in the background; does nothing for an attach."""
        if not self._has_status:  # else there is nothing to kill, and another exec may look alike
            self._kill()

    def leave(self) -> None:
        """Give up while the streams are opened: close the connection, in the background, once they are."""
        self._tasks.start(self._leave(), name="end of an engine's streams")

    async def _leave(self) -> None:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(OPEN_SECONDS):
                    await self._connection.answered()
        finally:
            self.abort()

    def abort(self) -> None:
        """Close the connection without waiting for buffers to drain."""
        self._writer.transport.abort()
        self._connection.feed_end()


class _Cause(Struct):
    reason: str = ""
    message: str = ""


class _Details(Struct):
    causes: list[_Cause] | None = None


class _Status(Struct):
    status: str = ""
    message: str = ""
    reason: str = ""
    details: _Details | None = None


def code_of(text: bytes) -> int:
    """Return the exit code in the Status that an engine has sent. Raises RuntimeFailure with its message."""
    try:
        status = msgspec.json.decode(text, type=_Status)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RuntimeFailure(text.decode("utf-8", "replace").strip()) from error
    if status.status == "Success":
        return 0
    if status.reason == "NonZeroExitCode" and status.details is not None:
        for cause in status.details.causes or ():
            if cause.reason == "ExitCode" and cause.message.isascii() and cause.message.isdecimal():
                return int(cause.message[:9])
    raise RuntimeFailure(status.message or "the engine did not say why the command failed")


# The upgrade


async def _upgraded(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        target = urlsplit(url)
        host, port, request = target.hostname, target.port or 80, _request(target)
    except ValueError as error:  # also characters beyond ASCII
        raise StreamingRefused("the engine returned a URL that is none") from error
    if target.scheme != "http" or not host:
        raise StreamingRefused(f"cannot use the engine's streaming server at {_origin(target)}")
    reader, writer = await asyncio.open_connection(host, port, limit=PIECE_BYTES)
    try:
        writer.write(request)
        await _answer(reader)
    except BaseException:  # also a probe that has no time left
        writer.transport.abort()
        raise
    return reader, writer


def _origin(target: SplitResult) -> str:
    """Return a URL without its token, which is a secret for as long as it was not used."""
    return f"{target.scheme}://{target.netloc}"


def _request(target: SplitResult) -> bytes:
    path = target.path + (f"?{target.query}" if target.query else "")
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {target.netloc}",
        "Content-Length: 0",
        "Connection: Upgrade",
        "Upgrade: SPDY/3.1",
        f"X-Stream-Protocol-Version: {PROTOCOL}",
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _answer(reader: asyncio.StreamReader) -> None:
    """Wait for the 101 response in version 4 of the protocol. Raises StreamingRefused."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head.split("\r\n")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
    }
    if status_line.split(" ")[1:2] == ["101"]:
        if fields.get("x-stream-protocol-version") != PROTOCOL:
            raise StreamingRefused("the engine's streaming server does not speak version 4")
        return
    limit = ENGINE_STREAM_ANSWER.value
    length = fields.get("content-length", "")
    wanted = min(int(length[:9]), limit) if length.isascii() and length.isdecimal() else limit
    body = await reader.read(wanted)
    message = body.decode("utf-8", "replace").strip()
    raise StreamingRefused(message or f"the engine's streaming server answered {status_line!r}")
