"""Tells when the Gateway API is installed, by one definition that is followed by its name.

To follow what is served costs each node a watch of all definitions, and a read of all discovery documents after each of
their changes. This costs a watch that says nothing, until the definition is there.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kubelite.api.client.protocol import Client

if TYPE_CHECKING:
    from kubelite.ingress.gateway_source import GatewayObjects

DEFINITIONS = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")
DEFINITION = "gatewayclasses.gateway.networking.k8s.io"


class GatewaySignal:
    """Has the objects of the Gateway API while it is installed."""

    def __init__(self, client: Client, changed: Callable[[], None]) -> None:
        """`changed` is called when it is installed and removed, and after changes of its objects."""
        self._client = client
        self._changed = changed
        self.objects: GatewayObjects | None = None
        self._mirror = client.resource(*DEFINITIONS).mirror(
            field_selector=f"metadata.name={DEFINITION}"
        )
        self._end = self._mirror.subscribe(lambda *_: self._look())
        self._look()

    async def synced(self) -> None:
        """Wait until it is known whether there is something, and what."""
        await self._mirror.synced()
        self._look()
        if self.objects is not None:
            await self.objects.synced()

    def close(self) -> None:
        """Follow nothing."""
        self._end()
        self._mirror.close()
        if self.objects is not None:
            self.objects.close()

    def _look(self) -> None:
        is_installed = self._mirror.get(DEFINITION, "") is not None
        if is_installed == (self.objects is not None):
            return
        if self.objects is not None:
            self.objects.close()
            self.objects = None
        else:
            # Plans of Gateways are imported with their definitions.
            from kubelite.ingress.gateway_source import GatewayObjects

            self.objects = GatewayObjects(self._client, self._changed)
        self._changed()
