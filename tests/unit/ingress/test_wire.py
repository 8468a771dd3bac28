"""Heads and bodies of HTTP/1.1: what is passed on, and what is refused because two readers could differ about it."""

import pytest

from kubelite.ingress.wire import (
    ChunkedBody,
    EndlessBody,
    LengthBody,
    Malformed,
    body_of,
    last_chunk,
    normalize,
    parse_request,
    parse_response,
)

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


def request(*lines: bytes, first: bytes = b"POST /x HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join((first, *([host] if host else []), *lines, b"", b""))


@pytest.mark.parametrize(
    "head",
    [
        request(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        request(b"Transfer-Encoding: chunked", b"Content-Length: 3"),
        request(b"Content-Length: 3", b"Content-Length: 3"),
        request(b"Content-Length: 3", b"Content-Length: 4"),
        request(b"Content-Length: 3, 3"),
        request(b"Content-Length: +3"),
        request(b"Content-Length: -1"),
        request(b"Content-Length: 0x3"),
        request(b"Content-Length: "),
        request(b"Content-Length: " + b"9" * 30),
        request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        request(b"Transfer-Encoding: chunked, chunked"),
        request(b"Transfer-Encoding: gzip, chunked"),
        request(b"Transfer-Encoding: identity"),
        request(b"Transfer-Encoding: xchunked"),
        request(b"Transfer-Encoding:\x0bchunked"),
        request(b"Transfer-Encoding: \x00chunked"),
        request(b"Transfer-Encoding : chunked"),
        request(b" Transfer-Encoding: chunked"),
        request(b"X: a", b" folded"),
        request(b"X: a", b"\tfolded"),
        request(b": nameless"),
        request(b"no colon"),
        request(b"X: a\nTransfer-Encoding: chunked"),
        request(b"X: a\rY: b"),
        request(b"X: nul\x00"),
        request(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"),
        request(first=b"POST  / HTTP/1.1"),
        request(first=b"POST / HTTP/1.1 "),
        request(first=b"POST / HTTP/2.0"),
        request(first=b"POST / http/1.1"),
        request(first=b"POST /a b HTTP/1.1"),
        request(first=b"POST /\xff HTTP/1.1"),
        request(first=b"PO(ST / HTTP/1.1"),
        request(first=b"POST /#x HTTP/1.1"),
        request(first=b"POST x HTTP/1.1"),
        request(first=b"CONNECT a:443 HTTP/1.1"),
        request(first=b"OPTIONS * HTTP/1.1"),
        request(first=b"GET /%zz HTTP/1.1"),
        request(first=b"GET /%4 HTTP/1.1"),
        request(host=b""),
        request(b"Host: b"),
        request(host=b"Host: a b"),
        request(host=b"Host: a/b"),
        request(host=b"Host: a@b"),
        request(host=b"Host: a:port"),
        request(host=b"Host: \xc3\xa4"),
        request(b"Expect: 200-maybe"),
        HEAD.replace(b"\r\n", b"\n") + b"\n",
    ],
)
def test_what_two_readers_could_differ_about_is_refused(head: bytes) -> None:
    with pytest.raises(Malformed):
        parse_request(head)


def test_a_request_loses_what_is_of_its_connection_or_set_by_the_proxy() -> None:
    found = parse_request(
        request(
            b"Accept: */*",
            b"Connection: keep-alive, X-Mine",
            b"X-Mine: secret",
            b"Keep-Alive: timeout=5",
            b"TE: trailers",
            b"Trailer: x",
            b"Proxy-Connection: close",
            b"Proxy: http://evil",
            b"X-Forwarded-For: 1.2.3.4",
            b"X_Forwarded_For: 1.2.3.4",
            b"x-real-ip: 1.2.3.4",
            b"X_Real_IP: 1.2.3.4",
            b"Forwarded: for=1.2.3.4",
            b"Content_Length: 7",
            b"Cookie: a=b",
            b"my_field: kept",
        )
    )
    assert found.fields == [(b"Accept", b"*/*"), (b"Cookie", b"a=b"), (b"my_field", b"kept")]
    assert (found.keeps_open, found.length) == (True, 0)


@pytest.mark.parametrize(
    ("head", "keeps_open"),
    [
        (request(), True),
        (request(b"Connection: close"), False),
        (request(b"Connection: Close, te"), False),
        (request(first=b"GET / HTTP/1.0"), False),
        (request(b"Connection: keep-alive", first=b"GET / HTTP/1.0"), True),
    ],
)
def test_who_keeps_the_connection_open(head: bytes, keeps_open: bool) -> None:
    assert parse_request(head).keeps_open is keeps_open


@pytest.mark.parametrize(
    ("lines", "upgrade"),
    [
        ((b"Connection: Upgrade", b"Upgrade: websocket"), b"websocket"),
        ((b"Connection: keep-alive, upgrade", b"Upgrade: WebSocket"), b"WebSocket"),
        ((b"Upgrade: websocket",), b""),
        ((b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x"), b""),
        ((b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 4"), b""),
    ],
)
def test_upgrades_but_not_to_a_protocol_in_which_requests_pass_unseen(
    lines: tuple[bytes, ...], upgrade: bytes
) -> None:
    assert parse_request(request(*lines, first=b"GET / HTTP/1.1")).upgrade == upgrade


@pytest.mark.parametrize(
    ("target", "host", "path", "sent"),
    [
        (b"/a?b=/../c", b"a", b"/a", b"/a?b=/../c"),
        (b"/a/../b?x", b"a", b"/b", b"/b?x"),
        (b"/a/%2e%2E/b", b"a", b"/b", b"/b"),
        (b"/%61/%2f", b"a", b"/a/%2F", b"/a/%2F"),
        (b"http://B.example:80/x", b"b.example", b"/x", b"/x"),
        (b"http://b.example", b"b.example", b"/", b"/"),
    ],
)
def test_the_route_is_found_by_the_path_that_is_sent(
    target: bytes, host: bytes, path: bytes, sent: bytes
) -> None:
    found = parse_request(request(first=b"GET " + target + b" HTTP/1.1"))
    assert (found.host, found.path, found.target) == (host, path, sent)


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        (b"Host: A.Example.COM:8443", b"a.example.com"),
        (b"Host: a.", b"a"),
        (b"Host: [2001:db8::1]:80", b"[2001:db8::1]"),
    ],
)
def test_a_host_has_no_port_and_no_case(host: bytes, wanted: bytes) -> None:
    assert parse_request(request(host=host)).host == wanted


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (b"/../../a", b"/a"),
        (b"/a/.", b"/a/"),
        (b"/a/..", b"/"),
        (b"/a//b/../c", b"/a//c"),
        (b"/.well-known/x", b"/.well-known/x"),
        (b"/...", b"/..."),
    ],
)
def test_dot_segments_are_resolved(path: bytes, wanted: bytes) -> None:
    assert normalize(path) == wanted


def response(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((first, *lines, b"", b""))


@pytest.mark.parametrize(
    ("head", "method", "length", "keeps_open"),
    [
        (response(b"Content-Length: 5"), b"GET", 5, True),
        (response(b"Transfer-Encoding: chunked"), b"GET", -1, True),
        (response(), b"GET", None, False),
        (response(b"Content-Length: 5"), b"HEAD", 0, True),
        (response(b"Content-Length: 5", first=b"HTTP/1.1 304 Not Modified"), b"GET", 0, True),
        (response(first=b"HTTP/1.1 204 No Content"), b"GET", 0, True),
        (response(b"Content-Length: 5", first=b"HTTP/1.0 200 OK"), b"GET", 5, False),
        (response(b"Content-Length: 5", b"Connection: close"), b"GET", 5, False),
        (response(b"Content-Length: 0", first=b"HTTP/1.1 200"), b"GET", 0, True),
    ],
)
def test_where_a_response_ends(
    head: bytes, method: bytes, length: int | None, keeps_open: bool
) -> None:
    found = parse_response(head, method)
    assert (found.length, found.keeps_open) == (length, keeps_open)


def test_a_response_to_head_keeps_the_length_that_it_tells() -> None:
    found = parse_response(response(b"Content-Length: 5"), b"HEAD")
    assert found.fields == [(b"Content-Length", b"5")]


@pytest.mark.parametrize(
    "head",
    [
        response(b"Content-Length: 5", b"Content-Length: 6"),
        response(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        response(b"X: a\nSet-Cookie: b"),
        response(b"X: a", b" folded"),
        response(first=b"HTTP/1.1 20 OK"),
        response(first=b"HTTP/2 200 OK"),
        response(first=b"SSH-2.0-x"),
    ],
)
def test_a_malformed_response_is_not_passed_on(head: bytes) -> None:
    with pytest.raises(Malformed):
        parse_response(head, b"GET")


CHUNKS = b"5\r\nhello\r\n1;name=value\r\n,\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\nHost: b\r\n\r\nGET /next"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_chunks_are_the_same_however_they_arrive(step: int) -> None:
    body, content, rest = ChunkedBody(), b"", b""
    for start in range(0, len(CHUNKS), step):
        if body.is_done:
            rest += CHUNKS[start : start + step]
            continue
        more, rest = body.take(CHUNKS[start : start + step])
        content += more
    assert (content, rest) == (b"hello,0123456789", b"GET /next")
    assert body.trailers == [(b"X-Sum", b"1")]
    assert last_chunk(body.trailers) == b"0\r\nX-Sum: 1\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"5\nhello\r\n",
        b"5\r\nhelloX",
        b"5\r\nhello\n0\r\n\r\n",
        b"-5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5_0\r\nhello\r\n",
        b"\r\n",
        b";x\r\n",
        b"5;\x00\r\n",
        b"F" * 16 + b"\r\n",
        b"5" + b";a" * 300,
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\n X: folded\r\n\r\n",
        b"0\r\nX: " + b"y" * 9000,
    ],
)
def test_malformed_chunks_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        ChunkedBody().take(data)


def test_bodies_by_their_length() -> None:
    fixed = body_of(3)
    assert isinstance(fixed, LengthBody)
    assert fixed.take(b"ab") == (b"ab", b"")
    assert not fixed.is_done
    assert fixed.take(b"cGET") == (b"c", b"GET")
    assert fixed.is_done
    assert isinstance(body_of(None), EndlessBody)
    assert isinstance(body_of(-1), ChunkedBody)
