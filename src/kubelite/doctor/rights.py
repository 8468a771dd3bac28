"""What this process may do on the host: capabilities, and what AppArmor, SELinux and seccomp make of it."""

import os
from collections.abc import Iterator, Mapping

from msgspec import Struct

from kubelite.doctor.findings import Finding, error, note, ok, warning
from kubelite.doctor.reading import text_of
from kubelite.doctor.wanted import Wanted

CAP_NET_ADMIN = 12  # bit numbers, see capability.h
CAP_SYS_ADMIN = 21
NEEDED: Mapping[int, tuple[str, str]] = {
    CAP_NET_ADMIN: ("CAP_NET_ADMIN", "the pods' network is made with it"),
    CAP_SYS_ADMIN: ("CAP_SYS_ADMIN", "volumes are mounted with it"),
}
USEFUL: Mapping[int, tuple[str, str]] = {
    24: (
        "CAP_SYS_RESOURCE",
        "the kernel's choice of whom to kill without memory cannot be steered",
    ),
    13: ("CAP_NET_RAW", "addresses of --load-balancer-pool cannot be announced"),
    5: ("CAP_KILL", "processes that are left of containers cannot be ended"),
    1: ("CAP_DAC_OVERRIDE", "files of containers of other users cannot be read"),
}


class Rights(Struct, frozen=True):
    """What is known of the rights of this process."""

    capabilities: int  # the effective ones, as bits
    user: int = 0
    has_apparmor: bool = False
    has_selinux: bool = False  # enforcing
    has_seccomp: bool = True


def lacks_network(rights: Rights) -> bool:
    """Return whether the pods' network cannot be made."""
    return not rights.capabilities >> CAP_NET_ADMIN & 1


def judge(rights: Rights, wanted: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about rights."""
    if not wanted.has_node:
        yield ok(f"a control plane needs no rights (this is user {rights.user})")
        return
    lacking = [NEEDED[bit] for bit in NEEDED if not rights.capabilities >> bit & 1]
    for name, why in lacking:
        yield error(
            f"this process lacks {name}",
            why,
            "run as root, in a container with --privileged; --disable-agent runs the control plane only",
        )
    for bit, (name, why) in USEFUL.items():
        if not lacking and not rights.capabilities >> bit & 1:
            yield note(f"this process lacks {name}", why, "in a container: --privileged")
    if not lacking:
        yield ok("this process has the rights of a node")
    if rights.has_selinux:
        yield warning(
            "SELinux is enforcing",
            "kubelite labels no files: containers may be kept from volumes and from what the node gives them",
            "install container-selinux, and semanage fcontext -a -t container_file_t 'DATA_DIR(/.*)?'",
        )
    if rights.has_apparmor:
        yield ok("AppArmor is on; engines give containers their profile")
    if not rights.has_seccomp:
        yield note(
            "the kernel has no seccomp",
            "containers may make all system calls, and pods with seccompProfile do not start",
            "boot a kernel with CONFIG_SECCOMP_FILTER",
        )


def gather(_: Wanted | None = None) -> Rights:
    """Read what the kernel tells of this process."""
    return Rights(
        effective_capabilities(text_of("/proc/self/status") or ""),
        os.geteuid(),
        (text_of("/sys/module/apparmor/parameters/enabled") or "").startswith("Y"),
        (text_of("/sys/fs/selinux/enforce") or "").startswith("1"),
        text_of("/proc/sys/kernel/seccomp/actions_avail") is not None,
    )


def effective_capabilities(status: str) -> int:
    """Return the effective capabilities in the status file of a process, as bits."""
    for line in status.splitlines():
        name, _, bits = line.partition(":")
        if name == "CapEff":
            return int(bits, 16)
    return 0
