"""Containers of a pod: image, command, probes, resources, security."""

from __future__ import annotations

from typing import Annotated

from kubelite.api.kinds.core.references import (
    ConfigMapKeySelector,
    FileKeySelector,
    ObjectFieldSelector,
    ResourceFieldSelector,
    SecretKeySelector,
)
from kubelite.api.kinds.enums import (
    MOUNT_PROPAGATIONS,
    PROC_MOUNTS,
    PROFILE_TYPES,
    PROTOCOLS,
    PULL_POLICIES,
    SIGNALS,
    TERMINATION_MESSAGE_POLICIES,
    URI_SCHEMES,
)
from kubelite.api.kinds.model import (
    ATOMIC,
    OMIT_EMPTY,
    REQUIRED,
    SET,
    Int32,
    Int64,
    IntOrString,
    Model,
    Quantity,
    default,
    list_map,
    merge_by,
)


class AppArmorProfile(Model):
    """The AppArmor profile to confine a container by."""

    type: Annotated[str, REQUIRED, PROFILE_TYPES] = ""
    localhostProfile: str | None = None


class Capabilities(Model):
    """Linux capabilities to add to or drop from the engine's default."""

    add: Annotated[list[str], ATOMIC] = []
    drop: Annotated[list[str], ATOMIC] = []


class ConfigMapEnvSource(Model):
    """All keys of a config map, as environment variables."""

    name: str = ""
    optional: bool | None = None


class EnvVarSource(Model):
    """Where the value of an environment variable comes from."""

    configMapKeyRef: ConfigMapKeySelector | None = None
    fieldRef: ObjectFieldSelector | None = None
    fileKeyRef: FileKeySelector | None = None
    resourceFieldRef: ResourceFieldSelector | None = None
    secretKeyRef: SecretKeySelector | None = None


class EnvVar(Model):
    """An environment variable of a container."""

    name: Annotated[str, REQUIRED] = ""
    value: str = ""
    valueFrom: EnvVarSource | None = None


class SecretEnvSource(Model):
    """All keys of a secret, as environment variables."""

    name: str = ""
    optional: bool | None = None


class EnvFromSource(Model):
    """A config map or secret whose keys all become environment variables."""

    configMapRef: ConfigMapEnvSource | None = None
    prefix: str = ""
    secretRef: SecretEnvSource | None = None


class ExecAction(Model):
    """A command to run in the container."""

    command: Annotated[list[str], ATOMIC] = []


class HTTPHeader(Model):
    """A header to send with a request."""

    name: Annotated[str, REQUIRED] = ""
    value: Annotated[str, REQUIRED] = ""


class HTTPGetAction(Model):
    """A GET request to send to the container."""

    port: Annotated[IntOrString, REQUIRED] = 0
    host: str = ""
    httpHeaders: Annotated[list[HTTPHeader], ATOMIC] = []
    path: str = ""
    scheme: Annotated[str, URI_SCHEMES] = ""


class SleepAction(Model):
    """Do nothing for a while."""

    seconds: Annotated[Int64, REQUIRED] = 0


class TCPSocketAction(Model):
    """A port to open a connection to."""

    port: Annotated[IntOrString, REQUIRED] = 0
    host: str = ""


class LifecycleHandler(Model):
    """What to do at a point of a container's life."""

    exec: ExecAction | None = None
    httpGet: HTTPGetAction | None = None
    sleep: SleepAction | None = None
    tcpSocket: TCPSocketAction | None = None


class Lifecycle(Model):
    """What to do just after a container's start and before its end."""

    postStart: LifecycleHandler | None = None
    preStop: LifecycleHandler | None = None
    stopSignal: Annotated[str | None, SIGNALS] = None


class GRPCAction(Model):
    """A call of the gRPC health service."""

    port: Annotated[Int32, REQUIRED] = 0
    service: Annotated[str | None, default("")] = None


class Probe(Model):
    """A repeated check of a container, and when it counts as passed or failed."""

    exec: ExecAction | None = None
    failureThreshold: Int32 = 0
    grpc: GRPCAction | None = None
    httpGet: HTTPGetAction | None = None
    initialDelaySeconds: Int32 = 0
    periodSeconds: Int32 = 0
    successThreshold: Int32 = 0
    tcpSocket: TCPSocketAction | None = None
    terminationGracePeriodSeconds: Int64 | None = None
    timeoutSeconds: Int32 = 0


class ContainerPort(Model):
    """A port the container listens on."""

    containerPort: Annotated[Int32, REQUIRED] = 0
    hostIP: str = ""
    hostPort: Int32 = 0
    name: str = ""
    protocol: Annotated[str, default("TCP"), PROTOCOLS] = ""


class ContainerResizePolicy(Model):
    """Whether a change of a resource restarts the container."""

    resourceName: Annotated[str, REQUIRED] = ""
    restartPolicy: Annotated[str, REQUIRED] = ""


class ResourceClaim(Model):
    """A claim of the pod that a container uses."""

    name: Annotated[str, REQUIRED] = ""
    request: str = ""


class ResourceRequirements(Model):
    """What a container asks for and what it may use at most."""

    claims: Annotated[list[ResourceClaim], list_map("name")] = []
    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}


class ContainerRestartRuleOnExitCodes(Model):
    """Exit codes a restart rule is about."""

    operator: Annotated[str, REQUIRED, OMIT_EMPTY] = ""
    values: Annotated[list[Int32], SET] = []


class ContainerRestartRule(Model):
    """What to do when a container ends with certain exit codes."""

    action: Annotated[str, REQUIRED, OMIT_EMPTY] = ""
    exitCodes: ContainerRestartRuleOnExitCodes | None = None


class SELinuxOptions(Model):
    """The SELinux label of a container or of the pod's volumes."""

    level: str = ""
    role: str = ""
    type: str = ""
    user: str = ""


class SeccompProfile(Model):
    """The system calls a container may make."""

    type: Annotated[str, REQUIRED, PROFILE_TYPES] = ""
    localhostProfile: str | None = None


class WindowsSecurityContextOptions(Model):
    """Security settings that only Windows has."""

    gmsaCredentialSpec: str | None = None
    gmsaCredentialSpecName: str | None = None
    hostProcess: bool | None = None
    runAsUserName: str | None = None


class SecurityContext(Model):
    """Users, privileges and confinement of a container."""

    allowPrivilegeEscalation: bool | None = None
    appArmorProfile: AppArmorProfile | None = None
    capabilities: Capabilities | None = None
    privileged: bool | None = None
    procMount: Annotated[str | None, PROC_MOUNTS] = None
    readOnlyRootFilesystem: bool | None = None
    runAsGroup: Int64 | None = None
    runAsNonRoot: bool | None = None
    runAsUser: Int64 | None = None
    seLinuxOptions: SELinuxOptions | None = None
    seccompProfile: SeccompProfile | None = None
    windowsOptions: WindowsSecurityContextOptions | None = None


class VolumeDevice(Model):
    """A raw block device in a container."""

    devicePath: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""


class VolumeMount(Model):
    """A volume at a path of a container."""

    mountPath: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    mountPropagation: Annotated[str | None, MOUNT_PROPAGATIONS] = None
    readOnly: bool = False
    recursiveReadOnly: str | None = None
    subPath: str = ""
    subPathExpr: str = ""


class Container(Model):
    """A container of a pod: image, command, environment, ports, volumes and checks."""

    name: Annotated[str, REQUIRED] = ""
    args: Annotated[list[str], ATOMIC] = []
    command: Annotated[list[str], ATOMIC] = []
    env: Annotated[list[EnvVar], list_map("name"), merge_by("name")] = []
    envFrom: Annotated[list[EnvFromSource], ATOMIC] = []
    image: str = ""
    imagePullPolicy: Annotated[str, PULL_POLICIES] = ""
    lifecycle: Lifecycle | None = None
    livenessProbe: Probe | None = None
    ports: Annotated[
        list[ContainerPort], list_map("containerPort", "protocol"), merge_by("containerPort")
    ] = []
    readinessProbe: Probe | None = None
    resizePolicy: Annotated[list[ContainerResizePolicy], ATOMIC] = []
    resources: ResourceRequirements = ResourceRequirements()
    restartPolicy: str | None = None
    restartPolicyRules: Annotated[list[ContainerRestartRule], ATOMIC] = []
    securityContext: SecurityContext | None = None
    startupProbe: Probe | None = None
    stdin: bool = False
    stdinOnce: bool = False
    terminationMessagePath: str = ""
    terminationMessagePolicy: Annotated[str, TERMINATION_MESSAGE_POLICIES] = ""
    tty: bool = False
    volumeDevices: Annotated[
        list[VolumeDevice], list_map("devicePath"), merge_by("devicePath")
    ] = []
    volumeMounts: Annotated[list[VolumeMount], list_map("mountPath"), merge_by("mountPath")] = []
    workingDir: str = ""


class EphemeralContainer(Model):
    """A container added to a running pod to look into it; it is never restarted."""

    name: Annotated[str, REQUIRED] = ""
    args: Annotated[list[str], ATOMIC] = []
    command: Annotated[list[str], ATOMIC] = []
    env: Annotated[list[EnvVar], list_map("name"), merge_by("name")] = []
    envFrom: Annotated[list[EnvFromSource], ATOMIC] = []
    image: str = ""
    imagePullPolicy: Annotated[str, PULL_POLICIES] = ""
    lifecycle: Lifecycle | None = None
    livenessProbe: Probe | None = None
    ports: Annotated[
        list[ContainerPort], list_map("containerPort", "protocol"), merge_by("containerPort")
    ] = []
    readinessProbe: Probe | None = None
    resizePolicy: Annotated[list[ContainerResizePolicy], ATOMIC] = []
    resources: ResourceRequirements = ResourceRequirements()
    restartPolicy: str | None = None
    restartPolicyRules: Annotated[list[ContainerRestartRule], ATOMIC] = []
    securityContext: SecurityContext | None = None
    startupProbe: Probe | None = None
    stdin: bool = False
    stdinOnce: bool = False
    targetContainerName: str = ""
    terminationMessagePath: str = ""
    terminationMessagePolicy: Annotated[str, TERMINATION_MESSAGE_POLICIES] = ""
    tty: bool = False
    volumeDevices: Annotated[
        list[VolumeDevice], list_map("devicePath"), merge_by("devicePath")
    ] = []
    volumeMounts: Annotated[list[VolumeMount], list_map("mountPath"), merge_by("mountPath")] = []
    workingDir: str = ""
