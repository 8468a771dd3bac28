"""Copies of requests: what mirrors get, and that they hold up nobody. Timeouts of whole exchanges."""

import asyncio

import pytest

from kubelite.ingress.routes import Backend, MirroredTo, Route
from kubelite.limits import GATEWAY_MIRRORED, GATEWAY_MIRRORED_HELD
from unit.ingress.bed import KEY, Bed, bed, head_of, saying, sized

MIRROR = "default/mirror:80"
GET = b"GET /x HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"


async def mirrored(one: Bed, *mirrors: MirroredTo) -> None:
    """Answer requests by one backend, and copy them to others."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await head_of(reader)
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or b"0")
        await reader.readexactly(size)
        writer.write(sized(b"%d" % size))

    one.use(await one.backend(answer))
    shares = (Backend(KEY),)
    one.route(Route(owner="default/web", backends=shares, mirrors=mirrors or (MirroredTo(MIRROR),)))


async def settled(one: Bed) -> None:
    async with asyncio.timeout(10):
        while one.proxy.copies:
            await asyncio.sleep(0.01)


def post(body: bytes) -> bytes:
    head = b"POST /x HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


async def test_a_mirror_gets_the_request_and_its_body_and_its_answer_is_dropped() -> None:
    async with bed() as one:
        await mirrored(one)
        got: list[bytes] = []

        async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.append(await head_of(reader) + await reader.readexactly(3))
            writer.write(sized(b"from the mirror", b"500 Oh"))

        one.proxy.use_endpoints({MIRROR: (await one.backend(keep),)})
        assert (await one.ask(post(b"abc"))).endswith(b"\r\n\r\n3")
        await settled(one)
        (text,) = got
        assert text.startswith(b"POST /x HTTP/1.1\r\n")
        assert text.endswith(b"\r\n\r\nabc")
        assert b"Connection: close" in text


async def test_a_mirror_that_is_gone_or_reads_nothing_holds_up_nobody() -> None:
    async with bed() as one:
        await mirrored(one)
        assert (await one.ask(GET)).split()[1] == b"200"  # there is none
        one.proxy.use_endpoints({MIRROR: ("127.0.0.1:1",)})
        assert (await one.ask(GET)).split()[1] == b"200"  # it refuses
        stuck = asyncio.Event()

        async def read_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            reader._transport.pause_reading()  # type: ignore[attr-defined]  # no public way
            await stuck.wait()

        one.proxy.use_endpoints({MIRROR: (await one.backend(read_nothing),)})
        size = 32 << 20
        before = GATEWAY_MIRRORED_HELD.times_reached
        assert (await one.ask(post(bytes(size)))).endswith(b"\r\n\r\n%d" % size)
        assert GATEWAY_MIRRORED_HELD.times_reached == before + 1
        stuck.set()
        await settled(one)


async def test_copies_are_a_share_of_the_requests_and_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with bed() as one:
        await mirrored(one, MirroredTo(MIRROR, 1, 4))
        heads: list[bytes] = []
        one.proxy.use_endpoints({MIRROR: (await one.backend(saying(sized(b""), heads)),)})
        for _ in range(8):
            await one.ask(GET)
        async with asyncio.timeout(10):
            while len(heads) < 2:
                await asyncio.sleep(0.01)
        assert len(heads) == 2
        monkeypatch.setattr(GATEWAY_MIRRORED, "value", 0)
        for _ in range(8):
            await one.ask(GET)
        assert len(heads) == 2


async def test_the_time_for_an_exchange_is_kept_to_the_part_of_a_second() -> None:
    async with bed() as one:
        never = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await head_of(reader)
            await never.wait()

        one.use(await one.backend(silent))
        one.route(total_seconds=0.05)
        loop = asyncio.get_running_loop()
        due: list[float] = []
        later = loop.call_later

        def noted(delay: float, *rest: object) -> asyncio.TimerHandle:
            due.append(delay)
            return later(delay, *rest)  # type: ignore[arg-type]  # as it was called

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "call_later", noted)
            assert (await one.ask(GET)).split()[1] == b"504"
        assert 0.05 in due
        never.set()
