"""The bodies of /metrics/resource, /metrics/cadvisor and /metrics/probes, in the text format of Prometheus.

Names and labels are those of the kubelet and of cAdvisor. Names of images and interfaces come from others, and are
written as values that end where they should.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct

from kubelite.metrics import labels_text
from kubelite.node.pod_files import Files, VolumeFiles
from kubelite.node.pod_memory import PodMemory
from kubelite.node.runtime import Usage
from kubelite.node.usage import ContainerUsage, Measurement, PodUsage
from kubelite.node.usage_files import Filesystem

OF_CLAIM = ("namespace", "persistentvolumeclaim")
OF_POD = ("namespace", "pod")
OF_CONTAINER = ("container", "namespace", "pod")
CADVISOR = ("container", "id", "image", "name", "namespace", "pod")
OF_PROBE = ("probe_type", "result", "container", "pod", "namespace", "pod_uid")

Measured = tuple[tuple[str, ...], Usage]  # values of the labels, what is used
Row = tuple[
    tuple[str, ...], float, int
]  # values of the labels, number, milliseconds since 1970 or 0


class Family(Struct, frozen=True):
    """A metric."""

    name: str
    kind: str
    help_text: str
    labels: tuple[str, ...] = ()

    def lines(self, rows: Iterable[Row]) -> Iterator[str]:
        """Yield the lines of the metric; none without rows."""
        listed = list(rows)
        if listed:
            yield f"# HELP {self.name} {self.help_text}"
            yield f"# TYPE {self.name} {self.kind}"
        for values, number, at in listed:
            date = f" {at}" if at else ""
            yield f"{self.name}{labels_text(self.labels, values)} {_written(number)}{date}"


def _written(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)


def _when(usage: Usage) -> int:
    return int(usage.at.timestamp() * 1000)


def _pod_labels(pod: PodUsage) -> tuple[str, ...]:
    return (pod.namespace, pod.name)


def _container_labels(pod: PodUsage, container: ContainerUsage) -> tuple[str, ...]:
    return (container.record.name, pod.namespace, pod.name)


Read = Callable[[Usage], float]
_RESOURCES: tuple[tuple[str, str, str, str, Read], ...] = (
    (
        "cpu_usage_seconds_total",
        "counter",
        "STABLE",
        "Cumulative cpu time consumed by the {} in core-seconds",
        lambda usage: usage.cpu_core_nanoseconds / 1e9,
    ),
    (
        "memory_working_set_bytes",
        "gauge",
        "STABLE",
        "Current working set of the {} in bytes",
        lambda usage: usage.memory_working_set_bytes,
    ),
    (
        "swap_usage_bytes",
        "gauge",
        "ALPHA",
        "Current swap usage of the {} in bytes. Reported only on non-windows systems",
        lambda usage: usage.swap_bytes,
    ),
)


def resource_metrics(newest: Measurement) -> str:
    """Return the body of /metrics/resource."""
    lines: list[str] = []
    machine: list[Measured] = []
    if newest.machine is not None:
        machine.append(((), newest.machine))
    shown = [pod for pod in newest.pods if pod.containers]
    pods: list[Measured] = [(_pod_labels(pod), pod.usage) for pod in shown if pod.usage is not None]
    pairs = [(pod, one) for pod in shown for one in pod.containers]
    containers: list[Measured] = [(_container_labels(pod, one), one.usage) for pod, one in pairs]
    subjects: tuple[tuple[str, tuple[str, ...], list[Measured]], ...] = (
        ("node", (), machine),
        ("container", OF_CONTAINER, containers),
        ("pod", OF_POD, pods),
    )
    for subject, labels, things in subjects:
        for name, kind, stability, words, read in _RESOURCES:
            text = f"[{stability}] {words.format(subject)}"
            rows = [(values, read(usage), _when(usage)) for values, usage in things]
            lines += Family(f"{subject}_{name}", kind, text, labels).lines(rows)
    started = Family(
        "container_start_time_seconds",
        "gauge",
        "[STABLE] Start time of the container since unix epoch in seconds",
        OF_CONTAINER,
    )
    lines += started.lines((_container_labels(pod, one), _start(one), 0) for pod, one in pairs)
    for name, stability in (("resource_scrape_error", "STABLE"), ("scrape_error", "ALPHA")):
        text = f"[{stability}] 1 if there was an error while getting container metrics, 0 otherwise"
        lines += Family(name, "gauge", text).lines([((), float(newest.machine is None), 0)])
    return "\n".join(lines) + "\n"


def _start(container: ContainerUsage) -> float:
    record = container.record
    return (record.started_at or record.created_at).timestamp()


_CADVISOR: tuple[tuple[str, str, str, Read], ...] = (
    (
        "container_memory_rss",
        "gauge",
        "Size of RSS in bytes.",
        lambda usage: usage.memory_rss_bytes,
    ),
    (
        "container_memory_swap",
        "gauge",
        "Container swap usage in bytes.",
        lambda usage: usage.swap_bytes,
    ),
    (
        "container_memory_usage_bytes",
        "gauge",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        lambda usage: usage.memory_usage_bytes,
    ),
    (
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set in bytes.",
        lambda usage: usage.memory_working_set_bytes,
    ),
    (
        "container_processes",
        "gauge",
        "Number of processes running inside the container.",
        lambda usage: usage.processes,
    ),
    (
        "container_spec_memory_limit_bytes",
        "gauge",
        "Memory limit for the container.",
        lambda usage: usage.memory_limit_bytes,
    ),
)
_TRAFFIC = (
    ("receive_bytes_total", "Cumulative count of bytes received", "received_bytes"),
    (
        "receive_errors_total",
        "Cumulative count of errors encountered while receiving",
        "receive_errors",
    ),
    ("transmit_bytes_total", "Cumulative count of bytes transmitted", "sent_bytes"),
    (
        "transmit_errors_total",
        "Cumulative count of errors encountered while transmitting",
        "send_errors",
    ),
)


def cadvisor_metrics(newest: Measurement, cpus: int) -> str:
    """Return the body of /metrics/cadvisor: a part of what cAdvisor exposes. A pod's own rows name no container."""
    rows: list[tuple[tuple[str, ...], Usage]] = []
    if newest.machine is not None:
        rows.append((("", "/", "", "", "", ""), newest.machine))
    for pod in newest.pods:
        where = f"/kubelite/pod{pod.uid}"
        if pod.usage is not None and pod.containers:
            rows.append((("", where, "", "", pod.namespace, pod.name), pod.usage))
        for one in pod.containers:
            record = one.record
            labels = (record.name, f"{where}/{record.id}", record.image, record.id)
            rows.append(((*labels, pod.namespace, pod.name), one.usage))
    cpu = Family(
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed in seconds.",
        ("container", "cpu", *CADVISOR[1:]),
    )
    lines = list(
        cpu.lines(
            ((values[0], "total", *values[1:]), usage.cpu_core_nanoseconds / 1e9, _when(usage))
            for values, usage in rows
        )
    )
    for name, kind, text, read in _CADVISOR:
        shown = [(values, read(usage), _when(usage)) for values, usage in rows]
        lines += Family(name, kind, text, CADVISOR).lines(shown)
    started = Family(
        "container_start_time_seconds",
        "gauge",
        "Start time of the container since unix epoch in seconds.",
        CADVISOR,
    )
    starts = {one.record.id: _start(one) for pod in newest.pods for one in pod.containers}
    lines += started.lines(
        (values, starts[values[3]], 0) for values, _ in rows if values[3] in starts
    )
    lines += _traffic(newest)
    failed = float(newest.machine is None)
    for gauge, text, number in (
        (
            "container_scrape_error",
            "1 if there was an error while getting container metrics, 0 otherwise",
            failed,
        ),
        ("machine_cpu_cores", "Number of logical CPU cores.", cpus),
        ("machine_memory_bytes", "Amount of memory installed on the machine.", newest.memory_bytes),
    ):
        lines += Family(gauge, "gauge", text).lines([((), number, 0)])
    return "\n".join(lines) + "\n"


def _traffic(newest: Measurement) -> Iterator[str]:
    labels = ("container", "id", "image", "interface", "name", "namespace", "pod")
    for name, text, field in _TRAFFIC:
        rows: list[Row] = [
            (
                (
                    "",
                    f"/kubelite/pod{pod.uid}",
                    "",
                    interface.name,
                    "",
                    pod.namespace,
                    pod.name,
                ),
                getattr(interface, field),
                0,
            )
            for pod in newest.pods
            for interface in pod.interfaces
        ]
        yield from Family(f"container_network_{name}", "counter", text, labels).lines(rows)


_VOLUMES: tuple[tuple[str, str, Callable[[Filesystem], int]], ...] = (
    ("capacity_bytes", "Capacity in bytes of the volume", lambda disk: disk.capacity_bytes),
    (
        "available_bytes",
        "Number of available bytes in the volume",
        lambda disk: disk.available_bytes,
    ),
    ("used_bytes", "Number of used bytes in the volume", lambda disk: disk.used_bytes),
    ("inodes", "Maximum number of inodes in the volume", lambda disk: disk.inodes),
    ("inodes_free", "Number of free inodes in the volume", lambda disk: disk.inodes_free),
)


def volume_metrics(files: Files, namespaces: Mapping[str, str]) -> str:
    """Return the lines of /metrics about the volumes of claims, each once; `namespaces` are those of pods, by uid."""
    found: dict[tuple[str, str], VolumeFiles] = {}
    for uid, one in files.items():
        for volume in one.volumes if uid in namespaces else ():
            if volume.claim and volume.filesystem is not None:
                found.setdefault((namespaces[uid], volume.claim), volume)
    if not found:
        return ""
    disks = [(claim, one.filesystem) for claim, one in found.items() if one.filesystem is not None]
    rows: dict[str, list[Row]] = {
        name: [(claim, float(read(disk)), 0) for claim, disk in disks] for name, _, read in _VOLUMES
    }
    rows["inodes_used"] = [
        (claim, float(one.use.inodes if one.use is not None else disk.inodes - disk.inodes_free), 0)
        for (claim, disk), one in zip(disks, found.values(), strict=True)
    ]
    rows["health_status_abnormal"] = [
        (claim, float(one.is_abnormal), 0)
        for claim, one in found.items()
        if one.is_abnormal is not None
    ]
    words = {name: text for name, text, _ in _VOLUMES} | {
        "inodes_used": "Number of used inodes in the volume",
        "health_status_abnormal": "1 if the volume is unhealthy as its driver tells, 0 if it is healthy",
    }
    lines: list[str] = []
    for name, listed in rows.items():
        family = Family(f"kubelet_volume_stats_{name}", "gauge", f"[ALPHA] {words[name]}", OF_CLAIM)
        lines += family.lines(listed)
    return "\n".join(lines) + "\n"


def probe_metrics(memories: Iterable[PodMemory]) -> str:
    """Return the body of /metrics/probes."""
    rows: list[Row] = []
    for memory in memories:
        pod = memory.pod
        if pod is None or memory.gone:
            continue
        meta = pod.metadata
        for container_id, state in memory.containers.items():
            record = memory.records.get(container_id)
            if record is None or not record.is_running or state.probes is None:
                continue
            for (kind, result), count in sorted(state.probes.counts.items()):
                labels = (kind, result, record.name, meta.name, meta.namespace, meta.uid)
                rows.append((labels, count, 0))
    family = Family(
        "prober_probe_total",
        "counter",
        "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.",
        OF_PROBE,
    )
    return "".join(f"{line}\n" for line in family.lines(rows))
