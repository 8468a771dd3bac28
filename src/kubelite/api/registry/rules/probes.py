"""Rules of probes and of the lifecycle hooks of containers."""

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    format_check,
    nonnegative,
    one_of,
    port_or_name,
)

_SCHEMES = enums.URI_SCHEMES.enum
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_TWICE = "may not specify more than 1 handler type"
_SIGNAL_NAMES = [
    "ABRT",
    "ALRM",
    "BUS",
    "CHLD",
    "CLD",
    "CONT",
    "FPE",
    "HUP",
    "ILL",
    "INT",
    "IO",
    "IOT",
    "KILL",
    "PIPE",
    "POLL",
    "PROF",
    "PWR",
    "QUIT",
    "SEGV",
    "STKFLT",
    "STOP",
    "SYS",
    "TERM",
    "TRAP",
    "TSTP",
    "TTIN",
    "TTOU",
    "URG",
    "USR1",
    "USR2",
    "VTALRM",
    "WINCH",
    "XCPU",
    "XFSZ",
    "RTMIN",
    "RTMAX",
]
LINUX_SIGNALS = tuple(
    sorted(
        [f"SIG{name}" for name in _SIGNAL_NAMES]
        + [f"SIGRTMIN+{number}" for number in range(1, 16)]
        + [f"SIGRTMAX-{number}" for number in range(1, 15)]
    )
)
_TIMES = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)


def probe(out: Out, path: str, value: JSON, *, once: bool) -> None:
    """Check a probe; `once`: the success threshold must be 1, as for liveness and startup probes."""
    handler(out, path, value, None)
    nonnegative(out, value, path, *_TIMES)
    grace = value.get("terminationGracePeriodSeconds")
    if once:
        if value.get("successThreshold", 1) != 1:
            at = f"{path}.successThreshold"
            out.append(causes.invalid(at, value["successThreshold"], "must be 1"))
        if grace is not None and grace <= 0:
            at = f"{path}.terminationGracePeriodSeconds"
            out.append(causes.invalid(at, grace, "must be greater than 0"))
    elif grace is not None:
        at = f"{path}.terminationGracePeriodSeconds"
        out.append(causes.invalid(at, grace, "must not be set for readinessProbes"))


def handler(out: Out, path: str, value: JSON, grace_seconds: int | None) -> None:
    """Check that exactly one handler is set, and check it."""
    found = [name for name in _HANDLERS if value.get(name) is not None]
    if not found:
        out.append(causes.required(path, "must specify a handler type"))
        return
    for name in found[1:]:
        out.append(causes.forbidden(f"{path}.{name}", _TWICE))
    name, action = found[0], value[found[0]]
    at = f"{path}.{name}"
    if name == "exec":
        if not action.get("command"):
            out.append(causes.required(f"{at}.command"))
    elif name == "httpGet":
        _http(out, at, action)
    elif name in ("tcpSocket", "grpc"):
        port_or_name(out, f"{at}.port", action.get("port"))
    else:
        _sleep(out, at, action.get("seconds", 0), grace_seconds)


def _http(out: Out, path: str, action: JSON) -> None:
    if not action.get("path"):
        out.append(causes.required(f"{path}.path"))
    port_or_name(out, f"{path}.port", action.get("port"))
    scheme = action.get("scheme", "")
    if scheme not in _SCHEMES:
        out.append(causes.unsupported(f"{path}.scheme", scheme, _SCHEMES))
    for header in action.get("httpHeaders") or ():
        format_check(out, f"{path}.httpHeaders", header.get("name", ""), names.http_header_name)
        # A line break in the value could inject a header. Kubernetes accepts it, and its probe then always fails.
        format_check(out, f"{path}.httpHeaders", header.get("value", ""), names.http_header_value)


def _sleep(out: Out, path: str, seconds: int, grace_seconds: int | None) -> None:
    if grace_seconds is not None and not 0 <= seconds <= grace_seconds:
        detail = (
            f"must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})"
        )
        out.append(causes.invalid(path, seconds, detail))


def lifecycle(
    out: Out, path: str, value: JSON, grace_seconds: int | None, system: str | None
) -> None:
    """Check postStart, preStop and the stop signal."""
    for name in ("postStart", "preStop"):
        if (hook := value.get(name)) is not None:
            handler(out, f"{path}.{name}", hook, grace_seconds)
    if signal := value.get("stopSignal"):
        at = f"{path}.stopSignal"
        if not system:
            detail = "may not be set for containers with empty `spec.os.name`"
            out.append(causes.forbidden(at, detail))
        else:
            one_of(out, at, signal, LINUX_SIGNALS if system == "linux" else ("SIGKILL", "SIGTERM"))
