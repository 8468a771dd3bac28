"""Follows the Node object of this node: its labels, taints and allocatable resources.

Administrators, the cloud and device plugins change all of it while the agent runs. Until the Node exists, or has a
status, the facts that the agent found itself are used.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.machinery.tolerations import Taint


class NodeView(Struct, frozen=True):
    """The part of a node that decides which pods it takes."""

    name: str = ""
    allocatable: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    taints: tuple[Taint, ...] = ()


class LiveNode:
    """Follows one Node; `own` are the facts that the agent found itself."""

    def __init__(self, client: Client, own: NodeView) -> None:
        self._client = client
        self._own = own
        self._mirror = client.mirror(Node, field_selector=f"metadata.name={own.name}")

    @property
    def view(self) -> NodeView:
        """The node as last seen."""
        return self._view(self._mirror.get(self._own.name))

    async def read(self) -> NodeView:
        """Return the node as the API has it now, or as last seen when the API does not answer."""
        try:
            return self._view(await self._client.get(Node, self._own.name))
        except APIError:
            return self.view

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` when the view may have changed; return the call that ends it."""

        def listen(before: Node | None, after: Node | None) -> None:
            if self._view(before) != self._view(after):
                changed()

        return self._mirror.subscribe(listen)

    def _view(self, node: Node | None) -> NodeView:
        if node is None:
            return self._own
        return NodeView(
            self._own.name,
            node.status.allocatable or self._own.allocatable,
            node.metadata.labels,
            tuple((taint.key, taint.value, taint.effect) for taint in node.spec.taints),
        )
