"""Pods, pod templates and bindings."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.container_status import ContainerStatus
from kubelite.api.kinds.core.containers import (
    AppArmorProfile,
    Container,
    EphemeralContainer,
    ResourceRequirements,
    SeccompProfile,
    SELinuxOptions,
    WindowsSecurityContextOptions,
)
from kubelite.api.kinds.core.references import LocalObjectReference, ObjectReference
from kubelite.api.kinds.core.scheduling import Affinity, Toleration, TopologySpreadConstraint
from kubelite.api.kinds.core.volumes import Volume
from kubelite.api.kinds.enums import (
    DNS_POLICIES,
    GROUP_CHANGE_POLICIES,
    POD_PHASES,
    PREEMPTION_POLICIES,
    QOS_CLASSES,
    RESTART_POLICIES,
    SUPPLEMENTAL_GROUPS_POLICIES,
)
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    ATOMIC_MAP,
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


class Binding(Kind):
    """Puts a pod on a node; sent by schedulers."""

    gvk: ClassVar = GroupVersionKind("", "v1", "Binding")

    target: Annotated[ObjectReference, REQUIRED] = ObjectReference()
    metadata: ObjectMeta = ObjectMeta()


class ContainerExtendedResourceRequest(Model):
    """Which request of a claim serves an extended resource of a container."""

    containerName: Annotated[str, REQUIRED] = ""
    requestName: Annotated[str, REQUIRED] = ""
    resourceName: Annotated[str, REQUIRED] = ""


class HostAlias(Model):
    """A line of a pod's /etc/hosts."""

    ip: Annotated[str, REQUIRED] = ""
    hostnames: Annotated[list[str], ATOMIC] = []


class HostIP(Model):
    """An address of the node a pod runs on."""

    ip: Annotated[str, REQUIRED] = ""


class NodeAllocatableResourceClaimStatus(Model):
    """Resources of a node that claims of a pod account for."""

    resourceClaimName: Annotated[str, REQUIRED] = ""
    resources: Annotated[dict[str, Quantity], REQUIRED] = {}
    containers: Annotated[list[str], SET] = []


class PodDNSConfigOption(Model):
    """An option of a pod's resolver."""

    name: str = ""
    value: str | None = None


class PodDNSConfig(Model):
    """Settings of a pod's resolver on top of its DNS policy."""

    nameservers: Annotated[list[str], ATOMIC] = []
    options: Annotated[list[PodDNSConfigOption], ATOMIC] = []
    searches: Annotated[list[str], ATOMIC] = []


class PodOS(Model):
    """The operating system a pod is for."""

    name: Annotated[str, REQUIRED] = ""


class PodReadinessGate(Model):
    """A condition that must hold for a pod to be ready."""

    conditionType: Annotated[str, REQUIRED] = ""


class PodResourceClaim(Model):
    """A claim for devices that a pod's containers may use."""

    name: Annotated[str, REQUIRED] = ""
    resourceClaimName: str | None = None
    resourceClaimTemplateName: str | None = None


class PodSchedulingGate(Model):
    """A reason not to schedule a pod yet."""

    name: Annotated[str, REQUIRED] = ""


class PodSchedulingGroup(Model):
    """The group of pods a pod is scheduled with."""

    podGroupName: str | None = None


class Sysctl(Model):
    """A kernel parameter and its value."""

    name: Annotated[str, REQUIRED] = ""
    value: Annotated[str, REQUIRED] = ""


class PodSecurityContext(Model):
    """Users, privileges and confinement of all containers of a pod, and the owner of its volumes."""

    appArmorProfile: AppArmorProfile | None = None
    fsGroup: Int64 | None = None
    fsGroupChangePolicy: Annotated[str | None, GROUP_CHANGE_POLICIES] = None
    runAsGroup: Int64 | None = None
    runAsNonRoot: bool | None = None
    runAsUser: Int64 | None = None
    seLinuxChangePolicy: str | None = None
    seLinuxOptions: SELinuxOptions | None = None
    seccompProfile: SeccompProfile | None = None
    supplementalGroups: Annotated[list[Int64], ATOMIC] = []
    supplementalGroupsPolicy: Annotated[str | None, SUPPLEMENTAL_GROUPS_POLICIES] = None
    sysctls: Annotated[list[Sysctl], ATOMIC] = []
    windowsOptions: WindowsSecurityContextOptions | None = None


class PodSpec(Model):
    """What is wanted of a pod."""

    containers: Annotated[list[Container], REQUIRED, list_map("name"), merge_by("name")] = []
    activeDeadlineSeconds: Int64 | None = None
    affinity: Affinity | None = None
    automountServiceAccountToken: bool | None = None
    dnsConfig: PodDNSConfig | None = None
    dnsPolicy: Annotated[str, DNS_POLICIES] = ""
    enableServiceLinks: bool | None = None
    ephemeralContainers: Annotated[
        list[EphemeralContainer], list_map("name"), merge_by("name")
    ] = []
    hostAliases: Annotated[list[HostAlias], list_map("ip"), merge_by("ip")] = []
    hostIPC: bool = False
    hostNetwork: bool = False
    hostPID: bool = False
    hostUsers: bool | None = None
    hostname: str = ""
    hostnameOverride: str | None = None
    imagePullSecrets: Annotated[list[LocalObjectReference], list_map("name"), merge_by("name")] = []
    initContainers: Annotated[list[Container], list_map("name"), merge_by("name")] = []
    nodeName: str = ""
    nodeSelector: Annotated[dict[str, str], ATOMIC_MAP] = {}
    os: PodOS | None = None
    overhead: dict[str, Quantity] = {}
    preemptionPolicy: Annotated[str | None, PREEMPTION_POLICIES] = None
    priority: Int32 | None = None
    priorityClassName: str = ""
    readinessGates: Annotated[list[PodReadinessGate], ATOMIC] = []
    resourceClaims: Annotated[
        list[PodResourceClaim], list_map("name"), merge_by("name", retain_keys=True)
    ] = []
    resources: ResourceRequirements | None = None
    restartPolicy: Annotated[str, RESTART_POLICIES] = ""
    runtimeClassName: str | None = None
    schedulerName: str = ""
    schedulingGates: Annotated[list[PodSchedulingGate], list_map("name"), merge_by("name")] = []
    schedulingGroup: PodSchedulingGroup | None = None
    securityContext: PodSecurityContext | None = None
    serviceAccount: str = ""
    serviceAccountName: str = ""
    setHostnameAsFQDN: bool | None = None
    shareProcessNamespace: bool | None = None
    subdomain: str = ""
    terminationGracePeriodSeconds: Int64 | None = None
    tolerations: Annotated[list[Toleration], ATOMIC] = []
    topologySpreadConstraints: Annotated[
        list[TopologySpreadConstraint],
        list_map("topologyKey", "whenUnsatisfiable"),
        merge_by("topologyKey"),
    ] = []
    volumes: Annotated[list[Volume], list_map("name"), merge_by("name", retain_keys=True)] = []


class PodCondition(Model):
    """One aspect of a pod's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastProbeTime: Time = ""
    lastTransitionTime: Time = ""
    message: str = ""
    observedGeneration: Int64 = 0
    reason: str = ""


class PodExtendedResourceClaimStatus(Model):
    """The claim made for a pod's extended resources."""

    requestMappings: Annotated[NilList[ContainerExtendedResourceRequest], REQUIRED, ATOMIC] = []
    resourceClaimName: Annotated[str, REQUIRED] = ""


class PodIP(Model):
    """An address of a pod."""

    ip: Annotated[str, REQUIRED] = ""


class PodResourceClaimStatus(Model):
    """Which claim was made for an entry of a pod."""

    name: Annotated[str, REQUIRED] = ""
    resourceClaimName: str | None = None


class PodStatus(Model):
    """What was last observed of a pod."""

    allocatedResources: dict[str, Quantity] = {}
    conditions: Annotated[list[PodCondition], list_map("type"), merge_by("type")] = []
    containerStatuses: Annotated[list[ContainerStatus], ATOMIC] = []
    ephemeralContainerStatuses: Annotated[list[ContainerStatus], ATOMIC] = []
    extendedResourceClaimStatus: PodExtendedResourceClaimStatus | None = None
    hostIP: str = ""
    hostIPs: Annotated[list[HostIP], ATOMIC, merge_by("ip")] = []
    initContainerStatuses: Annotated[list[ContainerStatus], ATOMIC] = []
    message: str = ""
    nodeAllocatableResourceClaimStatuses: Annotated[
        list[NodeAllocatableResourceClaimStatus], ATOMIC
    ] = []
    nominatedNodeName: str = ""
    observedGeneration: Int64 = 0
    phase: Annotated[str, POD_PHASES] = ""
    podIP: str = ""
    podIPs: Annotated[list[PodIP], list_map("ip"), merge_by("ip")] = []
    qosClass: Annotated[str, QOS_CLASSES] = ""
    reason: str = ""
    resize: str = ""
    resourceClaimStatuses: Annotated[
        list[PodResourceClaimStatus], list_map("name"), merge_by("name", retain_keys=True)
    ] = []
    resources: ResourceRequirements | None = None
    startTime: Time | None = None


class Pod(Kind):
    """Containers that run together on one node, with one address and shared volumes."""

    gvk: ClassVar = GroupVersionKind("", "v1", "Pod")

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class PodList(Kind):
    """A list of pods."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PodList")

    items: Annotated[list[Pod], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class PodTemplateSpec(Model):
    """The pods a workload makes."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()


class PodTemplate(Kind):
    """A template of pods as an object of its own."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PodTemplate")

    metadata: ObjectMeta = ObjectMeta()
    template: PodTemplateSpec = PodTemplateSpec()


class PodTemplateList(Kind):
    """A list of pod templates."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PodTemplateList")

    items: Annotated[list[PodTemplate], REQUIRED] = []
    metadata: ListMeta = ListMeta()
