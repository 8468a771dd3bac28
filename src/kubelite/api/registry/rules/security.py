"""Rules of security contexts."""

import re

from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules.values import JSON, Out, descending_path, items, one_of

_SYSCTL_FORMAT = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
_SYSCTL = re.compile(_SYSCTL_FORMAT[1:-1]).fullmatch
_SYSCTL_LIMIT = 253
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")


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
        one_of(out, f"{path}.procMount", mount, ("Default", "Unmasked"))
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
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
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
        elif len(name) > _SYSCTL_LIMIT or not _SYSCTL(name):
            detail = (
                f"must have at most {_SYSCTL_LIMIT} characters and match regex {_SYSCTL_FORMAT}"
            )
            out.append(causes.invalid(at, name, detail))
        elif name in seen:
            out.append(causes.duplicate(at, name))
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            detail = "may not be specified when 'hostNetwork' is true"
            out.append(causes.invalid(at, name, detail))
        if spec.get("hostIPC") and dotted.startswith(
            ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")
        ):
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
