"""The messages of the pod resources API, k8s.io/kubelet `podresources/v1`."""

from __future__ import annotations

from typing import Annotated, Final

from kubelite.grpc.method import Method
from kubelite.grpc.protobuf import Int64, Message
from kubelite.node.devices.messages import CDIDevice, TopologyInfo


class Empty(Message):
    """A request without fields."""


class ContainerDevices(Message):
    """Devices of one resource of a device plugin that are near to the same NUMA nodes."""

    resource_name: Annotated[str, 1] = ""
    device_ids: Annotated[list[str], 2] = []
    topology: Annotated[TopologyInfo | None, 3] = None


class ClaimResource(Message):
    """A device of a resource claim."""

    cdi_devices: Annotated[list[CDIDevice], 1] = []
    driver_name: Annotated[str, 2] = ""
    pool_name: Annotated[str, 3] = ""
    device_name: Annotated[str, 4] = ""
    share_id: Annotated[str | None, 5] = None


class DynamicResource(Message):
    """A resource claim of a container."""

    claim_name: Annotated[str, 2] = ""
    claim_namespace: Annotated[str, 3] = ""
    claim_resources: Annotated[list[ClaimResource], 4] = []


class ContainerResources(Message):
    """What a container has; it never has CPUs or memory of its own, as no policy of this node gives them."""

    name: Annotated[str, 1] = ""
    devices: Annotated[list[ContainerDevices], 2] = []
    cpu_ids: Annotated[list[Int64], 3] = []
    dynamic_resources: Annotated[list[DynamicResource], 5] = []


class PodResources(Message):
    """What the containers of a pod have."""

    name: Annotated[str, 1] = ""
    namespace: Annotated[str, 2] = ""
    containers: Annotated[list[ContainerResources], 3] = []


class ListResponse(Message):
    """ListPodResourcesResponse."""

    pod_resources: Annotated[list[PodResources], 1] = []


class AllocatableResponse(Message):
    """AllocatableResourcesResponse."""

    devices: Annotated[list[ContainerDevices], 1] = []
    cpu_ids: Annotated[list[Int64], 2] = []


class GetRequest(Message):
    """GetPodResourcesRequest."""

    pod_name: Annotated[str, 1] = ""
    pod_namespace: Annotated[str, 2] = ""


class GetResponse(Message):
    """GetPodResourcesResponse."""

    pod_resources: Annotated[PodResources | None, 1] = None


_SERVICE: Final = "/v1.PodResourcesLister/"
LIST: Final = Method(f"{_SERVICE}List", Empty, ListResponse)
ALLOCATABLE: Final = Method(f"{_SERVICE}GetAllocatableResources", Empty, AllocatableResponse)
GET: Final = Method(f"{_SERVICE}Get", GetRequest, GetResponse)
