"""The claim for the extended resources of a pod that devices of a DeviceClass serve. Pure.

Containers that run at the same time have devices of their own. An init container that ends before the others start
uses theirs, and beyond them one more request, which all such init containers share. Names are upstream's.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.pods import ContainerExtendedResourceRequest, Pod
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.api.kinds.resource import (
    DeviceClaim,
    DeviceRequest,
    ExactDeviceRequest,
    ResourceClaim,
    ResourceClaimSpec,
)
from kubelite.api.machinery.extended_resources import CLAIM_ANNOTATION
from kubelite.control.scheduler.devices.protocol import AllocationFailed
from kubelite.control.scheduler.devices.requests import RESULTS_MAX
from kubelite.control.scheduler.requests import amount

NAME_IN_MEMORY: Final = "<extended-resources>"  # no name that a claim of the API can have

Mappings = tuple[ContainerExtendedResourceRequest, ...]


class Special(Struct, frozen=True):
    """A claim that is still to be made, and which of its requests serve which container."""

    claim: ResourceClaim
    mappings: Mappings


def check_count(pod: Pod, count: int) -> None:
    """Raise AllocationFailed if a pod asks for more devices than one claim can have."""
    if count > RESULTS_MAX:
        raise AllocationFailed(
            f"claim {pod.metadata.namespace}/{NAME_IN_MEMORY}: number of requested devices {count} "
            f"exceeds the claim limit of {RESULTS_MAX}"
        )


def special_claim(pod: Pod, classes: Mapping[str, str], uid: str) -> Special:
    """Return the claim for the resources of a pod that classes, by the resource, serve; `uid` stands in for its own."""
    requests: list[DeviceRequest] = []
    mappings: list[ContainerExtendedResourceRequest] = []
    for resource in sorted(classes):
        one = _Requests(pod, resource, classes[resource])
        requests += one.requests
        mappings += one.mappings
    meta = pod.metadata
    owner = OwnerReference(
        apiVersion="v1", kind="Pod", name=meta.name, uid=meta.uid, controller=True
    )
    made = ResourceClaim(
        metadata=ObjectMeta(
            name=NAME_IN_MEMORY,
            generateName=f"{meta.name}-extended-resources-",
            namespace=meta.namespace,
            uid=uid,
            annotations={CLAIM_ANNOTATION: "true"},
            ownerReferences=[owner],
        ),
        spec=ResourceClaimSpec(
            devices=DeviceClaim(requests=sorted(requests, key=lambda one: one.name))
        ),
    )
    return Special(made, tuple(mappings))


class _Requests:
    """The requests for one resource of a pod, in the order of the containers."""

    def __init__(self, pod: Pod, resource: str, device_class: str) -> None:
        self._resource = resource
        self._class = device_class
        self.mappings: list[ContainerExtendedResourceRequest] = []
        containers = [*pod.spec.initContainers, *pod.spec.containers]
        passing = {
            number
            for number, one in enumerate(pod.spec.initContainers)
            if one.restartPolicy != "Always"
        }
        self._lasting: dict[int, tuple[str, int]] = {}  # name and count by container
        for number, one in enumerate(containers):
            count = _count(one, resource)
            if count and number not in passing:
                self._lasting[number] = (self._name(number, one), count)
                self._map(one, self._lasting[number][0])
        self._shared: tuple[str, int] | None = None  # name and count
        self._map_passing([(number, containers[number]) for number in sorted(passing)])

    @property
    def requests(self) -> list[DeviceRequest]:
        """What is asked for."""
        found = list(self._lasting.values())
        if self._shared is not None:
            found.append(self._shared)
        return [
            DeviceRequest(
                name=name,
                exactly=ExactDeviceRequest(
                    deviceClassName=self._class, allocationMode="ExactCount", count=count
                ),
            )
            for name, count in found
        ]

    def _map_passing(self, containers: list[tuple[int, Container]]) -> None:
        """Give init containers the devices of those that start later, and the shared ones where these are too few."""
        needy: list[Container] = []
        for number, one in containers:
            left = _count(one, self._resource)
            for later, (name, count) in self._lasting.items():
                if left > 0 and later > number:
                    self._map(one, name)
                    left -= count
            if left > 0:
                needy.append(one)
                if self._shared is None or left > self._shared[1]:
                    self._shared = (self._name(number, one), left)
        for one in needy:
            assert self._shared is not None
            self._map(one, self._shared[0])

    def _map(self, container: Container, request: str) -> None:
        self.mappings.append(
            ContainerExtendedResourceRequest(
                containerName=container.name, resourceName=self._resource, requestName=request
            )
        )

    def _name(self, number: int, container: Container) -> str:
        place = sorted(container.resources.requests).index(self._resource)
        return f"container-{number}-request-{place}"


def _count(container: Container, resource: str) -> int:
    text = container.resources.requests.get(resource)
    return amount(resource, text) if text is not None else 0
