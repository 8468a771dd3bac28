"""The checks of the Pod Security Standards, at their latest versions, as pure functions over a pod.

A check returns why a pod fails it: a short reason and the detail, both worded as upstream, or None. `CHECKS` has
them in the order in which they are reported.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

Version = tuple[int, int]
Json = Mapping[str, Any]
LATEST: Version = (1, 36)
ALL_VERSIONS: Version = (1, 0)

CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
SYSCTLS: tuple[tuple[Version, tuple[str, ...]], ...] = (
    (
        (1, 0),
        (
            "kernel.shm_rmid_forced",
            "net.ipv4.ip_local_port_range",
            "net.ipv4.tcp_syncookies",
            "net.ipv4.ping_group_range",
            "net.ipv4.ip_unprivileged_port_start",
        ),
    ),
    ((1, 27), ("net.ipv4.ip_local_reserved_ports",)),
    (
        (1, 29),
        (
            "net.ipv4.tcp_keepalive_time",
            "net.ipv4.tcp_fin_timeout",
            "net.ipv4.tcp_keepalive_intvl",
            "net.ipv4.tcp_keepalive_probes",
        ),
    ),
    ((1, 32), ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")),
)
SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
FREE_VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"


class Failure(Struct, frozen=True):
    """The reason and detail of a failed check."""

    reason: str
    detail: str


class Pod(Struct, frozen=True):
    """The pod under check, the version of the standard, and whether nodes support user namespaces."""

    spec: Json
    annotations: Mapping[str, str]
    version: Version
    nodes_isolate_users: bool = (
        False  # whether every node gives a pod with hostUsers: false a user namespace
    )

    @property
    def containers(self) -> Iterator[Json]:
        """All containers, init containers first."""
        for field in ("initContainers", "containers", "ephemeralContainers"):
            yield from self.spec.get(field) or []

    @property
    def security(self) -> Json:
        """The security context of the pod."""
        return self.spec.get("securityContext") or {}

    @property
    def is_windows(self) -> bool:
        """Whether it is a Windows pod; from 1.25 some checks apply only to Linux."""
        return self.version >= (1, 25) and (self.spec.get("os") or {}).get("name") == "windows"

    @property
    def has_own_users(self) -> bool:
        """Whether it runs in a user namespace, which relaxes some checks from 1.35: by hostUsers and all nodes."""
        asks = self.version >= (1, 35) and self.spec.get("hostUsers") is False
        return asks and self.nodes_isolate_users


class Check(Struct, frozen=True):
    """One check of the standard."""

    is_restricted: bool  # else baseline
    judge: Callable[[Pod], Failure | None]
    since: Version = ALL_VERSIONS
    overrides: str = ""  # the name of the baseline check that this one replaces
    name: str = ""


def app_armor(pod: Pod) -> Failure | None:
    """AppArmor must not be disabled."""
    allowed = ("RuntimeDefault", "Localhost")
    setters, values = _settings(
        pod, "appArmorProfile", lambda one: one.get("type") not in allowed, "type"
    )
    annotations = sorted(
        f'{key}="{value}"'
        for key, value in pod.annotations.items()
        if key.startswith(APP_ARMOR) and not _is_app_armor(value)
    )
    if annotations:
        values = [*values, *annotations]
        setters.append(_plural("annotation", annotations))
    if not setters:
        return None
    reason = "forbidden AppArmor profile" if len(values) == 1 else "forbidden AppArmor profiles"
    return Failure(
        reason, f"{' and '.join(setters)} must not set AppArmor profile type to {_quoted(values)}"
    )


def capabilities_baseline(pod: Pod) -> Failure | None:
    """Only the default capabilities of container engines may be added."""
    bad, added = [], set()
    for container in pod.containers:
        extra = (
            set((_security(container).get("capabilities") or {}).get("add") or []) - CAPABILITIES
        )
        if extra:
            bad.append(_name(container))
            added |= extra
    if not bad:
        return None
    detail = f"{_containers(bad)} must not include {_quoted(sorted(added))} in securityContext.capabilities.add"
    return Failure("non-default capabilities", detail)


def host_namespaces(pod: Pod) -> Failure | None:
    """Host namespaces are forbidden."""
    used = [
        f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(field)
    ]
    return Failure("host namespaces", ", ".join(used)) if used else None


def host_path_volumes(pod: Pod) -> Failure | None:
    """Volumes of type hostPath are forbidden."""
    bad = [
        _name(volume)
        for volume in pod.spec.get("volumes") or []
        if volume.get("hostPath") is not None
    ]
    return Failure("hostPath volumes", f"{_plural('volume', bad)} {_quoted(bad)}") if bad else None


def host_ports(pod: Pod) -> Failure | None:
    """Host ports are forbidden."""
    bad, ports = [], set()
    for container in pod.containers:
        own = {
            str(port["hostPort"]) for port in container.get("ports") or [] if port.get("hostPort")
        }
        if own:
            bad.append(_name(container))
            ports |= own
    if not bad:
        return None
    uses = "uses" if len(bad) == 1 else "use"
    return Failure(
        "hostPort",
        f"{_containers(bad)} {uses} {_plural('hostPort', ports)} {', '.join(sorted(ports))}",
    )


def host_probes(pod: Pod) -> Failure | None:
    """Probes and lifecycle hooks must not name another host."""
    bad, hosts = set(), set()
    for container in pod.containers:
        lifecycle = container.get("lifecycle") or {}
        handlers = [container.get(f"{kind}Probe") for kind in ("liveness", "readiness", "startup")]
        handlers += [lifecycle.get("postStart"), lifecycle.get("preStop")]
        own = {
            host
            for handler in handlers
            if handler
            for action in ("httpGet", "tcpSocket")
            if (host := (handler.get(action) or {}).get("host"))
        }
        if own:
            bad.add(_name(container))
            hosts |= own
    if not bad:
        return None
    uses = "uses" if len(bad) == 1 else "use"
    noun = "probe or lifecycle host" if len(hosts) == 1 else "probe or lifecycle hosts"
    return Failure(
        "probe or lifecycle host",
        f"{_containers(sorted(bad))} {uses} {noun} {_quoted(sorted(hosts))}",
    )


def privileged(pod: Pod) -> Failure | None:
    """Privileged containers are forbidden."""
    bad = [_name(one) for one in pod.containers if _security(one).get("privileged")]
    if not bad:
        return None
    return Failure("privileged", f"{_containers(bad)} must not set securityContext.privileged=true")


def proc_mount(pod: Pod) -> Failure | None:
    """The proc mount must be the default one, which masks parts of /proc."""
    bad, kinds = [], set()
    for container in pod.containers:
        kind = _security(container).get("procMount")
        if kind is not None and kind != "Default":
            bad.append(_name(container))
            kinds.add(kind)
    if not bad:
        return None
    detail = (
        f"{_containers(bad)} must not set securityContext.procMount to {_quoted(sorted(kinds))}"
    )
    return Failure("procMount", detail)


def proc_mount_baseline(pod: Pod) -> Failure | None:
    """As `proc_mount`, except in a user namespace."""
    return None if pod.has_own_users else proc_mount(pod)


def seccomp_baseline(pod: Pod) -> Failure | None:
    """Seccomp must not be disabled (Unconfined)."""
    if pod.version < (1, 19):
        return _seccomp_annotations(pod)
    setters, values = _settings(pod, "seccompProfile", _is_unconfined, "type")
    if not setters:
        return None
    detail = f"{' and '.join(setters)} must not set securityContext.seccompProfile.type to {_quoted(values)}"
    return Failure("seccompProfile", detail)


def selinux(pod: Pod) -> Failure | None:
    """SELinux types must be those for containers; user and role must not be set."""
    types = SELINUX_TYPES | ({"container_engine_t"} if pod.version >= (1, 31) else set())

    def is_bad(options: Json) -> bool:
        return options.get("type", "") not in types or bool(
            options.get("user") or options.get("role")
        )

    setters, _ = _settings(pod, "seLinuxOptions", is_bad, "type")
    if not setters:
        return None
    all_options = [one for one in _options(pod, "seLinuxOptions") if is_bad(one)]
    bad_types = sorted({o.get("type", "") for o in all_options} - types)
    data = [f"{_plural('type', bad_types)} {_quoted(bad_types)}"] if bad_types else []
    data += [
        f"{part} may not be set"
        for part in ("user", "role")
        if any(o.get(part) for o in all_options)
    ]
    detail = (
        f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"
    )
    return Failure("seLinuxOptions", detail)


def sysctls(pod: Pod) -> Failure | None:
    """Only namespaced (safe) sysctls are allowed."""
    allowed = {name for since, names in SYSCTLS if since <= pod.version for name in names}
    bad = [
        _name(one) for one in pod.security.get("sysctls") or [] if one.get("name") not in allowed
    ]
    return Failure("forbidden sysctls", ", ".join(bad)) if bad else None


def windows_host_process(pod: Pod) -> Failure | None:
    """Windows HostProcess containers are forbidden."""
    setters, _ = _settings(
        pod, "windowsOptions", lambda one: bool(one.get("hostProcess")), "hostProcess"
    )
    if not setters:
        return None
    detail = f"{' and '.join(setters)} must not set securityContext.windowsOptions.hostProcess=true"
    return Failure("hostProcess", detail)


def privilege_escalation(pod: Pod) -> Failure | None:
    """Each container must set allowPrivilegeEscalation to false."""
    bad = [
        _name(one)
        for one in pod.containers
        if _security(one).get("allowPrivilegeEscalation") is not False
    ]
    if pod.is_windows or not bad:
        return None
    detail = f"{_containers(bad)} must set securityContext.allowPrivilegeEscalation=false"
    return Failure("allowPrivilegeEscalation != false", detail)


def capabilities_restricted(pod: Pod) -> Failure | None:
    """All capabilities must be dropped; only NET_BIND_SERVICE may be added."""
    keeping, adding, added = [], [], set()
    for container in pod.containers:
        capabilities = _security(container).get("capabilities") or {}
        if "ALL" not in (capabilities.get("drop") or []):
            keeping.append(_name(container))
        if extra := set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
            adding.append(_name(container))
            added |= extra
    details = []
    if keeping:
        details.append(f'{_containers(keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        names = _quoted(sorted(added))
        details.append(
            f"{_containers(adding)} must not include {names} in securityContext.capabilities.add"
        )
    if pod.is_windows or not details:
        return None
    return Failure("unrestricted capabilities", "; ".join(details))


def volume_types(pod: Pod) -> Failure | None:
    """Only the volume types of the restricted standard are allowed."""
    bad, kinds = [], set()
    for volume in pod.spec.get("volumes") or []:
        sources = [key for key, value in volume.items() if key != "name" and value is not None]
        if not FREE_VOLUMES.intersection(sources):
            bad.append(_name(volume))
            kinds.add(sources[0] if sources else "unknown")
    if not bad:
        return None
    uses = "uses" if len(bad) == 1 else "use"
    noun = "restricted volume type" if len(kinds) == 1 else "restricted volume types"
    detail = f"{_plural('volume', bad)} {_quoted(bad)} {uses} {noun} {_quoted(sorted(kinds))}"
    return Failure("restricted volume types", detail)


def non_root(pod: Pod) -> Failure | None:
    """Each container or the pod must set runAsNonRoot to true, and no container may set it to false."""
    if pod.has_own_users:
        return None
    of_pod = pod.security.get("runAsNonRoot")
    explicit = [_name(one) for one in pod.containers if _security(one).get("runAsNonRoot") is False]
    open_ = [_name(one) for one in pod.containers if _security(one).get("runAsNonRoot") is None]
    setters = _setters(of_pod is False, explicit)
    reason = "runAsNonRoot != true"
    if setters:
        return Failure(
            reason, f"{' and '.join(setters)} must not set securityContext.runAsNonRoot=false"
        )
    if open_ and not of_pod:
        return Failure(
            reason, f"pod or {_containers(open_)} must set securityContext.runAsNonRoot=true"
        )
    return None


def root_user(pod: Pod) -> Failure | None:
    """The field runAsUser must not be 0."""
    if pod.has_own_users:
        return None
    bad = [_name(one) for one in pod.containers if _security(one).get("runAsUser") == 0]
    setters = _setters(pod.security.get("runAsUser") == 0, bad)
    return (
        Failure("runAsUser=0", f"{' and '.join(setters)} must not set runAsUser=0")
        if setters
        else None
    )


def seccomp_restricted(pod: Pod) -> Failure | None:
    """A seccomp profile must be set."""
    if pod.is_windows:
        return None
    if failure := seccomp_baseline(pod):
        return failure
    open_ = [_name(one) for one in pod.containers if not _security(one).get("seccompProfile")]
    if not open_ or pod.security.get("seccompProfile"):
        return None
    detail = (
        f"pod or {_containers(open_)} must set securityContext.seccompProfile.type to "
        '"RuntimeDefault" or "Localhost"'
    )
    return Failure("seccompProfile", detail)


# Baseline first, then restricted, each sorted by name, the order in which Kubernetes reports them.
CHECKS = (
    Check(is_restricted=False, judge=app_armor),
    Check(is_restricted=False, judge=capabilities_baseline, name="capabilities"),
    Check(is_restricted=False, judge=host_namespaces),
    Check(is_restricted=False, judge=host_path_volumes, name="hostPath"),
    Check(is_restricted=False, judge=host_ports),
    Check(is_restricted=False, judge=host_probes, since=(1, 34)),
    Check(is_restricted=False, judge=privileged),
    Check(is_restricted=False, judge=proc_mount_baseline, name="procMount"),
    Check(is_restricted=False, judge=selinux),
    Check(is_restricted=False, judge=seccomp_baseline, name="seccomp"),
    Check(is_restricted=False, judge=sysctls),
    Check(is_restricted=False, judge=windows_host_process),
    Check(is_restricted=True, judge=privilege_escalation, since=(1, 8)),
    Check(
        is_restricted=True, judge=capabilities_restricted, since=(1, 22), overrides="capabilities"
    ),
    Check(is_restricted=True, judge=proc_mount, since=(1, 35), overrides="procMount"),
    Check(is_restricted=True, judge=volume_types, overrides="hostPath"),
    Check(is_restricted=True, judge=non_root),
    Check(is_restricted=True, judge=root_user, since=(1, 23)),
    Check(is_restricted=True, judge=seccomp_restricted, since=(1, 19), overrides="seccomp"),
)


def failures(pod: Pod, *, restricted: bool) -> list[Failure]:
    """Return the checks that a pod fails, at the baseline or the restricted level."""
    active = [c for c in CHECKS if c.since <= pod.version and (restricted or not c.is_restricted)]
    replaced = {check.overrides for check in active if check.overrides}
    judged = (check.judge(pod) for check in active if not check.name or check.name not in replaced)
    return [failure for failure in judged if failure is not None]


def _settings(
    pod: Pod, field: str, is_bad: Callable[[Json], bool], value: str
) -> tuple[list[str], list[str]]:
    """Return the pod and containers that set a field of the security context to a forbidden value, and the values."""
    own = pod.security.get(field)
    in_pod = own is not None and is_bad(own)
    bad = [
        one for one in pod.containers if (o := _security(one).get(field)) is not None and is_bad(o)
    ]
    options = [_security(one)[field] for one in bad] + ([own] if in_pod and own is not None else [])
    values = sorted({str(option.get(value, "")) for option in options})
    return _setters(in_pod, [_name(one) for one in bad]), values


def _options(pod: Pod, field: str) -> list[Json]:
    holders = [pod.security, *(_security(one) for one in pod.containers)]
    return [holder[field] for holder in holders if holder.get(field) is not None]


def _setters(in_pod: bool, containers: Sequence[str]) -> list[str]:
    return (["pod"] if in_pod else []) + ([_containers(containers)] if containers else [])


def _seccomp_annotations(pod: Pod) -> Failure | None:
    keys = [SECCOMP_POD, *(SECCOMP_CONTAINER + _name(one) for one in pod.containers)]
    bad = sorted(
        {
            f'{key}="{value}"'
            for key in keys
            if (value := pod.annotations.get(key)) is not None and not _is_seccomp(value)
        }
    )
    if not bad:
        return None
    return Failure("seccompProfile", f"forbidden {_plural('annotation', bad)} {', '.join(bad)}")


def _is_unconfined(profile: Json) -> bool:
    return profile.get("type") not in ("Localhost", "RuntimeDefault")


def _is_seccomp(value: str) -> bool:
    return value in ("runtime/default", "docker/default") or value.startswith("localhost/")


def _is_app_armor(value: str) -> bool:
    return value in ("", "runtime/default") or value.startswith("localhost/")


def _security(container: Json) -> Json:
    return container.get("securityContext") or {}


def _name(item: Json) -> str:
    return str(item.get("name", ""))


def _containers(names: Sequence[str]) -> str:
    return f"{_plural('container', names)} {_quoted(names)}"


def _plural(noun: str, items: Sequence[str] | set[str]) -> str:
    return noun if len(items) == 1 else f"{noun}s"


def _quoted(items: Iterable[str]) -> str:
    return ", ".join(f'"{item}"' for item in items)
