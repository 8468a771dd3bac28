"""HTTP/1.1 answers, written straight to the connection.

aiohttp parses requests; answers are framed here, because one write of head and body costs a quarter of what its
response objects cost, and because a watch shares one framed chunk between all its watchers.
"""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus

from aiohttp import web

from kubelite.api.errors import APIError
from kubelite.clock import Clock
from kubelite.serving.connection import Sent

__all__ = ["Sent"]  # the answer of every handler here, as the connection knows it

LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SLICE_BYTES = 1024 * 1024  # about 2 ms of the loop, in TLS

REASON_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {
    422: "Unprocessable Entity"
}
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

Headers = Iterable[tuple[str, str]]


class Disconnected(Exception):
    """The client went away before the answer was written."""


class Dates:
    """The Date header, made once a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = float("-inf")
        self._value = ""

    def now(self, loop_time: float) -> str:
        """Return the current date (RFC 9110)."""
        if loop_time >= self._until:
            date = self._clock.now()
            self._until = loop_time + 1 - date.microsecond / 1e6
            self._value = (
                f"{WEEKDAYS[date.weekday()]}, {date.day:02} {MONTHS[date.month - 1]} {date.year} "
                f"{date.hour:02}:{date.minute:02}:{date.second:02} GMT"
            )
        return self._value


def head(request: web.BaseRequest, status: int, headers: Headers) -> bytes:
    """Return status line and headers; a connection that will not stay open says so."""
    lines = [f"HTTP/1.1 {status} {REASON_PHRASES.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if not request.keep_alive:
        lines.append("Connection: close")
    elif request.version < (1, 1):
        lines.append("Connection: keep-alive")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


async def send(
    request: web.BaseRequest, status: int, headers: list[tuple[str, str]], body: bytes
) -> Sent:
    """Write a whole answer; raises Disconnected."""
    transport = transport_of(request)
    if status != HTTPStatus.NOT_MODIFIED and status != HTTPStatus.NO_CONTENT:
        headers.append(("Content-Length", str(len(body))))
    start = head(request, status, headers)
    if request.method == "HEAD" or not body:
        transport.write(start)
    elif len(body) <= SLICE_BYTES:
        transport.write(start + body)  # copying is cheaper than another write
        await drain(request)
    else:
        transport.write(start)
        await _write_slices(request, body)
    return Sent(status, keep_alive=bool(request.keep_alive))


async def _write_slices(request: web.BaseRequest, body: bytes) -> None:
    """Write a long body so that its encryption does not hold the loop, and no faster than it is read."""
    view = memoryview(body)
    for offset in range(0, len(body), SLICE_BYTES):
        if offset:
            await asyncio.sleep(0)
        transport_of(request).write(view[offset : offset + SLICE_BYTES])
        await drain(request)


def transport_of(request: web.BaseRequest) -> asyncio.Transport:
    """Return the connection of a request; raises Disconnected."""
    transport = request.transport
    if transport is None or transport.is_closing():
        raise Disconnected
    return transport


async def drain(request: web.BaseRequest) -> None:
    """Wait until the connection takes more; raises Disconnected."""
    try:
        await request.protocol._drain_helper()  # noqa: SLF001 - aiohttp offers back-pressure only here
    except ConnectionError as error:
        raise Disconnected from error


def chunk(data: bytes) -> bytes:
    """Frame data for the chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def continue_if_expected(request: web.BaseRequest) -> None:
    """Ask for the body of a client that waits to be asked."""
    expected = request.headers.get("Expect", "")
    if expected.lower() == "100-continue":
        transport_of(request).write(CONTINUE)
    elif expected:
        raise ExpectationFailed(f"cannot meet the expectation {expected!r}")


class ExpectationFailed(APIError):
    """The client expects what the server does not do."""

    code, reason = 417, "ExpectationFailed"
