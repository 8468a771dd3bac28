"""Dynamic resource allocation: claims, slices and device classes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.node_affinity import NodeSelector
from kubelite.api.kinds.meta import Condition, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    ATOMIC,
    REQUIRED,
    GroupVersionKind,
    Int64,
    Kind,
    Model,
    Quantity,
    RawExtension,
    Time,
    default,
    list_map,
    merge_by,
)


class NetworkDeviceData(Model):
    """NetworkDeviceData."""

    hardwareAddress: str = ""
    interfaceName: str = ""
    ips: Annotated[list[str], ATOMIC] = []


class AllocatedDeviceStatus(Model):
    """AllocatedDeviceStatus."""

    device: Annotated[str, REQUIRED] = ""
    driver: Annotated[str, REQUIRED] = ""
    pool: Annotated[str, REQUIRED] = ""
    conditions: Annotated[list[Condition], list_map("type"), ALWAYS] = []
    data: RawExtension | None = None
    networkData: NetworkDeviceData | None = None
    shareID: str | None = None


class OpaqueDeviceConfiguration(Model):
    """OpaqueDeviceConfiguration."""

    driver: Annotated[str, REQUIRED] = ""
    parameters: Annotated[RawExtension | None, REQUIRED] = None


class DeviceAllocationConfiguration(Model):
    """DeviceAllocationConfiguration."""

    source: Annotated[str, REQUIRED] = ""
    opaque: OpaqueDeviceConfiguration | None = None
    requests: Annotated[list[str], ATOMIC] = []


class DeviceToleration(Model):
    """DeviceToleration."""

    effect: str = ""
    key: str = ""
    operator: Annotated[str, default("Equal")] = ""
    tolerationSeconds: Int64 | None = None
    value: str = ""


class DeviceRequestAllocationResult(Model):
    """DeviceRequestAllocationResult."""

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
    """DeviceAllocationResult."""

    config: Annotated[list[DeviceAllocationConfiguration], ATOMIC] = []
    results: Annotated[list[DeviceRequestAllocationResult], ATOMIC] = []


class AllocationResult(Model):
    """AllocationResult."""

    allocationTimestamp: Time | None = None
    devices: DeviceAllocationResult = DeviceAllocationResult()
    nodeSelector: NodeSelector | None = None


class CELDeviceSelector(Model):
    """CELDeviceSelector."""

    expression: Annotated[str, REQUIRED] = ""


class CapacityRequestPolicyRange(Model):
    """CapacityRequestPolicyRange."""

    min: Annotated[Quantity | None, REQUIRED] = None
    max: Quantity | None = None
    step: Quantity | None = None


class CapacityRequestPolicy(Model):
    """CapacityRequestPolicy."""

    default: Quantity | None = None
    validRange: CapacityRequestPolicyRange | None = None
    validValues: Annotated[list[Quantity], ATOMIC] = []


class CapacityRequirements(Model):
    """CapacityRequirements."""

    requests: dict[str, Quantity] = {}


class Counter(Model):
    """Counter."""

    value: Annotated[Quantity, REQUIRED] = ""


class CounterSet(Model):
    """CounterSet."""

    counters: Annotated[dict[str, Counter], REQUIRED] = {}
    name: Annotated[str, REQUIRED] = ""


Boolean = bool  # `DeviceAttribute` has a field of that name


class DeviceAttribute(Model):
    """DeviceAttribute."""

    bool: Boolean | None = None
    bools: Annotated[list[Boolean], ATOMIC] = []
    int: Int64 | None = None
    ints: Annotated[list[Int64], ATOMIC] = []
    string: str | None = None
    strings: Annotated[list[str], ATOMIC] = []
    version: str | None = None
    versions: Annotated[list[str], ATOMIC] = []


class DeviceCapacity(Model):
    """DeviceCapacity."""

    value: Annotated[Quantity, REQUIRED] = ""
    requestPolicy: CapacityRequestPolicy | None = None


class DeviceCounterConsumption(Model):
    """DeviceCounterConsumption."""

    counterSet: Annotated[str, REQUIRED] = ""
    counters: Annotated[dict[str, Counter], REQUIRED] = {}


class NodeAllocatableResourceMapping(Model):
    """NodeAllocatableResourceMapping."""

    allocationMultiplier: Quantity | None = None
    capacityKey: str | None = None


class DeviceTaint(Model):
    """DeviceTaint."""

    effect: Annotated[str, REQUIRED] = ""
    key: Annotated[str, REQUIRED] = ""
    timeAdded: Time | None = None
    value: str = ""


class Device(Model):
    """Device."""

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
    """DeviceClaimConfiguration."""

    opaque: OpaqueDeviceConfiguration | None = None
    requests: Annotated[list[str], ATOMIC] = []


class DeviceConstraint(Model):
    """DeviceConstraint."""

    distinctAttribute: str | None = None
    matchAttribute: str | None = None
    requests: Annotated[list[str], ATOMIC] = []


class DeviceSelector(Model):
    """DeviceSelector."""

    cel: CELDeviceSelector | None = None


class ExactDeviceRequest(Model):
    """ExactDeviceRequest."""

    deviceClassName: Annotated[str, REQUIRED] = ""
    adminAccess: bool | None = None
    allocationMode: str = ""
    capacity: CapacityRequirements | None = None
    count: Int64 = 0
    selectors: Annotated[list[DeviceSelector], ATOMIC] = []
    tolerations: Annotated[list[DeviceToleration], ATOMIC] = []


class DeviceSubRequest(Model):
    """DeviceSubRequest."""

    deviceClassName: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    allocationMode: str = ""
    capacity: CapacityRequirements | None = None
    count: Int64 = 0
    selectors: Annotated[list[DeviceSelector], ATOMIC] = []
    tolerations: Annotated[list[DeviceToleration], ATOMIC] = []


class DeviceRequest(Model):
    """DeviceRequest."""

    name: Annotated[str, REQUIRED] = ""
    exactly: ExactDeviceRequest | None = None
    firstAvailable: Annotated[list[DeviceSubRequest], ATOMIC] = []


class DeviceClaim(Model):
    """DeviceClaim."""

    config: Annotated[list[DeviceClaimConfiguration], ATOMIC] = []
    constraints: Annotated[list[DeviceConstraint], ATOMIC] = []
    requests: Annotated[list[DeviceRequest], ATOMIC, ALWAYS] = []


class DeviceClassConfiguration(Model):
    """DeviceClassConfiguration."""

    opaque: OpaqueDeviceConfiguration | None = None


class DeviceClassSpec(Model):
    """DeviceClassSpec."""

    config: Annotated[list[DeviceClassConfiguration], ATOMIC] = []
    extendedResourceName: str | None = None
    selectors: Annotated[list[DeviceSelector], ATOMIC] = []


class DeviceClass(Kind):
    """DeviceClass."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "DeviceClass")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[DeviceClassSpec, REQUIRED] = DeviceClassSpec()


class DeviceClassList(Kind):
    """DeviceClassList."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "DeviceClassList")

    items: Annotated[list[DeviceClass], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ResourceClaimSpec(Model):
    """ResourceClaimSpec."""

    devices: DeviceClaim = DeviceClaim()


class ResourceClaimConsumerReference(Model):
    """ResourceClaimConsumerReference."""

    name: Annotated[str, REQUIRED] = ""
    resource: Annotated[str, REQUIRED] = ""
    uid: Annotated[str, REQUIRED] = ""
    apiGroup: str = ""


class ResourceClaimStatus(Model):
    """ResourceClaimStatus."""

    allocation: AllocationResult | None = None
    devices: Annotated[
        list[AllocatedDeviceStatus], list_map("driver", "device", "pool", "shareID")
    ] = []
    reservedFor: Annotated[
        list[ResourceClaimConsumerReference], list_map("uid"), merge_by("uid")
    ] = []


class ResourceClaim(Kind):
    """ResourceClaim."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "ResourceClaim")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ResourceClaimSpec, REQUIRED] = ResourceClaimSpec()
    status: ResourceClaimStatus = ResourceClaimStatus()


class ResourceClaimList(Kind):
    """ResourceClaimList."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "ResourceClaimList")

    items: Annotated[list[ResourceClaim], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ResourceClaimTemplateSpec(Model):
    """ResourceClaimTemplateSpec."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ResourceClaimSpec, REQUIRED] = ResourceClaimSpec()


class ResourceClaimTemplate(Kind):
    """ResourceClaimTemplate."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "ResourceClaimTemplate")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ResourceClaimTemplateSpec, REQUIRED] = ResourceClaimTemplateSpec()


class ResourceClaimTemplateList(Kind):
    """ResourceClaimTemplateList."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "ResourceClaimTemplateList")

    items: Annotated[list[ResourceClaimTemplate], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ResourcePool(Model):
    """ResourcePool."""

    generation: Annotated[Int64, REQUIRED] = 0
    name: Annotated[str, REQUIRED] = ""
    resourceSliceCount: Annotated[Int64, REQUIRED] = 0


class ResourceSliceSpec(Model):
    """ResourceSliceSpec."""

    driver: Annotated[str, REQUIRED] = ""
    pool: Annotated[ResourcePool, REQUIRED] = ResourcePool()
    allNodes: bool | None = None
    devices: Annotated[list[Device], ATOMIC] = []
    nodeName: str | None = None
    nodeSelector: NodeSelector | None = None
    perDeviceNodeSelection: bool | None = None
    sharedCounters: Annotated[list[CounterSet], ATOMIC] = []


class ResourceSlice(Kind):
    """ResourceSlice."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "ResourceSlice")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ResourceSliceSpec, REQUIRED] = ResourceSliceSpec()


class ResourceSliceList(Kind):
    """ResourceSliceList."""

    gvk: ClassVar = GroupVersionKind("resource.k8s.io", "v1", "ResourceSliceList")

    items: Annotated[list[ResourceSlice], REQUIRED] = []
    metadata: ListMeta = ListMeta()
