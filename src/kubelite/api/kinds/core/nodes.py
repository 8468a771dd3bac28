"""Nodes and what they report."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.scheduling import Taint
from kubelite.api.kinds.enums import NODE_PHASES
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    ATOMIC,
    REQUIRED,
    SET,
    GroupVersionKind,
    Int32,
    Int64,
    Kind,
    Model,
    NilList,
    Quantity,
    Time,
    list_map,
    merge_by,
)


class AttachedVolume(Model):
    """A volume attached to a node."""

    devicePath: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""


class ConfigMapNodeConfigSource(Model):
    """A config map that configures a node's agent; no longer used."""

    kubeletConfigKey: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    namespace: Annotated[str, REQUIRED] = ""
    resourceVersion: str = ""
    uid: str = ""


class ContainerImage(Model):
    """An image a node has."""

    names: Annotated[NilList[str], ATOMIC] = []
    sizeBytes: Int64 = 0


class DaemonEndpoint(Model):
    """The port a daemon of a node listens on."""

    Port: Annotated[Int32, REQUIRED] = 0


class NodeConfigSource(Model):
    """Where a node's agent got its configuration; no longer used."""

    configMap: ConfigMapNodeConfigSource | None = None


class NodeSpec(Model):
    """What is wanted of a node."""

    configSource: NodeConfigSource | None = None
    externalID: str = ""
    podCIDR: str = ""
    podCIDRs: Annotated[list[str], SET, merge_by("")] = []
    providerID: str = ""
    taints: Annotated[list[Taint], ATOMIC] = []
    unschedulable: bool = False


class NodeAddress(Model):
    """An address of a node, and what kind it is of."""

    address: Annotated[str, REQUIRED] = ""
    type: Annotated[str, REQUIRED] = ""


class NodeCondition(Model):
    """One aspect of a node's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastHeartbeatTime: Time = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class NodeConfigStatus(Model):
    """Which configuration a node's agent runs with; no longer used."""

    active: NodeConfigSource | None = None
    assigned: NodeConfigSource | None = None
    error: str = ""
    lastKnownGood: NodeConfigSource | None = None


class NodeDaemonEndpoints(Model):
    """Where the daemons of a node listen."""

    kubeletEndpoint: DaemonEndpoint = DaemonEndpoint()


class NodeFeatures(Model):
    """What a node's container engine can do."""

    supplementalGroupsPolicy: bool | None = None


class NodeSwapStatus(Model):
    """How much swap a node has."""

    capacity: Int64 | None = None


class NodeSystemInfo(Model):
    """What a node is made of: machine, system, kernel, engine and agent."""

    architecture: Annotated[str, REQUIRED] = ""
    bootID: Annotated[str, REQUIRED] = ""
    containerRuntimeVersion: Annotated[str, REQUIRED] = ""
    kernelVersion: Annotated[str, REQUIRED] = ""
    kubeProxyVersion: Annotated[str, REQUIRED] = ""
    kubeletVersion: Annotated[str, REQUIRED] = ""
    machineID: Annotated[str, REQUIRED] = ""
    operatingSystem: Annotated[str, REQUIRED] = ""
    osImage: Annotated[str, REQUIRED] = ""
    systemUUID: Annotated[str, REQUIRED] = ""
    swap: NodeSwapStatus | None = None


class NodeRuntimeHandlerFeatures(Model):
    """What one runtime handler of a node can do."""

    recursiveReadOnlyMounts: bool | None = None
    userNamespaces: bool | None = None


class NodeRuntimeHandler(Model):
    """A way a node can run containers."""

    features: NodeRuntimeHandlerFeatures | None = None
    name: Annotated[str, ALWAYS] = ""


class NodeStatus(Model):
    """What was last observed of a node."""

    addresses: Annotated[list[NodeAddress], list_map("type"), merge_by("type")] = []
    allocatable: dict[str, Quantity] = {}
    capacity: dict[str, Quantity] = {}
    conditions: Annotated[list[NodeCondition], list_map("type"), merge_by("type")] = []
    config: NodeConfigStatus | None = None
    daemonEndpoints: NodeDaemonEndpoints = NodeDaemonEndpoints()
    declaredFeatures: Annotated[list[str], ATOMIC] = []
    features: NodeFeatures | None = None
    images: Annotated[list[ContainerImage], ATOMIC] = []
    nodeInfo: NodeSystemInfo = NodeSystemInfo()
    phase: Annotated[str, NODE_PHASES] = ""
    runtimeHandlers: Annotated[list[NodeRuntimeHandler], ATOMIC] = []
    volumesAttached: Annotated[list[AttachedVolume], ATOMIC] = []
    volumesInUse: Annotated[list[str], ATOMIC] = []


class Node(Kind):
    """A machine that runs pods."""

    gvk: ClassVar = GroupVersionKind("", "v1", "Node")

    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class NodeList(Kind):
    """A list of nodes."""

    gvk: ClassVar = GroupVersionKind("", "v1", "NodeList")

    items: Annotated[list[Node], REQUIRED] = []
    metadata: ListMeta = ListMeta()
