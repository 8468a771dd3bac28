"""Starts the parts of a server; a part that the API refuses is retried while the API serves."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from kubelite.api.errors import APIError
from kubelite.backoff import backoff_seconds
from kubelite.control_plane import ControlPlane
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

RETRY_FIRST_SECONDS = 1.0
RETRY_MAX_SECONDS = 60.0


class Part(Protocol):
    """Something that is started once and stopped once; it is stopped also after a failed start."""

    async def start(self) -> None:
        """Start. Raises APIError while a permission is missing."""
        ...

    async def stop(self) -> None:
        """Stop all work."""
        ...


class Parts:
    """The parts that run. Users can change the system's roles, so the API itself may refuse a start."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._tasks = TaskSet()  # the parts that are tried again
        self._running: list[Part] = []

    async def start(self, name: str, make: Callable[[], Part]) -> None:
        """Start a part and report it in the component status; after an APIError retry in the background.

        Raises what the part raises besides APIError.
        """
        problem = "it is still starting"
        self._plane.probes[name] = lambda: problem
        try:
            await self._start(make)
        except APIError as error:
            problem = error.message
            log.warning("a part may not start yet", extra={"part": name, "reason": problem})
        else:
            problem = ""
            return

        async def keep_trying() -> None:
            nonlocal problem
            failures = 0
            while problem:
                await asyncio.sleep(
                    backoff_seconds(failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS)
                )
                failures += 1
                await self._plane.ensure_system()
                try:
                    await self._start(make)
                except APIError as error:
                    problem = error.message
                else:
                    problem = ""
            log.info("a part has started after all", extra={"part": name})

        self._tasks.supervise(keep_trying, name=f"start {name}")

    async def _start(self, make: Callable[[], Part]) -> None:
        part = make()
        self._running.append(part)
        try:
            await part.start()
        except BaseException:
            self._running.remove(part)
            await part.stop()
            raise

    async def stop(self) -> None:
        """End what is being tried again, then stop all parts, the last one first."""
        await self._tasks.stop()
        while self._running:
            await self._running.pop().stop()
