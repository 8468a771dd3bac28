"""A client of the real verbs whose server may be away, as over HTTPS: requests fail, open mirrors stay."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from fakes.server import ADMIN, AllowAll, Server
from kubelite.api.client.availability import Availability
from kubelite.api.client.call import Call
from kubelite.api.client.local import LocalClient
from kubelite.api.client.mirror import ObjectMirror
from kubelite.api.client.protocol import Mirror
from kubelite.api.errors import ServiceUnavailable
from kubelite.randomness import SeededRandomness

HANG_SECONDS = 60.0
State = Literal["up", "refusing", "hanging"]


class PartedClient(LocalClient):
    """Use it for one component, and the server's own client to look at what came of it."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.verbs, AllowAll(), ADMIN, server.mirrors)
        self.availability = Availability("the server", SeededRandomness(5))
        self.state: State = "up"
        self.answered: Counter[tuple[str, str]] = Counter()  # by verb and name
        self.in_flight = 0
        self.in_flight_most = 0
        self.seconds = 0.0  # how long a request takes
        self._waiting: list[Callable[[], None]] = []  # mirrors that were opened meanwhile

    def go(self, state: State) -> None:
        self.state = state
        if state == "up":
            while self._waiting:
                self._waiting.pop()()

    async def send(self, call: Call) -> bytes:
        await self._answer()
        self.answered[call.verb, call.name] += 1
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight, self.in_flight_most)
        try:
            await asyncio.sleep(self.seconds)
            return await super().send(call)
        finally:
            self.in_flight -= 1

    async def listed(self, call: Call, type_: Any) -> list[Any]:
        await self._answer()
        return await super().listed(call, type_)

    def opened(self, call: Call, type_: Any) -> Mirror[Any]:
        if self.state == "up":
            return super().opened(call, type_)
        mirror: ObjectMirror[Any] = ObjectMirror()

        def changed(before: Any, after: Any) -> None:
            if after is not None:
                mirror.put(after)
            elif before is not None:
                mirror.remove(before.metadata.namespace, before.metadata.name)

        def begin() -> None:
            real = LocalClient.opened(self, call, type_)
            mirror.replace(real.list())
            real.subscribe(changed)

        self._waiting.append(begin)
        return mirror

    def on_return(self, returned: Callable[[], None]) -> Callable[[], None]:
        return self.availability.subscribe(returned)

    async def _answer(self) -> None:
        with self.availability.attempt() as attempt:
            if self.state == "hanging":
                await asyncio.sleep(HANG_SECONDS)
            if self.state != "up":
                attempt.failed(self.state)
                raise ServiceUnavailable(f"cannot reach the server: {self.state}")
            attempt.answered()
