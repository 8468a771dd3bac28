"""Runs controllers on the fake client until nothing is left to do."""

import asyncio
from typing import Any, Self

from fakes.fake_client import FakeClient
from fakes.recorded_offload import RecordedOffload
from kubelite.api.client.protocol import Client
from kubelite.control.options import Options
from kubelite.control.runtime import ControllerEntry, Runtime
from kubelite.randomness import SeededRandomness


class Harness:
    """A fake client and a runtime with some controllers."""

    def __init__(self, *controllers: Any, options: Options | None = None) -> None:
        self.client = FakeClient()
        self.clock = self.client.clock
        self.offload = RecordedOffload()
        named = [ControllerEntry(one.name, one.name, one) for one in controllers]
        api: Client = self.client
        self.runtime = Runtime(
            named,
            client_for=lambda _: api,
            mirrors=api,
            clock=self.clock,
            offload=self.offload,
            randomness=SeededRandomness(2),
            options=options or Options(),
        )

    async def __aenter__(self) -> Self:
        await self.runtime.start()
        await self.settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runtime.stop()

    async def settle(self) -> None:
        """Let everything that can run now run."""
        quiet = 0
        for _ in range(20_000):
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.runtime.idle else 0
            if quiet > 20:
                return
        raise AssertionError("the controllers do not come to rest")
