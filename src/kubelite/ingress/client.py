"""The connections of clients: heads, bodies, pipelining and deadlines, in front of one exchange at a time."""

import asyncio
from typing import cast

from kubelite.ingress.exchange import Exchange
from kubelite.ingress.pages import page
from kubelite.ingress.proxy import Proxy
from kubelite.ingress.upstream import WRITE_HIGH_BYTES
from kubelite.ingress.wire import HEAD_END, Malformed, parse_request
from kubelite.limits import (
    INGRESS_HEAD_SECONDS,
    INGRESS_IDLE_SECONDS,
    INGRESS_REQUEST_FIELDS,
    INGRESS_REQUEST_HEAD,
)
from kubelite.serving.closing import close_within_bounds
from kubelite.serving.table import Slot

HTTP2_HEAD = b"PRI * HTTP/2.0\r\n\r\n"  # the first line of HTTP/2 without TLS, which is no request
LINGERING_SECONDS = (
    2.0  # that a refused client may send on before the connection is reset under its answer
)


class ClientConnection(asyncio.BufferedProtocol):
    """One connection of a client."""

    __slots__ = (
        "_buffer",
        "_exchange",
        "_held",
        "_is_fresh",
        "_is_parsing",
        "_is_slow",
        "_proxy",
        "_searched",
        "_slot",
        "_transport",
        "address",
        "deadline",
        "forwarded",
        "is_ending",
        "is_extra",
        "is_https",
        "port",
    )

    def __init__(
        self, proxy: Proxy, slot: Slot, *, is_https: bool, port: int, is_extra: bool = False
    ) -> None:
        """`is_extra`: the port is none of those of Ingresses."""
        self._proxy = proxy
        self._slot = slot
        self._buffer = proxy.buffer
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()  # what was read and is not parsed
        self._searched = 0  # bytes of `_held` without the end of a head
        self._exchange: Exchange | None = None
        self._is_parsing = False
        self._is_slow = False  # answers wait to be read
        self._is_fresh = True  # there was no request yet
        self.is_https = is_https
        self.port = port
        self.is_extra = is_extra
        self.is_ending = False  # answered for the last time; what still comes is dropped
        self.address = ""
        self.deadline = proxy.now() + INGRESS_HEAD_SECONDS.value
        self.forwarded = b"X-Forwarded-Port: %d\r\n" % port

    @property
    def is_idle(self) -> bool:
        """Whether the connection waits for a request."""
        return self._exchange is None and not self._held

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the place in the table, and remember who the client is."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not derived from it
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        peer = transport.get_extra_info("peername")
        self.address = _address(str(peer[0])) if peer else ""
        address = self.address.encode()
        self.forwarded += b"X-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\n" % (
            address,
            address,
            b"https" if self.is_https else b"http",
        )
        if self.is_https:
            secured = transport.get_extra_info("ssl_object")
            if secured is not None and secured.selected_alpn_protocol() == "h2":
                self._become_http2(b"")
                return
        self._slot.is_idle = lambda: self.is_idle
        self._slot.close = self.abort
        self._proxy.clients.add(self)
        if not self._slot.is_open:
            self.abort()

    def _become_http2(self, data: bytes) -> None:
        """Hand the connection over to what serves HTTP/2, with what was read of it."""
        # Only the first client of HTTP/2 needs the rest.
        from kubelite.ingress.http2_client import Http2Client

        transport, self._transport = self._transport, None
        assert transport is not None
        connection = Http2Client(
            self._proxy,
            self._slot,
            is_https=self.is_https,
            is_extra=self.is_extra,
            port=self.port,
            address=self.address,
            forwarded=self.forwarded,
        )
        self._held.clear()
        self._proxy.clients.discard(self)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if not self._slot.is_open:
            connection.abort()
        elif data:
            connection.receive(data)

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - the protocol's
        """End the exchange and free the place."""
        self._transport = None
        self._slot.release()
        self._proxy.left(self)
        if self._exchange is not None:
            self._exchange.client_lost()
            self._exchange = None

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol's
        """Return the buffer of all connections: what is read is copied before the next read."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        data = bytes(self._buffer[:nbytes])
        if self.is_ending:
            return
        exchange = self._exchange
        if exchange is None:
            self._held += data
            self._parse()
            if self._is_slow:
                self.pause_reading()
        elif self._held or not (exchange.takes_body or exchange.is_tunnel):
            self._held += data
            self.pause_reading()
        else:
            self._feed(exchange, data)

    def _feed(self, exchange: Exchange, data: bytes) -> None:
        if exchange.is_tunnel:
            exchange.tunnel_data(data)
        elif rest := exchange.request_data(data):
            self._held += rest
            if self._exchange is exchange:
                self.pause_reading()
            else:
                self._parse()

    def feed_body(self) -> None:
        """Hand over what came of the body already, and read on."""
        exchange = self._exchange
        if exchange is None:
            return
        if self._held:
            data = bytes(self._held)
            self._held.clear()
            self._searched = 0
            self._feed(exchange, data)
        if self._exchange is exchange and not self._held:
            self._resume_reading()

    def _parse(self) -> None:
        """Begin the exchange of each complete head; an exchange may be over at once, and then the next one follows."""
        if self._is_parsing:
            return
        self._is_parsing = True
        try:
            # A client that asks and does not read would pile up answers.
            while self._exchange is None and self._held and not (self.is_ending or self._is_slow):
                if not self._next_request():
                    break
        finally:
            self._is_parsing = False

    def _next_request(self) -> bool:
        """Parse a head and start its exchange; False if the head is incomplete or refused."""
        held, limit = self._held, INGRESS_REQUEST_HEAD.value
        if held.startswith(b"\r\n"):  # as after the body of an old client
            del held[:2]
            self._searched = 0
        end = held.find(HEAD_END, max(0, self._searched - 3), limit + 4)
        if end < 0:
            if len(held) > limit:
                INGRESS_REQUEST_HEAD.reached()
                self._refuse(431)
            elif not self._searched:
                self.deadline = self._proxy.now() + INGRESS_HEAD_SECONDS.value
            self._searched = len(held)
            return False
        head = bytes(held[: end + 4])
        del held[: end + 4]
        self._searched = 0
        if head.count(b"\n") > INGRESS_REQUEST_FIELDS.value + 2:
            INGRESS_REQUEST_FIELDS.reached()
            self._refuse(431)
            return False
        try:
            request = parse_request(head)
        except Malformed:
            if head == HTTP2_HEAD and self._is_fresh and not self.is_https:
                self._become_http2(head + bytes(held))
                return False
            self._proxy.malformed += 1
            self._refuse(400)
            return False
        self._is_fresh = False
        self._exchange = Exchange(self._proxy, self, request)
        self._exchange.start()
        return True

    def exchange_done(self, *, closes: bool) -> None:
        """Wait for the next request, or close."""
        self._exchange = None
        if self._transport is None:
            return
        if closes or self._proxy.is_stopping:
            self._end()
            return
        self.deadline = self._proxy.now() + INGRESS_IDLE_SECONDS.value
        self._resume_reading()
        if self._held:
            self._parse()

    def _refuse(self, status: int) -> None:
        self.write(page(status, closes=True))
        self._end()

    def _end(self) -> None:
        """Close after the client had time to read its answer: closing under unread data resets the connection."""
        self.is_ending = True
        self._held.clear()
        self.deadline = self._proxy.now() + LINGERING_SECONDS
        if self._transport is None:
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._resume_reading()
        else:  # TLS says itself that it ends
            close_within_bounds(self._transport)

    def late(self) -> None:
        """The deadline has passed."""
        if self._exchange is not None:
            self._exchange.late()
            return
        if not self.is_ending and self._held:
            INGRESS_HEAD_SECONDS.reached()
        self.abort()

    def stop(self) -> None:
        """Close now if the connection is idle, else after the answer."""
        if self.is_idle and self._transport is not None:
            self._transport.close()

    def eof_received(self) -> bool:
        """Close: a client that ends its side has left, as for the servers of Go and nginx."""
        return False

    def pause_writing(self) -> None:
        """Stop reading the answer, and answer no further request."""
        self._is_slow = True
        if self._exchange is not None:
            self._exchange.client_slow()

    def resume_writing(self) -> None:
        """Read on."""
        self._is_slow = False
        if self._exchange is not None:
            self._exchange.client_ready()
        else:
            self._resume_reading()
            self._parse()

    def pause_reading(self) -> None:
        """Read nothing until `feed_body`, or until the exchange is over."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Write to the client."""
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        """Close at once."""
        self._exchange, exchange = None, self._exchange
        if exchange is not None:
            exchange.client_lost()
        if self._transport is not None:
            self._transport.abort()


def _address(text: str) -> str:
    """Return an address as it is written elsewhere: that of IPv4 without IPv6 around it."""
    return text.removeprefix("::ffff:").partition("%")[0]
