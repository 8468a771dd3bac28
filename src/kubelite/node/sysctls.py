"""Decides which kernel parameters a pod may set on this node; pure. A forbidden one fails the pod: SysctlForbidden."""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.sysctls import (
    NAME_LENGTH_MAX,
    PATTERN_FORMAT,
    Namespace,
    is_pattern,
    namespace_of,
    normalized,
)

# Each stays inside its pod: kept in a namespace since that kernel, and of no effect on other pods.
SAFE: tuple[tuple[str, tuple[int, int]], ...] = (
    ("kernel.shm_rmid_forced", (0, 0)),
    ("net.ipv4.ip_local_port_range", (0, 0)),
    ("net.ipv4.tcp_syncookies", (0, 0)),
    ("net.ipv4.ping_group_range", (0, 0)),
    ("net.ipv4.ip_unprivileged_port_start", (0, 0)),
    ("net.ipv4.ip_local_reserved_ports", (3, 16)),
    ("net.ipv4.tcp_keepalive_time", (4, 5)),
    ("net.ipv4.tcp_fin_timeout", (4, 6)),
    ("net.ipv4.tcp_keepalive_intvl", (4, 5)),
    ("net.ipv4.tcp_keepalive_probes", (4, 5)),
    ("net.ipv4.tcp_rmem", (4, 15)),
    ("net.ipv4.tcp_wmem", (4, 15)),
)
# Pods have no IPv6 on their links, which network policies would not see, so no pattern lets a pod turn it on.
OF_THE_NODE = re.compile(r"net\.ipv6\.conf\..+\.disable_ipv6")
_KERNEL = re.compile(r"(\d+)\.(\d+)", re.ASCII)


class InvalidSysctlPattern(Exception):
    """A pattern of allowed sysctls cannot be used; `str()` says why."""


class SysctlAllowList(Struct, frozen=True):
    """The sysctls that pods of a node may set, by name and by prefix, each with its kernel namespace."""

    names: Mapping[str, Namespace] = {}
    prefixes: Mapping[str, Namespace] = {}

    def refusal(self, name: str, *, host_network: bool, host_ipc: bool) -> str:
        """Return why a pod may not set a sysctl; empty when it may."""
        name = normalized(name)
        namespace = self._namespace(name)
        if not namespace or OF_THE_NODE.fullmatch(name):
            return f'"{name}" not allowlisted'
        if host_ipc if namespace == "IPC" else host_network:
            return f'"{name}" not allowed with host {namespace} enabled'
        return ""

    def _namespace(self, name: str) -> Namespace:
        if name in self.names:
            return self.names[name]
        found = (kept for prefix, kept in self.prefixes.items() if name.startswith(prefix))
        return next(found, "")


def allow_list(kernel: str, unsafe: Sequence[str] = ()) -> SysctlAllowList:
    """Return the list of a node: what is safe with its kernel release, and the patterns an administrator allows.

    Raises InvalidSysctlPattern for a pattern of anything that the kernel is not known to keep in a namespace.
    """
    found = _KERNEL.match(kernel)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    names = {name: namespace_of(name) for name, since in SAFE if since <= version}
    prefixes: dict[str, Namespace] = {}
    for pattern in unsafe:
        if not is_pattern(pattern):
            raise InvalidSysctlPattern(
                f'sysctl "{pattern}" must have at most {NAME_LENGTH_MAX} characters and match '
                f"regex {PATTERN_FORMAT}"
            )
        prefix, star, _ = normalized(pattern).partition("*")
        namespace = namespace_of(prefix)
        if not namespace:
            raise InvalidSysctlPattern(f'the sysctls "{prefix}" are not known to be namespaced')
        (prefixes if star else names)[prefix] = namespace
    return SysctlAllowList(names, prefixes)


def forbidden_sysctl(pod: Pod, allowed: SysctlAllowList) -> str:
    """Return why the node refuses a pod for its sysctls; empty when it does not."""
    context = pod.spec.securityContext
    for sysctl in context.sysctls if context is not None else ():
        refusal = allowed.refusal(
            sysctl.name, host_network=pod.spec.hostNetwork, host_ipc=pod.spec.hostIPC
        )
        if refusal:
            return f"forbidden sysctl: {refusal}"
    return ""
