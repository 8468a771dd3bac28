"""What nodes and pods use, as metrics.k8s.io shows it: from the summaries of the nodes, read while somebody asks.

All nodes are asked side by side, at most once in KEPT_SECONDS. One that hangs, lies or sends garbage has no metrics,
and is waited for no more until it answers; a node speaks only for itself and the pods that are bound to it.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.auth.lookup import Lookup
from kubelite.api.errors import APIError
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.times import format_time, parse_time
from kubelite.api.registry.builtin.metrics import NODE_METRICS, POD_METRICS
from kubelite.api.registry.handlers import FetchSummary
from kubelite.clock import Clock
from kubelite.limits import NODE_SUMMARIES, NODE_SUMMARY_SECONDS, NODE_SUMMARY_WAIT_SECONDS
from kubelite.offload import Offload
from kubelite.tasks import TaskSet, in_slices

log = logging.getLogger(__name__)

JSON = dict[str, Any]
KEPT_SECONDS = 15.0
# Nodes take rates over this time at most, and over a second when nobody asked before: usage lies within it.
WINDOW = "15s"
AMOUNT_MAX = 1 << 62
KIBIBYTE = 1024
DECODING_BYTES = 16  # bytes of a summary that cost as much as one unit of `limits.INLINE_WORK`


class _CPU(Struct, frozen=True, rename="camel"):
    time: str = ""
    usage_nano_cores: int | None = None


class _Memory(Struct, frozen=True, rename="camel"):
    working_set_bytes: int | None = None


class _Measured(Struct, frozen=True, rename="camel"):
    cpu: _CPU | None = None
    memory: _Memory | None = None


class _Container(_Measured, frozen=True):
    name: str = ""


class _Reference(Struct, frozen=True):
    uid: str = ""


class _Pod(Struct, frozen=True, rename="camel"):
    pod_ref: _Reference = _Reference()
    containers: list[_Container] = []


class _Summary(Struct, frozen=True):
    node: _Measured = _Measured()
    pods: list[_Pod] = []


_decode = msgspec.json.Decoder(_Summary).decode


class Usage(Struct, frozen=True):
    """CPU in billionths of a core, memory in bytes, and when both were measured, as text."""

    cpu: int
    memory: int
    time: str

    def to_wire(self) -> JSON:
        """Return the two quantities."""
        return {"cpu": cpu_quantity(self.cpu), "memory": memory_quantity(self.memory)}


class Reading(Struct, frozen=True):
    """What one node said of itself and its pods."""

    node: Usage | None = None
    pods: Mapping[str, Mapping[str, Usage]] = {}  # by uid and container


def read_summary(body: bytes, pods: Mapping[str, frozenset[str]], now: datetime) -> Reading:
    """Return what a summary says of the node and of `pods`, given with the names of their containers, by uid.

    A pod of which a container has no rate yet is left out. Raises ValueError for what is no summary.
    """
    summary = _decode(body)
    found: dict[str, Mapping[str, Usage]] = {}
    for pod in summary.pods:
        names = pods.get(pod.pod_ref.uid)
        if not names:
            continue
        usages = {one.name: _usage(one, now) for one in pod.containers if one.name in names}
        known = {name: usage for name, usage in usages.items() if usage is not None}
        if usages and len(known) == len(usages):
            found[pod.pod_ref.uid] = known
    return Reading(_usage(summary.node, now), found)


def _usage(measured: _Measured, now: datetime) -> Usage | None:
    cpu, memory = measured.cpu, measured.memory
    if cpu is None or memory is None:
        return None
    rate, used = cpu.usage_nano_cores, memory.working_set_bytes
    if rate is None or used is None or not (0 <= rate < AMOUNT_MAX and 0 <= used < AMOUNT_MAX):
        return None
    try:
        time = min(parse_time(cpu.time), now)
    except ValueError:
        time = now
    return Usage(rate, used, format_time(time))


def cpu_quantity(nano_cores: int) -> str:
    """Return billionths of a core as a quantity in canonical form."""
    for suffix in ("n", "u", "m", ""):
        if nano_cores % 1000 or not suffix:
            return f"{nano_cores}{suffix}"
        nano_cores //= 1000
    raise AssertionError("the last suffix returns")


def memory_quantity(used_bytes: int) -> str:
    """Return bytes as a quantity in canonical form, with binary suffixes."""
    for suffix in ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"):
        if used_bytes % KIBIBYTE or not used_bytes:
            return f"{used_bytes}{suffix}"
        used_bytes //= KIBIBYTE
    raise AssertionError("no amount is that large")


class ResourceMetrics:
    """The usage of nodes and pods."""

    def __init__(
        self, lookup: Lookup, clock: Clock, offload: Offload, fetch: FetchSummary, tasks: TaskSet
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self._offload = offload
        self._fetch = fetch
        self._tasks = tasks
        self._readings: dict[str, Reading] = {}  # by node; none of those that did not answer
        self._failed: set[str] = set()  # nodes that did not answer, or not in time
        self._asking: dict[str, asyncio.Task[None]] = {}  # by node
        self._slots = asyncio.Semaphore(NODE_SUMMARIES.value)
        self._round: asyncio.Task[None] | None = None
        self._read_at = -KEPT_SECONDS  # by the loop's time

    async def nodes(self) -> Sequence[JSON]:
        """Return the NodeMetrics of all nodes that answered."""
        await self._refresh()
        found = []
        for node in self._lookup.list(Node):
            reading = self._readings.get(node.metadata.name)
            if reading is not None and reading.node is not None:
                usage = reading.node
                found.append(
                    {**self._head(NODE_METRICS, node, usage.time), "usage": usage.to_wire()}
                )
        return found

    async def pods(self, namespace: str) -> Sequence[JSON]:
        """Return the PodMetrics of a namespace, "": of all."""
        await self._refresh()
        found: list[JSON] = []
        async for some in in_slices(self._lookup.list(Pod, namespace)):
            found += [shown for pod in some if (shown := self._pod(pod)) is not None]
        return found

    def _pod(self, pod: Pod) -> JSON | None:
        reading = self._readings.get(pod.spec.nodeName)
        containers = reading.pods.get(pod.metadata.uid) if reading is not None else None
        if not containers:
            return None
        time = min(usage.time for usage in containers.values())
        shown = [{"name": name, "usage": usage.to_wire()} for name, usage in containers.items()]
        return {**self._head(POD_METRICS, pod, time), "containers": shown}

    def _head(self, kind: GroupVersionKind, measured: Node | Pod, time: str) -> JSON:
        meta = measured.metadata
        shown: JSON = {"name": meta.name}
        if meta.namespace:
            shown["namespace"] = meta.namespace
        shown["creationTimestamp"] = format_time(self._clock.now())
        if meta.labels:
            shown["labels"] = dict(meta.labels)
        return {
            "kind": kind.kind,
            "apiVersion": kind.api_version,
            "metadata": shown,
            "timestamp": time,
            "window": WINDOW,
        }

    async def _refresh(self) -> None:
        """Ask the nodes, unless that was done lately; all who ask meanwhile wait for the same answers."""
        if self._round is None:
            if asyncio.get_running_loop().time() - self._read_at < KEPT_SECONDS:
                return
            self._round = self._tasks.start(self._ask_all(), name="read usage of nodes")
        await asyncio.shield(self._round)

    async def _ask_all(self) -> None:
        try:
            bound: dict[str, dict[str, frozenset[str]]] = {}
            async for some in in_slices(self._lookup.list(Pod)):
                for pod in some:
                    if pod.spec.nodeName:
                        of_node = bound.setdefault(pod.spec.nodeName, {})
                        of_node[pod.metadata.uid] = _containers(pod)
            names = {node.metadata.name for node in self._lookup.list(Node)}
            for gone in self._readings.keys() - names:
                del self._readings[gone]
            self._failed &= names
            awaited: list[asyncio.Task[None]] = []
            others: list[asyncio.Task[None]] = []
            for name in sorted(names):
                if name not in self._asking:
                    asking = self._ask(name, bound.get(name, {}))
                    self._asking[name] = self._tasks.start(asking, name=f"read usage of {name}")
                (others if name in self._failed else awaited).append(self._asking[name])
            if waited_for := awaited or others:  # if all failed, one answer is worth the time
                limit = NODE_SUMMARY_WAIT_SECONDS
                _, late = await asyncio.wait(waited_for, timeout=limit.value)
                if late:
                    limit.reached()
                    slow = {name for name, task in self._asking.items() if task in late}
                    self._failed |= slow
                    for name in slow:
                        self._readings.pop(name, None)
        finally:
            self._read_at = asyncio.get_running_loop().time()
            self._round = None

    async def _ask(self, name: str, pods: Mapping[str, frozenset[str]]) -> None:
        try:
            async with self._slots, asyncio.timeout(NODE_SUMMARY_SECONDS.value):
                body = await self._fetch(name)
                self._readings[name] = await self._offload.run(
                    len(body) // DECODING_BYTES,
                    lambda: read_summary(body, pods, self._clock.now()),
                )
            self._failed.discard(name)
        except (APIError, OSError, ValueError, RecursionError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                NODE_SUMMARY_SECONDS.reached()
            if name not in self._failed:
                log.warning("cannot read usage of node", extra={"node": name, "reason": str(error)})
            self._failed.add(name)
            self._readings.pop(name, None)
        finally:
            del self._asking[name]


def _containers(pod: Pod) -> frozenset[str]:
    spec = pod.spec
    return frozenset(one.name for one in (*spec.containers, *spec.initContainers))
