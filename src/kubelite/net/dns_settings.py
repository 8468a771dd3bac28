"""Follows the ConfigMap with the settings of the cluster's DNS."""

import asyncio
import logging
from collections.abc import Callable

from kubelite.api.client.events import WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.net.dns_config import (
    CONFIG_NAME,
    CONFIG_NAMESPACE,
    DNSConfig,
    InvalidDNSConfig,
    parse_config,
)
from kubelite.offload import Offload

log = logging.getLogger(__name__)

FIRST_SECONDS = (
    5.0  # that names wait for the settings: an older server may not let this node read them
)


class FollowedConfig:
    """Calls `apply` with the settings at first and whenever they change; ones that are invalid change nothing."""

    def __init__(
        self,
        client: Client,
        apply: Callable[[DNSConfig], None],
        offload: Offload,
        events: EventRecorder,
    ) -> None:
        self._mirror = client.mirror(
            ConfigMap, CONFIG_NAMESPACE, field_selector=f"metadata.name={CONFIG_NAME}"
        )
        self._apply = apply
        self._offload = offload
        self._events = events
        self._changed = asyncio.Event()
        self._version = ""  # of the object that was read last; "" for none

    async def first(self) -> None:
        """Apply the settings that there are now."""
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                await self._mirror.synced()
        except TimeoutError:
            log.warning("the settings of DNS cannot be read; going on without them")
        await self._take()

    async def run(self) -> None:
        """Apply each change until cancelled."""
        unsubscribe = self._mirror.subscribe(lambda _before, _after: self._changed.set())
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._take()
        finally:
            unsubscribe()

    async def _take(self) -> None:
        found = self._mirror.get(CONFIG_NAME, CONFIG_NAMESPACE)
        version = found.metadata.resourceVersion if found is not None else ""
        if version == self._version:
            return
        self._version = version
        data = found.data if found is not None else {}
        cost_bytes = 10 * sum(map(len, data.values()))
        try:
            self._apply(await self._offload.run(cost_bytes, lambda: parse_config(data)))
        except InvalidDNSConfig as reason:
            log.warning(
                "the settings of DNS are invalid; those before stay", extra={"reason": str(reason)}
            )
            if found is not None:
                self._events.event(found, WARNING, "InvalidDNSConfig", str(reason))
