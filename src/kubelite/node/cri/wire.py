"""Translates between the node's words and the messages of the Container Runtime Interface; pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from kubelite.node import pause_image
from kubelite.node.container_owner import NODE_LABEL, UID_LABEL, ContainerOwner
from kubelite.node.cri import messages as cri
from kubelite.node.docker_wire import (
    ATTEMPT_LABEL,
    DIGEST_LABEL,
    IMAGE_LABEL,
    NO_IPV6,
    SANDBOX_OOM_SCORE,
    are_own,
    own_labels,
)
from kubelite.node.runtime import (
    SANDBOX,
    ContainerLimits,
    ContainerRecord,
    ContainerSpec,
    Credentials,
    Handler,
    IdRange,
    Image,
    Mount,
    Phase,
    Profile,
    SandboxSpec,
)

# What the node needs again when it makes a container of the sandbox: an engine wants the sandbox's settings once more.
SANDBOX_ANNOTATION: Final = "kubelite.io/sandbox"
STOP_SIGNAL_ANNOTATION: Final = "kubelite.io/stop-signal"
PIDS_ANNOTATION: Final = "kubelite.io/pids"  # which the interface cannot limit
# The pod's end of the link is there before the settings are made, so the default for links to come is too late for it.
NO_IPV6_ON_LINK: Final = "net.ipv6.conf.eth0.disable_ipv6"
DEFAULT_DOMAIN: Final = "docker.io"
DIGEST: Final = "sha256:"
_BARE_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)  # as CRI-O spells the id of an image
HUB: Final = "https://registry-1.docker.io"
# Hidden from, and read-only for, containers whose procMount is Default; an engine knows none of its own.
MASKED_PATHS: Final = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS: Final = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)
_PHASES: Final[Mapping[int, Phase]] = {cri.CREATED: "created", cri.RUNNING: "running"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def sandbox_config(
    spec: SandboxSpec,
    owner: ContainerOwner,
    logs: str,
    *,
    may_protect: bool,
    has_ipv6: bool,
    is_crio: bool = False,
) -> cri.SandboxConfig:
    """Return the settings of a sandbox.

    Args:
        spec: The sandbox.
        owner: The data folder that it belongs to.
        logs: The host's folder of the logs of pods.
        may_protect: Whether the host allows negative out-of-memory scores.
        has_ipv6: Whether the host's kernel speaks IPv6.
        is_crio: Whether it is for CRI-O, which gives a sandbox a process only if containers share its PID namespace.
    """
    sysctls = dict(spec.sysctls)
    if has_ipv6 and not spec.host_network:
        sysctls |= {NO_IPV6: "1"}  # whatever the pod says
        if not is_crio:  # which makes the settings before the link
            sysctls |= {NO_IPV6_ON_LINK: "1"}
    security = cri.SandboxSecurity(
        namespace_options=cri.NamespaceOptions(
            network=cri.NODE if spec.host_network else cri.POD,
            pid=cri.POD if is_crio else cri.NODE if spec.host_pid else cri.CONTAINER,
            ipc=cri.NODE if spec.host_ipc else cri.POD,
            userns_options=_user_namespace(spec.ids),
        ),
        readonly_rootfs=True,
        privileged=spec.privileged,
        seccomp=cri.SecurityProfile(),
    )
    resources = cri.Resources(cpu_shares=2, oom_score_adj=SANDBOX_OOM_SCORE if may_protect else 0)
    return cri.SandboxConfig(
        metadata=cri.SandboxMetadata(spec.pod_name, spec.pod_uid, spec.namespace, spec.attempt),
        hostname="" if spec.host_network else spec.hostname,
        log_directory=f"{logs}/{spec.namespace}_{spec.pod_name}_{spec.pod_uid}",
        labels=own_labels(spec, owner),
        annotations={SANDBOX_ANNOTATION: msgspec.json.encode(spec).decode()},
        linux=cri.LinuxSandbox(spec.cgroup_parent, security, sysctls, resources),
    )


def spec_of(annotations: Mapping[str, str]) -> SandboxSpec | None:
    """Return the sandbox that `sandbox_config` has noted; None if it is not there."""
    try:
        return msgspec.json.decode(annotations.get(SANDBOX_ANNOTATION, ""), type=SandboxSpec)
    except (ValueError, RecursionError):
        return None


def container_config(
    spec: ContainerSpec,
    owner: ContainerOwner,
    seccomp_file: str,
    apparmor: str,
    *,
    may_protect: bool,
    has_apparmor: bool,
    is_crio: bool = False,
) -> cri.ContainerConfig:
    """Return the settings of a container.

    Args:
        spec: The container.
        owner: The data folder that it belongs to.
        seccomp_file: The path of its seccomp profile of type Localhost.
        apparmor: The name of its AppArmor profile of type Localhost.
        may_protect: Whether the host allows negative out-of-memory scores.
        has_apparmor: Whether the host's kernel enforces AppArmor profiles; else an engine refuses to name one.
        is_crio: Whether it is for CRI-O.
    """
    labels = own_labels(spec, owner)
    labels |= {IMAGE_LABEL: spec.image_name, DIGEST_LABEL: spec.image_digest}
    annotations = dict(spec.annotations)
    if spec.stop_signal:
        annotations[STOP_SIGNAL_ANNOTATION] = spec.stop_signal
    if spec.limits.pids:
        annotations[PIDS_ANNOTATION] = str(spec.limits.pids)
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(spec.name, spec.attempt),
        image=cri.ImageSpec(image_spec(spec.image, is_crio=is_crio).image, spec.image_name),
        command=list(spec.command),
        args=list(spec.args),
        working_dir=spec.working_dir,
        envs=[cri.KeyValue(name, value.encode()) for name, value in spec.environment],
        mounts=[_mount(mount, spec.ids, is_crio=is_crio) for mount in spec.mounts],
        devices=[
            cri.Device(device.target, device.source, device.permissions) for device in spec.devices
        ],
        labels=labels,
        annotations=annotations,
        log_path=f"{spec.name}/{spec.attempt}.log",
        stdin=spec.stdin,
        stdin_once=spec.stdin_once,
        tty=spec.tty,
        linux=cri.LinuxContainer(
            resources_of(spec.limits, may_protect=may_protect),
            _security(spec, seccomp_file, apparmor, has_apparmor=has_apparmor),
        ),
    )


def _mappings(ids: IdRange | None) -> list[cri.IDMapping]:
    return [cri.IDMapping(ids.host_id, 0, ids.length)] if ids is not None else []


def _user_namespace(ids: IdRange | None) -> cri.UserNamespace | None:
    if ids is None:
        return None
    return cri.UserNamespace(cri.POD, _mappings(ids), _mappings(ids))


def _mount(mount: Mount, ids: IdRange | None, *, is_crio: bool) -> cri.Mount:
    image = None
    if mount.image:
        name = image_spec(mount.image, is_crio=is_crio).image
        image = cri.ImageSpec(name, mount.image_name, name)
    return cri.Mount(
        container_path=mount.target,
        host_path="" if mount.image else mount.source,
        readonly=mount.read_only or bool(mount.image),  # containerd 2 refuses others
        propagation=cri.PROPAGATIONS[mount.propagation],
        uid_mappings=_mappings(ids),
        gid_mappings=_mappings(ids),
        image=image,
        image_sub_path=mount.sub_path if mount.image else "",
    )


def _security(
    spec: ContainerSpec, seccomp_file: str, apparmor: str, *, has_apparmor: bool
) -> cri.ContainerSecurity:
    user, group, name = _user(spec.user)
    selinux = dict(part.partition(":")[::2] for part in spec.selinux)
    masks = not (spec.proc_unmasked or spec.privileged)
    return cri.ContainerSecurity(
        capabilities=cri.Capabilities(list(spec.capabilities_add), list(spec.capabilities_drop)),
        privileged=spec.privileged,
        namespace_options=cri.NamespaceOptions(
            network=cri.NODE if spec.host_network else cri.POD,
            ipc=cri.NODE if spec.host_ipc else cri.POD,
            pid=_pid_mode(spec),
            target_id=spec.shared_pid_with if _pid_mode(spec) == cri.TARGET else "",
            userns_options=_user_namespace(spec.ids),
        ),
        selinux_options=cri.SELinuxOptions(**selinux) if selinux else None,
        run_as_user=user,
        run_as_username=name,
        run_as_group=group,
        readonly_rootfs=spec.read_only_root,
        supplemental_groups=list(spec.groups),
        no_new_privs=spec.no_new_privileges,
        masked_paths=list(MASKED_PATHS) if masks else [],
        readonly_paths=list(READONLY_PATHS) if masks else [],
        # An engine takes an absent profile for none at all.
        seccomp=_profile(spec.seccomp, seccomp_file),
        apparmor=_profile(spec.apparmor, apparmor) if has_apparmor else None,
    )


def _profile(profile: Profile, loaded: str) -> cri.SecurityProfile:
    kind = cri.PROFILES[profile.type]
    assert profile.type != "Localhost" or loaded, "the profile was not loaded"
    return cri.SecurityProfile(kind, loaded if profile.type == "Localhost" else "")


def _pid_mode(spec: ContainerSpec) -> int:
    if spec.host_pid:
        return cri.NODE
    if not spec.shared_pid_with:
        return cri.CONTAINER
    return cri.POD if spec.shared_pid_with == spec.sandbox_id else cri.TARGET


def _user(text: str) -> tuple[cri.Int64Value | None, cri.Int64Value | None, str]:
    """Split ``UID``, ``UID:GID``, ``NAME`` or ``NAME:GID`` into user id, group id and user name."""
    user, _, group = text.partition(":")
    is_number = user.isascii() and user.isdecimal()
    return (
        cri.Int64Value(int(user)) if is_number else None,
        cri.Int64Value(int(group)) if group.isascii() and group.isdecimal() else None,
        "" if is_number else user,
    )


def resources_of(limits: ContainerLimits, *, may_protect: bool) -> cri.Resources:
    """Return the resource settings of a container."""
    score = limits.oom_score_adj if may_protect else max(limits.oom_score_adj, 0)
    return cri.Resources(
        cpu_period=limits.cpu_period_us if limits.cpu_quota_us else 0,
        cpu_quota=limits.cpu_quota_us,
        cpu_shares=limits.cpu_shares,
        memory_limit_in_bytes=limits.memory_bytes,
        oom_score_adj=score,
    )


def sandbox_record(
    status: cri.SandboxStatus, info: Mapping[str, str], owner: ContainerOwner
) -> ContainerRecord | None:
    """Return the record of a sandbox; None if it is not this owner's."""
    labels = status.labels
    if not _is_ours(labels, owner):
        return None
    is_running = status.state == cri.SANDBOX_READY
    created = _date(status.created_at) or _EPOCH
    details = detail(info)
    return ContainerRecord(
        id=status.id,
        pod_uid=labels[UID_LABEL],
        pod_name=labels.get("io.kubernetes.pod.name", ""),
        namespace=labels.get("io.kubernetes.pod.namespace", ""),
        name=SANDBOX,
        attempt=int(labels[ATTEMPT_LABEL]),
        phase="running" if is_running else "exited",
        created_at=created,
        started_at=created,
        finished_at=None if is_running else created,
        pid=_pid(details) if is_running else 0,
        labels=labels,
    )


def container_record(
    status: cri.ContainerStatus, info: Mapping[str, str], owner: ContainerOwner
) -> ContainerRecord | None:
    """Return the record of a container; None if it is not this owner's."""
    labels = status.labels
    if not _is_ours(labels, owner):
        return None
    phase = _PHASES.get(status.state, "exited")
    created = _date(status.created_at) or _EPOCH
    started = _date(status.started_at)
    finished = _date(status.finished_at) if phase == "exited" else None
    if phase == "exited":
        finished = max(finished or created, started or created)
    was_refused = status.reason == "StartError"
    return ContainerRecord(
        id=status.id,
        pod_uid=labels[UID_LABEL],
        pod_name=labels.get("io.kubernetes.pod.name", ""),
        namespace=labels.get("io.kubernetes.pod.namespace", ""),
        name=labels["io.kubernetes.container.name"],
        attempt=int(labels[ATTEMPT_LABEL]),
        phase=phase,
        created_at=created,
        started_at=started,
        finished_at=finished,
        exit_code=status.exit_code,
        oom_killed=status.reason == "OOMKilled",
        error=status.message if was_refused else "",
        image=labels.get(IMAGE_LABEL, ""),
        image_id=labels.get(DIGEST_LABEL) or _image_id(status.image_id or status.image_ref),
        pid=_pid(detail(info)) if phase == "running" else 0,
        log_path=status.log_path,
        labels=labels,
    )


def _is_ours(labels: Mapping[str, str], owner: ContainerOwner) -> bool:
    return NODE_LABEL in labels and are_own(labels) and owner.owns(labels)


def detail(info: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the details of a verbose status; empty if there are none that can be read."""
    try:
        found = msgspec.json.decode(info.get("info", ""))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _pid(details: Mapping[str, Any]) -> int:
    pid = details.get("pid")
    return pid if isinstance(pid, int) and pid > 0 else 0


def _date(nanoseconds: int) -> datetime | None:
    """Return a date; None for one that was not set, which engines also spell as a year before 1970."""
    if nanoseconds <= 0:
        return None
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _image_id(text: str) -> str:
    return f"{DIGEST}{text}" if _BARE_ID.fullmatch(text) else text


def image_of(found: cri.Image, info: Mapping[str, str] | None = None) -> Image:
    """Return an image; `info` has the details of a verbose status."""
    config = detail(info or {}).get("imageSpec")
    config = config.get("config") if isinstance(config, dict) else None
    config = config if isinstance(config, dict) else {}
    volumes = config.get("Volumes")
    user = str(found.uid.value) if found.uid is not None else found.username
    own_user = config.get("User")
    return Image(
        id=_image_id(found.id),
        names=(*found.repo_digests, *found.repo_tags),
        digest=found.repo_digests[0] if found.repo_digests else "",
        size_bytes=found.size,
        user=own_user if isinstance(own_user, str) else user,
        pinned=found.pinned or pause_image.NAME in found.repo_tags,
        volumes=tuple(volumes) if isinstance(volumes, dict) else (),
    )


def image_spec(reference: str, *, is_crio: bool = False) -> cri.ImageSpec:
    """Return an image as an engine finds it, by id or by its name in full; CRI-O takes `sha256:` for a name."""
    name = full_name(reference)
    return cri.ImageSpec(name.removeprefix(DIGEST) if is_crio else name)


def stop_signal_of(info: Mapping[str, str]) -> str:
    """Return the signal in the details of an image by which its containers are to be stopped."""
    spec = detail(info).get("imageSpec")
    config = spec.get("config") if isinstance(spec, dict) else None
    signal = config.get("StopSignal") if isinstance(config, dict) else None
    return signal if isinstance(signal, str) else ""


def full_name(reference: str) -> str:
    """Return a reference with its registry, as engines of the interface want it; an id stays as it is."""
    if reference.startswith(DIGEST):
        return reference
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        name = reference
    else:
        name = f"{DEFAULT_DOMAIN}/{'' if slash else 'library/'}{reference}"
    last = name.rpartition("/")[2]
    return name if ":" in last or "@" in last else f"{name}:latest"


def pids_of(annotations: Mapping[str, str]) -> int:
    """Return the number of processes that a container may have; 0: any."""
    text = annotations.get(PIDS_ANNOTATION, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def auth_of(credentials: Credentials | None) -> cri.AuthConfig | None:
    """Return a login for the registry of a pull."""
    if credentials is None:
        return None
    return cri.AuthConfig(
        username=credentials.username,
        password=credentials.password,
        # containerd compares it with the host that it asks.
        server_address=HUB if credentials.server == DEFAULT_DOMAIN else credentials.server,
        identity_token=credentials.identity_token,
    )


def handlers_of(status: cri.StatusResponse) -> tuple[Handler, ...]:
    """Return the handlers that a status lists, the default one first; older engines show them in their settings."""
    found = {
        one.name: Handler(one.name, one.features is not None and one.features.user_namespaces)
        for one in status.runtime_handlers
    }
    default = found.pop("", Handler())
    if not status.runtime_handlers:
        runtimes = config_of(status).get("containerd", {}).get("runtimes", {})
        found = {name: Handler(name) for name in runtimes}
    return (default, *(found[name] for name in sorted(found)))


def uses_systemd(status: cri.StatusResponse) -> bool:
    """Return whether an engine's settings say that systemd makes its control groups."""
    settings = config_of(status)
    engine = settings.get("containerd", {})
    runtimes = engine.get("runtimes", {}) if isinstance(engine, dict) else {}
    name = engine.get("defaultRuntimeName", "runc") if isinstance(engine, dict) else ""
    runtime = runtimes.get(name) if isinstance(runtimes, dict) else None
    options = runtime.get("options") if isinstance(runtime, dict) else None
    return bool(settings.get("systemdCgroup")) or bool(
        isinstance(options, dict) and options.get("SystemdCgroup")
    )


def snapshotter_of(status: cri.StatusResponse) -> str:
    """Return the name of what keeps containerd's layers; empty for its default."""
    engine = config_of(status).get("containerd")
    name = engine.get("snapshotter") if isinstance(engine, dict) else None
    return name if isinstance(name, str) else ""


def config_of(status: cri.StatusResponse) -> Mapping[str, Any]:
    """Return the settings in a verbose status; empty if it has none."""
    try:
        found = msgspec.json.decode(status.info.get("config", ""))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
