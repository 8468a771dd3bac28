"""Pulls images: a bounded number at once, equal pulls together, from each source with each login in turn."""

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from kubelite.node.images.logins import Login
from kubelite.node.images.names import ImageName, parse_name
from kubelite.node.images.rate import PullRate
from kubelite.node.images.registries import Source
from kubelite.node.runtime import (
    ContainerRuntime,
    EngineUnavailable,
    Image,
    ImagePullFailed,
    InvalidImageName,
    RegistryUnavailable,
    RuntimeFailure,
)
from kubelite.tasks import TaskSet


class Attempt(Struct, frozen=True):
    """A source to pull from and the login to use there."""

    source: Source
    login: Login | None = None


class Pulled(Struct, frozen=True):
    """The outcome of a pull."""

    image: Image
    login: Login | None  # the one that was taken
    seconds: float  # without the wait for a place


class Puller:
    """Pulls images on one node."""

    def __init__(
        self, runtime: ContainerRuntime, tasks: TaskSet, places: int, rate: PullRate
    ) -> None:
        self._runtime = runtime
        self._tasks = tasks
        self._rate = rate
        self._places = asyncio.Semaphore(places)  # first come, first served
        self._in_flight: dict[
            tuple[str, tuple[Attempt, ...]], asyncio.Task[Pulled | Exception]
        ] = {}

    async def pull(self, name: ImageName, attempts: Sequence[Attempt]) -> Pulled:
        """Pull an image; equal pulls that wait or run are one. Raises ImagePullFailed, EngineUnavailable.

        Cancelling a caller does not cancel the pull, for which others may wait.
        """
        key = name.full, tuple(attempts)
        task = self._in_flight.get(key)
        if task is None:
            work = self._outcome(name, attempts)
            task = self._in_flight[key] = self._tasks.start(work, name=f"pull {name.full}")
            task.add_done_callback(lambda _: self._in_flight.pop(key, None))
        outcome = await asyncio.shield(task)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _outcome(self, name: ImageName, attempts: Sequence[Attempt]) -> Pulled | Exception:
        """Pull an image; an expected failure is an outcome for those who wait, and no fault of the task."""
        try:
            return await self._pull(name, attempts)
        except (RuntimeFailure, EngineUnavailable) as error:
            return error

    async def _pull(self, name: ImageName, attempts: Sequence[Attempt]) -> Pulled:
        loop = asyncio.get_running_loop()
        failures: list[ImagePullFailed] = []
        async with self._places:
            started = loop.time()
            for attempt in attempts:
                try:
                    image = await self._from(name, attempt)
                except InvalidImageName:
                    raise
                except ImagePullFailed as error:
                    failures.append(error)
                else:
                    return Pulled(image, attempt.login, loop.time() - started)
        raise combined(failures)

    async def _from(self, name: ImageName, attempt: Attempt) -> Image:
        source, login = attempt.source, attempt.login
        server = parse_name(source.reference).registry
        await self._rate.take()
        image = await self._runtime.pull(
            source.reference, None if login is None else login.credentials(server)
        )
        # No engine can give a name with a digest: such an image is found by its mirror's name.
        if source.is_mirror and not name.digest:
            await self._runtime.tag(image.id, name.repository + name.suffix)
        return image


def combined(failures: Sequence[ImagePullFailed]) -> ImagePullFailed:
    """Return one failure that says all that went wrong, each text once."""
    texts = list(dict.fromkeys(map(str, failures)))
    if len(texts) == 1:
        return failures[0]
    away = all(isinstance(failure, RegistryUnavailable) for failure in failures)
    return (RegistryUnavailable if away else ImagePullFailed)(f"[{', '.join(texts)}]")
