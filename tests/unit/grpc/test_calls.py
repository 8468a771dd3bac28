"""Client and server together, over a real socket."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
import uvloop
from fakes.recorded_offload import RecordedOffload

from kubelite.grpc import frames
from kubelite.grpc.client import GrpcClient
from kubelite.grpc.connection import STREAM_WINDOW_BYTES
from kubelite.grpc.method import Method
from kubelite.grpc.protobuf import Message
from kubelite.grpc.server import GrpcServer, Handler
from kubelite.grpc.status import Code, GrpcError
from kubelite.limits import GRPC_CALLS, GRPC_CONNECTIONS, GRPC_MESSAGE, INLINE_WORK


class Text(Message):
    text: Annotated[str, 1] = ""


ECHO = Method("/test.Service/Echo", Text, Text)
COUNT = Method("/test.Service/Count", Text, Text)
FAIL = Method("/test.Service/Fail", Text, Text)
HANG = Method("/test.Service/Hang", Text, Text)
ABSENT = Method("/test.Service/Absent", Text, Text)


class Service:
    def __init__(self) -> None:
        self.hanging = 0
        self.ended = 0
        self.sent = 0

    async def echo(self, request: Text) -> Text:
        return request

    async def count(self, request: Text) -> AsyncGenerator[Text, None]:
        for number in range(int(request.text)):
            self.sent = number + 1
            yield Text(str(number) * 1000)
        if not int(request.text):
            raise GrpcError(Code.OUT_OF_RANGE, "nothing to count")

    async def fail(self, request: Text) -> Text:
        if request.text == "bug":
            raise LookupError("a bug")
        raise GrpcError(Code.NOT_FOUND, f"no {request.text}: 100 % ünknown\n")

    async def hang(self, request: Text) -> Text:
        self.hanging += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.hanging -= 1
            self.ended += 1
        return request


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[GrpcClient, Service]]:
    service = Service()
    handlers: dict[Method[Any, Any], Handler] = {
        ECHO: service.echo,
        COUNT: service.count,
        FAIL: service.fail,
        HANG: service.hang,
    }
    server = GrpcServer(folder / "grpc.sock", handlers)
    await server.start()
    client = GrpcClient(folder / "grpc.sock")
    try:
        yield client, service
    finally:
        await client.close()
        await server.stop()
        await asyncio.sleep(0)


async def call(client: GrpcClient, method: Method[Text, Text], text: str) -> str:
    return (await client.unary(method, Text(text), timeout_seconds=10)).text


async def refusal(client: GrpcClient, method: Method[Text, Text], text: str) -> GrpcError:
    with pytest.raises(GrpcError) as refused:
        await call(client, method, text)
    return refused.value


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def test_it_runs_on_uvloop(tmp_path: Path) -> None:
    async def main() -> str:
        async with serving(tmp_path) as (client, _):
            return await call(client, ECHO, "x" * 100_000)

    assert uvloop.run(main()) == "x" * 100_000


async def test_an_answer_comes_back(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        assert await call(client, ECHO, "") == ""
        for size in (1, 16_384, 70_000, 3_000_000):  # in several frames, and beyond the windows
            text = "ü" * (size // 2)
            assert await call(client, ECHO, text) == text


async def test_calls_share_a_connection_and_run_side_by_side(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        texts = [str(number) * 5000 for number in range(300)]  # more than the server takes at once
        answers = await asyncio.gather(*(call(client, ECHO, text) for text in texts))
        assert answers == texts
        assert client._connection is not None
        assert client._connection.last_number == 2 * len(texts) - 1
        assert not client._connection.streams
        assert not client._connection.held_bytes


async def test_small_calls_pass_a_large_one_that_waits(tmp_path: Path) -> None:
    """Streams have to begin in the order of their numbers, whoever waits for the socket meanwhile."""
    async with serving(tmp_path) as (client, _):
        await call(client, ECHO, "connected")
        large = [asyncio.create_task(call(client, ECHO, "x" * 3_000_000)) for _ in range(3)]
        small: list[asyncio.Task[str]] = []
        while not all(task.done() for task in large):
            small.append(asyncio.create_task(call(client, ECHO, str(len(small)))))
            await asyncio.sleep(0)
        assert await asyncio.gather(*small) == [str(number) for number in range(len(small))]


async def test_answers_come_as_a_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        found = [answer.text async for answer in client.stream(COUNT, Text("12"))]
        assert found == [str(number) * 1000 for number in range(12)]
        with pytest.raises(GrpcError, match="nothing to count"):
            await anext(client.stream(COUNT, Text("0")))


async def test_a_reader_that_is_slow_holds_back_the_sender(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, service):
        answers = client.stream(COUNT, Text("100000"))
        await anext(answers)
        sent = -1
        while sent != service.sent:  # until it waits
            sent = service.sent
            await asyncio.sleep(0.1)
        assert sent * 1000 < 4 * STREAM_WINDOW_BYTES
        assert await call(client, ECHO, "meanwhile") == "meanwhile"
        await answers.aclose()
        await until(lambda: not client._connection.held_bytes)  # type: ignore[union-attr]  # it is connected


async def test_failures_have_code_and_message(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, _):
        error = await refusal(client, FAIL, "thing")
        assert (error.code, error.message) == (Code.NOT_FOUND, "no thing: 100 % ünknown\n")
        assert str(error).startswith("rpc error: code = NotFound desc = no thing")
        assert (await refusal(client, FAIL, "bug")).code == Code.UNKNOWN
        error = await refusal(client, ABSENT, "")
        assert error.code == Code.UNIMPLEMENTED
        assert error.message == "unknown method Absent for service test.Service"


async def test_a_call_that_is_given_up_ends_at_the_server_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, service):
        hanging = asyncio.create_task(call(client, HANG, ""))
        await until(lambda: service.hanging)
        hanging.cancel()
        await until(lambda: service.ended)
        with pytest.raises(asyncio.CancelledError):
            await hanging
        assert await call(client, ECHO, "still there") == "still there"


async def test_a_deadline_ends_a_call_on_both_sides(tmp_path: Path) -> None:
    async with serving(tmp_path) as (client, service):
        with pytest.raises(GrpcError) as late:
            await client.unary(HANG, Text(), timeout_seconds=0.02)
        assert late.value.code == Code.DEADLINE_EXCEEDED
        await until(lambda: service.ended == 1)


async def test_a_server_that_goes_ends_calls_and_the_next_call_connects_anew(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as (client, service):
        hanging = asyncio.create_task(call(client, HANG, ""))
        await until(lambda: service.hanging)
        assert client._connection is not None
        client._connection.abort()
        with pytest.raises(GrpcError) as lost:
            await hanging
        assert lost.value.code == Code.UNAVAILABLE
        assert await call(client, ECHO, "again") == "again"
    assert (await refusal(client, ECHO, "closed")).code == Code.CANCELLED
    error = await refusal(GrpcClient(tmp_path / "grpc.sock"), ECHO, "gone")
    assert error.code == Code.UNAVAILABLE
    assert "connect: no such file or directory" in error.message


async def test_a_message_beyond_the_bound_fails_its_call_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GRPC_MESSAGE, "value", 10_000)
    async with serving(tmp_path) as (client, _):
        times = GRPC_MESSAGE.times_reached
        error = await refusal(client, ECHO, "x" * 20_000)
        assert error.code == Code.RESOURCE_EXHAUSTED
        assert GRPC_MESSAGE.times_reached == times + 1
        assert await call(client, ECHO, "small") == "small"


async def test_connections_and_calls_of_a_client_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GRPC_CONNECTIONS, "value", 1)
    monkeypatch.setattr(GRPC_CALLS, "value", 2)
    async with serving(tmp_path) as (client, service):
        hanging = [asyncio.create_task(call(client, HANG, "")) for _ in range(5)]
        await until(lambda: service.hanging == 2)
        other = GrpcClient(tmp_path / "grpc.sock")
        assert (await refusal(other, ECHO, "")).code == Code.UNAVAILABLE
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        assert await call(client, ECHO, "room again") == "room again"


async def test_calls_that_end_slowly_after_a_reset_still_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GRPC_CALLS, "value", 2)
    released = asyncio.Event()
    begun: list[Text] = []

    async def linger(request: Text) -> Text:
        begun.append(request)
        try:
            await asyncio.Event().wait()
        finally:
            await released.wait()  # as when it undoes what it has done
        return request

    server = GrpcServer(tmp_path / "grpc.sock", {HANG: linger, ECHO: Service().echo})
    await server.start()
    client = GrpcClient(tmp_path / "grpc.sock")
    hanging = [asyncio.create_task(call(client, HANG, "")) for _ in range(2)]
    await until(lambda: len(begun) == 2)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert (await refusal(client, ECHO, "")).code == Code.UNAVAILABLE
    released.set()
    await until(lambda: not server._tasks._tasks)
    assert await call(client, ECHO, "room again") == "room again"
    await client.close()
    await server.stop()


async def test_a_large_answer_is_decoded_off_the_loop(tmp_path: Path) -> None:
    async with serving(tmp_path):
        offload = RecordedOffload()
        client = GrpcClient(tmp_path / "grpc.sock", offload=offload)
        await call(client, ECHO, "small")
        assert not offload.leaves_the_loop
        await call(client, ECHO, "x" * 4 * INLINE_WORK.value)
        assert offload.leaves_the_loop
        offload.costs.clear()
        answers = [answer async for answer in client.stream(COUNT, Text("3"))]
        assert len(offload.costs) == len(answers)
        await client.close()


async def test_only_the_owner_can_open_the_socket(tmp_path: Path) -> None:
    async with serving(tmp_path):
        assert (tmp_path / "grpc.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        frames.PREFACE + b"\xff" * 40,
        frames.PREFACE + frames.pack_frame(9, 4, 1, b"x"),
        frames.PREFACE + frames.pack_frame(0, 0, 1, b"x"),
        frames.PREFACE + frames.pack_frame(1, 4, 2, b"\x82"),
        frames.PREFACE + frames.pack_frame(8, 0, 0, b"\0\0\0\0"),
        frames.PREFACE + frames.pack_frame(1, 0, 1, b"") * 2,
    ],
)
async def test_what_is_no_client_is_closed(tmp_path: Path, said: bytes) -> None:
    async with serving(tmp_path) as (client, _):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "grpc.sock"))
        writer.write(said)
        async with asyncio.timeout(10):
            while await reader.read(1000):
                pass
        writer.close()
        assert await call(client, ECHO, "unharmed") == "unharmed"
