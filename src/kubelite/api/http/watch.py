"""Watches over HTTP: chunked lines, written straight to the connection.

The chunk around a line is part of the form, so that a line is framed once and the same bytes go to every watcher. A
watcher that does not read is dropped when its connection has buffered too much: it lists again, nobody waits for it.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from aiohttp import web

from kubelite.api.auth.caller import Allowed
from kubelite.api.errors import APIError
from kubelite.api.http.connection import Connection
from kubelite.api.http.wire import LAST_CHUNK, Sent, chunk, head, transport_of
from kubelite.api.registry.options import WatchOptions
from kubelite.api.registry.verbs import Verbs
from kubelite.api.registry.watch import Form
from kubelite.randomness import Randomness

BUFFERED_BYTES_MAX = 8 * 1024 * 1024
TIMEOUT_SECONDS_MIN = 1800.0  # a watch without a timeout ends at random between this and its double
ERROR_LINE = b'{"type":"ERROR","object":%b}\n'


class Chunked:
    """Another form inside HTTP chunks."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self.name = "chunked " + form.name

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return one framed line as a chunk."""
        return chunk(self._form.event(event_type, value))


class Watches:
    """All watches under way, so that they can end cleanly when the server stops."""

    def __init__(self, verbs: Verbs, randomness: Randomness) -> None:
        self._verbs = verbs
        self._randomness = randomness
        self._chunked: dict[str, Chunked] = {}
        self._endings: set[Callable[[], None]] = set()

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
        chunks = request.version >= (1, 1)
        started: list[bytes] | None = []

        def end() -> None:
            if not ended.done():
                ended.set_result(None)

        def deliver(frames: Sequence[bytes]) -> None:
            if started is not None:
                started.extend(frames)
            elif not ended.done():
                transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
                if transport.get_write_buffer_size() > BUFFERED_BYTES_MAX:
                    transport.abort()
                    end()

        def expired(error: APIError) -> None:
            line = ERROR_LINE % msgspec.json.encode(error.status())
            deliver((chunk(line) if chunks else line,))
            end()

        wire_form = self._chunks_of(form) if chunks else form
        watching = self._verbs.watch(allowed, options, wire_form, deliver, expired)

        def finish() -> None:
            watching.bookmark()
            end()

        forget = connection.on_lost(end)
        self._endings.add(finish)
        try:
            if chunks:
                headers.append(("Transfer-Encoding", "chunked"))
            first = b"".join(started or ())
            started = None
            transport.write(head(request, 200, headers) + first)
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
        if chunks and not transport.is_closing():
            transport.write(LAST_CHUNK)
        return Sent(200, keep_alive=chunks and bool(request.keep_alive))

    def _chunks_of(self, form: Form) -> Chunked:
        if (chunked := self._chunked.get(form.name)) is None:
            chunked = self._chunked[form.name] = Chunked(form)
        return chunked
