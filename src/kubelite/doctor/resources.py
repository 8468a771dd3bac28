"""Memory, and the limits of the kernel that a node with many pods reaches."""

import resource
from collections.abc import Iterator

from msgspec import Struct

from kubelite.doctor.findings import Finding, error, note, ok, warning
from kubelite.doctor.reading import number_of, text_of
from kubelite.doctor.wanted import Wanted

MB = 1 << 20
AVAILABLE_BYTES_MIN, TOTAL_BYTES_MIN = 256 * MB, 512 * MB
FILES_MIN, FILES_GOOD = (
    64,
    4096,
)  # enough for store, ports, engine and some requests; for many clients
PROCESSES_GOOD = 4096
INSTANCES_GOOD, WATCHES_GOOD = 512, 65536


class Resources(Struct, frozen=True):
    """What is known of memory and limits; None: not known, or without a limit."""

    memory_bytes: int | None = None
    available_bytes: int | None = None
    files: int | None = None  # the hard limit of this process
    processes: int | None = (
        None  # the smallest limit that holds for all processes of the host, or of this user
    )
    instances: int | None = None  # of inotify, a user
    watches: int | None = None


def judge(found: Resources, wanted: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about memory and limits."""
    yield from _judge_memory(found)
    if found.files is not None and found.files < FILES_MIN:
        yield error(
            f"this process may open {found.files} files",
            f"at least {FILES_MIN} are needed",
            "raise the limit (ulimit -n, LimitNOFILE=)",
        )
    elif found.files is not None and found.files < FILES_GOOD:
        yield warning(
            f"this process may open {found.files} files",
            "each connection and each watch of a client takes one",
            "raise the limit (ulimit -Hn, LimitNOFILE=)",
        )
    if not wanted.has_node:
        return
    if found.processes is not None and found.processes < PROCESSES_GOOD:
        yield warning(
            f"no more than {found.processes} processes and threads are possible",
            "pods take dozens each",
            "sysctl kernel.pid_max=4194304 kernel.threads-max=131072, or TasksMax= of the unit",
        )
    if found.instances is not None and found.instances < INSTANCES_GOOD:
        yield note(
            f"a user may have {found.instances} instances of inotify",
            'programs in pods that follow files fail with "too many open files"',
            f"sysctl fs.inotify.max_user_instances={2 * INSTANCES_GOOD}",
        )
    if found.watches is not None and found.watches < WATCHES_GOOD:
        yield note(
            f"a user may watch {found.watches} files",
            'programs in pods that follow folders fail with "no space left on device"',
            f"sysctl fs.inotify.max_user_watches={8 * WATCHES_GOOD}",
        )


def _judge_memory(found: Resources) -> Iterator[Finding]:
    total, available = found.memory_bytes, found.available_bytes
    if total is None or available is None:
        return
    what = f"{available / MB:.0f} of {total / MB:.0f} MB of memory are available"
    if total < TOTAL_BYTES_MIN or available < AVAILABLE_BYTES_MIN:
        yield warning(
            what,
            "a server takes some 150 MB, an engine 100 MB; below 100 MB a node evicts pods",
            "end other programs, or take a larger machine",
        )
    else:
        yield ok(what)


def gather(_wanted: Wanted) -> Resources:
    """Read what the kernel tells."""
    memory = dict(_memory())
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, own = resource.getrlimit(resource.RLIMIT_NPROC)
    limits = [number_of(f"/proc/sys/kernel/{name}") for name in ("pid_max", "threads-max")]
    limits.append(None if own == resource.RLIM_INFINITY else own)
    known = [limit for limit in limits if limit is not None]
    return Resources(
        memory.get("MemTotal"),
        memory.get("MemAvailable"),
        None if files == resource.RLIM_INFINITY else files,
        min(known, default=None),
        number_of("/proc/sys/fs/inotify/max_user_instances"),
        number_of("/proc/sys/fs/inotify/max_user_watches"),
    )


def _memory() -> Iterator[tuple[str, int]]:
    for line in (text_of("/proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        number, _, unit = value.strip().partition(" ")
        if unit == "kB" and number.isdecimal():
            yield name, int(number) * 1024
