"""Starts a node's ingress with the first Ingress or Gateway of kubelite's, and ends it with the last."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.networking import Ingress, IngressClass
from kubelite.api.machinery.ingress_classes import is_ours, own_classes
from kubelite.ingress.gateway_signal import GatewaySignal
from kubelite.tasks import TaskSet


class Service(Protocol):
    """What runs while there are Ingresses."""

    async def run(self) -> None:
        """Serve until cancelled."""


class NodeIngress:
    """Watches for Ingresses; `make` imports and makes what serves them."""

    def __init__(self, client: Client, make: Callable[[], Service]) -> None:
        self._make = make
        self._ingresses = client.mirror(Ingress)
        self._classes = client.mirror(IngressClass)
        self._changed = asyncio.Event()
        self._client = client

    async def run(self) -> None:
        """Serve while there is something to serve, until cancelled."""
        await self._ingresses.synced()
        await self._classes.synced()
        ends = [
            self._ingresses.subscribe(lambda *_: self._changed.set()),
            self._classes.subscribe(lambda *_: self._changed.set()),
        ]
        gateways = GatewaySignal(self._client, self._changed.set)
        self._changed.set()
        tasks = TaskSet()
        is_running = False
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                if self._is_needed(gateways) == is_running:
                    continue
                if is_running:
                    await tasks.stop()
                else:
                    service = self._make()
                    tasks.supervise(service.run, name="ingress")
                is_running = not is_running
        finally:
            for end in ends:
                end()
            gateways.close()
            await tasks.stop()

    def _is_needed(self, gateways: GatewaySignal) -> bool:
        if gateways.objects is not None and not gateways.objects.is_empty:
            return True
        own = own_classes(self._classes.list())
        return bool(own) and any(is_ours(one, own) for one in self._ingresses.list())
