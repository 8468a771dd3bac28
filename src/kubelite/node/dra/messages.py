"""The messages of DRA drivers: k8s.io/kubelet `dra/v1`, whose form `dra/v1beta1` has too, and `dra-health/v1alpha1`."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Final

from kubelite.grpc.method import Method
from kubelite.grpc.protobuf import Int32, Int64, Message

V1: Final = "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin"
V1BETA1: Final = "k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin"
# As drivers list them when they register; the gRPC service of each is of that name.
SERVICES: Final = {"v1.DRAPlugin": V1, "v1beta1.DRAPlugin": V1BETA1}


class Empty(Message):
    """A request without fields."""


class Claim(Message):
    """The claim that a driver is to prepare; it reads the object itself."""

    namespace: Annotated[str, 1] = ""
    uid: Annotated[str, 2] = ""
    name: Annotated[str, 3] = ""


class ClaimsRequest(Message):
    """NodePrepareResourcesRequest and NodeUnprepareResourcesRequest, which have the same form."""

    claims: Annotated[list[Claim], 1] = []


class Device(Message):
    """A prepared device."""

    request_names: Annotated[list[str], 1] = []  # none: of all requests
    pool_name: Annotated[str, 2] = ""
    device_name: Annotated[str, 3] = ""
    cdi_device_ids: Annotated[list[str], 4] = []
    share_id: Annotated[str | None, 5] = None


class PreparedClaim(Message):
    """NodePrepareResourceResponse."""

    devices: Annotated[list[Device], 1] = []
    error: Annotated[str, 2] = ""


class PrepareResponse(Message):
    """NodePrepareResourcesResponse: by uid of the claim."""

    claims: Annotated[dict[str, PreparedClaim], 1] = {}


class UnpreparedClaim(Message):
    """NodeUnprepareResourceResponse."""

    error: Annotated[str, 1] = ""


class UnprepareResponse(Message):
    """NodeUnprepareResourcesResponse: by uid of the claim."""

    claims: Annotated[dict[str, UnpreparedClaim], 1] = {}


class HealthStatus(IntEnum):
    """How a device is."""

    UNKNOWN = 0
    HEALTHY = 1
    UNHEALTHY = 2


class DeviceIdentifier(Message):
    """A device of a driver."""

    pool_name: Annotated[str, 1] = ""
    device_name: Annotated[str, 2] = ""


class DeviceHealth(Message):
    """What a driver says of one device."""

    device: Annotated[DeviceIdentifier | None, 1] = None
    health: Annotated[Int32, 2] = 0
    last_updated_time: Annotated[Int64, 3] = 0
    health_check_timeout_seconds: Annotated[Int64, 4] = 0
    message: Annotated[str, 5] = ""


class HealthReport(Message):
    """NodeWatchResourcesResponse."""

    devices: Annotated[list[DeviceHealth], 1] = []


Prepare = Method[ClaimsRequest, PrepareResponse]
Unprepare = Method[ClaimsRequest, UnprepareResponse]


def prepare_of(service: str) -> Prepare:
    """Return NodePrepareResources of a version of the service."""
    return Method(f"/{service}/NodePrepareResources", ClaimsRequest, PrepareResponse)


def unprepare_of(service: str) -> Unprepare:
    """Return NodeUnprepareResources of a version of the service."""
    return Method(f"/{service}/NodeUnprepareResources", ClaimsRequest, UnprepareResponse)


WATCH_HEALTH: Final = Method("/v1alpha1.DRAResourceHealth/NodeWatchResources", Empty, HealthReport)
