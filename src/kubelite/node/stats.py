"""The body of /stats/summary: what the node, its pods and their containers use.

Shapes and names: k8s.io/kubelet/pkg/apis/stats/v1alpha1. What is not known is left out, such as the rate of a container
that has been measured once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kubelite.api.machinery.times import format_time
from kubelite.node.eviction.observations import DiskUse
from kubelite.node.pod_files import Files, PodFiles, VolumeFiles
from kubelite.node.runtime import Usage
from kubelite.node.usage import ContainerUsage, Measured, Measurement, PodUsage
from kubelite.node.usage_files import Filesystem, Interface

JSON = dict[str, Any]


def summary(
    node: str,
    start_time: str,
    measured: Measured,
    *,
    only_cpu_and_memory: bool,
    files: Files | None = None,
) -> JSON:
    """Return the body; `start_time` is the node's, `files` are those of pods where they were counted."""
    newest, rates = measured.newest, measured.rates()
    shown: JSON = {"nodeName": node, "startTime": start_time}
    if newest.machine is not None:
        shown |= _usage(newest.machine, rates.get(""), newest.memory_bytes)
    if not only_cpu_and_memory:
        shown |= _machine(newest)
    pods = [_pod(pod, rates, only_cpu_and_memory) for pod in newest.pods if pod.containers]
    if not only_cpu_and_memory:
        for pod in pods:
            _add_files(pod, (files or {}).get(pod["podRef"]["uid"]), newest)
    return {"node": shown, "pods": pods}


def _add_files(shown: JSON, files: PodFiles | None, newest: Measurement) -> None:
    """Add to a pod what its files take."""
    if files is None:
        return
    date, disk = format_time(newest.at), newest.filesystem
    layers = newest.image_filesystem or disk
    for container in shown["containers"]:
        counted = files.containers.get(container["name"])
        if counted is not None and counted.root is not None:
            container["rootfs"] = _taken(layers, counted.root, date)
        if counted is not None and counted.logs is not None:
            container["logs"] = _taken(disk, counted.logs, date)
    if files.volumes:
        shown["volume"] = [
            _volume(one, shown["podRef"]["namespace"], date) for one in files.volumes
        ]
    shown["ephemeral-storage"] = _taken(disk, files.disk, date)


def _volume(volume: VolumeFiles, namespace: str, date: str) -> JSON:
    shown = _taken(volume.filesystem, volume.use, date)
    shown["name"] = volume.name
    if volume.claim:
        shown["pvcRef"] = {"name": volume.claim, "namespace": namespace}
    if volume.is_abnormal is not None:
        shown["volumeHealthStats"] = {"abnormal": volume.is_abnormal}
    return shown


def _taken(disk: Filesystem | None, use: DiskUse | None, date: str) -> JSON:
    """Return the room on a file system, with what some files of it take in place of what all do."""
    shown = {"time": date} if disk is None else _filesystem(disk, date)
    if use is not None:
        shown |= {"usedBytes": use.bytes, "inodesUsed": use.inodes}
    return shown


def _machine(newest: Measurement) -> JSON:
    date, (limit, running) = format_time(newest.at), newest.processes
    shown: JSON = {}
    if newest.filesystem is not None:
        shown["fs"] = _filesystem(newest.filesystem, date)
    if newest.image_filesystem is not None:
        # Images and the writable layers of containers share a filesystem.
        images = _filesystem(newest.image_filesystem, date)
        shown["runtime"] = {"imageFs": images, "containerFs": images}
    if limit:
        shown["rlimit"] = {"time": date, "maxpid": limit, "curproc": running}
    return shown


def _pod(pod: PodUsage, rates: Mapping[str, int], only_cpu_and_memory: bool) -> JSON:
    shown: JSON = {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": pod.start_time,
        "containers": [_container(one, rates) for one in pod.containers],
    }
    if pod.usage is not None:
        shown |= _usage(pod.usage, rates.get(pod.uid), pod.usage.memory_limit_bytes)
        if not only_cpu_and_memory:
            shown["process_stats"] = {"process_count": pod.usage.processes}
            if pod.interfaces:
                shown["network"] = _network(pod.interfaces, format_time(pod.usage.at))
    return shown


def _container(container: ContainerUsage, rates: Mapping[str, int]) -> JSON:
    record, usage = container.record, container.usage
    return {
        "name": record.name,
        "startTime": format_time(record.started_at or record.created_at),
        **_usage(usage, rates.get(record.id), usage.memory_limit_bytes),
    }


def _usage(usage: Usage, rate: int | None, available_of: int) -> JSON:
    """Return CPU, memory and swap; `available_of` is the limit of the memory, 0: there is none."""
    date = format_time(usage.at)
    cpu: JSON = {"time": date, "usageCoreNanoSeconds": usage.cpu_core_nanoseconds}
    if rate is not None:
        cpu["usageNanoCores"] = rate
    memory: JSON = {
        "time": date,
        "usageBytes": usage.memory_usage_bytes,
        "workingSetBytes": usage.memory_working_set_bytes,
        "rssBytes": usage.memory_rss_bytes,
        "pageFaults": usage.memory_page_faults,
        "majorPageFaults": usage.memory_major_page_faults,
    }
    if available_of:
        memory["availableBytes"] = max(available_of - usage.memory_working_set_bytes, 0)
    return {
        "cpu": cpu,
        "memory": memory,
        "swap": {"time": date, "swapUsageBytes": usage.swap_bytes},
    }


def _network(interfaces: Sequence[Interface], date: str) -> JSON:
    """Return the traffic of all interfaces, and at the top that of the pod's own: eth0, or the first."""
    shown = [
        {
            "name": one.name,
            "rxBytes": one.received_bytes,
            "rxErrors": one.receive_errors,
            "txBytes": one.sent_bytes,
            "txErrors": one.send_errors,
        }
        for one in interfaces
    ]
    own = next((one for one in shown if one["name"] == "eth0"), shown[0])
    return {"time": date, **own, "interfaces": shown}


def _filesystem(found: Filesystem, date: str) -> JSON:
    return {
        "time": date,
        "availableBytes": found.available_bytes,
        "capacityBytes": found.capacity_bytes,
        "usedBytes": found.used_bytes,
        "inodesFree": found.inodes_free,
        "inodes": found.inodes,
        "inodesUsed": found.inodes - found.inodes_free,
    }
