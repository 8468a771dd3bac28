"""The messages of the device plugin API, k8s.io/kubelet `deviceplugin/v1beta1`."""

from __future__ import annotations

from typing import Annotated, Final

from kubelite.grpc.method import Method
from kubelite.grpc.protobuf import Int32, Int64, Message

VERSION: Final = "v1beta1"
HEALTHY: Final = "Healthy"


class Empty(Message):
    """A request or an answer without fields."""


class PluginOptions(Message):
    """DevicePluginOptions: which of the optional methods a plugin has."""

    pre_start_required: Annotated[bool, 1] = False
    has_preferred_allocation: Annotated[bool, 2] = False


class RegisterRequest(Message):
    """A plugin says where it is and which resource it offers."""

    version: Annotated[str, 1] = ""
    endpoint: Annotated[str, 2] = ""  # a name in the folder of the registration socket
    resource_name: Annotated[str, 3] = ""
    options: Annotated[PluginOptions | None, 4] = None


class NUMANode(Message):
    """A NUMA node that a device is near to."""

    ID: Annotated[Int64, 1] = 0


class TopologyInfo(Message):
    """Where a device is."""

    nodes: Annotated[list[NUMANode], 1] = []


class PluginDevice(Message):
    """A device as its plugin lists it."""

    ID: Annotated[str, 1] = ""
    health: Annotated[str, 2] = ""
    topology: Annotated[TopologyInfo | None, 3] = None


class DeviceList(Message):
    """ListAndWatchResponse: all devices of a plugin."""

    devices: Annotated[list[PluginDevice], 1] = []


class ContainerPreference(Message):
    """ContainerPreferredAllocationRequest."""

    available: Annotated[list[str], 1] = []
    must_include: Annotated[list[str], 2] = []
    size: Annotated[Int32, 3] = 0


class PreferredRequest(Message):
    """PreferredAllocationRequest."""

    containers: Annotated[list[ContainerPreference], 1] = []


class PreferredDevices(Message):
    """ContainerPreferredAllocationResponse."""

    device_ids: Annotated[list[str], 1] = []


class PreferredResponse(Message):
    """PreferredAllocationResponse."""

    containers: Annotated[list[PreferredDevices], 1] = []


class DeviceIDs(Message):
    """ContainerAllocateRequest, and PreStartContainerRequest, which has the same form."""

    device_ids: Annotated[list[str], 1] = []


class AllocateRequest(Message):
    """The devices that containers are to be given."""

    containers: Annotated[list[DeviceIDs], 1] = []


class PluginMount(Message):
    """A folder or file of the host for a container."""

    container_path: Annotated[str, 1] = ""
    host_path: Annotated[str, 2] = ""
    read_only: Annotated[bool, 3] = False


class DeviceSpec(Message):
    """A device file of the host for a container."""

    container_path: Annotated[str, 1] = ""
    host_path: Annotated[str, 2] = ""
    permissions: Annotated[str, 3] = ""  # of r, w and m


class CDIDevice(Message):
    """A device by its name in the Container Device Interface."""

    name: Annotated[str, 1] = ""


class ContainerAllocation(Message):
    """ContainerAllocateResponse: what puts allocated devices into a container."""

    envs: Annotated[dict[str, str], 1] = {}
    mounts: Annotated[list[PluginMount], 2] = []
    devices: Annotated[list[DeviceSpec], 3] = []
    annotations: Annotated[dict[str, str], 4] = {}
    cdi_devices: Annotated[list[CDIDevice], 5] = []


class AllocateResponse(Message):
    """The answer for each container of an AllocateRequest."""

    containers: Annotated[list[ContainerAllocation], 1] = []


_PLUGIN = "/v1beta1.DevicePlugin/"
REGISTER: Final = Method("/v1beta1.Registration/Register", RegisterRequest, Empty)
GET_OPTIONS: Final = Method(f"{_PLUGIN}GetDevicePluginOptions", Empty, PluginOptions)
LIST_AND_WATCH: Final = Method(f"{_PLUGIN}ListAndWatch", Empty, DeviceList)
GET_PREFERRED: Final = Method(
    f"{_PLUGIN}GetPreferredAllocation", PreferredRequest, PreferredResponse
)
ALLOCATE: Final = Method(f"{_PLUGIN}Allocate", AllocateRequest, AllocateResponse)
PRE_START: Final = Method(f"{_PLUGIN}PreStartContainer", DeviceIDs, Empty)
