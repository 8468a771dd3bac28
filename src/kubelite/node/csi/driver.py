"""The calls that the node makes to one CSI driver."""

from collections.abc import Collection

from kubelite.grpc.status import Code, GrpcError
from kubelite.node.csi.messages import (
    NODE_EXPAND,
    NODE_GET_CAPABILITIES,
    NODE_GET_INFO,
    NODE_GET_VOLUME_STATS,
    NODE_PUBLISH,
    NODE_STAGE,
    NODE_UNPUBLISH,
    NODE_UNSTAGE,
    Empty,
    NodeExpandVolumeRequest,
    NodeGetInfoResponse,
    NodeGetVolumeStatsRequest,
    NodeGetVolumeStatsResponse,
    NodePublishVolumeRequest,
    NodeStageVolumeRequest,
    NodeUnpublishVolumeRequest,
    NodeUnstageVolumeRequest,
)
from kubelite.node.plugins.channel import INFO_SECONDS, Channel

CALL_SECONDS = 120.0  # as upstream's csiTimeout


def is_away(error: GrpcError) -> bool:
    """Return whether nothing answers at a driver's socket."""
    return error.code is Code.UNAVAILABLE


class Driver:
    """A registered driver. Its calls raise GrpcError."""

    def __init__(
        self,
        name: str,
        channel: Channel,
        info: NodeGetInfoResponse,
        capabilities: Collection[int],
    ) -> None:
        self.name = name
        self.info = info
        self.capabilities = frozenset(capabilities)
        self._channel = channel

    @classmethod
    async def meet(cls, name: str, channel: Channel) -> "Driver":
        """Ask a driver how it knows this node and what it can do. Raises GrpcError."""
        info = await channel.unary(NODE_GET_INFO, Empty(), timeout_seconds=INFO_SECONDS)
        found = await channel.unary(NODE_GET_CAPABILITIES, Empty(), timeout_seconds=INFO_SECONDS)
        types = [one.rpc.type for one in found.capabilities if one.rpc is not None]
        return cls(name, channel, info, types)

    async def stage(self, request: NodeStageVolumeRequest) -> None:
        """Make a volume usable on the node."""
        await self._channel.unary(NODE_STAGE, request, timeout_seconds=CALL_SECONDS)

    async def unstage(self, request: NodeUnstageVolumeRequest) -> None:
        """Undo `stage`; succeeds if it is undone already."""
        await self._channel.unary(NODE_UNSTAGE, request, timeout_seconds=CALL_SECONDS)

    async def publish(self, request: NodePublishVolumeRequest) -> None:
        """Make a volume usable by a pod."""
        await self._channel.unary(NODE_PUBLISH, request, timeout_seconds=CALL_SECONDS)

    async def unpublish(self, request: NodeUnpublishVolumeRequest) -> None:
        """Undo `publish`; succeeds if it is undone already."""
        await self._channel.unary(NODE_UNPUBLISH, request, timeout_seconds=CALL_SECONDS)

    async def expand(self, request: NodeExpandVolumeRequest) -> None:
        """Grow a volume's file system."""
        await self._channel.unary(NODE_EXPAND, request, timeout_seconds=CALL_SECONDS)

    async def statistics(self, request: NodeGetVolumeStatsRequest) -> NodeGetVolumeStatsResponse:
        """Return how full a volume is."""
        return await self._channel.unary(
            NODE_GET_VOLUME_STATS, request, timeout_seconds=CALL_SECONDS
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()
