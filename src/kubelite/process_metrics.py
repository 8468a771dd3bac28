"""Metrics of the process with the names of Prometheus' own clients: CPU, memory, descriptors, traffic.

They are read from /proc at exposition; a number that cannot be read is NaN. Source: proc(5).
"""

import os
import resource
from pathlib import Path

from kubelite.metrics import REGISTRY, Registry

_PROC = Path("/proc/self")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_UNLIMITED = float(2**64 - 1)
# Indexes of fields in /proc/self/stat, counted from the state, which follows the name in parentheses.
_USER_TICKS, _SYSTEM_TICKS, _START_TICKS, _VIRTUAL_BYTES, _RESIDENT_PAGES = 11, 12, 19, 20, 21


def _stat(*positions: int) -> int:
    fields = (_PROC / "stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[position]) for position in positions)


def _started_seconds() -> float:
    """Return the start time of the process in seconds since 1970."""
    booted = next(
        int(line.split()[1])
        for line in Path("/proc/stat").read_text().splitlines()
        if line.startswith("btime")
    )
    return booted + _stat(_START_TICKS) / _TICKS_A_SECOND


def _limit(which: int) -> float:
    soft, _ = resource.getrlimit(which)
    return _UNLIMITED if soft == resource.RLIM_INFINITY else float(soft)


def _traffic(field: str) -> float:
    """Return a counter of the IP layer of the process's network namespace, in bytes."""
    lines = [
        line.split()
        for line in (_PROC / "net/netstat").read_text().splitlines()
        if line.startswith("IpExt:")
    ]
    names, numbers = lines
    return float(numbers[names.index(field)])


def expose_start(registry: Registry) -> None:
    """Register the start time of the process."""
    registry.gauge(
        "process_start_time_seconds", "When the process began, in seconds since 1970."
    ).computed(_started_seconds)


def expose(registry: Registry) -> None:
    """Register the metrics of the process."""
    registry.counter(
        "process_cpu_seconds_total", "User and system CPU time of the process."
    ).computed(lambda: _stat(_USER_TICKS, _SYSTEM_TICKS) / _TICKS_A_SECOND)
    registry.gauge("process_open_fds", "Open file descriptors.").computed(
        lambda: sum(1 for _ in (_PROC / "fd").iterdir())
    )
    registry.gauge("process_max_fds", "How many file descriptors may be open.").computed(
        lambda: _limit(resource.RLIMIT_NOFILE)
    )
    registry.gauge("process_virtual_memory_bytes", "Virtual memory.").computed(
        lambda: _stat(_VIRTUAL_BYTES)
    )
    registry.gauge("process_virtual_memory_max_bytes", "How much virtual memory may be.").computed(
        lambda: _limit(resource.RLIMIT_AS)
    )
    registry.gauge("process_resident_memory_bytes", "Resident memory.").computed(
        lambda: _stat(_RESIDENT_PAGES) * _PAGE_BYTES
    )
    registry.counter(
        "process_network_receive_bytes_total", "Bytes received in the network namespace."
    ).computed(lambda: _traffic("InOctets"))
    registry.counter(
        "process_network_transmit_bytes_total", "Bytes sent in the network namespace."
    ).computed(lambda: _traffic("OutOctets"))
    expose_start(registry)


expose(REGISTRY)
