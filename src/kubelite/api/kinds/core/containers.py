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
from kubelite.api.kinds.model import (
    ATOMIC,
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
    """AppArmorProfile."""

    type: Annotated[str, REQUIRED] = ""
    localhostProfile: str | None = None


class Capabilities(Model):
    """Capabilities."""

    add: Annotated[list[str], ATOMIC] = []
    drop: Annotated[list[str], ATOMIC] = []


class ConfigMapEnvSource(Model):
    """ConfigMapEnvSource."""

    name: str = ""
    optional: bool | None = None


class EnvVarSource(Model):
    """EnvVarSource."""

    configMapKeyRef: ConfigMapKeySelector | None = None
    fieldRef: ObjectFieldSelector | None = None
    fileKeyRef: FileKeySelector | None = None
    resourceFieldRef: ResourceFieldSelector | None = None
    secretKeyRef: SecretKeySelector | None = None


class EnvVar(Model):
    """EnvVar."""

    name: Annotated[str, REQUIRED] = ""
    value: str = ""
    valueFrom: EnvVarSource | None = None


class SecretEnvSource(Model):
    """SecretEnvSource."""

    name: str = ""
    optional: bool | None = None


class EnvFromSource(Model):
    """EnvFromSource."""

    configMapRef: ConfigMapEnvSource | None = None
    prefix: str = ""
    secretRef: SecretEnvSource | None = None


class ExecAction(Model):
    """ExecAction."""

    command: Annotated[list[str], ATOMIC] = []


class HTTPHeader(Model):
    """HTTPHeader."""

    name: Annotated[str, REQUIRED] = ""
    value: Annotated[str, REQUIRED] = ""


class HTTPGetAction(Model):
    """HTTPGetAction."""

    port: Annotated[IntOrString, REQUIRED] = 0
    host: str = ""
    httpHeaders: Annotated[list[HTTPHeader], ATOMIC] = []
    path: str = ""
    scheme: str = ""


class SleepAction(Model):
    """SleepAction."""

    seconds: Annotated[Int64, REQUIRED] = 0


class TCPSocketAction(Model):
    """TCPSocketAction."""

    port: Annotated[IntOrString, REQUIRED] = 0
    host: str = ""


class LifecycleHandler(Model):
    """LifecycleHandler."""

    exec: ExecAction | None = None
    httpGet: HTTPGetAction | None = None
    sleep: SleepAction | None = None
    tcpSocket: TCPSocketAction | None = None


class Lifecycle(Model):
    """Lifecycle."""

    postStart: LifecycleHandler | None = None
    preStop: LifecycleHandler | None = None
    stopSignal: str | None = None


class GRPCAction(Model):
    """GRPCAction."""

    port: Annotated[Int32, REQUIRED] = 0
    service: Annotated[str | None, default("")] = None


class Probe(Model):
    """Probe."""

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
    """ContainerPort."""

    containerPort: Annotated[Int32, REQUIRED] = 0
    hostIP: str = ""
    hostPort: Int32 = 0
    name: str = ""
    protocol: Annotated[str, default("TCP")] = ""


class ContainerResizePolicy(Model):
    """ContainerResizePolicy."""

    resourceName: Annotated[str, REQUIRED] = ""
    restartPolicy: Annotated[str, REQUIRED] = ""


class ResourceClaim(Model):
    """ResourceClaim."""

    name: Annotated[str, REQUIRED] = ""
    request: str = ""


class ResourceRequirements(Model):
    """ResourceRequirements."""

    claims: Annotated[list[ResourceClaim], list_map("name")] = []
    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}


class ContainerRestartRuleOnExitCodes(Model):
    """ContainerRestartRuleOnExitCodes."""

    operator: Annotated[str, REQUIRED] = ""
    values: Annotated[list[Int32], SET] = []


class ContainerRestartRule(Model):
    """ContainerRestartRule."""

    action: Annotated[str, REQUIRED] = ""
    exitCodes: ContainerRestartRuleOnExitCodes | None = None


class SELinuxOptions(Model):
    """SELinuxOptions."""

    level: str = ""
    role: str = ""
    type: str = ""
    user: str = ""


class SeccompProfile(Model):
    """SeccompProfile."""

    type: Annotated[str, REQUIRED] = ""
    localhostProfile: str | None = None


class WindowsSecurityContextOptions(Model):
    """WindowsSecurityContextOptions."""

    gmsaCredentialSpec: str | None = None
    gmsaCredentialSpecName: str | None = None
    hostProcess: bool | None = None
    runAsUserName: str | None = None


class SecurityContext(Model):
    """SecurityContext."""

    allowPrivilegeEscalation: bool | None = None
    appArmorProfile: AppArmorProfile | None = None
    capabilities: Capabilities | None = None
    privileged: bool | None = None
    procMount: str | None = None
    readOnlyRootFilesystem: bool | None = None
    runAsGroup: Int64 | None = None
    runAsNonRoot: bool | None = None
    runAsUser: Int64 | None = None
    seLinuxOptions: SELinuxOptions | None = None
    seccompProfile: SeccompProfile | None = None
    windowsOptions: WindowsSecurityContextOptions | None = None


class VolumeDevice(Model):
    """VolumeDevice."""

    devicePath: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""


class VolumeMount(Model):
    """VolumeMount."""

    mountPath: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    mountPropagation: str | None = None
    readOnly: bool = False
    recursiveReadOnly: str | None = None
    subPath: str = ""
    subPathExpr: str = ""


class Container(Model):
    """Container."""

    name: Annotated[str, REQUIRED] = ""
    args: Annotated[list[str], ATOMIC] = []
    command: Annotated[list[str], ATOMIC] = []
    env: Annotated[list[EnvVar], list_map("name"), merge_by("name")] = []
    envFrom: Annotated[list[EnvFromSource], ATOMIC] = []
    image: str = ""
    imagePullPolicy: str = ""
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
    terminationMessagePolicy: str = ""
    tty: bool = False
    volumeDevices: Annotated[
        list[VolumeDevice], list_map("devicePath"), merge_by("devicePath")
    ] = []
    volumeMounts: Annotated[list[VolumeMount], list_map("mountPath"), merge_by("mountPath")] = []
    workingDir: str = ""


class EphemeralContainer(Model):
    """EphemeralContainer."""

    name: Annotated[str, REQUIRED] = ""
    args: Annotated[list[str], ATOMIC] = []
    command: Annotated[list[str], ATOMIC] = []
    env: Annotated[list[EnvVar], list_map("name"), merge_by("name")] = []
    envFrom: Annotated[list[EnvFromSource], ATOMIC] = []
    image: str = ""
    imagePullPolicy: str = ""
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
    terminationMessagePolicy: str = ""
    tty: bool = False
    volumeDevices: Annotated[
        list[VolumeDevice], list_map("devicePath"), merge_by("devicePath")
    ] = []
    volumeMounts: Annotated[list[VolumeMount], list_map("mountPath"), merge_by("mountPath")] = []
    workingDir: str = ""
