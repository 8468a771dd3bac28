"""Builds the specs from which sandboxes and containers are created. Pure."""

import msgspec

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.sysctls import normalized
from kubelite.node.devices.protocol import Injection
from kubelite.node.environment import ConfigUnavailable, expand
from kubelite.node.lifecycle import StartContainer
from kubelite.node.name_resolution import host_name
from kubelite.node.observed import (
    BACKOFF_LABEL,
    HANDLER_LABEL,
    HASH_LABEL,
    RESOURCES_LABEL,
    SANDBOX_LABEL,
)
from kubelite.node.pods import (
    AnyContainer,
    all_containers,
    grace_seconds,
    resources_text,
    spec_hash,
)
from kubelite.node.resources import cgroup_parent
from kubelite.node.runtime import (
    SANDBOX,
    ContainerLimits,
    ContainerSpec,
    HostDevice,
    IdRange,
    Image,
    Mount,
    SandboxSpec,
)
from kubelite.node.security import is_privileged, privileges_of
from kubelite.node.trusted_text import ProcessTexts, one_line, path_name, variable_name
from kubelite.node.user_namespaces import label_of, range_of

GRACE_LABEL = "io.kubernetes.pod.terminationGracePeriod"
SHOWN_CHARACTERS = 256  # of a name that a pod gives, in a message that its status will hold
UNPRIVILEGED_PORTS = "net.ipv4.ip_unprivileged_port_start"


def _labels(pod: Pod, name: str) -> dict[str, str]:
    """Label a container as upstream does, so that tools that read these labels work; raises ConfigUnavailable."""
    return {
        "io.kubernetes.pod.name": path_name(pod.metadata.name, "name of the pod"),
        "io.kubernetes.pod.namespace": path_name(pod.metadata.namespace, "namespace of the pod"),
        "io.kubernetes.pod.uid": path_name(pod.metadata.uid, "uid of the pod"),
        "io.kubernetes.container.name": path_name(name, "name of the container"),
        GRACE_LABEL: str(grace_seconds(pod)),
    }


def sandbox_spec(
    pod: Pod, attempt: int, cluster_domain: str, handler: str, ids: IdRange | None = None
) -> SandboxSpec:
    """Describe a pod's sandbox; `handler` is one of the engine's, empty for its default.

    `ids` are those of the pod's own user namespace.

    Raises ConfigUnavailable when something in it is no text for a setting.
    """
    context = pod.spec.securityContext
    sysctls = {} if pod.spec.hostNetwork else {UNPRIVILEGED_PORTS: "0"}
    if context is not None:
        sysctls.update({normalized(sysctl.name): sysctl.value for sysctl in context.sysctls})
    return SandboxSpec(
        pod_uid=pod.metadata.uid,
        pod_name=pod.metadata.name,
        namespace=pod.metadata.namespace,
        attempt=attempt,
        hostname=host_name(pod, cluster_domain),
        host_network=pod.spec.hostNetwork,
        host_pid=pod.spec.hostPID,
        host_ipc=pod.spec.hostIPC,
        privileged=any(map(is_privileged, all_containers(pod))),
        sysctls=sysctls,
        labels={**_labels(pod, SANDBOX), HANDLER_LABEL: handler, **label_of(ids)},
        cgroup_parent=cgroup_parent(pod),
        handler=handler,
        ids=ids,
    )


def container_spec(
    pod: Pod,
    start: StartContainer,
    image: Image,
    environment: dict[str, str],
    mounts: tuple[Mount, ...],
    limits: ContainerLimits,
    target: str = "",
    *,
    recursive_read_only: bool = False,
) -> ContainerSpec:
    """Describe a container; raises ConfigUnavailable when its settings are forbidden, lacking, or no text for one.

    `target` is the id of the container whose PID namespace it joins; "" for none. `recursive_read_only` says whether
    the node can make mounts read-only with all below them.
    """
    container = start.container
    _check_node_can(container, recursive_read_only=recursive_read_only)
    mounts = _as_claimed(pod, container, mounts)
    texts = ProcessTexts(f"container {container.name}")
    for name, value in environment.items():
        texts.take(f"{variable_name(name, 'name of an environment variable')}={value}")
    command = tuple(texts.take(expand(part, environment)) for part in container.command)
    args = tuple(texts.take(expand(part, environment)) for part in container.args)
    privileges = privileges_of(pod, container, image)
    labels = _labels(pod, container.name)
    labels[SANDBOX_LABEL] = start.sandbox.id
    labels[HASH_LABEL] = spec_hash(container)
    labels[RESOURCES_LABEL] = resources_text(container)
    labels[BACKOFF_LABEL] = str(start.backoff_seconds)
    spec = ContainerSpec(
        pod_uid=pod.metadata.uid,
        pod_name=pod.metadata.name,
        namespace=pod.metadata.namespace,
        name=container.name,
        attempt=start.attempt,
        sandbox_id=start.sandbox.id,
        image=image.id,
        image_name=one_line(container.image, "image"),
        image_digest=digest_for(image, container.image),
        command=command,
        args=args,
        environment=tuple(environment.items()),
        working_dir=one_line(container.workingDir, "workingDir"),
        mounts=mounts,
        limits=limits,
        tty=container.tty,
        stdin=container.stdin,
        stdin_once=container.stdinOnce,
        stop_signal=(container.lifecycle.stopSignal or "") if container.lifecycle else "",
        shared_pid_with=start.sandbox.id if pod.spec.shareProcessNamespace else target,
        host_network=pod.spec.hostNetwork,
        host_pid=pod.spec.hostPID,
        host_ipc=pod.spec.hostIPC,
        labels=labels,
        cgroup_parent=cgroup_parent(pod),
        handler=start.sandbox.labels.get(HANDLER_LABEL, ""),
        ids=range_of(start.sandbox.labels),
    )
    return msgspec.structs.replace(spec, **privileges._asdict())


def with_devices(
    spec: ContainerSpec,
    container: AnyContainer,
    own: tuple[HostDevice, ...],
    injection: Injection,
) -> ContainerSpec:
    """Return a spec with the device files of a container; its environment and mounts have the rest.

    `own` are those of its block volumes; at one path they count before those that plugins bring. Raises
    ConfigUnavailable if one is missing.
    """
    taken = {device.target for device in own}
    for device in container.volumeDevices:
        if device.devicePath not in taken:
            raise ConfigUnavailable(_missing_device(device.name, container.name))
    brought = (device for device in injection.devices if device.target not in taken)
    return msgspec.structs.replace(
        spec,
        devices=(*own, *brought),
        cdi_devices=injection.cdi_devices,
        annotations=injection.annotations,
    )


def _missing_device(volume: str, container: str) -> str:
    """Return why a container cannot have a block volume, in upstream's words."""
    return f'cannot find volume "{volume}" to pass into container "{container}"'


def _check_node_can(container: AnyContainer, *, recursive_read_only: bool) -> None:
    for variable in container.env:
        if variable.valueFrom is not None and variable.valueFrom.fileKeyRef is not None:
            raise ConfigUnavailable(
                f'environment variable "{variable.name[:SHOWN_CHARACTERS]}": fileKeyRef is not '
                "supported by this node"
            )
    for mount in container.volumeMounts:
        if mount.recursiveReadOnly == "Enabled" and not recursive_read_only:
            raise ConfigUnavailable(
                f'failed to resolve recursive read-only mode: volume "{mount.name}" requested '
                "recursive read-only mode, but it is not supported by the runtime"
            )


def _as_claimed(pod: Pod, container: AnyContainer, mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """Return the mounts with those of a claim that the pod has for reading made read-only."""
    claims = {
        volume.name
        for volume in pod.spec.volumes
        if volume.persistentVolumeClaim is not None and volume.persistentVolumeClaim.readOnly
    }
    paths = {mount.mountPath for mount in container.volumeMounts if mount.name in claims}
    return tuple(
        msgspec.structs.replace(mount, read_only=True) if mount.target in paths else mount
        for mount in mounts
    )


def digest_for(image: Image, reference: str) -> str:
    """Return the digest under which the repository of a reference has an image, or any; empty if none has."""
    name = reference.partition("@")[0]
    repository = name if ":" not in name.rpartition("/")[2] else name.rpartition(":")[0]
    digests = [name for name in image.names if "@" in name]
    own = [name for name in digests if name.partition("@")[0] == repository]
    return (own or digests or [""])[0]
