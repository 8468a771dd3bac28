"""Translates between the node's words and the Docker API's JSON; pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kubelite.api.machinery.times import parse_time
from kubelite.node import pause_image
from kubelite.node.container_owner import NODE_LABEL, UID_LABEL, ContainerOwner
from kubelite.node.images.names import find_name, is_image_id
from kubelite.node.log_policy import LOGS_BY_DEFAULT, LogPolicy
from kubelite.node.profiles import LoadedProfiles
from kubelite.node.runtime import (
    SANDBOX,
    ContainerLimits,
    ContainerRecord,
    ContainerSpec,
    Handler,
    Image,
    Phase,
    SandboxSpec,
)

TYPE_LABEL = "io.kubelite.type"
ATTEMPT_LABEL = "io.kubelite.attempt"
IMAGE_LABEL = "io.kubelite.image"
DIGEST_LABEL = "io.kubelite.image-digest"
SANDBOX_OOM_SCORE = -998
# Of links to come, not of the loopback: pods of a node share a bridge, on which link-local addresses would get past the
# network policies.
NO_IPV6 = "net.ipv6.conf.default.disable_ipv6"
SHM_BYTES = 64 * 1024 * 1024
REFUSED = 128  # the exit code of a container whose process could not be started, as of CRI engines
_ZERO_DATE = "0001-01-01"
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?", re.ASCII)
_ATTEMPT = re.compile(r"[0-9]{1,9}", re.ASCII)

JSON = dict[str, Any]


def container_name(spec: SandboxSpec | ContainerSpec) -> str:
    """Name a container as upstream's Docker integration did, so that people recognise it."""
    name = SANDBOX if isinstance(spec, SandboxSpec) else spec.name
    return f"k8s_{name}_{spec.pod_name}_{spec.namespace}_{spec.pod_uid}_{spec.attempt}"


def own_labels(spec: SandboxSpec | ContainerSpec, owner: ContainerOwner) -> dict[str, str]:
    """Return the labels by which a node finds its sandboxes and containers again."""
    return {
        **spec.labels,
        **owner.labels(),
        TYPE_LABEL: "sandbox" if isinstance(spec, SandboxSpec) else "container",
        ATTEMPT_LABEL: str(spec.attempt),
    }


def sandbox_body(
    spec: SandboxSpec,
    owner: ContainerOwner,
    image: str,
    *,
    may_protect: bool,
    has_ipv6: bool,
    ulimits: Mapping[str, int] = {},
) -> JSON:
    """Return the body that creates a sandbox.

    Args:
        spec: The sandbox.
        owner: The data folder that it belongs to.
        image: The pause image.
        may_protect: Whether the host allows negative out-of-memory scores.
        has_ipv6: Whether the host's kernel speaks IPv6.
        ulimits: Resource limits of the process by name; those that are absent are the engine's.
    """
    sysctls = dict(spec.sysctls)
    if has_ipv6 and not spec.host_network:
        sysctls[NO_IPV6] = "1"  # whatever the pod says
    host: JSON = {
        "NetworkMode": "host" if spec.host_network else "none",
        "IpcMode": "host" if spec.host_ipc else "shareable",
        "PidMode": "host" if spec.host_pid else "",
        "UTSMode": "host" if spec.host_network else "",
        "ShmSize": SHM_BYTES,
        "CpuShares": 2,
        "OomScoreAdj": SANDBOX_OOM_SCORE if may_protect else 0,
        "ReadonlyRootfs": True,
        "Sysctls": sysctls,
        "LogConfig": {"Type": "none"},
        "RestartPolicy": {"Name": "no"},
        "CgroupParent": spec.cgroup_parent,
        "SecurityOpt": ["no-new-privileges"],
        **_ulimits(ulimits),
        **_handler(spec),
    }
    return {
        "Image": image,
        "Hostname": "" if spec.host_network else spec.hostname,
        # A namespace of its own all the same, but without the engine's hook into it, for which the engine would run
        # its own program once more: that takes as long as the rest of the start.
        "NetworkDisabled": not spec.host_network,
        "Labels": own_labels(spec, owner),
        "HostConfig": host,
    }


def container_body(
    spec: ContainerSpec,
    owner: ContainerOwner,
    profiles: LoadedProfiles,
    *,
    may_protect: bool,
    privileges: JSON,
    ulimits: Mapping[str, int] = {},
    logs: LogPolicy = LOGS_BY_DEFAULT,
) -> JSON:
    """Return the body that creates a container.

    Args:
        spec: The container.
        owner: The data folder that it belongs to.
        profiles: The resolved profiles of type Localhost.
        may_protect: Whether the host allows negative out-of-memory scores.
        privileges: The settings of a privileged container on this host.
        ulimits: Resource limits of the process by name; those that are absent are the engine's.
        logs: How much of its output is kept.
    """
    shared = f"container:{spec.sandbox_id}"
    host: JSON = {
        "NetworkMode": "host" if spec.host_network else shared,
        "IpcMode": "host" if spec.host_ipc else shared,
        "PidMode": _pid_mode(spec),
        "UTSMode": "host" if spec.host_network else "",
        "Mounts": [
            {
                "Type": "bind",
                "Source": mount.source,
                "Target": mount.target,
                "ReadOnly": mount.read_only,
                "BindOptions": {"Propagation": mount.propagation or "rprivate"},
            }
            for mount in spec.mounts
        ],
        "Devices": [
            {
                "PathOnHost": device.source,
                "PathInContainer": device.target,
                "CgroupPermissions": device.permissions,
            }
            for device in spec.devices
        ],
        "GroupAdd": [str(group) for group in spec.groups],
        "ReadonlyRootfs": spec.read_only_root,
        "CapAdd": list(spec.capabilities_add),
        "CapDrop": list(spec.capabilities_drop),
        "SecurityOpt": _security_options(spec, profiles),
        "LogConfig": _log_config(logs),
        "RestartPolicy": {"Name": "no"},
        "CgroupParent": spec.cgroup_parent,
        "OomScoreAdj": spec.limits.oom_score_adj
        if may_protect
        else max(spec.limits.oom_score_adj, 0),
        **limits_body(spec.limits),
        **_ulimits(ulimits),
        **_handler(spec),
    }
    if spec.cdi_devices:
        host["DeviceRequests"] = [{"Driver": "cdi", "DeviceIDs": list(spec.cdi_devices)}]
    if spec.proc_unmasked:
        host |= {"MaskedPaths": [], "ReadonlyPaths": []}
    if spec.privileged:
        host |= privileges
        # A profile that is named holds for a privileged container too; seccomp never does.
        named = _profile_option("apparmor", spec.apparmor.type, profiles.apparmor)
        if named and "SecurityOpt" in privileges:
            others = (one for one in privileges["SecurityOpt"] if not one.startswith("apparmor="))
            host["SecurityOpt"] = [*others, *named]
    body: JSON = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.environment],
        "WorkingDir": spec.working_dir,
        "User": spec.user,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin_once,
        "StopSignal": spec.stop_signal,
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {
            **own_labels(spec, owner),
            IMAGE_LABEL: spec.image_name,
            DIGEST_LABEL: spec.image_digest,
        },
        "HostConfig": host,
    }
    if spec.command:
        body["Entrypoint"] = list(spec.command)
    if spec.args:
        body["Cmd"] = list(spec.args)
    return body


def _log_config(logs: LogPolicy) -> JSON:
    """Return the settings of the engine's own log files; it counts k and m in thousands, so these are bytes."""
    config: JSON = {"Type": "json-file"}
    if logs.max_bytes:
        config["Config"] = {"max-size": str(logs.max_bytes), "max-file": str(logs.max_files)}
    return config


def _pid_mode(spec: ContainerSpec) -> str:
    if spec.host_pid:
        return "host"
    return f"container:{spec.shared_pid_with}" if spec.shared_pid_with else ""


def _handler(spec: SandboxSpec | ContainerSpec) -> JSON:
    return {"Runtime": spec.handler} if spec.handler else {}


def _ulimits(limits: Mapping[str, int]) -> JSON:
    made = [{"Name": name, "Soft": value, "Hard": value} for name, value in limits.items()]
    return {"Ulimits": made} if made else {}


def _security_options(spec: ContainerSpec, profiles: LoadedProfiles) -> list[str]:
    """Return the options in the engine's spelling; no text that a pod gives stands for a whole profile."""
    options = [
        *_profile_option("seccomp", spec.seccomp.type, profiles.seccomp),
        *_profile_option("apparmor", spec.apparmor.type, profiles.apparmor),
        *(f"label={part}" for part in spec.selinux),
    ]
    if spec.no_new_privileges:
        options.append("no-new-privileges")
    return options


def _profile_option(name: str, kind: str, loaded: str) -> list[str]:
    if kind == "RuntimeDefault":
        return []
    if kind == "Unconfined":
        return [f"{name}=unconfined"]
    # The engine takes its own words for a profile as well, and an empty one means its default.
    assert loaded not in ("", "unconfined", "builtin"), f"the {name} profile was not loaded"
    return [f"{name}={loaded}"]


def handlers_of(info: Mapping[str, Any]) -> tuple[Handler, ...]:
    """Return the handlers (OCI runtimes) that the engine's info lists.

    It can put all containers into one user namespace but not each pod into one of its own, so none offers that.
    """
    return (Handler(), *(Handler(name) for name in sorted(info.get("Runtimes") or {})))


def limits_body(limits: ContainerLimits) -> JSON:
    """Return the part of a body that limits resources."""
    body: JSON = {"CpuShares": limits.cpu_shares}
    if limits.cpu_quota_us:
        body |= {"CpuQuota": limits.cpu_quota_us, "CpuPeriod": limits.cpu_period_us}
    if limits.memory_bytes:
        body |= {"Memory": limits.memory_bytes, "MemorySwap": limits.memory_bytes}
    if limits.pids:
        body["PidsLimit"] = limits.pids
    return body


def record_of(
    found: Mapping[str, Any], engine: str = "docker", refusal: str = ""
) -> ContainerRecord | None:
    """Return the record of an inspected container; None if kubelite did not make it.

    `refusal` is why its start was refused, where the engine's answer does not say it.
    A container also gets the labels of its image, so an image that another user runs on this engine can
    claim anything: labels in a form that this node does not write are not this node's.
    """
    labels = found["Config"].get("Labels") or {}
    if NODE_LABEL not in labels or not are_own(labels):
        return None
    state = found["State"]
    error = state["Error"] or refusal
    phase = _phase(state, error)
    return ContainerRecord(
        id=found["Id"],
        pod_uid=labels[UID_LABEL],
        pod_name=labels.get("io.kubernetes.pod.name", ""),
        namespace=labels.get("io.kubernetes.pod.namespace", ""),
        name=labels["io.kubernetes.container.name"],
        attempt=int(labels[ATTEMPT_LABEL]),
        phase=phase,
        created_at=parse_time(found["Created"]),
        started_at=_date(state["StartedAt"]),
        finished_at=_date(state["FinishedAt"])
        or (parse_time(found["Created"]) if phase == "exited" else None),
        exit_code=state["ExitCode"] or (REFUSED if refusal else 0),
        oom_killed=state["OOMKilled"],
        error=error,
        image=labels.get(IMAGE_LABEL, ""),
        image_id=labels.get(DIGEST_LABEL) or found["Image"],
        pid=state["Pid"],
        log_path=found.get("LogPath") or "",
        layer_path=_layer_of(found),
        labels=labels,
        engine=engine,
    )


def _layer_of(found: Mapping[str, Any]) -> str:
    """Return the folder of an inspected container's writable layer; "" if its storage driver has none."""
    data = (found.get("GraphDriver") or {}).get("Data") or {}
    path = data.get("UpperDir")
    return path if isinstance(path, str) else ""


def are_own(labels: Mapping[str, str]) -> bool:
    """Return whether labels have the form that a node writes."""
    own = [labels.get(f"io.kubernetes.{part}", "") for part in ("pod.uid", "container.name")]
    other = [labels.get(f"io.kubernetes.pod.{part}", "") for part in ("name", "namespace")]
    return _ATTEMPT.fullmatch(labels.get(ATTEMPT_LABEL, "")) is not None and all(
        _NAME.fullmatch(name) for name in (*own, *(name for name in other if name))
    )


def _phase(state: Mapping[str, Any], error: str) -> Phase:
    if state["Running"]:
        return "running"
    if state["Status"] == "created" and not error:
        return "created"
    return "exited"  # also one that the engine could not start


def _date(text: str) -> datetime | None:
    return None if text.startswith(_ZERO_DATE) else parse_time(text)


def image_of(found: Mapping[str, Any]) -> Image:
    """Return an image from an entry of `inspect` or of the list."""
    config = found.get("Config") or {}
    digests = tuple(found.get("RepoDigests") or ())
    tags = tuple(tag for tag in found.get("RepoTags") or () if tag != "<none>:<none>")
    return Image(
        id=found["Id"],
        names=(*digests, *tags),
        digest=digests[0] if digests else "",
        size_bytes=found.get("Size", 0),
        user=config.get("User", ""),
        pinned=pause_image.NAME in tags,
        volumes=tuple(config.get("Volumes") or ()),
    )


def is_reference(text: str) -> bool:
    """Whether a text names an image, by the grammar of distribution/reference, or is an image's id."""
    return find_name(text) is not None or is_image_id(text)


def with_tag(reference: str) -> str:
    """Add the tag ``latest`` to a reference without tag and digest; else the engine would pull all tags."""
    last = reference.rpartition("/")[2]
    return reference if ":" in last or "@" in reference else f"{reference}:latest"
