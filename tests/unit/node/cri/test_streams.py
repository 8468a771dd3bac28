"""Exec and attach as an engine's streaming server speaks them."""

import asyncio
import json

import pytest

from kubelite.limits import ENGINE_STREAM_STATUS, SPDY_STREAM_UNREAD
from kubelite.node.cri.streams import StreamingRefused, code_of, open_session
from kubelite.node.runtime import EngineUnavailable, RuntimeFailure
from kubelite.node.streams import exited, failed
from unit.node.cri.engine import REFUSAL, UPGRADE, Streams, end, streaming_engine

MIB = 1 << 20


async def test_input_is_echoed_to_its_end_and_the_exit_code_follows() -> None:
    async def cat(streams: Streams) -> None:
        while data := await streams["stdin"].read():
            await streams["stdout"].write(data)
        await end(streams, 7)

    async with streaming_engine(cat, "stdin", "stdout", "stderr") as engine:
        session = await open_session(engine.url, tty=False, stdin=True)
        await session.write(b"one ")
        await session.write(b"two")
        await session.close_stdin()
        output = b""
        while (piece := await session.read()) is not None:
            assert piece[0] == "stdout"
            output += piece[1]
        assert output == b"one two"
        assert await session.exit_code() == 7
        await session.close()
    assert engine.heads[0].startswith(b"POST /exec/tOkEn HTTP/1.1\r\n")
    assert b"\r\nUpgrade: SPDY/3.1\r\n" in engine.heads[0]


async def test_both_outputs_arrive_whole_also_behind_the_resets_of_their_streams() -> None:
    async def write(streams: Streams) -> None:
        await streams["stdout"].write(b"o" * 100_000)
        await streams["stderr"].write(b"e" * 100_000)
        await end(streams, 0)

    async with streaming_engine(write, "stdout", "stderr") as engine:
        session = await open_session(engine.url, tty=False, stdin=False)
        sizes = {"stdout": 0, "stderr": 0}
        while (piece := await session.read()) is not None:
            sizes[piece[0]] += len(piece[1])
        assert sizes == {"stdout": 100_000, "stderr": 100_000}
        assert await session.exit_code() == 0
        await session.close()


async def test_one_output_does_not_starve_the_other() -> None:
    async def write(streams: Streams) -> None:
        await streams["stdout"].write(b"o" * 150_000)
        await streams["stderr"].write(b"e")
        await end(streams, 0)

    async with streaming_engine(write, "stdout", "stderr") as engine:
        session = await open_session(engine.url, tty=False, stdin=False)
        await session._streams["error"].gone.wait()
        order = []
        while (piece := await session.read()) is not None:
            order.append(piece[0])
        assert order.index("stderr") == 1
        await session.close()


async def test_a_terminal_has_one_output_and_a_size() -> None:
    async def shell(streams: Streams) -> None:
        size = json.loads(await streams["resize"].read())
        await streams["stdout"].write(f"{size['Width']}x{size['Height']}".encode())
        await end(streams, 0)

    async with streaming_engine(shell, "stdin", "stdout", "resize") as engine:
        session = await open_session(engine.url, tty=True, stdin=True)
        await session.resize(80, 24)
        assert await session.read() == ("stdout", b"80x24")
        assert await session.read() is None
        await session.close()


async def test_output_that_is_not_read_stays_with_the_engine() -> None:
    sent = 0

    async def flood(streams: Streams) -> None:
        nonlocal sent
        for _ in range(256):
            await streams["stdout"].write(b"x" * 65536)
            sent += 65536
        await end(streams, 0)

    async with streaming_engine(flood, "stdout", "stderr") as engine:
        session = await open_session(engine.url, tty=False, stdin=False)
        before = -1
        while before != sent or not sent:
            before = sent
            await asyncio.sleep(0.05)  # until the engine comes to rest; it can only send less
        assert session._connection._unread_bytes <= SPDY_STREAM_UNREAD.value + 4 * 65536
        assert sent < 16 * MIB
        received = 0
        while (piece := await session.read()) is not None:
            received += len(piece[1])
        assert received == 16 * MIB
        assert await session.exit_code() == 0
        await session.close()


async def test_input_that_the_process_does_not_read_waits() -> None:
    may_read = asyncio.Event()
    read = 0

    async def slow(streams: Streams) -> None:
        nonlocal read
        await may_read.wait()
        while data := await streams["stdin"].read():
            read += len(data)
        await end(streams, 0)

    async with streaming_engine(slow, "stdin", "stdout", "stderr") as engine:
        session = await open_session(engine.url, tty=False, stdin=True)

        async def write() -> None:
            for _ in range(128):
                await session.write(b"x" * 65536)
            await session.close_stdin()

        writing = asyncio.create_task(write())
        may_read.set()
        assert await session.read() is None
        await writing
        assert read == 8 * MIB
        await session.close()


async def test_a_connection_that_breaks_is_no_end_of_the_process() -> None:
    async def vanish(streams: Streams) -> None:
        await streams["stdout"].write(b"some")

    async with streaming_engine(vanish, "stdout", "stderr") as engine:
        session = await open_session(engine.url, tty=False, stdin=False)
        assert await session.read() == ("stdout", b"some")
        assert await session.read() is None
        with pytest.raises(EngineUnavailable):
            await session.exit_code()
        await session.close()


async def test_a_program_that_is_not_there_fails_with_the_words_of_the_engine() -> None:
    async def refuse(streams: Streams) -> None:
        await streams["error"].write(json.dumps(failed('exec: "nope": not found')).encode())
        for stream in streams.values():
            await stream.reset()

    killed: list[bool] = []
    async with streaming_engine(refuse, "stdout", "stderr") as engine:
        session = await open_session(
            engine.url, tty=False, stdin=False, kill=lambda: killed.append(True)
        )
        assert await session.read() is None
        with pytest.raises(RuntimeFailure, match="nope"):
            await session.exit_code()
        session.kill()
        await session.close()
    assert not killed, "no process was started"


async def test_a_status_without_end_is_cut_off() -> None:
    async def flood(streams: Streams) -> None:
        await streams["stdout"].close()
        await streams["stderr"].close()
        await streams["error"].write(b"x" * (ENGINE_STREAM_STATUS.value + 1))

    async with streaming_engine(flood, "stdout", "stderr") as engine:
        session = await open_session(engine.url, tty=False, stdin=False)
        assert await session.read() is None
        with pytest.raises(RuntimeFailure, match="too long"):
            await session.exit_code()
        await session.close()


async def nothing(_: Streams) -> None:
    raise AssertionError("no connection was taken over")


async def test_a_token_that_is_used_up_is_refused_with_the_words_of_the_engine() -> None:
    async with streaming_engine(nothing, answer=REFUSAL) as engine:
        with pytest.raises(StreamingRefused, match="404 page missing"):
            await open_session(engine.url, tty=False, stdin=False)


async def test_a_server_that_speaks_another_version_is_refused() -> None:
    async with streaming_engine(nothing, answer=UPGRADE.replace(b"v4.", b"v9.")) as engine:
        with pytest.raises(StreamingRefused, match="version 4"):
            await open_session(engine.url, tty=False, stdin=False)


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1:1/exec/t", "", "http://127.0.0.1:x/t", "http://[::1/t", "http://h/ä", "/t"],
)
async def test_urls_that_cannot_be_used_are_refused(url: str) -> None:
    with pytest.raises(StreamingRefused) as caught:
        await open_session(url, tty=False, stdin=False)
    assert "/exec/t" not in str(caught.value)


async def test_no_server_is_an_engine_that_does_not_answer() -> None:
    async with streaming_engine(nothing) as engine:
        pass
    with pytest.raises(EngineUnavailable):
        await open_session(engine.url, tty=False, stdin=False)


async def test_closing_ends_a_read_and_kill_is_passed_on() -> None:
    never = asyncio.Event()
    killed = []

    async def hang(streams: Streams) -> None:
        del streams
        await never.wait()

    async with streaming_engine(hang, "stdout", "stderr") as engine:
        session = await open_session(
            engine.url, tty=False, stdin=False, kill=lambda: killed.append(True)
        )
        reading = asyncio.create_task(session.read())
        await asyncio.sleep(0)
        session.kill()
        await session.close()
        await session.close()
        assert await reading is None
        assert killed == [True]
        never.set()


async def test_a_session_is_open_once_the_engine_has_answered_for_its_streams() -> None:
    async def serve(streams: Streams) -> None:
        await end(streams, 0)

    async with streaming_engine(serve, "stdin", "stdout", "stderr") as engine:
        engine.answers.clear()
        opening = asyncio.create_task(open_session(engine.url, tty=False, stdin=True))
        await engine.asked.wait()
        assert not opening.done()
        engine.answers.set()
        session = await opening
        assert not session._connection._unanswered
        await session.close()


async def test_a_client_that_gives_up_stays_until_the_engine_has_answered() -> None:
    begun = asyncio.Event()

    async def serve(streams: Streams) -> None:
        begun.set()
        await streams["stdin"].gone.wait()

    async with streaming_engine(serve, "stdin", "stdout", "stderr") as engine:
        engine.answers.clear()
        opening = asyncio.create_task(open_session(engine.url, tty=False, stdin=True))
        await engine.asked.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        for _ in range(50):
            await asyncio.sleep(0)
        engine.answers.set()
        await begun.wait()
        await asyncio.gather(*engine.serving)  # ends since the client leaves then
    assert not engine.was_left


async def test_an_engine_that_closes_before_it_has_answered_does_not_answer() -> None:
    async with streaming_engine(nothing, "stdin") as engine:
        engine.answers.clear()
        opening = asyncio.create_task(open_session(engine.url, tty=False, stdin=False))
        await engine.asked.wait()
        for task in engine.serving:
            task.cancel()
        engine.serving.clear()
        with pytest.raises(EngineUnavailable, match="closed the connection"):
            await opening


async def test_an_engine_that_does_not_answer_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kubelite.node.cri.streams.OPEN_SECONDS", 0.05)
    async with streaming_engine(nothing, "stdin") as engine:
        engine.answers.clear()
        with pytest.raises(EngineUnavailable, match="does not open the streams"):
            await open_session(engine.url, tty=False, stdin=False)
        engine.answers.set()


@pytest.mark.parametrize("code", [0, 1, 126, 137, 255])
def test_the_exit_code_is_read_from_the_status(code: int) -> None:
    assert code_of(json.dumps(exited(code)).encode()) == code


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not JSON",
        b"[]",
        b"{}",
        b'{"status":"Failure","reason":"NonZeroExitCode"}',
        b'{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"-"}]}}',
        b"[" * 100_000,
    ],
)
def test_a_status_that_says_no_code_is_a_failure(text: bytes) -> None:
    with pytest.raises(RuntimeFailure):
        code_of(text)
