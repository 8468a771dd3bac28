"""Watches over HTTP: chunked lines, written straight to the connection.

The chunk around a line is part of the form, so that a line is framed once and the same bytes go to every watcher. Lines
are written a slice of watchers at a time, so that an event for thousands does not hold the loop, and whatever comes
meanwhile goes out with the next write. A watcher that does not read is dropped when its connection has buffered too
much: it lists again, nobody waits for it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
from aiohttp import web
from msgspec import Struct

from kubelite.api.auth.caller import Allowed
from kubelite.api.errors import APIError
from kubelite.api.http import websocket
from kubelite.api.http.connection import Connection
from kubelite.api.http.dialer import Connected
from kubelite.api.http.relay import take_over
from kubelite.api.http.wire import LAST_CHUNK, SLICE_BYTES, Sent, chunk, head, transport_of
from kubelite.api.registry.options import WatchOptions
from kubelite.api.registry.verbs import Verbs
from kubelite.api.registry.watch import Form
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

BUFFERED_BYTES_MAX = 8 * 1024 * 1024
WRITES_A_TURN = 100  # about 2 ms of the loop, in TLS
TIMEOUT_SECONDS_MIN = 1800.0  # a watch without a timeout ends at random between this and its double
ERROR_LINE = b'{"type":"ERROR","object":%b}\n'


class Framed:
    """Another form inside the frames of a transfer."""

    def __init__(self, form: Form, framing: "Framing") -> None:
        self._form = form
        self._frame = framing.frame
        self.name = f"{framing.name} {form.name}"

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return one line in its frame."""
        return self._frame(self._form.event(event_type, value))


class Framing(Struct, frozen=True):
    """How lines travel, and what says that there are no more."""

    name: str
    frame: Callable[[bytes], bytes]
    end: bytes


CHUNKS = Framing("chunked", chunk, LAST_CHUNK)
UNFRAMED = Framing(
    "unframed", lambda line: line, b""
)  # HTTP/1.0: the end of the connection is the end
MESSAGES = Framing(
    "websocket", lambda line: websocket.frame(line, websocket.TEXT), websocket.NORMAL_CLOSE
)


class Outlet:
    """The connection of one watcher, and the lines that wait to be written to it."""

    __slots__ = ("_limit_bytes", "_pending", "dropped", "transport")

    def __init__(self, transport: asyncio.Transport, dropped: Callable[[], None]) -> None:
        self.transport = transport
        self.dropped = dropped
        self._pending: list[bytes] = []
        self._limit_bytes = BUFFERED_BYTES_MAX

    def add(self, frames: Sequence[bytes]) -> bool:
        """Keep lines until `flush`; say whether they are the first."""
        is_first = not self._pending
        self._pending.extend(frames)
        return is_first

    async def begin(self) -> None:
        """Write what waits, and what is added meanwhile, so that its encryption does not hold the loop."""
        while data := self._take():
            view = memoryview(data)
            for offset in range(0, len(view), SLICE_BYTES):
                if self.transport.is_closing():
                    return
                self.transport.write(view[offset : offset + SLICE_BYTES])
                await asyncio.sleep(0)
        # A long beginning is no sign of a watcher that does not read.
        self._limit_bytes += self.transport.get_write_buffer_size()

    def _take(self) -> bytes:
        pending, self._pending = self._pending, []
        return pending[0] if len(pending) == 1 else b"".join(pending)

    def flush(self) -> None:
        """Write what waits; drop a watcher that does not read."""
        data = self._take()
        if not data or self.transport.is_closing():
            return
        self.transport.write(data)
        if self.transport.get_write_buffer_size() > self._limit_bytes:
            self.transport.abort()
            self.dropped()


class Outlets:
    """Writes to many watchers, a slice in each turn of the loop."""

    def __init__(self) -> None:
        self._waiting: deque[Outlet] = deque()
        self._is_scheduled = False

    def send(self, outlet: Outlet, frames: Sequence[bytes]) -> None:
        """Write lines soon."""
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
    """All watches under way, so that they can end cleanly when the server stops."""

    def __init__(self, verbs: Verbs, randomness: Randomness) -> None:
        self._verbs = verbs
        self._randomness = randomness
        self._framed: dict[tuple[str, str], Framed] = {}
        self._endings: set[Callable[[], None]] = set()
        self._outlets = Outlets()
        self._tasks = TaskSet()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._endings)

    def end(self) -> None:
        """End all of them as if their time was up."""
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
        """Serve one watch until its time is up, the past it asks for is gone, or the client goes."""
        transport = transport_of(request)
        connection: Connection = request.protocol  # type: ignore[assignment]  # made by ConnectionServer
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        framing = _framing_of(request)
        has_begun = False

        def end() -> None:
            if not ended.done():
                ended.set_result(None)

        outlet = Outlet(transport, end)

        def deliver(frames: Sequence[bytes]) -> None:
            if not has_begun:  # goes out with the beginning
                outlet.add(frames)
            elif not ended.done():
                self._outlets.send(outlet, frames)

        def expired(error: APIError) -> None:
            line = ERROR_LINE % msgspec.json.encode(error.status())
            deliver((framing.frame(line),))
            end()

        wire_form = self._form_in(framing, form)
        watching = self._verbs.watch(allowed, options, wire_form, deliver, expired)

        def finish() -> None:
            watching.bookmark()
            end()

        forget = connection.on_lost(end)
        self._endings.add(finish)
        try:
            status = self._begin(request, transport, framing, headers, end)
            await outlet.begin()
            has_begun = True
            timeout = options.timeout_seconds or self._randomness.uniform(
                TIMEOUT_SECONDS_MIN, 2 * TIMEOUT_SECONDS_MIN
            )
            timer = loop.call_later(timeout, finish)
            try:
                await ended
            finally:
                timer.cancel()
        finally:
            self._endings.discard(finish)
            forget()
            watching.close()
        outlet.flush()
        if not transport.is_closing():
            transport.write(framing.end)
        return Sent(status, keep_alive=framing is CHUNKS and bool(request.keep_alive))

    def _begin(
        self,
        request: web.BaseRequest,
        transport: asyncio.Transport,
        framing: Framing,
        headers: list[tuple[str, str]],
        end: Callable[[], None],
    ) -> int:
        """Write the head; return the status."""
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
    writer.close()  # a writer that is forgotten closes by itself, so it is kept until here


def _framing_of(request: web.BaseRequest) -> Framing:
    if websocket.is_websocket(request):
        return MESSAGES
    return CHUNKS if request.version >= (1, 1) else UNFRAMED
