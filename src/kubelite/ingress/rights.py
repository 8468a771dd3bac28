"""What nodes may read for Gateways: Secrets of listeners and ConfigMaps of policies, for as long as they are needed.

The API's own servers ask this for each request of a node, so that nodes have no right to others.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from kubelite.api.client.protocol import Client

if TYPE_CHECKING:
    from kubelite.ingress.gateway_source import GatewayObjects

GROUP = "gateway.networking.k8s.io"
NEEDED = ("gatewayclasses", "gateways", "referencegrants", "backendtlspolicies")


class GatewayRights:
    """Follows Gateways once their definitions are there."""

    def __init__(
        self,
        client: Client,
        use: Callable[[frozenset[tuple[str, str]], frozenset[tuple[str, str]]], None],
    ) -> None:
        """`use` gets namespaces and names of all Secrets and ConfigMaps that are needed, after each change."""
        self._client = client
        self._use = use
        self._objects: GatewayObjects | None = None
        self._is_due = False
        self._end = client.served.subscribe(self._served_changed)
        self._served_changed()

    def close(self) -> None:
        """Follow nothing."""
        self._end()
        if self._objects is not None:
            self._objects.close()

    def _served_changed(self) -> None:
        if self._objects is None and any(
            one.group == GROUP for one in self._client.served.resources()
        ):
            # Plans of Gateways are imported with their definitions.
            from kubelite.ingress.gateway_source import GatewayObjects

            self._objects = GatewayObjects(self._client, self._changed, NEEDED)
            self._changed()

    def _changed(self) -> None:
        """Decide once for all changes of this turn of the loop; a right that is taken ends before the next one."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._decide)

    def _decide(self) -> None:
        from kubelite.ingress.gateway_listeners import certificate_secrets
        from kubelite.ingress.gateway_policies import authorities_of

        self._is_due = False
        if self._objects is not None:
            world = self._objects.snapshot().world()
            self._use(certificate_secrets(world), authorities_of(world.policies))
