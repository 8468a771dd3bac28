"""The messages of CSI v1 that the node sends and reads; numbers are those of container-storage-interface/spec."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from kubelite.grpc.method import Method
from kubelite.grpc.protobuf import Int32, Int64, Message, OneOf

KIND, CAPABILITY = OneOf("access_type"), OneOf("type")


class Empty(Message):
    """A request or an answer without fields."""


class Capability(IntEnum):
    """NodeServiceCapability.RPC.Type."""

    STAGE_UNSTAGE_VOLUME = 1
    GET_VOLUME_STATS = 2
    EXPAND_VOLUME = 3
    VOLUME_CONDITION = 4
    SINGLE_NODE_MULTI_WRITER = 5
    VOLUME_MOUNT_GROUP = 6


class AccessMode(IntEnum):
    """VolumeCapability.AccessMode.Mode."""

    UNKNOWN = 0
    SINGLE_NODE_WRITER = 1
    SINGLE_NODE_READER_ONLY = 2
    MULTI_NODE_READER_ONLY = 3
    MULTI_NODE_SINGLE_WRITER = 4
    MULTI_NODE_MULTI_WRITER = 5
    SINGLE_NODE_SINGLE_WRITER = 6
    SINGLE_NODE_MULTI_WRITER = 7


class Rpc(Message):
    """NodeServiceCapability.RPC."""

    type: Annotated[Int32, 1] = 0


class NodeServiceCapability(Message):
    """One capability of a driver's node service."""

    rpc: Annotated[Rpc | None, 1, CAPABILITY] = None


class NodeGetCapabilitiesResponse(Message):
    """The capabilities of a driver's node service."""

    capabilities: Annotated[list[NodeServiceCapability], 1] = []


class Topology(Message):
    """Topology keys with their values."""

    segments: Annotated[dict[str, str], 1] = {}


class NodeGetInfoResponse(Message):
    """The node as a driver knows it."""

    node_id: Annotated[str, 1] = ""
    max_volumes_per_node: Annotated[Int64, 2] = 0
    accessible_topology: Annotated[Topology | None, 3] = None


class BlockVolume(Message):
    """The volume is used as a device."""


class MountVolume(Message):
    """The volume is mounted."""

    fs_type: Annotated[str, 1] = ""
    mount_flags: Annotated[list[str], 2] = []
    volume_mount_group: Annotated[str, 3] = ""


class AccessModeMessage(Message):
    """VolumeCapability.AccessMode."""

    mode: Annotated[Int32, 1] = 0


class VolumeCapability(Message):
    """How a volume is used."""

    block: Annotated[BlockVolume | None, 1, KIND] = None
    mount: Annotated[MountVolume | None, 2, KIND] = None
    access_mode: Annotated[AccessModeMessage | None, 3] = None


class NodeStageVolumeRequest(Message):
    """Make a volume usable on the node, at the staging path."""

    volume_id: Annotated[str, 1] = ""
    publish_context: Annotated[dict[str, str], 2] = {}
    staging_target_path: Annotated[str, 3] = ""
    volume_capability: Annotated[VolumeCapability | None, 4] = None
    secrets: Annotated[dict[str, str], 5] = {}
    volume_context: Annotated[dict[str, str], 6] = {}


class NodeUnstageVolumeRequest(Message):
    """Undo NodeStageVolume."""

    volume_id: Annotated[str, 1] = ""
    staging_target_path: Annotated[str, 2] = ""


class NodePublishVolumeRequest(Message):
    """Make a volume usable by a pod, at the target path."""

    volume_id: Annotated[str, 1] = ""
    publish_context: Annotated[dict[str, str], 2] = {}
    staging_target_path: Annotated[str, 3] = ""
    target_path: Annotated[str, 4] = ""
    volume_capability: Annotated[VolumeCapability | None, 5] = None
    readonly: Annotated[bool, 6] = False
    secrets: Annotated[dict[str, str], 7] = {}
    volume_context: Annotated[dict[str, str], 8] = {}


class NodeUnpublishVolumeRequest(Message):
    """Undo NodePublishVolume."""

    volume_id: Annotated[str, 1] = ""
    target_path: Annotated[str, 2] = ""


class CapacityRange(Message):
    """The size that a volume is to have, in bytes."""

    required_bytes: Annotated[Int64, 1] = 0
    limit_bytes: Annotated[Int64, 2] = 0


class NodeExpandVolumeRequest(Message):
    """Grow a file system or a device after its volume grew."""

    volume_id: Annotated[str, 1] = ""
    volume_path: Annotated[str, 2] = ""
    capacity_range: Annotated[CapacityRange | None, 3] = None
    staging_target_path: Annotated[str, 4] = ""
    volume_capability: Annotated[VolumeCapability | None, 5] = None
    secrets: Annotated[dict[str, str], 6] = {}


class NodeExpandVolumeResponse(Message):
    """The size that a volume has now; 0 if the driver does not say."""

    capacity_bytes: Annotated[Int64, 1] = 0


class NodeGetVolumeStatsRequest(Message):
    """Say how full a volume is."""

    volume_id: Annotated[str, 1] = ""
    volume_path: Annotated[str, 2] = ""
    staging_target_path: Annotated[str, 3] = ""


class Unit(IntEnum):
    """VolumeUsage.Unit."""

    UNKNOWN = 0
    BYTES = 1
    INODES = 2


class VolumeUsage(Message):
    """How much of a volume is used, in one unit."""

    available: Annotated[Int64, 1] = 0
    total: Annotated[Int64, 2] = 0
    used: Annotated[Int64, 3] = 0
    unit: Annotated[Int32, 4] = 0


class VolumeCondition(Message):
    """Whether a volume works as it should."""

    abnormal: Annotated[bool, 1] = False
    message: Annotated[str, 2] = ""


class NodeGetVolumeStatsResponse(Message):
    """How full a volume is, and its condition if the driver tells it."""

    usage: Annotated[list[VolumeUsage], 1] = []
    volume_condition: Annotated[VolumeCondition | None, 2] = None


NODE_GET_INFO = Method("/csi.v1.Node/NodeGetInfo", Empty, NodeGetInfoResponse)
NODE_GET_CAPABILITIES = Method(
    "/csi.v1.Node/NodeGetCapabilities", Empty, NodeGetCapabilitiesResponse
)
NODE_STAGE = Method("/csi.v1.Node/NodeStageVolume", NodeStageVolumeRequest, Empty)
NODE_UNSTAGE = Method("/csi.v1.Node/NodeUnstageVolume", NodeUnstageVolumeRequest, Empty)
NODE_PUBLISH = Method("/csi.v1.Node/NodePublishVolume", NodePublishVolumeRequest, Empty)
NODE_UNPUBLISH = Method("/csi.v1.Node/NodeUnpublishVolume", NodeUnpublishVolumeRequest, Empty)
NODE_EXPAND = Method(
    "/csi.v1.Node/NodeExpandVolume", NodeExpandVolumeRequest, NodeExpandVolumeResponse
)
NODE_GET_VOLUME_STATS = Method(
    "/csi.v1.Node/NodeGetVolumeStats", NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse
)
