"""A real API and real kubelets over simulated engines, in virtual time."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import msgspec
from fakes.server import Server

from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.node.simulated.node import SimulatedNode
from kubelite.node.simulated.runtime import Behaviour
from kubelite.randomness import SeededRandomness

START = datetime(2026, 5, 1, 12, tzinfo=UTC)


class JumpingSelector(selectors.DefaultSelector):
    """Jumps to the next deadline instead of waiting for it."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing can ever happen again")
        if not ready and timeout:
            self.loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only when nothing is left to do."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


class VirtualClock:
    """The date that goes with the loop's time."""

    def now(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())


def run_virtually(main: Coroutine[Any, Any, None]) -> None:
    """Run a test in virtual time."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class Cluster:
    """An API with one simulated node."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.server = Server()
        self.clock = VirtualClock()
        self.client = self.server.client
        self.behaviour = behaviour
        self.node = self.new_node()

    def new_node(self, name: str = "node-1") -> SimulatedNode:
        return SimulatedNode(
            name, self.client, self.clock, SeededRandomness(3), behaviour=self.behaviour
        )

    async def __aenter__(self) -> Self:
        for name in ("default", "kube-node-lease"):
            await self.client.create(Namespace(metadata=ObjectMeta(name=name)))
        await self.node.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.node.stop()

    async def create(self, spec: dict[str, Any], name: str = "pod", **meta: Any) -> Pod:
        """Create a pod bound to the node."""
        spec = {"nodeName": "node-1", "terminationGracePeriodSeconds": 30, **spec}
        body = {"metadata": {"name": name, "namespace": "default", **meta}, "spec": spec}
        return await self.client.create(msgspec.convert(body, Pod))

    async def pod(self, name: str = "pod") -> Pod:
        return await self.client.get(Pod, name, "default")

    async def until(
        self, look: Callable[[Pod], Any], name: str = "pod", seconds: float = 120
    ) -> Pod:
        """Wait, in virtual time, until a pod looks as wanted."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            pod = await self.pod(name)
            if look(pod):
                return pod
            assert loop.time() < deadline, msgspec.json.encode(pod.status)
            await asyncio.sleep(0.1)


def container(name: str = "app", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "app:1", "imagePullPolicy": "IfNotPresent", **fields}


def is_ready(pod: Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)
