"""The event loop of a cluster: its time can be advanced, and it runs inside the loop of a test or in a thread.

A loop of its own gives each cluster its own time, and leaves the time of the test's loop alone. `Door` is how work gets
into it: it is awaited in the loop of whoever asks, and carried out in the cluster's.
"""

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine, Sized
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SLICE_TURNS = 200  # of the cluster's loop before the test's loop has a turn


class ClusterLoop(asyncio.SelectorEventLoop):
    """A loop whose time runs with the machine's, and can be moved forward."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        super().__init__(self.selector)
        # Dates far ahead are large numbers, and a smaller step would be lost in their rounding.
        self._clock_resolution = 1e-6
        self._ahead = 0.0  # of the machine's time
        self._standing: float | None = None
        self._outside: set[asyncio.Future[Any]] = set()  # what threads are at
        self._turns = 0
        self._own = 0  # handles of `run_some` and `settled`, which are ready and yet no work
        self._waiting: list[asyncio.Future[None]] = []  # for the loop to be settled
        self._advancing = asyncio.Lock()

    def time(self) -> float:
        """Return the cluster's time in seconds."""
        return super().time() + self._ahead if self._standing is None else self._standing

    @property
    def next_timer(self) -> float | None:
        """When the next timer is due; it may have been cancelled."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # asyncio shows no timers
        return scheduled[0].when() if scheduled else None

    @property
    def has_work(self) -> bool:
        """Whether anything can run now; what threads are at does not count."""
        ready: Sized = self._ready  # type: ignore[attr-defined]  # asyncio does not show what is ready
        if len(ready) > self._own:
            return True
        due = self.next_timer
        return (due is not None and due <= self.time()) or bool(self.selector.select(0))

    @property
    def is_busy(self) -> bool:
        """Whether there is work, or somebody to be told that there is none."""
        return self._own > 0 or self.has_work

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run a function in a thread, and remember it until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._outside.add(future)
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, future: asyncio.Future[Any]) -> None:
        self._outside.discard(future)
        if self._waiting and not self._outside:
            self._call_own(self._look)

    def _call_own(self, callback: Callable[[], None]) -> None:
        def call() -> None:
            self._own -= 1
            callback()

        self._own += 1
        self.call_soon(call)

    def run_some(self) -> None:
        """Run what is ready, for some turns, and wait for nothing."""
        self._turns = SLICE_TURNS
        self._call_own(self._turn)
        self.run_forever()

    def _turn(self) -> None:
        self._turns -= 1
        if self._turns > 0 and self.is_busy:
            self._call_own(self._turn)
        else:
            self.stop()

    async def settled(self) -> None:
        """Return when nothing is left to do at this time: nothing is ready, no timer due, no thread at work."""
        waiting = self.create_future()
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            self._call_own(self._look)
        await waiting

    def _look(self) -> None:
        """Answer those who wait for the loop to be settled, or look again after this turn."""
        if self.has_work:
            self._call_own(self._look)
        elif not self._outside:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():
                    one.set_result(None)

    async def advance(self, seconds: float) -> None:
        """Let time pass at once: each timer fires at its own time, after all that came before is done."""
        async with self._advancing:
            end = self.time() + seconds
            is_held = self.is_held
            self.hold()
            try:
                await self.settled()
                while (due := self.next_timer) is not None and due <= end:
                    self._standing = max(due, self.time())
                    await self.settled()
                self._standing = max(end, self.time())
                await self.settled()
            finally:
                if not is_held:
                    self.go_on()

    @property
    def is_held(self) -> bool:
        """Whether time stands still."""
        return self._standing is not None

    def hold(self) -> None:
        """Let time stand still but for `advance`."""
        self._standing = self.time()

    def go_on(self) -> None:
        """End `hold`."""
        if self._standing is None:
            return
        self._ahead = self.time() - super().time()
        self._standing = None

    async def finish(self) -> None:
        """Cancel all other tasks and let them and the threads end, so that the loop can be closed."""
        tasks = asyncio.all_tasks(self) - {asyncio.current_task(self)}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.shutdown_asyncgens()
        await self.shutdown_default_executor()


class Door:
    """The way into the loop of a cluster. It runs inside the loops of those who ask, or in a thread."""

    def __init__(self) -> None:
        self.loop = ClusterLoop()
        self._host: asyncio.AbstractEventLoop | None = None  # runs the loop when there is no thread
        self._timer: asyncio.TimerHandle | None = None
        self._is_planned = False
        self._thread: threading.Thread | None = None

    def start_thread(self) -> None:
        """Run the loop in a thread from now on."""
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="kubelite cluster", daemon=True
        )
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out `work` in the cluster's loop and return what it returns; it is cancelled with the caller."""
        host = asyncio.get_running_loop()
        if host is self.loop:
            return await work
        self._refuse_closed(work)
        if self._thread is not None:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))
        answer: asyncio.Future[T] = host.create_future()
        self._follow(host)
        task = self.call(lambda: self.loop.create_task(work))
        task.add_done_callback(partial(_hand_over, answer))
        try:
            return await answer
        finally:
            if not task.done():
                task.cancel()
                self._soon()

    def block(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out `work` in the cluster's thread and wait for it."""
        self._refuse_closed(work)
        if self._thread is None or self._thread is threading.current_thread():
            work.close()
            raise RuntimeError("only a cluster of Cluster.start() can be waited for without await")
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def call(self, function: Callable[[], T]) -> T:
        """Call a function that does not wait as if in the cluster's loop."""
        if self._thread is not None and self._thread is not threading.current_thread():
            return self.block(_called(function))
        before = asyncio._get_running_loop()  # noqa: SLF001 - asyncio offers it to loops
        asyncio._set_running_loop(self.loop)  # noqa: SLF001 - as above
        try:
            return function()
        finally:
            asyncio._set_running_loop(before)  # noqa: SLF001 - as above
            self._soon()

    def close(self) -> None:
        """Close the loop after `ClusterLoop.finish`. Call it from outside of the loop."""
        if self._thread is not None:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self._thread = None
        self._leave()
        self.loop.close()

    def _refuse_closed(self, work: Coroutine[Any, Any, Any]) -> None:
        if self.loop.is_closed():
            work.close()
            raise RuntimeError("the cluster has ended")

    def _follow(self, host: asyncio.AbstractEventLoop) -> None:
        """Run inside `host` from now on."""
        if self._host is not host:
            self._leave()
            self._host = host
            # The selector is a file itself, and readable when one of the cluster's sockets is.
            host.add_reader(self.loop.selector.fileno(), self._soon)

    def _leave(self) -> None:
        host, self._host, self._is_planned = self._host, None, False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if host is not None and not host.is_closed():
            host.remove_reader(self.loop.selector.fileno())

    def _soon(self) -> None:
        if self._host is not None and not self._is_planned and not self._host.is_closed():
            self._is_planned = True
            self._host.call_soon(self._run_some, self._host)

    def _run_some(self, host: asyncio.AbstractEventLoop) -> None:
        if self._host is not host or self.loop.is_closed():
            return
        self._is_planned = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asyncio._set_running_loop(None)  # noqa: SLF001 - asyncio offers it to loops
        try:
            self.loop.run_some()
        finally:
            asyncio._set_running_loop(host)  # noqa: SLF001 - as above
        if self.loop.is_busy:
            self._soon()
        elif (due := self.loop.next_timer) is not None and not self.loop.is_held:
            self._timer = host.call_later(max(due - self.loop.time(), 0.0), self._soon)


async def _called(function: Callable[[], T]) -> T:
    return function()


def _hand_over(answer: asyncio.Future[T], task: asyncio.Task[T]) -> None:
    """Give the outcome of a task of the cluster's loop to who waits for it in another."""
    if answer.done():
        return
    if task.cancelled():
        answer.cancel()
    elif (error := task.exception()) is not None:
        answer.set_exception(error)
    else:
        answer.set_result(task.result())
