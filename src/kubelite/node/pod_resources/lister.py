"""Answers the calls of the pod resources API. Who may open its socket may call it, so calls are bounded."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubelite.api.kinds.core.pods import Pod
from kubelite.grpc.method import Method
from kubelite.grpc.server import Handler
from kubelite.grpc.status import Code, GrpcError
from kubelite.limits import POD_RESOURCES_CALLS
from kubelite.node.devices.messages import CDIDevice, NUMANode, TopologyInfo
from kubelite.node.devices.node_devices import NodeDevices
from kubelite.node.devices.table import NO_NODE
from kubelite.node.pod_resources.messages import (
    ALLOCATABLE,
    GET,
    LIST,
    AllocatableResponse,
    ClaimResource,
    ContainerDevices,
    ContainerResources,
    DynamicResource,
    Empty,
    GetRequest,
    GetResponse,
    ListResponse,
    PodResources,
)
from kubelite.node.pods import AnyContainer, is_sidecar

BURST_CALLS = 10.0
Placed = Mapping[str, tuple[int, ...]]  # NUMA nodes by device


class CallRate:
    """Lets `POD_RESOURCES_CALLS` through each second, and some at once."""

    def __init__(self, now: float) -> None:
        self._credit = BURST_CALLS
        self._at = now

    def allows(self, now: float) -> bool:
        """Return whether one more call may be answered; `now` is in seconds."""
        earned = (now - self._at) * POD_RESOURCES_CALLS.value
        self._credit = min(self._credit + earned, BURST_CALLS)
        self._at = now
        if self._credit < 1.0:
            POD_RESOURCES_CALLS.reached()
            return False
        self._credit -= 1.0
        return True


class PodResourcesLister:
    """The service of one node."""

    def __init__(self, devices: NodeDevices, pods: Callable[[], Sequence[Pod]]) -> None:
        """`pods` returns the pods that run or will."""
        self._devices = devices
        self._pods = pods
        self._rate = CallRate(asyncio.get_running_loop().time())

    def handlers(self) -> dict[Method[Any, Any], Handler]:
        """Return the methods to serve."""
        return {LIST: self.all_pods, ALLOCATABLE: self.allocatable, GET: self.one_pod}

    async def all_pods(self, _: Empty) -> ListResponse:
        """Return what all containers have. Raises GrpcError."""
        self._check_rate()
        return ListResponse(pod_resources=[self._resources(pod) for pod in self._pods()])

    async def one_pod(self, request: GetRequest) -> GetResponse:
        """Return what the containers of one pod have. Raises GrpcError."""
        self._check_rate()
        wanted = (request.pod_namespace, request.pod_name)
        for pod in self._pods():
            if (pod.metadata.namespace, pod.metadata.name) == wanted:
                return GetResponse(pod_resources=self._resources(pod))
        text = f"pod {request.pod_name[:253]} in namespace {request.pod_namespace[:253]} not found"
        raise GrpcError(Code.UNKNOWN, text)

    async def allocatable(self, _: Empty) -> AllocatableResponse:
        """Return the healthy devices of all device plugins. Raises GrpcError."""
        self._check_rate()
        return AllocatableResponse(devices=as_told(self._devices.plugins.allocatable()))

    def _check_rate(self) -> None:
        if not self._rate.allows(asyncio.get_running_loop().time()):
            raise GrpcError(Code.RESOURCE_EXHAUSTED, "rejected by rate limit")

    def _resources(self, pod: Pod) -> PodResources:
        sidecars = [one for one in pod.spec.initContainers if is_sidecar(one)]
        containers = [self._container(pod, one) for one in (*sidecars, *pod.spec.containers)]
        return PodResources(
            name=pod.metadata.name, namespace=pod.metadata.namespace, containers=containers
        )

    def _container(self, pod: Pod, container: AnyContainer) -> ContainerResources:
        return ContainerResources(
            name=container.name,
            devices=as_told(self._devices.plugins.held(pod.metadata.uid, container.name)),
            dynamic_resources=self._dynamic(pod, container),
        )

    def _dynamic(self, pod: Pod, container: AnyContainer) -> list[DynamicResource]:
        claims = self._devices.claims
        if claims is None:
            return []
        return [
            DynamicResource(
                claim_name=claim.key[1],
                claim_namespace=claim.key[0],
                claim_resources=[
                    ClaimResource(
                        cdi_devices=[CDIDevice(name=name) for name in device.cdi_device_ids or ()],
                        driver_name=driver,
                        pool_name=device.pool_name,
                        device_name=device.device_name,
                        share_id=device.share_id,
                    )
                    for driver, devices in claim.drivers.items()
                    for device in devices
                ],
            )
            for claim in claims.container_claims(pod, container)
        ]


def as_told(resources: Mapping[str, Placed]) -> list[ContainerDevices]:
    """Return devices as upstream tells them: one by one, and once for each NUMA node that they are near to."""
    return [
        ContainerDevices(
            resource_name=resource,
            device_ids=[device],
            topology=TopologyInfo(nodes=[NUMANode(ID=node)]) if node != NO_NODE else None,
        )
        for resource, placed in sorted(resources.items())
        for device, nodes in sorted(placed.items())
        for node in nodes
    ]
