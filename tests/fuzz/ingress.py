"""Fuzz targets of the ingress: heads and chunks that it accepts are read alike by what comes behind it."""

import asyncio

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError

from fuzz.target import Target, pure
from kubelite.ingress.wire import HEAD_END, ChunkedBody, Malformed, Request, parse_request


def sent_on(request: Request) -> bytes:
    """Return the head that a backend gets, as `exchange` writes it."""
    lines = [b"%b %b HTTP/1.1" % (request.method, request.target), b"Host: " + request.authority]
    lines += [b"%b: %b" % field for field in request.fields]
    if request.length:
        lines.append(
            b"Content-Length: %d" % request.length
            if request.length > 0
            else b"Transfer-Encoding: chunked"
        )
    return b"\r\n".join((*lines, b"", b""))


def check_head(data: bytes) -> None:
    """A head that is accepted gives a backend one request, whose body begins and ends where the ingress thinks."""
    head = data.partition(HEAD_END)[0] + HEAD_END
    try:
        request = parse_request(head)
    except Malformed:
        return
    again = parse_request(sent_on(request))
    assert (again.method, again.target, again.path, again.host, again.length) == (
        request.method,
        request.target,
        request.path,
        request.host,
        request.length,
    ), "what is sent on is another request"
    assert again.fields == request.fields
    assert b"/../" not in request.path
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(
            BaseProtocol(loop), loop, 1 << 16, max_line_size=1 << 20, max_field_size=1 << 20
        )
        try:
            messages, _, _ = parser.feed_data(sent_on(request))
        except HttpProcessingError:
            return  # refused by the backend, and so no request of its own
        assert len(messages) == 1, "a backend sees several requests"
        message = messages[0][0]
        assert message.chunked is (request.length < 0)
        assert int(message.headers.get("Content-Length", 0)) == max(0, request.length)
    finally:
        loop.close()


def read(pieces: list[bytes]) -> tuple[bytes, bytes] | None:
    """Return content and rest of a body in chunks; None if it is malformed."""
    body, content, rest = ChunkedBody(), b"", b""
    try:
        for piece in pieces:
            if body.is_done:
                rest += piece
                continue
            more, rest = body.take(piece)
            content += more
    except Malformed:
        return None
    return content, rest


def check_chunks(data: bytes) -> None:
    """Chunks mean the same however they arrive."""
    whole = read([data])
    assert read([data[start : start + 3] for start in range(0, len(data), 3)]) == whole
    assert read([bytes((byte,)) for byte in data]) == whole


TARGETS = (
    Target("ingress-head", pure(check_head)),
    Target("ingress-chunks", pure(check_chunks), cost=8),
)
