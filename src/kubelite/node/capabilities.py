"""Finds the capabilities and limits that this host allows a root process, and what a privileged container gets."""

from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, RLIMIT_NPROC, getrlimit
from typing import Any

_BY_NUMBER = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
NAMES = tuple(_BY_NUMBER.split())
KNOWN_TO_ENGINES = 38  # engines before Docker 23 reject capabilities added after AUDIT_READ


def bounding_set(status: Path = Path("/proc/self/status")) -> frozenset[str]:
    """Return the capabilities that any process started from here can have."""
    for line in status.read_text().splitlines():
        if line.startswith("CapBnd:"):
            bits = int(line.split()[1], 16)
            return frozenset(f"CAP_{name}" for i, name in enumerate(NAMES) if bits >> i & 1)
    return frozenset()


def host_limits(kernel: Path = Path("/proc/sys")) -> dict[str, int]:
    """Return the highest limits that a process without CAP_SYS_RESOURCE can give a container, by their short name.

    Podman lowers its own limit of processes to the highest process id, and could not give more than it has. Raises
    OSError.
    """
    found = {}
    for name, kind, setting in (
        ("nofile", RLIMIT_NOFILE, "fs/nr_open"),
        ("nproc", RLIMIT_NPROC, "kernel/pid_max"),
    ):
        most = int((kernel / setting).read_text())
        own = getrlimit(kind)[1]
        found[name] = most if own == RLIM_INFINITY else min(own, most)
    return found


def full_privileges(bounding: frozenset[str]) -> dict[str, Any]:
    """Return the Docker settings for a privileged container.

    Where the host withholds capabilities, the engine rejects `Privileged`; then all available capabilities are added
    one by one.
    """
    if len(bounding) >= len(NAMES):
        return {"Privileged": True}
    known = {f"CAP_{name}" for name in NAMES[:KNOWN_TO_ENGINES]}
    return {
        "CapAdd": sorted(bounding & known),
        "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined", "label=disable"],
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "DeviceCgroupRules": ["a *:* rwm"],
    }
