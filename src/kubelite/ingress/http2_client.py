"""Connections of clients that speak HTTP/2: each stream is a request with an exchange of its own.

They are made of those of `client`, once the client has chosen HTTP/2 by ALPN, or by how it begins without TLS.
"""

from collections.abc import Sequence

from kubelite.grpc import frames
from kubelite.grpc.frames import ConnectionViolation, ErrorCode
from kubelite.grpc.hpack import Header
from kubelite.ingress.exchange import Exchange
from kubelite.ingress.http2 import FlowStream, Http2, encode
from kubelite.ingress.http2_wire import request_of, trailers_of
from kubelite.ingress.pages import content_of
from kubelite.ingress.proxy import Proxy
from kubelite.ingress.wire import Body, Field, FramedBody, Malformed, Request, Response
from kubelite.limits import (
    INGRESS_HEAD_SECONDS,
    INGRESS_IDLE_SECONDS,
    INGRESS_REQUEST_FIELDS,
    INGRESS_REQUEST_HEAD,
    INGRESS_STREAMS,
)
from kubelite.serving.table import Slot

SENDING_SECONDS = 60.0  # that a client may take no part of a response that is complete
STATUS_BLOCKS = {200: b"\x88", 204: b"\x89", 304: b"\x8b", 404: b"\x8d", 500: b"\x8e"}


class StreamExchange(Exchange):
    """An exchange whose client speaks HTTP/2."""

    __slots__ = ("_fields", "_stream")

    def __init__(self, proxy: Proxy, stream: "ClientStream", request: Request) -> None:
        super().__init__(proxy, stream, request)
        self._stream = stream
        self._fields: bytes | None = None  # the header block that is still to be sent

    def _body_of(self, request: Request) -> Body | None:
        return FramedBody(request.length) if request.length else None

    def _send_continue(self) -> None:
        self._stream.send_fields(encode(((b":status", b"100"),)), is_end=False)

    def _response_head(self, response: Response) -> bytes:
        fields = response.fields
        if self.route is not None and self.route.response_edits is not None:
            fields = self.route.response_edits.apply(fields)
        self._fields = block_of(response.status, fields)
        return b""

    def _send(self, head: bytes, content: bytes, body: Body) -> None:  # noqa: ARG002 - of HTTP/1.1
        is_bare = body.is_done and not content and not body.trailers
        if self._fields is not None:
            block, self._fields = self._fields, None
            self._stream.send_fields(block, is_end=is_bare)
            if is_bare:
                return
        if content or body.is_done:
            self._stream.send(content, is_end=body.is_done, trailers=body.trailers)

    def _send_page(self, status: int, location: bytes, *, closes: bool) -> None:  # noqa: ARG002 - of HTTP/1.1
        fields, text = content_of(status, location)
        if self.request.method == b"HEAD":
            text = b""
        self._stream.send_fields(block_of(status, fields), is_end=not text)
        if text:
            self._stream.send(text, is_end=True, trailers=())


class ClientStream(FlowStream):
    """One request of a client; for its exchange it is the client."""

    __slots__ = (
        "_connection",
        "_held",
        "_is_ended",
        "_is_paused",
        "address",
        "deadline",
        "end_request",
        "exchange",
        "forwarded",
        "is_extra",
        "is_https",
        "port",
    )

    def __init__(self, connection: "Http2Client", number: int) -> None:
        super().__init__(number, connection.new_window())
        self._connection = connection
        self._held = bytearray()  # of the body, until the backend takes it
        self._is_ended = False  # the client has sent all
        self._is_paused = False
        self.end_request: list[Field] = []  # its trailers
        self.exchange: StreamExchange | None = None
        self.address = connection.address
        self.forwarded = connection.forwarded
        self.is_https = connection.is_https
        self.is_extra = connection.is_extra
        self.port = connection.port
        self.deadline = connection.now() + INGRESS_HEAD_SECONDS.value

    # What the connection tells

    def begin(self, exchange: StreamExchange, *, is_end: bool) -> None:
        """Note the exchange of the request; `is_end`: it has no body."""
        self.exchange, self._is_ended = exchange, is_end

    def take(self, data: bytes, *, is_end: bool) -> None:
        """Take a part of the body. Raises Malformed for what comes behind its end."""
        exchange = self.exchange
        if self._is_ended or (exchange is not None and not exchange.request.length and data):
            raise Malformed("content behind the end")
        self._is_ended = is_end
        if exchange is None:  # answered already
            self._connection.credit(self, len(data))
        elif self._held or self._is_paused or not exchange.takes_body:
            self._held += data
        else:
            self._feed(data)

    def finish(self, trailers: list[Field]) -> None:
        """Take the trailers, which end the request. Raises Malformed."""
        if self._is_ended:
            raise Malformed("trailers behind the end")
        self._is_ended = True
        self.end_request = trailers
        if self.exchange is not None and self.exchange.takes_body and not self._held:
            self._feed(b"")

    def lost(self) -> None:
        """The stream is over: so is its exchange."""
        self._connection.credit(None, len(self._held))
        self._held.clear()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_lost()

    # What the exchange calls

    def _feed(self, data: bytes) -> None:
        exchange = self.exchange
        assert exchange is not None
        if data:
            self._connection.credit(self, len(data))
            exchange.request_data(data)
        is_whole = self._is_ended and not self._held
        if is_whole and self.exchange is exchange and exchange.takes_body:
            exchange.request_finished(self.end_request)

    def feed_body(self) -> None:
        """Hand over what came of the body already."""
        self._is_paused = False
        if self.exchange is not None and (self._held or self._is_ended):
            data = bytes(self._held)
            self._held.clear()
            self._feed(data)

    def pause_reading(self) -> None:
        """Hold what comes of the body, of which the client sends no more than the window."""
        self._is_paused = True

    def write(self, data: bytes) -> None:
        """Do nothing: what exchanges of HTTP/1.1 write is none of this."""

    def send_fields(self, block: bytes, *, is_end: bool) -> None:
        """Send a header block."""
        self._connection.send_fields(self.number, block, is_end=is_end)
        if is_end:
            self.is_out_ended = self.is_out_sent = True

    def send(self, content: bytes, *, is_end: bool, trailers: Sequence[Field]) -> None:
        """Send a part of the response."""
        self._connection.send_content(self, content, is_end=is_end, trailers=trailers)

    def exchange_done(self, *, closes: bool) -> None:  # noqa: ARG002 - of HTTP/1.1
        """End the stream once all of the response is sent."""
        self.exchange = None
        self._connection.credit(None, len(self._held))
        self._held.clear()
        self.deadline = self._connection.now() + SENDING_SECONDS
        if self.is_out_sent:
            self._connection.done(self, is_whole=self._is_ended)

    def abort(self) -> None:
        """Break the response off, so that the client sees that it is not whole."""
        self.exchange = None
        self._connection.reset(self, ErrorCode.INTERNAL_ERROR)

    # What the flow of content tells

    def hold_out(self) -> None:
        """Read no more from the backend."""
        if self.exchange is not None:
            self.exchange.client_slow()

    def release_out(self) -> None:
        """Read on."""
        self.deadline = self._connection.now() + SENDING_SECONDS
        if self.exchange is not None:
            self.exchange.client_ready()

    def out_sent(self) -> None:
        """The response is complete."""
        if self.exchange is None:
            self._connection.done(self, is_whole=self._is_ended)

    def late(self) -> None:
        """The deadline has passed."""
        if self.exchange is not None:
            self.exchange.late()
        else:
            self._connection.reset(self, ErrorCode.CANCEL)


class Http2Client(Http2):
    """One connection of a client."""

    def __init__(
        self,
        proxy: Proxy,
        slot: Slot,
        *,
        is_https: bool,
        is_extra: bool,
        port: int,
        address: str,
        forwarded: bytes,
    ) -> None:
        super().__init__(proxy.buffer, INGRESS_REQUEST_HEAD, proxy.now())
        self._proxy = proxy
        self._slot = slot
        self._idle_deadline = proxy.now() + INGRESS_IDLE_SECONDS.value
        self._is_leaving = False  # no further streams
        self._preface = frames.PREFACE
        self.is_https = is_https
        self.is_extra = is_extra
        self.port = port
        self.address = address
        self.forwarded = forwarded
        slot.is_idle = lambda: not self.streams
        slot.close = self.abort
        proxy.clients.add(self)

    def now(self) -> float:
        """Return the loop's time."""
        return self._proxy.now()

    def receive(self, data: bytes) -> None:
        """Take bytes of the client, which begins with the preface."""
        if self._preface:
            size = min(len(self._preface), len(data))
            if data[:size] != self._preface[:size]:
                self.abort()
                return
            is_first = len(self._preface) == len(frames.PREFACE)
            data, self._preface = data[size:], self._preface[size:]
            if is_first:
                self.greet(b"", INGRESS_STREAMS.value)
        if data:
            super().receive(data)

    # Streams

    def take_headers(self, number: int, fields: list[Header], *, is_end: bool) -> None:
        """Begin a request, or end one by its trailers. Raises ConnectionViolation."""
        if not number % 2:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "a stream has an even number")
        if number <= self.last_number:
            self._take_trailers(number, fields, is_end=is_end)
            return
        stream = ClientStream(self, number)
        self.open(stream)
        if self._is_leaving or len(self.streams) > INGRESS_STREAMS.value:
            if not self._is_leaving:
                INGRESS_STREAMS.reached()
            self.spend_reset()
            self.reset(stream, ErrorCode.REFUSED_STREAM)
            return
        try:
            request = request_of(fields, is_end=is_end)
        except Malformed:
            self._malformed(stream)
            return
        exchange = StreamExchange(self._proxy, stream, request)
        stream.begin(exchange, is_end=is_end)
        if len(fields) > INGRESS_REQUEST_FIELDS.value:
            INGRESS_REQUEST_FIELDS.reached()
            exchange.refuse(431)
        else:
            exchange.start()

    def _take_trailers(self, number: int, fields: list[Header], *, is_end: bool) -> None:
        stream = self.streams.get(number)
        if not isinstance(stream, ClientStream):
            self.spend_reset()
            return
        try:
            if not is_end:
                raise Malformed("trailers that do not end the request")
            stream.finish(trailers_of(fields))
        except Malformed:
            self._malformed(stream)

    def _malformed(self, stream: FlowStream) -> None:
        """End a stream whose message is not to be passed on. Raises ConnectionViolation if there are too many."""
        self._proxy.malformed += 1
        self.spend_reset()
        self.reset(stream, ErrorCode.PROTOCOL_ERROR)

    def take_data(self, stream: FlowStream, data: bytes, *, is_end: bool) -> None:
        """Take a part of a body."""
        assert isinstance(stream, ClientStream)
        try:
            stream.take(data, is_end=is_end)
        except Malformed:
            self.credit(None, len(data))
            self._malformed(stream)

    def take_reset(self, stream: FlowStream, code: int) -> None:  # noqa: ARG002 - all codes are alike
        """End the exchange of a stream that is over."""
        assert isinstance(stream, ClientStream)
        self._idle_deadline = self.now() + INGRESS_IDLE_SECONDS.value
        stream.lost()
        self._leave_when_empty()

    def done(self, stream: ClientStream, *, is_whole: bool) -> None:
        """Forget a stream whose response is sent; a client that still sends its request is told to stop."""
        if not is_whole:
            self.reset(stream, ErrorCode.NO_ERROR)
            return
        self.forget(stream)
        self._idle_deadline = self.now() + INGRESS_IDLE_SECONDS.value
        self._leave_when_empty()

    def _leave_when_empty(self) -> None:
        if self._is_leaving and not self.streams and not self.is_closed:
            self.close()

    def ended(self) -> None:
        """Free the place."""
        self._slot.release()
        self._proxy.left(self)

    # What the proxy's sweep asks

    @property
    def deadline(self) -> float:
        """When something is late: the first of the streams, or the client with its next request."""
        if self._blocks.is_open:
            return self._block_since + INGRESS_HEAD_SECONDS.value
        soonest = [one.deadline for one in self.streams.values() if isinstance(one, ClientStream)]
        return min(soonest, default=self._idle_deadline)

    def late(self) -> None:
        """The deadline has passed."""
        now = self.now()
        if self._blocks.is_open or not self.streams:
            self.say_goaway()
            self.close()
            return
        for stream in tuple(self.streams.values()):
            if isinstance(stream, ClientStream) and stream.deadline < now:
                stream.late()

    def stop(self) -> None:
        """Take no further requests, and close once those that there are have been answered."""
        if not self._is_leaving and not self.is_closed:
            self._is_leaving = True
            self.say_goaway()
            self._leave_when_empty()


def block_of(status: int, fields: "list[Field]") -> bytes:
    """Return the header block of a response."""
    block = STATUS_BLOCKS.get(status)
    if block is None:
        block = encode(((b":status", b"%d" % status),))
    return block + encode(fields)
