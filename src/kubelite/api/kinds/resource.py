"""Dynamic resource allocation: claims, slices and device classes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.node_affinity import NodeSelector
from kubelite.api.kinds.enums import (
    ALLOCATION_MODES,
    CONFIGURATION_SOURCES,
    DEVICE_TAINT_EFFECTS,
    DEVICE_TOLERATION_OPERATORS,
)
from kubelite.api.kinds.meta import Condition, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    OMIT_EMPTY,
    REQUIRED,
    GroupVersionKind,
    Int64,
    Kind,
    Model,
    NilList,
    Quantity,
    RawExtension,
    Time,
    default,
    list_map,
    merge_by,
)


class NetworkDeviceData(Model):
    """What is known of a network device: interface, hardware and addresses."""

    hardwareAddress: str = ""
    interfaceName: str = ""
    ips: Annotated[list[str], ATOMIC] = []


class AllocatedDeviceStatus(Model):
    """What the driver says about a device that was given out."""

    device: Annotated[str, REQUIRED] = ""
    driver: Annotated[str, REQUIRED] = ""
    pool: Annotated[str, REQUIRED] = ""
    conditions: Annotated[NilList[Condition], list_map("type")] = []
    data: RawExtension | None = None
    networkData: NetworkDeviceData | None = None
    shareID: str | None = None


class OpaqueDeviceConfiguration(Model):
    """Settings that only the driver understands."""

    driver: Annotated[str, REQUIRED] = ""
    parameters: Annotated[RawExtension | None, REQUIRED] = None


class DeviceAllocationConfiguration(Model):
    """Settings for devices that were given out, and where they come from."""

    source: Annotated[str, REQUIRED, CONFIGURATION_SOURCES] = ""
    opaque: OpaqueDeviceConfiguration | None = None
    requests: Annotated[list[str], ATOMIC] = []


class DeviceToleration(Model):
    """Lets a device be given out in spite of a taint."""

    effect: Annotated[str, DEVICE_TAINT_EFFECTS] = ""
    key: str = ""
    operator: Annotated[str, default("Equal"), DEVICE_TOLERATION_OPERATORS] = ""
    tolerationSeconds: Int64 | None = None
    value: str = ""


class DeviceRequestAllocationResult(Model):
    """The device given out for a request."""

    device: Annotated[str, REQUIRED] = ""
    driver: Annotated[str, REQUIRED] = ""
    pool: Annotated[str, REQUIRED] = ""
    request: Annotated[str, REQUIRED] = ""
    adminAccess: bool | None = None
    bindingConditions: Annotated[list[str], ATOMIC] = []
    bindingFailureConditions: Annotated[list[str], ATOMIC] = []
    consumedCapacity: dict[str, Quantity] = {}
    shareID: str | None = None
    tolerations: Annotated[list[DeviceToleration], ATOMIC] = []


class DeviceAllocationResult(Model):
    """The devices given out for a claim, and their settings."""

    config: Annotated[list[DeviceAllocationConfiguration], ATOMIC] = []
    results: Annotated[list[DeviceRequestAllocationResult], ATOMIC] = []


class AllocationResult(Model):
    """What was given out for a claim, and where it can be used."""

    allocationTimestamp: Time | None = None
    devices: DeviceAllocationResult = DeviceAllocationResult()
    nodeSelector: NodeSelector | None = None


class CELDeviceSelector(Model):
    """A CEL expression that picks devices."""

    expression: Annotated[str, REQUIRED] = ""


class CapacityRequestPolicyRange(Model):
    """Amounts of a capacity that may be requested, as a range with a step."""

    min: Annotated[Quantity | None, REQUIRED] = None
    max: Quantity | None = None
    step: Quantity | None = None


class CapacityRequestPolicy(Model):
    """Which amounts of a capacity may be requested, and which one is meant when none is."""

    default: Quantity | None = None
    validRange: CapacityRequestPolicyRange | None = None
    validValues: Annotated[list[Quantity], ATOMIC] = []


class CapacityRequirements(Model):
    """How much of a device's capacities is asked for."""

    requests: dict[str, Quantity] = {}


class Counter(Model):
    """An amount that devices share."""

    value: Annotated[Quantity, REQUIRED] = ""


class CounterSet(Model):
    """Amounts that devices share, under a name."""

    counters: Annotated[dict[str, Counter], REQUIRED, OMIT_EMPTY] = {}
    name: Annotated[str, REQUIRED] = ""


Boolean = bool  # `DeviceAttribute` has a field of that name


class DeviceAttribute(Model):
    """A property of a device: a number, a text, a truth value or a version."""

    bool: Boolean | None = None
    bools: Annotated[list[Boolean], ATOMIC] = []
    int: Int64 | None = None
    ints: Annotated[list[Int64], ATOMIC] = []
    string: str | None = None
    strings: Annotated[list[str], ATOMIC] = []
    version: str | None = None
    versions: Annotated[list[str], ATOMIC] = []


class DeviceCapacity(Model):
    """An amount of something that a device has."""

    value: Annotated[Quantity, REQUIRED] = ""
    requestPolicy: CapacityRequestPolicy | None = None


class DeviceCounterConsumption(Model):
    """What a device takes from a shared set of counters."""

    counterSet: Annotated[str, REQUIRED] = ""
    counters: Annotated[dict[str, Counter], REQUIRED, OMIT_EMPTY] = {}


class NodeAllocatableResourceMapping(Model):
    """How a device's capacity counts against a resource of the node."""

    allocationMultiplier: Quantity | None = None
    capacityKey: str | None = None


class DeviceTaint(Model):
    """Keeps a device from being given out, or takes it back, unless tolerated."""

    effect: Annotated[str, REQUIRED, DEVICE_TAINT_EFFECTS] = ""
    key: Annotated[str, REQUIRED] = ""
    timeAdded: Time | None = None
    value: str = ""


class Device(Model):
    """A device that a driver offers."""

    name: Annotated[str, REQUIRED] = ""
    allNodes: bool | None = None
    allowMultipleAllocations: bool | None = None
    attributes: dict[str, DeviceAttribute] = {}
    bindingConditions: Annotated[list[str], ATOMIC] = []
    bindingFailureConditions: Annotated[list[str], ATOMIC] = []
    bindsToNode: bool | None = None
    capacity: dict[str, DeviceCapacity] = {}
    consumesCounters: Annotated[list[DeviceCounterConsumption], ATOMIC] = []
    nodeAllocatableResourceMappings: dict[str, NodeAllocatableResourceMapping] = {}
    nodeName: str | None = None
    nodeSelector: NodeSelector | None = None
    taints: Annotated[list[DeviceTaint], ATOMIC] = []


class DeviceClaimConfiguration(Model):
    """Settings for the devices of a claim."""

    opaque: OpaqueDeviceConfiguration | None = None
    requests: Annotated[list[str], ATOMIC] = []


class DeviceConstraint(Model):
    """What several devices of a claim must have in common or apart."""

    distinctAttribute: str | None = None
    matchAttribute: str | None = None
    requests: Annotated[list[str], ATOMIC] = []


class DeviceSelector(Model):
    """What a device must be like."""

    cel: CELDeviceSelector | None = None


class ExactDeviceRequest(Model):
    """A request for devices of one sort."""

    deviceClassName: Annotated[str, REQUIRED] = ""
    adminAccess: bool | None = None
    allocationMode: Annotated[str, ALLOCATION_MODES] = ""
    capacity: CapacityRequirements | None = None
    count: Int64 = 0
    selectors: Annotated[list[DeviceSelector], ATOMIC] = []
    tolerations: Annotated[list[DeviceToleration], ATOMIC] = []


class DeviceSubRequest(Model):
    """One of the alternatives of a request."""

    deviceClassName: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    allocationMode: Annotated[str, ALLOCATION_MODES] = ""
    capacity: CapacityRequirements | None = None
    count: Int64 = 0
    selectors: Annotated[list[DeviceSelector], ATOMIC] = []
    tolerations: Annotated[list[DeviceToleration], ATOMIC] = []


class DeviceRequest(Model):
    """A request for devices: one sort, or the first sort that can be had."""

    name: Annotated[str, REQUIRED] = ""
    exactly: ExactDeviceRequest | None = None
    firstAvailable: Annotated[list[DeviceSubRequest], ATOMIC] = []


class DeviceClaim(Model):
    """The requests, constraints and settings of a claim."""

    config: Annotated[list[DeviceClaimConfiguration], ATOMIC] = []
    constraints: Annotated[list[DeviceConstraint], ATOMIC] = []
    requests: Annotated[NilList[DeviceRequest], ATOMIC] = []


class DeviceClassConfiguration(Model):
    """Settings that come with a class of devices."""

    opaque: OpaqueDeviceConfiguration | None = None


class DeviceClassSpec(Model):
    """What is wanted of a device class."""

    config: Annotated[list[DeviceClassConfiguration], ATOMIC] = []
    extendedResourceName: str | None = None
    selectors: Annotated[list[DeviceSelector], ATOMIC] = []


class DeviceClass(Kind):
    """A sort of devices that claims can ask for."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "DeviceClass")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[DeviceClassSpec, REQUIRED] = DeviceClassSpec()


class DeviceClassList(Kind):
    """A list of device classes."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "DeviceClassList")

    items: Annotated[list[DeviceClass], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ResourceClaimSpec(Model):
    """What is wanted of a resource claim."""

    devices: DeviceClaim = DeviceClaim()


class ResourceClaimConsumerReference(Model):
    """Who uses a claim."""

    name: Annotated[str, REQUIRED] = ""
    resource: Annotated[str, REQUIRED] = ""
    uid: Annotated[str, REQUIRED] = ""
    apiGroup: str = ""


class ResourceClaimStatus(Model):
    """What was last observed of a resource claim."""

    allocation: AllocationResult | None = None
    devices: Annotated[
        list[AllocatedDeviceStatus], list_map("driver", "device", "pool", "shareID")
    ] = []
    reservedFor: Annotated[
        list[ResourceClaimConsumerReference], list_map("uid"), merge_by("uid")
    ] = []


class ResourceClaim(Kind):
    """A user's wish for devices, and what was given out for it."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "ResourceClaim")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ResourceClaimSpec, REQUIRED] = ResourceClaimSpec()
    status: ResourceClaimStatus = ResourceClaimStatus()


class ResourceClaimList(Kind):
    """A list of resource claims."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "ResourceClaimList")

    items: Annotated[list[ResourceClaim], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ResourceClaimTemplateSpec(Model):
    """What is wanted of a resource claim template."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ResourceClaimSpec, REQUIRED] = ResourceClaimSpec()


class ResourceClaimTemplate(Kind):
    """The claim that is made for each pod that asks for one."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "ResourceClaimTemplate")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ResourceClaimTemplateSpec, REQUIRED] = ResourceClaimTemplateSpec()


class ResourceClaimTemplateList(Kind):
    """A list of resource claim templates."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "ResourceClaimTemplateList")

    items: Annotated[list[ResourceClaimTemplate], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ResourcePool(Model):
    """The pool the devices of a slice belong to."""

    generation: Annotated[Int64, REQUIRED] = 0
    name: Annotated[str, REQUIRED] = ""
    resourceSliceCount: Annotated[Int64, REQUIRED] = 0


class ResourceSliceSpec(Model):
    """What is wanted of a resource slice."""

    driver: Annotated[str, REQUIRED] = ""
    pool: Annotated[ResourcePool, REQUIRED] = ResourcePool()
    allNodes: bool | None = None
    devices: Annotated[list[Device], ATOMIC] = []
    nodeName: str | None = None
    nodeSelector: NodeSelector | None = None
    perDeviceNodeSelection: bool | None = None
    sharedCounters: Annotated[list[CounterSet], ATOMIC] = []


class ResourceSlice(Kind):
    """Devices that a driver offers, on one node or several."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "ResourceSlice")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ResourceSliceSpec, REQUIRED] = ResourceSliceSpec()


class ResourceSliceList(Kind):
    """A list of resource slices."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "ResourceSliceList")

    items: Annotated[list[ResourceSlice], REQUIRED] = []
    metadata: ListMeta = ListMeta()
