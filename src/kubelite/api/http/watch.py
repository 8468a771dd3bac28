"""Watches over HTTP: chunked lines, written straight to the transport.

Framing is part of the form, so each line is framed once and all watchers share its bytes. Each turn of the loop
writes to WRITES_A_TURN watchers, so an event for thousands does not block the loop; events that come meanwhile go
out with the next write. The initial events are sent with back-pressure, no faster than the client reads. A slow
watcher is dropped when its backlog is too large: it lists again, and it never delays other watchers.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
from aiohttp import web
from msgspec import Struct

from kubelite.api.auth.caller import Allowed
from kubelite.api.errors import APIError
from kubelite.api.http import websocket
from kubelite.api.http.connection import Connection
from kubelite.api.http.dialer import Connected
from kubelite.api.http.relay import take_over
from kubelite.api.http.unsent import Charge, Unsent, is_too_far_behind
from kubelite.api.http.wire import (
    BUFFERED_BYTES_MAX,
    LAST_CHUNK,
    Disconnected,
    Sent,
    chunk,
    drained,
    head,
    is_paused,
    transport_of,
)
from kubelite.api.registry.options import WatchOptions
from kubelite.api.registry.verbs import Verbs
from kubelite.api.registry.watch import Form
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

SLICE_BYTES = 64 * 1024
BEGINNING_SECONDS = 60.0  # for the client to read one slice of the initial events
FINISH_SECONDS = 5.0  # for the client to read the backlog when a watch is over
WRITES_A_TURN = 100  # about 2 ms of the loop, in TLS
TIMEOUT_SECONDS_MIN = (
    1800.0  # a watch without timeoutSeconds ends at random between this and twice this
)
ERROR_LINE = b'{"type":"ERROR","object":%b}\n'


class Framed:
    """A form whose lines are framed for the transport: chunked, unframed or WebSocket."""

    def __init__(self, form: Form, framing: "Framing") -> None:
        self._form = form
        self._frame = framing.frame
        self.name = f"{framing.name} {form.name}"
        self.event_cost = form.event_cost

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return one framed line."""
        return self._frame(self._form.event(event_type, value))


class Framing(Struct, frozen=True):
    """How lines are framed, and the bytes that end the watch."""

    name: str
    frame: Callable[[bytes], bytes]
    end: bytes


CHUNKS = Framing("chunked", chunk, LAST_CHUNK)
UNFRAMED = Framing(
    "unframed", lambda line: line, b""
)  # HTTP/1.0: closing the connection ends the body
MESSAGES = Framing(
    "websocket", lambda line: websocket.frame(line, websocket.TEXT), websocket.NORMAL_CLOSE
)


class Over(Exception):
    """The watch ended before all of its initial events were delivered."""


class Outlet:
    """The connection of one watcher and its backlog of lines.

    While the client reads, lines go out with the next turn of the loop. While it does not, they stay in the backlog,
    whose bytes all watchers share; only about two slices of them are copied into the write buffer.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        charge: Charge,
        ended: "asyncio.Future[None]",
        tasks: TaskSet,
    ) -> None:
        transport.set_write_buffer_limits(BUFFERED_BYTES_MAX)
        self._transport = transport
        self._charge = charge
        self._ended = ended
        self._tasks = tasks
        self._lines: deque[bytes] = deque()
        self._size = 0  # of the lines, in bytes
        self._last_write = 0  # in bytes: TLS may hold them beyond the write buffer
        self._resuming: asyncio.Task[None] | None = None

    @property
    def _is_paused(self) -> bool:
        return is_paused(self._transport)

    @property
    def _is_behind(self) -> bool:
        return bool(self._lines) or self._is_paused

    def add(self, lines: Sequence[bytes]) -> bool:
        """Add lines to the backlog; return whether it was empty. Ends the watch if it is too far behind."""
        is_first = not self._lines
        self._lines.extend(lines)
        self._size += sum(map(len, lines))
        if self._resuming is not None or self._size > SLICE_BYTES:
            self._account()
        return is_first

    def flush(self) -> None:
        """Write the backlog until the transport pauses; a task writes the rest as the client reads."""
        if self._resuming is None:
            self._write()
            if self._is_behind and not self._transport.is_closing():
                self._resuming = self._tasks.start(self._resume(), name="slow watcher")

    async def drained(self) -> None:
        """Wait until the backlog is written and the transport accepts more.

        Raises:
            Over: The watch has ended, or the client has not read for BEGINNING_SECONDS; it is cut off.
        """
        self.flush()
        if self._resuming is not None:
            await asyncio.wait(
                {self._resuming, self._ended},
                timeout=BEGINNING_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        if self._is_behind or self._ended.done() or self._transport.is_closing():
            self.cut_off()
            raise Over
        await asyncio.sleep(0)

    def cut_off(self) -> None:
        """End the watch and drop the backlog; abort the connection unless all was written."""
        if not self._ended.done():
            self._ended.set_result(None)
        if self._is_behind:
            self._transport.abort()
        self._lines.clear()
        self._size = 0

    async def finish(self, end: bytes) -> None:
        """Write the backlog, then `end`; cut off a client that does not read within FINISH_SECONDS."""
        self.flush()
        if self._resuming is not None:
            await asyncio.wait({self._resuming}, timeout=FINISH_SECONDS)
        if self._is_behind:
            self.cut_off()
        elif not self._transport.is_closing():
            self._transport.write(end)

    async def _resume(self) -> None:
        try:
            while self._is_behind and not self._transport.is_closing():
                await drained(self._transport)
                self._charge.moved()
                self._write()
        except Disconnected:
            pass
        finally:
            self._resuming = None

    def _write(self) -> None:
        """Write slices until the transport pauses."""
        while self._lines and not self._is_paused and not self._transport.is_closing():
            part = self._lines.popleft()
            if len(part) < SLICE_BYTES and self._lines:
                part = self._slice(part)
            self._size -= len(part)
            self._last_write = len(part)
            self._transport.write(part)
        self._account()

    def _slice(self, first: bytes) -> bytes:
        parts, size = [first], len(first)
        while self._lines and size + len(self._lines[0]) <= SLICE_BYTES:
            parts.append(self._lines.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    def _account(self) -> None:
        """Charge the caller for the unsent bytes; cut off a watcher that is too far behind or over its share."""
        if self._ended.done():
            return
        held = 0
        if self._is_behind:
            held = self._size + self._last_write + self._transport.get_write_buffer_size()
        if is_too_far_behind(held) or not self._charge.change(held):
            self.cut_off()


class Outlets:
    """Flushes the outlets that have new lines, WRITES_A_TURN of them in a turn of the loop."""

    def __init__(self) -> None:
        self._waiting: deque[Outlet] = deque()
        self._is_scheduled = False

    def send(self, outlet: Outlet, frames: Sequence[bytes]) -> None:
        """Enqueue lines for one watcher; they are written in a later turn of the loop."""
        if outlet.add(frames):
            self._waiting.append(outlet)
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        for _ in range(min(WRITES_A_TURN, len(self._waiting))):
            self._waiting.popleft().flush()
        if self._waiting:
            self._schedule()


class Watches:
    """The watches in flight, so that they can end cleanly when the server stops."""

    def __init__(self, verbs: Verbs, randomness: Randomness, unsent: Unsent) -> None:
        self._verbs = verbs
        self._unsent = unsent
        self._randomness = randomness
        self._framed: dict[tuple[str, str], Framed] = {}
        self._endings: set[Callable[[], None]] = set()
        self._outlets = Outlets()
        self._tasks = TaskSet()

    @property
    def count(self) -> int:
        """The number of watches in flight."""
        return len(self._endings)

    def end(self) -> None:
        """End all watches as if they had timed out: with a bookmark and the end of the body."""
        for ending in tuple(self._endings):
            ending()

    async def serve(
        self,
        request: web.BaseRequest,
        allowed: Allowed,
        options: WatchOptions,
        form: Form,
        headers: list[tuple[str, str]],
    ) -> Sent:
        """Serve one watch until it times out, its revision is compacted or the client disconnects. Raises APIError."""
        transport = transport_of(request)
        connection: Connection = request.protocol  # type: ignore[assignment]  # made by ConnectionServer
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        framing = _framing_of(request)

        def end() -> None:
            if not ended.done():
                ended.set_result(None)

        charge = self._unsent.charge(allowed.caller.user, lambda: outlet.cut_off())  # noqa: PLW0108 - made after it
        outlet = Outlet(transport, charge, ended, self._tasks)

        def deliver(lines: Sequence[bytes]) -> None:
            if not ended.done():
                self._outlets.send(outlet, lines)

        def expired(error: APIError | None) -> None:
            if error is not None:
                line = ERROR_LINE % msgspec.json.encode(error.status())
                deliver((framing.frame(line),))
            end()

        wire_form = self._form_in(framing, form)
        watching = await self._verbs.watch(allowed, options, wire_form, deliver, expired)

        def finish() -> None:
            watching.bookmark()
            end()

        forget = connection.on_lost(end)
        self._endings.add(finish)
        timeout = options.timeout_seconds or self._randomness.uniform(
            TIMEOUT_SECONDS_MIN, 2 * TIMEOUT_SECONDS_MIN
        )
        timer = loop.call_later(timeout, finish)
        try:
            status = self._begin(request, transport, framing, headers, end)
            with suppress(Over):
                await watching.begin(outlet.drained)
                await ended
            watching.close()
            await outlet.finish(framing.end)
        finally:
            timer.cancel()
            self._endings.discard(finish)
            forget()
            watching.close()
            charge.release()
        return Sent(status, keep_alive=framing is CHUNKS and bool(request.keep_alive))

    def _begin(
        self,
        request: web.BaseRequest,
        transport: asyncio.Transport,
        framing: Framing,
        headers: list[tuple[str, str]],
        end: Callable[[], None],
    ) -> int:
        """Write the head of the answer or the WebSocket handshake; return the status."""
        if framing is not MESSAGES:
            if framing is CHUNKS:
                headers.append(("Transfer-Encoding", "chunked"))
            transport.write(head(request, 200, headers))
            return 200
        transport.write(websocket.handshake(request, headers))
        client = take_over(request, transport)
        closing = self._tasks.start(_until_closed(client), name="watch over WebSocket")
        closing.add_done_callback(lambda _: end())
        return 101

    def _form_in(self, framing: Framing, form: Form) -> Framed:
        key = framing.name, form.name
        if (framed := self._framed.get(key)) is None:
            framed = self._framed[key] = Framed(form, framing)
        return framed


async def _until_closed(client: Connected) -> None:
    reader, writer = client
    await websocket.closed(reader)
    writer.close()  # a StreamWriter closes when it is collected, so it is kept until here


def _framing_of(request: web.BaseRequest) -> Framing:
    if websocket.is_websocket(request):
        return MESSAGES
    return CHUNKS if request.version >= (1, 1) else UNFRAMED
