"""What a backend may do to the server that relays it: odd answers, silence, endless data; how streams are counted."""

import asyncio
import logging
from contextlib import suppress

import pytest

from kubelite.limits import (
    BACKEND_HEAD_SECONDS,
    BACKEND_PAGE_SECONDS,
    PROXIED_PAGE,
    PROXIED_PAGES,
    RELAYED_STREAMS,
    STREAM_BUFFER,
    STREAM_FLUSH_SECONDS,
    STREAM_IDLE_SECONDS,
)
from unit.api.http.test_proxies import PODS, asking, echo, proxied

HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
CHUNKED = HTML + b"Transfer-Encoding: chunked\r\n\r\n"


async def status_of(answer: bytes, path: str = f"{PODS}/web/proxy/x") -> int:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with suppress(ConnectionError):
            await writer.drain()

    async with proxied(serve) as (reader, writer, _), asyncio.timeout(10):
        writer.write(asking(path))
        return int((await reader.readline()).split()[1])


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2 OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 " + b"9" * 5000 + b" OK\r\n\r\n",
        "HTTP/1.1 ²00 OK\r\n\r\n".encode(),
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nSet-Cookie: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
        b"HTTP/1.1 200 O\nK: v\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 2 * STREAM_BUFFER.value + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_unavailable(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert await status_of(answer) == 503
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "size", [b"-5", b"+5", b"0x5", b"1_0", b"", b" ", b"zz", b"f" * 5000, "\uff15".encode()]
)
async def test_a_chunk_whose_size_is_none_ends_the_page(size: bytes) -> None:
    assert await status_of(CHUNKED + size + b"\r\n" + b"a" * 100_000) == 503


async def test_a_negative_chunk_is_not_read_to_its_end() -> None:
    read = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal read
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED + b"-1\r\n")
        with suppress(ConnectionError):
            for _ in range(1000):
                writer.write(b"a" * 64 * 1024)
                await writer.drain()
                read += 1

    async with proxied(serve) as (reader, writer, _), asyncio.timeout(20):
        writer.write(asking(f"{PODS}/web/proxy/x"))
        assert int((await reader.readline()).split()[1]) == 503
    assert read < 1000


async def test_pages_are_bounded_each_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await status_of(HTML + b"\r\n" + b"a" * (PROXIED_PAGE.value // 2)) == 200
    assert await status_of(HTML + b"\r\n" + b"a" * (PROXIED_PAGE.value + 1)) == 503
    monkeypatch.setattr(PROXIED_PAGES, "value", 1000)
    assert await status_of(HTML + b"\r\n" + b"a" * 1000) == 200
    assert await status_of(HTML + b"\r\n" + b"a" * 1001) == 503


@pytest.mark.parametrize(
    ("said", "path", "status"),
    [
        (b"", f"{PODS}/web/proxy/x", 503),
        (b"HTTP/1.1 200 OK\r\n", f"{PODS}/web/proxy/x", 503),
        (HTML + b"\r\n<a", f"{PODS}/web/proxy/x", 503),
        (CHUNKED + b"5\r\nab", f"{PODS}/web/proxy/x", 503),
        (b"HTTP/1.1 500 Oh\r\n\r\nwh", f"{PODS}/web/log", 500),
    ],
)
@pytest.mark.parametrize("leaves", [False, True])
async def test_a_backend_that_falls_silent_holds_nothing(
    monkeypatch: pytest.MonkeyPatch, said: bytes, path: str, status: int, leaves: bool
) -> None:
    """Whether its time is up or the client has left."""
    if not leaves:
        monkeypatch.setattr(BACKEND_HEAD_SECONDS, "value", 0.05)
        monkeypatch.setattr(BACKEND_PAGE_SECONDS, "value", 0.05)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        begun.set()
        with suppress(ConnectionError):
            await reader.read()
        ended.set()

    async with proxied(serve) as (reader, writer, _), asyncio.timeout(10):
        writer.write(asking(path))
        await begun.wait()
        if leaves:
            writer.close()
        else:
            assert int((await reader.readline()).split()[1]) == status
        await ended.wait()


async def test_streams_are_counted_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RELAYED_STREAMS, "value", 1)
    may_end = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await may_end.wait()

    async with proxied(serve) as (first, first_writer, _), asyncio.timeout(10):
        first_writer.write(asking(f"{PODS}/web/log?follow=true"))
        assert (await first.readline()).split()[1] == b"200"
        host, port = first_writer.get_extra_info("peername")
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(asking(f"{PODS}/web/proxy/x", "Connection: close"))
        assert (await reader.read()).split()[1] == b"429"
        writer.close()
        may_end.set()
        await first.read()
        for _ in range(3):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(asking(f"{PODS}/web/proxy/x"))
            assert (await reader.readline()).split()[1] == b"200"
            await reader.read()
            writer.close()


@pytest.mark.parametrize(
    "answer", ["HTTP/1.1 403 Forbidden", "HTTP/1.1 200 OK", "HTTP/1.1 101 Yes", "nonsense"]
)
async def test_upgrades_give_their_place_back(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(RELAYED_STREAMS, "value", 1)
    serve, seen = echo(answer)
    async with proxied(serve) as (_, writer, _), asyncio.timeout(10):
        host, port = writer.get_extra_info("peername")
        for _ in range(3):
            reader, again = await asyncio.open_connection(host, port)
            again.write(
                asking(
                    f"{PODS}/web/exec?command=a",
                    "Connection: Upgrade",
                    "Upgrade: SPDY/3.1",
                    method="POST",
                )
            )
            assert await reader.readline() != b""
            again.close()
            with suppress(ConnectionError):
                await reader.read()
    assert len(seen) == 3


async def test_a_client_that_does_not_read_slows_the_backend_down() -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Yes\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b"a" * 64 * 1024)
                await writer.drain()
                sent += 64 * 1024

    async with proxied(serve) as (reader, writer, _):
        reader._limit = 0  # type: ignore[attr-defined]  # a client that stops reading at once
        writer.write(
            asking(
                f"{PODS}/web/exec?command=a",
                "Connection: Upgrade",
                "Upgrade: SPDY/3.1",
                method="POST",
            )
        )
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 64 * 1024 * 1024  # what the kernel's buffers take, and a little
        writer.transport.abort()


UPGRADE = ("Connection: Upgrade", "Upgrade: SPDY/3.1")


LENGTH = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!"
CHUNKS = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno!\r\n0\r\n\r\n"
UNFRAMED = b"HTTP/1.1 403 Forbidden\r\n\r\nno!"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (LENGTH, "request"),
        (CHUNKS, "request"),
        (LENGTH, "upgrade"),
        (CHUNKS, "upgrade"),
        (UNFRAMED, "upgrade"),  # another request's answer without framing may be a stream
    ],
)
async def test_a_backend_that_keeps_its_connection_holds_no_relay(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, kind: str
) -> None:
    """A client that stays as well is answered in full, and both connections are closed."""
    if answer == UNFRAMED:
        monkeypatch.setattr(BACKEND_PAGE_SECONDS, "value", 0.05)
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with suppress(ConnectionError):
            while await reader.read(1000):
                pass
        ended.set()

    path = f"{PODS}/web/exec?command=a" if kind == "upgrade" else f"{PODS}/web/proxy/x"
    headers = UPGRADE if kind == "upgrade" else ()
    method = "POST" if kind == "upgrade" else "GET"
    async with proxied(serve) as (reader, writer, _), asyncio.timeout(10):
        writer.write(asking(path, *headers, method=method))
        got = await reader.read()
        assert got.startswith(b"HTTP/1.1 403 Forbidden")
        assert b"no!" in got
        await ended.wait()


async def test_a_client_that_reads_nothing_does_not_outlive_its_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When it takes nothing for long enough, and then what waits for it is dropped."""
    monkeypatch.setattr(STREAM_FLUSH_SECONDS, "value", 0.05)
    monkeypatch.setattr(STREAM_IDLE_SECONDS, "value", 0.2)
    reached = STREAM_FLUSH_SECONDS.times_reached

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\n\r\n")
        with suppress(ConnectionError, TimeoutError):
            for _ in range(400):
                writer.write(bytes(64 * 1024))
                async with asyncio.timeout(0.5):
                    await writer.drain()
        writer.transport.abort()

    async with proxied(serve) as (reader, writer, _), asyncio.timeout(20):
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
        writer.write(asking(f"{PODS}/web/exec?command=a", *UPGRADE, method="POST"))
        while STREAM_FLUSH_SECONDS.times_reached == reached:
            await asyncio.sleep(0.01)
        writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        with suppress(ConnectionError):
            while await reader.read(1 << 20):
                pass
