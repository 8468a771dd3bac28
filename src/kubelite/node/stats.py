"""Measures the usage of pods: the summary API, and the resource metrics that metrics-server scrapes."""

import asyncio
from collections.abc import Iterable
from typing import Any

from kubelite.api.machinery.times import format_time
from kubelite.clock import Clock
from kubelite.node.cgroups import read_usage
from kubelite.node.pod_memory import PodMemory
from kubelite.node.runtime import ContainerRecord, ContainerRuntime, Usage

Measured = list[tuple[PodMemory, list[tuple[ContainerRecord, Usage]]]]


async def measure(runtime: ContainerRuntime, memories: Iterable[PodMemory]) -> Measured:
    """Return the usage of each running container."""
    measured: Measured = []
    for memory in memories:
        found = []
        for record in memory.observe().running():
            usage = await runtime.usage(record)
            if usage is not None:
                found.append((record, usage))
        if memory.pod is not None:
            measured.append((memory, found))
    return measured


async def node_usage(clock: Clock) -> Usage | None:
    """Return the usage of the whole machine. Blocks."""
    return await asyncio.to_thread(read_usage, 1, clock.now())


def summary(node: str, whole: Usage | None, measured: Measured) -> dict[str, Any]:
    """Return the body of /stats/summary."""
    return {
        "node": {"nodeName": node, **(_shown(whole) if whole is not None else {})},
        "pods": [_pod_summary(memory, found) for memory, found in measured],
    }


def _pod_summary(memory: PodMemory, found: list[tuple[ContainerRecord, Usage]]) -> dict[str, Any]:
    assert memory.pod is not None
    meta = memory.pod.metadata
    return {
        "podRef": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
        "startTime": memory.pod.status.startTime,
        "containers": [
            {
                "name": record.name,
                "startTime": format_time(record.started_at or record.created_at),
                **_shown(usage),
            }
            for record, usage in found
        ],
        **(_shown(total(usage for _, usage in found)) if found else {}),
    }


def total(usages: Iterable[Usage]) -> Usage:
    """Return the sum of the usage of containers, at least one."""
    listed = list(usages)
    return Usage(
        at=max(usage.at for usage in listed),
        cpu_core_nanoseconds=sum(usage.cpu_core_nanoseconds for usage in listed),
        memory_usage_bytes=sum(usage.memory_usage_bytes for usage in listed),
        memory_working_set_bytes=sum(usage.memory_working_set_bytes for usage in listed),
        memory_rss_bytes=sum(usage.memory_rss_bytes for usage in listed),
        memory_page_faults=sum(usage.memory_page_faults for usage in listed),
        memory_major_page_faults=sum(usage.memory_major_page_faults for usage in listed),
        processes=sum(usage.processes for usage in listed),
    )


def _shown(usage: Usage) -> dict[str, Any]:
    date = format_time(usage.at)
    return {
        "cpu": {"time": date, "usageCoreNanoSeconds": usage.cpu_core_nanoseconds},
        "memory": {
            "time": date,
            "usageBytes": usage.memory_usage_bytes,
            "workingSetBytes": usage.memory_working_set_bytes,
            "rssBytes": usage.memory_rss_bytes,
            "pageFaults": usage.memory_page_faults,
            "majorPageFaults": usage.memory_major_page_faults,
        },
    }


def resource_metrics(whole: Usage | None, measured: Measured) -> str:
    """Return the body of /metrics/resource."""
    lines: list[str] = []

    def family(name: str, kind: str, help_text: str, samples: Iterable[tuple[str, float]]) -> None:
        lines.append(f"# HELP {name} [STABLE] {help_text}")
        lines.append(f"# TYPE {name} {kind}")
        lines.extend(f"{name}{labels} {value:g}" for labels, value in samples)

    containers = [
        (
            f'{{container="{record.name}",namespace="{record.namespace}",pod="{record.pod_name}"}}',
            usage,
        )
        for _, found in measured
        for record, usage in found
    ]
    pods = [
        (
            f'{{namespace="{found[0][0].namespace}",pod="{found[0][0].pod_name}"}}',
            total(usage for _, usage in found),
        )
        for _, found in measured
        if found
    ]
    nodes = [("", whole)] if whole is not None else []
    for prefix, things, subject in (
        ("node", nodes, "the node"),
        ("pod", pods, "the pod"),
        ("container", containers, "the container"),
    ):
        family(
            f"{prefix}_cpu_usage_seconds_total",
            "counter",
            f"Cumulative cpu time consumed by {subject} in core-seconds",
            [(labels, usage.cpu_core_nanoseconds / 1e9) for labels, usage in things],
        )
        family(
            f"{prefix}_memory_working_set_bytes",
            "gauge",
            f"Current working set of {subject} in bytes",
            [(labels, usage.memory_working_set_bytes) for labels, usage in things],
        )
    return "\n".join(lines) + "\n"
