"""One stream of a tunnel: the protocol of its socket.

What the socket brings waits here, one read at most, until the tunnel takes it; meanwhile the socket is not read. What
the tunnel brings is written to the socket, and granted again as the socket takes it.
"""

import asyncio
from contextlib import suppress
from typing import Protocol, cast

from kubelite.limits import TUNNEL_WINDOW
from kubelite.serving.closing import close_within_bounds
from kubelite.tunnel.credit import ReceiveWindow, SendCredit
from kubelite.tunnel.frames import (
    PAYLOAD_BYTES_MAX,
    BrokenTunnel,
    FrameType,
    encode,
)

NOTHING = memoryview(b"")


class Carrier(Protocol):
    """The tunnel as a stream sees it."""

    read_buffer: memoryview

    def connected(self, stream: "Stream") -> None:
        """The socket is connected."""
        ...

    def ready(self, stream: "Stream") -> None:
        """The stream may have a frame."""
        ...

    def pump(self) -> None:
        """Write what is ready."""
        ...

    def send(self, frame: bytes) -> None:
        """Send a frame that needs no credit."""
        ...

    def grant(self, stream: "Stream", more: int) -> None:
        """Grant credit to the other end."""
        ...

    def widen(self, stream: "Stream") -> int:
        """Widen the window if there is room; return the credit to grant for it."""
        ...

    def forget(self, stream: "Stream") -> None:
        """The stream has ended."""
        ...


class Stream(asyncio.BufferedProtocol):
    """Both directions of one stream."""

    def __init__(self, carrier: Carrier, number: int) -> None:
        self.number = number
        self.credit = SendCredit()
        self.window = ReceiveWindow()
        self.is_queued = False  # for its turn
        self._carrier = carrier
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # came before the socket was there; bounded by the window
        self._unsent = NOTHING
        self._has_read_end = False
        self._has_sent_end = False
        self._has_received_end = False
        self._is_over = False

    # From the socket to the tunnel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to carry; what came before is written."""
        transport = cast(asyncio.Transport, transport)  # those of uvloop are no subclass
        if self._is_over:
            transport.abort()
            return
        self._transport = transport
        transport.set_write_buffer_limits(TUNNEL_WINDOW.value // 2, TUNNEL_WINDOW.value // 8)
        self._carrier.connected(self)
        early, self._early = self._early, []
        for data in early:
            transport.write(data)
        if early:
            self._grant()
        if self._has_received_end:
            _write_end(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer of the tunnel, whose content is copied before the next read."""
        del sizehint
        return self._carrier.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take one read of the socket; the socket is read again when all of it is sent."""
        data = bytes(self._carrier.read_buffer[:nbytes])
        self._unsent = memoryview(bytes(self._unsent) + data if self._unsent else data)
        self._carrier.ready(self)
        self._carrier.pump()
        if self._unsent and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Half close: the other direction goes on."""
        self._has_read_end = True
        self._carrier.ready(self)
        self._carrier.pump()
        return True

    @property
    def has_frame(self) -> bool:
        """Whether something may be sent now."""
        if self._is_over:
            return False
        if self._unsent:
            return self.credit.available > 0
        return self._has_read_end and not self._has_sent_end

    def take_frame(self) -> bytes | None:
        """Return the next frame to send, if any."""
        if not self.has_frame:
            return None
        if not self._unsent:
            self._has_sent_end = True
            frame = encode(FrameType.END, self.number)
            self._end_if_both_ended()
            return frame
        count = self.credit.take(min(len(self._unsent), PAYLOAD_BYTES_MAX))
        frame = encode(FrameType.DATA, self.number, self._unsent[:count])
        self._unsent = self._unsent[count:] if count < len(self._unsent) else NOTHING
        if not self._unsent and self._transport is not None:
            self._transport.resume_reading()
        return frame

    # From the tunnel to the socket

    def receive(self, data: bytes) -> None:
        """Write what came. Raises BrokenTunnel if it exceeds the credit or follows END."""
        if self._has_received_end:
            raise BrokenTunnel(f"DATA follows END on stream {self.number}")
        self.window.receive(len(data))
        if self._transport is None:
            self._early.append(data)
            return
        self._transport.write(data)
        self._grant()

    def receive_end(self) -> None:
        """Half close the socket. Raises BrokenTunnel for a second END."""
        if self._has_received_end:
            raise BrokenTunnel(f"END follows END on stream {self.number}")
        self._has_received_end = True
        if self._transport is not None:
            _write_end(self._transport)
        self._end_if_both_ended()

    def resume_writing(self) -> None:
        """Grant what the socket has taken."""
        if not self._is_over:
            self._grant()
            self._carrier.pump()

    def _grant(self) -> None:
        assert self._transport is not None
        if self._has_received_end:
            return
        if more := self.window.grant(self._transport.get_write_buffer_size()):
            self._carrier.grant(self, more + self._carrier.widen(self))

    # The end

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: tell the other end, unless both directions had ended."""
        del exc  # the end of the other side is the same, whatever it was
        self._transport = None
        self.abort(is_told=self._is_over)

    def abort(self, *, is_told: bool = False) -> None:
        """Drop the socket and what waits; the other end gets RESET unless it `is_told`. Idempotent."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._is_over:
            return
        self._is_over = True
        self._unsent = NOTHING
        self._early.clear()
        if not is_told:
            self._carrier.send(encode(FrameType.RESET, self.number))
        self._carrier.forget(self)
        self._carrier.pump()

    def _end_if_both_ended(self) -> None:
        if self._has_sent_end and self._has_received_end and not self._is_over:
            self._is_over = True
            if self._transport is not None:
                close_within_bounds(self._transport)
            self._carrier.forget(self)


def _write_end(transport: asyncio.Transport) -> None:
    with suppress(OSError):  # the socket is lost already
        transport.write_eof()
