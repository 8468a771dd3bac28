"""The kernel: its version, and the features that pods and their network are made of."""

import ctypes
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from kubelite.doctor.findings import AS_ROOT, Finding, error, note, ok, unseen, warning
from kubelite.doctor.reading import number_of, text_of
from kubelite.doctor.wanted import Wanted

OLDEST = (5, 3)  # pidfd_open, by which ends of processes are awaited
TRIED = (5, 10)  # the oldest that is in wide use; older ones are tried by nobody
NAMESPACES = ("net", "mnt", "pid", "ipc", "uts")
LINKS: Mapping[str, str] = {
    "bridge": "pods are connected by a bridge",
    "veth": "each pod is connected by a pair of links",
    "vxlan": "pods of nodes on other networks are reached through a tunnel",
}
CLONE_NEWNET = 0x40000000
_VERSION = re.compile(r"(\d+)\.(\d+)")


class Kernel(Struct, frozen=True):
    """What is known of the kernel; None: not known."""

    release: str
    features: Mapping[str, bool | None] = {}  # overlay, bridge, veth, vxlan
    namespaces: frozenset[str] = frozenset()
    users_max: int | None = None  # number of user namespaces
    rules: str | None = (
        None  # why the service rules are refused; "": they are taken; None: not tried
    )


def judge(kernel: Kernel, wanted: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about a kernel."""
    version = _version(kernel.release)
    at_least = ".".join(map(str, OLDEST))
    if version < OLDEST:
        yield error(
            f"the kernel is {kernel.release}",
            f"kubelite needs {at_least} or later",
            "boot a newer kernel",
        )
    elif version < TRIED:
        yield warning(
            f"the kernel is {kernel.release}",
            f"kubelite is not tried on kernels before {'.'.join(map(str, TRIED))}",
            "prefer a newer kernel",
        )
    else:
        yield ok(f"the kernel is {kernel.release}")
    if wanted.has_node:
        yield from _judge_node(kernel, wanted)


def _judge_node(kernel: Kernel, wanted: Wanted) -> Iterator[Finding]:
    if missing := [name for name in NAMESPACES if name not in kernel.namespaces]:
        yield error(
            f"the kernel lacks namespaces: {', '.join(missing)}",
            "containers are made of them",
            "boot a kernel with CONFIG_NAMESPACES and all kinds of it",
        )
    if not kernel.users_max:
        yield note(
            "user namespaces are switched off",
            "pods with hostUsers: false are refused",
            "sysctl user.max_user_namespaces=15000, if such pods are wanted",
        )
    if kernel.features.get("overlay") is False:
        yield warning(
            "the kernel has no overlay file system",
            "engines then copy each image for each container, or do not start",
            "modprobe overlay, or boot a kernel with CONFIG_OVERLAY_FS",
        )
    if not wanted.owns_network:
        return
    yield from _judge_network(kernel)


def _judge_network(kernel: Kernel) -> Iterator[Finding]:
    for name, why in LINKS.items():
        if kernel.features.get(name) is False:
            make = warning if name == "vxlan" else error
            yield make(
                f"the kernel has no {name} links",
                why,
                f"modprobe {name}, or boot a kernel that has the module",
            )
    if unknown := [name for name in LINKS if kernel.features.get(name) is None]:
        yield unseen(f"links of the kernel ({', '.join(unknown)})", "it does not tell", AS_ROOT)
    if kernel.rules:
        yield error(
            f"the kernel refuses the rules of Services: {kernel.rules}",
            "without them no Service has an address",
            "boot a kernel with nf_tables, its NAT, fib, numgen and reject, "
            "or install linux-modules-extra for this one",
        )
    elif kernel.rules is None:
        yield unseen("whether the kernel takes the rules of Services", "needs root", AS_ROOT)
    else:
        yield ok("links and rules of the pods' network can be made")


def _version(release: str) -> tuple[int, int]:
    match = _VERSION.match(release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def gather_quickly(_: Wanted) -> Kernel:
    """Read what files tell of the kernel; it is not asked to make anything."""
    return Kernel(
        os.uname().release,
        {"overlay": _has_overlay(), **{name: _has_module(name) for name in LINKS}},
        frozenset(entry.name for entry in Path("/proc/self/ns").iterdir()),
        number_of("/proc/sys/user/max_user_namespaces"),
    )


def _has_overlay() -> bool | None:
    if "\toverlay\n" in (text_of("/proc/filesystems") or ""):
        return True
    return _has_module("overlay")


def _has_module(name: str) -> bool | None:
    """Return whether a feature is in the kernel or a module on the disk; None if nothing tells."""
    if Path("/sys/module", name).is_dir():
        return True
    folder = Path("/lib/modules", os.uname().release)
    lists = [text_of(folder / each) for each in ("modules.builtin", "modules.dep")]
    if all(text is None for text in lists):
        return None
    return any(
        re.search(rf"/{name}\.ko(?:\.\w+)?:?$|/{name}\.ko\S*:", text or "", re.MULTILINE)
        for text in lists
    )


def gather(wanted: Wanted) -> Kernel:
    """Read the files, and let the kernel make links and rules in a network namespace that ends with this thread."""
    found = gather_quickly(wanted)
    libc = ctypes.CDLL(None, use_errno=True)
    if not (wanted.has_node and wanted.owns_network) or libc.unshare(CLONE_NEWNET) != 0:
        return found
    from kubelite.doctor.network_trial import try_links, try_rules

    return Kernel(
        found.release,
        {**found.features, **try_links()},
        found.namespaces,
        found.users_max,
        try_rules(wanted.ranges),
    )
