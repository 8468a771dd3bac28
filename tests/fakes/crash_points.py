"""Ends a node agent, as kill -9 does, before or after any call that it makes of what is outside its process.

What the agent asked for goes on without it: an engine finishes what it was told. After the end no call of the dead
agent reaches anything.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, cast

import msgspec

from kubelite.node.dependencies import Collaborators

OUTSIDE = ("runtime", "network", "volumes", "client", "logs", "devices")


class Killed(asyncio.CancelledError):
    """The agent that makes this call was killed."""


class Calls:
    """The calls of one life of an agent."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.died = asyncio.Event()
        self._at: int | None = None
        self._is_made = False
        self._over = asyncio.Event()  # set once nothing waits for the dead any more
        self._going_on: set[asyncio.Task[Any]] = set()

    def end_at(self, at: int, *, is_made: bool) -> None:
        """Let the agent die by its call number `at`, from 0: before it is made, or once it is."""
        self._at, self._is_made = at, is_made

    def bury(self) -> None:
        """Let the calls of the dead agent fail, so that its tasks can end."""
        self.died.set()
        self._over.set()

    def around(self, parts: Collaborators) -> Collaborators:
        """Return collaborators whose calls are counted here."""
        watched = {name: self.watched(name, getattr(parts, name)) for name in OUTSIDE}
        return msgspec.structs.replace(parts, **watched)

    def watched(self, name: str, inner: Any) -> Any:
        """Return something whose calls are counted here."""
        return _Watched(name, inner, self)

    async def call(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Make a call, unless the agent is dead, or dies by it. Raises Killed."""
        await self._if_alive()
        is_last = len(self.made) == self._at
        self.made.append(name)
        if is_last and not self._is_made:
            self.died.set()
        await self._if_alive()
        task = asyncio.ensure_future(work())
        self._going_on.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        finally:
            if is_last:
                self.died.set()
            await self._if_alive()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._going_on.discard(task)
        if not task.cancelled():
            task.exception()  # of a dead agent nobody asks for it

    async def _if_alive(self) -> None:
        if self.died.is_set():
            await self._over.wait()
            raise Killed


class _Watched:
    def __init__(self, name: str, inner: Any, calls: Calls) -> None:
        self.__dict__.update(_name=name, _inner=inner, _calls=calls)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(value):
            return value
        calls: Calls = self._calls

        @functools.wraps(value)
        async def call(*arguments: Any, **named: Any) -> Any:
            return await calls.call(
                f"{self._name}.{name}",
                lambda: cast("Coroutine[Any, Any, Any]", value(*arguments, **named)),
            )

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)
