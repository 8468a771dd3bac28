"""The loop of a cluster: inside another loop, in a thread, with a time of its own."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from kubelite.testing.loop import Door


@asynccontextmanager
async def opened() -> AsyncIterator[Door]:
    door = Door()
    try:
        yield door
    finally:
        await door.run(door.loop.finish())
        door.close()


async def test_work_runs_in_the_clusters_loop_and_its_answer_and_error_come_back() -> None:
    async def where(fails: bool) -> asyncio.AbstractEventLoop:
        await asyncio.sleep(0)
        if fails:
            raise KeyError("lost")
        return asyncio.get_running_loop()

    async with opened() as door:
        assert await door.run(where(False)) is door.loop
        with pytest.raises(KeyError, match="lost"):
            await door.run(where(True))
        assert asyncio.get_running_loop() is not door.loop


async def test_time_that_is_advanced_moves_timers_of_the_cluster_alone() -> None:
    fired: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        fired.append((name, round(asyncio.get_running_loop().time() - began)))

    async with opened() as door:
        own, began = asyncio.get_running_loop().time(), door.loop.time()
        tasks = [
            door.call(lambda n=n, s=s: door.loop.create_task(wait(n, s)))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
            for n, s in (("late", 7200.0), ("soon", 60.0), ("never", 1e6))
        ]
        await door.run(door.loop.advance(7200.5))
        assert fired == [("soon", 60), ("late", 7200)]
        assert door.loop.time() - began >= 7200
        assert asyncio.get_running_loop().time() - own < 7200
        assert not tasks[2].done()


async def test_a_timer_that_a_timer_sets_is_served_at_its_time_too() -> None:
    seen: list[int] = []

    async def every(seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            seen.append(round(door.loop.time() - began))

    async with opened() as door:
        began = door.loop.time()
        task = door.call(lambda: door.loop.create_task(every(10)))
        await door.run(door.loop.advance(55))
        assert seen == [10, 20, 30, 40, 50]
        assert not task.done()


async def test_many_may_wait_for_the_loop_to_be_settled_and_advance_it() -> None:
    async with opened() as door:
        began = door.loop.time()
        await asyncio.gather(
            door.run(door.loop.settled()),
            door.run(door.loop.advance(10)),
            door.run(door.loop.settled()),
            door.run(door.loop.advance(20)),
        )
        assert 30 <= door.loop.time() - began < 60


async def test_a_loop_is_not_settled_while_a_thread_works() -> None:
    go_on = threading.Event()
    done: list[bool] = []

    async def work() -> None:
        await asyncio.to_thread(go_on.wait)
        done.append(True)

    async with opened() as door:
        task = door.call(lambda: door.loop.create_task(work()))
        settling = asyncio.create_task(door.run(door.loop.settled()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not settling.done()
        go_on.set()
        await settling
        assert done
        assert task.done()


async def test_time_that_is_held_stands_still_until_it_is_advanced() -> None:
    async with opened() as door:
        door.loop.hold()
        began = door.loop.time()
        await asyncio.sleep(0.01)
        assert door.loop.time() == began
        await door.run(door.loop.advance(5))
        assert door.loop.time() == began + 5
        door.loop.go_on()
        door.loop.go_on()
        assert began + 5 <= door.loop.time() < began + 60


async def test_who_is_cancelled_cancels_the_work() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            here.call_soon(ended.set)

    here = asyncio.get_running_loop()
    async with opened() as door:
        task = asyncio.create_task(door.run(work()))
        await asyncio.sleep(0.01)
        task.cancel()
        await ended.wait()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_sockets_of_the_cluster_are_served_inside_the_other_loop() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async with opened() as door:
        server = await door.run(asyncio.start_server(answer, "127.0.0.1", 0))
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()
        await writer.wait_closed()
        door.call(server.close)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_one_loop_after_the_other_may_be_the_host(new_loop: object) -> None:
    door = Door()
    assert callable(new_loop)
    for _ in range(2):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(door.run(asyncio.sleep(0.01)))
            runner.run(door.run(door.loop.advance(60)))
    with asyncio.Runner() as runner:
        runner.run(door.run(door.loop.finish()))
    door.close()


async def test_a_closed_door_says_so() -> None:
    async with opened() as door:
        pass
    with pytest.raises(RuntimeError, match="the cluster has ended"):
        await door.run(asyncio.sleep(0))


def test_in_a_thread_it_is_awaited_from_any_loop_or_waited_for() -> None:
    door = Door()
    door.start_thread()
    try:

        async def where() -> tuple[object, object]:
            return asyncio.get_running_loop(), threading.current_thread()

        assert door.block(where()) == asyncio.run(door.run(where()))
        assert door.block(where())[0] is door.loop
        assert door.call(threading.current_thread) is not threading.current_thread()
        door.block(door.loop.advance(3600))
    finally:
        door.block(door.loop.finish())
        door.close()


def test_without_a_thread_nothing_can_be_waited_for() -> None:
    door = Door()
    with pytest.raises(RuntimeError, match="can be waited for without await"):
        door.block(asyncio.sleep(0))
    door.close()
