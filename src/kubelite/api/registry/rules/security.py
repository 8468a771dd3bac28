"""Rules of security contexts."""

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names, sysctls
from kubelite.api.registry.rules.values import JSON, Out, descending_path, items, one_of, part

_PROFILES = enums.PROFILE_TYPES.enum


def _identity(out: Out, path: str, context: JSON, *fields: str) -> None:
    for field in fields:
        number = context.get(field)
        if number is not None:
            for finding in names.identity_number(number):
                out.append(causes.invalid(f"{path}.{field}", number, finding))


def container_context(out: Out, path: str, context: JSON | None, *, host_users: bool) -> None:
    """Check the security context of a container."""
    if not context:
        return
    _identity(out, path, context, "runAsUser", "runAsGroup")
    mount = context.get("procMount")
    if mount is not None:
        one_of(out, f"{path}.procMount", mount, enums.PROC_MOUNTS.enum)
        if mount == "Unmasked" and host_users:
            detail = "`hostUsers` must be false to use `Unmasked`"
            out.append(causes.invalid(f"{path}.procMount", mount, detail))
    profile(out, f"{path}.seccompProfile", context.get("seccompProfile"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            out.append(causes.invalid(path, context, detail))
        if "CAP_SYS_ADMIN" in items(context.get("capabilities") or {}, "add"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            out.append(causes.invalid(path, context, detail))
    app_armor(out, f"{path}.appArmorProfile", context.get("appArmorProfile"))


def pod_context(out: Out, path: str, context: JSON | None, spec: JSON) -> None:
    """Check the security context of a pod."""
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        out.append(causes.invalid(f"{path}.shareProcessNamespace", True, detail))
    if not context:
        return
    _identity(out, path, context, "fsGroup", "runAsUser", "runAsGroup")
    for index, number in enumerate(items(context, "supplementalGroups")):
        for finding in names.identity_number(number):
            out.append(causes.invalid(f"{path}.supplementalGroups[{index}]", number, finding))
    _sysctls(out, f"{path}.sysctls", items(context, "sysctls"), spec)
    for field, supported in (
        ("fsGroupChangePolicy", enums.GROUP_CHANGE_POLICIES.enum),
        ("supplementalGroupsPolicy", enums.SUPPLEMENTAL_GROUPS_POLICIES.enum),
        ("seLinuxChangePolicy", ("MountOption", "Recursive")),
    ):
        if (value := context.get(field)) is not None and value not in supported:
            out.append(causes.unsupported(f"{path}.{field}", value, supported))
    profile(out, f"{path}.seccompProfile", context.get("seccompProfile"))
    app_armor(out, f"{path}.appArmorProfile", context.get("appArmorProfile"))


def _sysctls(out: Out, path: str, found: list[JSON], spec: JSON) -> None:
    seen = set()
    for index, sysctl in enumerate(found):
        name, at = sysctl.get("name", ""), f"{path}[{index}].name"
        if not name:
            out.append(causes.required(at))
        elif not sysctls.is_name(name):
            limit, pattern = sysctls.NAME_LENGTH_MAX, sysctls.NAME_FORMAT
            detail = f"must have at most {limit} characters and match regex {pattern}"
            out.append(causes.invalid(at, name, detail))
        elif name in seen:
            out.append(causes.duplicate(at, name))
        namespace = sysctls.namespace_of(sysctls.normalized(name))
        if spec.get("hostNetwork") and namespace == "Net":
            detail = "may not be specified when 'hostNetwork' is true"
            out.append(causes.invalid(at, name, detail))
        if spec.get("hostIPC") and namespace == "IPC":
            out.append(causes.invalid(at, name, "may not be specified when 'hostIPC' is true"))
        seen.add(name)


def profile(out: Out, path: str, value: JSON | None) -> None:
    """Check a seccomp profile."""
    if value is None:
        return
    kind, local = value.get("type"), value.get("localhostProfile")
    one_of(out, f"{path}.type", kind, _PROFILES)
    at = f"{path}.localhostProfile"
    if kind == "Localhost":
        if local is None:
            detail = "must be set when seccomp type is Localhost"
            out.append(causes.required(at, detail))
        else:
            descending_path(out, at, local)
    elif local is not None:
        out.append(causes.invalid(at, value, "can only be set when seccomp type is Localhost"))


def app_armor(out: Out, path: str, value: JSON | None) -> None:
    """Check an AppArmor profile."""
    if value is None:
        return
    kind, local = value.get("type"), value.get("localhostProfile")
    at = f"{path}.localhostProfile"
    if kind == "Localhost":
        if local is None or not local.strip():
            detail = "must be set when AppArmor type is Localhost"
            out.append(causes.required(at, detail))
        elif local != local.strip():
            detail = "must not be padded with whitespace"
            out.append(causes.invalid(at, local, detail))
        elif len(local) > 4095:
            out.append(causes.too_long(at, 4095))
    elif local is not None:
        out.append(causes.invalid(at, local, "can only be set when AppArmor type is Localhost"))
    one_of(out, f"{path}.type", kind, _PROFILES)


_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
# Linux-only fields. PodSecurity checks less of a Windows pod, so such a pod may not set any of them.
_POD_FIELDS_OF_LINUX = ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace")
_POD_CONTEXT_OF_LINUX = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
)
_CONTEXT_OF_LINUX = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def operating_system(out: Out, path: str, spec: JSON) -> None:
    """Check that a pod has only settings of its operating system."""
    system = part(spec, "os").get("name")
    contexts = [(f"{path}.securityContext", part(spec, "securityContext"))]
    for field in _CONTAINERS:
        contexts += [
            (f"{path}.{field}[{index}].securityContext", part(container, "securityContext"))
            for index, container in enumerate(items(spec, field))
        ]
    if system == "linux":
        detail = "windows options cannot be set for a linux pod"
        for at, context in contexts:
            if context.get("windowsOptions") is not None:
                out.append(causes.forbidden(f"{at}.windowsOptions", detail))
    elif system == "windows":
        _only_windows(out, path, spec, _POD_FIELDS_OF_LINUX)
        _only_windows(out, *contexts[0], _POD_CONTEXT_OF_LINUX)
        for at, context in contexts[1:]:
            _only_windows(out, at, context, _CONTEXT_OF_LINUX)


def _only_windows(out: Out, path: str, thing: JSON, fields: tuple[str, ...]) -> None:
    for field in fields:
        value = thing.get(field)
        # For host namespaces and lists, false and empty count as absent.
        is_set = bool(value) if field in ("hostPID", "hostIPC", "sysctls") else value is not None
        if is_set:
            out.append(causes.forbidden(f"{path}.{field}", "cannot be set for a windows pod"))
