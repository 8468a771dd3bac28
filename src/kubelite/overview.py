"""The state of a cluster at a glance, for `kubelite status`: what a running server says, and files of this host.

What was heard and read is an `Overview`; `lines` puts it into words. Nothing waits for long: questions to the server
have a deadline, and a server that is down costs one refused connection.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from kubelite import __version__
from kubelite.api.client.https import Request, Transport
from kubelite.api.client.kubeconfig import Access, KubeconfigInvalid, read_kubeconfig
from kubelite.api.errors import APIError
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.machinery.times import age, human_duration, parse_time
from kubelite.backup.actions import Refused as NotListed
from kubelite.backup.actions import listed
from kubelite.clock import Clock
from kubelite.config import Config
from kubelite.doctor.reading import is_held
from kubelite.maintenance import Refused, certificates
from kubelite.randomness import Randomness
from kubelite.store import snapshots
from kubelite.store.lmdb_engine import DATA_FILE, FOLDER_LOCK_FILE

ANSWER_SECONDS = 5.0
RECENT_SECONDS = 3600.0  # warnings of the last hour count
PENDING_SECONDS = 120.0  # that a pod may wait for a node before it counts as failing
SHOWN_MAX = 10  # nodes and pods; more are counted
STARTING = frozenset({"ContainerCreating", "PodInitializing", ""})
COLUMNS = ("NAME", "STATUS", "AGE", "VERSION", "PODS", "CPU", "MEMORY")

T = TypeVar("T")


class NodeView(Struct, frozen=True):
    """A node."""

    name: str
    is_ready: bool
    created: str
    version: str
    pods: int = 0
    pods_max: int = 0
    cpu: float | None = None  # used, of what there is; None: not measured
    memory: float | None = None


class ServerView(Struct, frozen=True):
    """What a running server says."""

    url: str
    version: str
    nodes: tuple[NodeView, ...] = ()
    phases: dict[str, int] = {}  # number of pods by phase
    failing: dict[str, str] = {}  # namespace/name of a pod -> why
    unhealthy: dict[str, str] = {}  # component or check -> why
    healthy: tuple[str, ...] = ()
    warnings: int = 0


class CertificateView(Struct, frozen=True):
    """A certificate and the end of its life."""

    name: str
    not_after: datetime


class FilesView(Struct, frozen=True):
    """What files of this host say; None: they are not there, or may not be read."""

    data: str
    is_running: bool = False
    free_bytes: int | None = None
    total_bytes: int | None = None
    store_bytes: int | None = None
    revision: int | None = None
    certificate: CertificateView | None = None  # the one that ends first
    snapshot: str | None = None  # the last one
    snapshot_age_seconds: float | None = None
    problem: str = ""  # why something was not read


class Overview(Struct, frozen=True):
    """The whole, at one instant."""

    now: datetime
    version: str
    files: FilesView | None  # None: no server has its data on this host
    server: ServerView | None  # None: it does not answer
    reason: str = ""  # why

    @property
    def is_well(self) -> bool:
        """Whether the server answers and all its components are healthy."""
        return self.server is not None and not self.server.unhealthy


# What is read of the API's objects; all else is skipped while decoding.


class _Meta(Struct):
    name: str = ""
    namespace: str = ""
    creationTimestamp: str | None = None  # noqa: N815 - as on the wire


class _Condition(Struct):
    type: str = ""
    status: str = ""


class _NodeInfo(Struct):
    kubeletVersion: str = ""  # noqa: N815 - as on the wire


class _NodeStatus(Struct, rename="camel"):
    conditions: list[_Condition] = []
    capacity: dict[str, str] = {}
    allocatable: dict[str, str] = {}
    node_info: _NodeInfo = msgspec.field(default_factory=_NodeInfo)


class _Node(Struct):
    metadata: _Meta
    status: _NodeStatus = msgspec.field(default_factory=_NodeStatus)


class _Waiting(Struct):
    reason: str = ""


class _State(Struct):
    waiting: _Waiting | None = None


class _Container(Struct):
    state: _State = msgspec.field(default_factory=_State)


class _PodStatus(Struct, rename="camel"):
    phase: str = ""
    reason: str = ""
    container_statuses: list[_Container] = []
    init_container_statuses: list[_Container] = []


class _PodSpec(Struct, rename="camel"):
    node_name: str = ""


class _Pod(Struct):
    metadata: _Meta
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


class _Series(Struct, rename="camel"):
    last_observed_time: str | None = None


class _Event(Struct, rename="camel"):
    last_timestamp: str | None = None
    event_time: str | None = None
    series: _Series | None = None


class _Component(Struct):
    metadata: _Meta
    conditions: list[dict[str, str]] = []


class _Usage(Struct):
    metadata: _Meta
    usage: dict[str, str] = {}


class _Version(Struct, rename="camel"):
    git_version: str = ""


def failing(pod: _Pod, now: datetime) -> str:
    """Return why a pod fails; "" if it does not."""
    status = pod.status
    for container in (*status.init_container_statuses, *status.container_statuses):
        waiting = container.state.waiting
        if waiting is not None and waiting.reason not in STARTING:
            return waiting.reason
    if status.phase == "Failed":
        return status.reason or "Failed"
    if status.phase == "Pending" and not pod.spec.node_name:
        waited = _seconds_since(pod.metadata.creationTimestamp, now)
        return f"no node for {human_duration(waited)}" if waited > PENDING_SECONDS else ""
    return ""


def is_recent(event: _Event, now: datetime) -> bool:
    """Return whether an event was seen within RECENT_SECONDS."""
    series = event.series.last_observed_time if event.series else None
    return _seconds_since(series or event.last_timestamp or event.event_time, now) < RECENT_SECONDS


def _seconds_since(timestamp: str | None, now: datetime) -> float:
    try:
        return (now - parse_time(timestamp)).total_seconds() if timestamp else 0.0
    except ValueError:
        return 0.0


def node_views(
    nodes: Sequence[_Node], pods: Sequence[_Pod], usage: Sequence[_Usage]
) -> Iterator[NodeView]:
    """Yield a view of each node, by name."""
    used = {one.metadata.name: one.usage for one in usage}
    for node in sorted(nodes, key=lambda one: one.metadata.name):
        name, status = node.metadata.name, node.status
        running = [one for one in pods if one.spec.node_name == name]
        yield NodeView(
            name=name,
            is_ready=any((one.type, one.status) == ("Ready", "True") for one in status.conditions),
            created=node.metadata.creationTimestamp or "",
            version=status.node_info.kubeletVersion,
            pods=sum(one.status.phase not in ("Succeeded", "Failed") for one in running),
            pods_max=int(_number(status.allocatable.get("pods")) or 0),
            cpu=_share(used.get(name, {}), status.capacity, "cpu"),
            memory=_share(used.get(name, {}), status.capacity, "memory"),
        )


def _share(used: dict[str, str], capacity: dict[str, str], resource: str) -> float | None:
    whole, part = _number(capacity.get(resource)), _number(used.get(resource))
    return part / whole if whole and part is not None else None


def _number(text: str | None) -> float | None:
    try:
        return float(parse_quantity(text).amount) if text is not None else None
    except ValueError:
        return None


class _Questions:
    """Questions to one server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def text(self, path: str, **parameters: str) -> str:
        """Return the text of an answer; raises APIError."""
        request = Request("GET", path, parameters, accept="*/*")
        return (await self._transport.send(request)).decode(errors="replace")

    async def objects(self, kind: type[T], path: str, **parameters: str) -> list[T]:
        """Return the objects of a list; raises APIError."""
        body = await self._transport.send(Request("GET", path, parameters))
        return msgspec.json.decode(body, type=_list_of(kind)).items  # type: ignore[no-any-return]  # made for the kind

    async def objects_if_served(self, kind: type[T], path: str) -> list[T]:
        """Return the objects of a list, none if the server does not have them."""
        try:
            return await self.objects(kind, path)
        except APIError:
            return []


def _list_of(kind: type[Any]) -> Any:
    return msgspec.defstruct("ListOf", [("items", list[kind], [])])  # type: ignore[valid-type]  # a type at run time


async def ask(access: Access, clock: Clock, randomness: Randomness) -> ServerView:
    """Return what a server says of itself; raises APIError if it does not answer in time."""
    transport = Transport(
        access.server,
        ssl_context=access.ssl_context,
        token=access.token,
        randomness=randomness,
        user_agent="kubelite-status",
    )
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await _asked(_Questions(transport), access.server, clock)
    finally:
        await transport.close()


async def _asked(server: _Questions, url: str, clock: Clock) -> ServerView:
    version = msgspec.json.decode(await server.text("/version"), type=_Version)
    nodes, pods, usage, events, components, checks = await asyncio.gather(
        server.objects(_Node, "/api/v1/nodes"),
        server.objects(_Pod, "/api/v1/pods"),
        server.objects_if_served(_Usage, "/apis/metrics.k8s.io/v1beta1/nodes"),
        server.objects(_Event, "/api/v1/events", fieldSelector="type=Warning"),
        server.objects(_Component, "/api/v1/componentstatuses"),
        _checks(server),
    )
    now, phases = clock.now(), dict[str, int]()
    for pod in pods:
        phases[pod.status.phase or "Unknown"] = phases.get(pod.status.phase or "Unknown", 0) + 1
    found = {f"{pod.metadata.namespace}/{pod.metadata.name}": failing(pod, now) for pod in pods}
    health = {**checks, **dict(map(_component, components))}
    return ServerView(
        url=url,
        version=version.git_version,
        nodes=tuple(node_views(nodes, pods, usage)),
        phases=dict(sorted(phases.items())),
        failing={name: why for name, why in sorted(found.items()) if why},
        unhealthy={name: why for name, why in health.items() if why},
        healthy=tuple(sorted(name for name, why in health.items() if not why)),
        warnings=sum(is_recent(event, now) for event in events),
    )


def _component(component: _Component) -> tuple[str, str]:
    """Return the name of a component, and why it is not healthy."""
    for condition in component.conditions:
        if condition.get("type") == "Healthy" and condition.get("status") != "True":
            why = condition.get("error") or condition.get("message") or "unhealthy"
            return component.metadata.name, why
    return component.metadata.name, ""


async def _checks(server: _Questions) -> dict[str, str]:
    """Return the server's checks of its readiness, and why each fails."""
    try:
        await server.text("/readyz")
    except APIError as error:
        return {"readyz": " ".join(error.message.split())}
    return {"readyz": ""}


def read_files(config: Config, clock: Clock) -> FilesView | None:
    """Return what files of this host say; None if there is no server's data folder. Blocks."""
    data, store = Path(config.data_dir), config.store_dir
    try:
        if not store.is_dir():
            return None
        status = os.statvfs(data)
    except OSError as error:
        return FilesView(str(data), problem=f"{data}: {error.strerror}; run as root to see more")
    problems: list[str] = []
    last = _last_snapshot(config, clock, problems)
    return FilesView(
        data=str(data),
        is_running=is_held(store / FOLDER_LOCK_FILE),
        free_bytes=status.f_bavail * status.f_frsize,
        total_bytes=status.f_blocks * status.f_frsize,
        store_bytes=_size_bytes(store / DATA_FILE),
        revision=_revision(store),
        certificate=_certificate(config, problems),
        snapshot=last[0] if last else None,
        snapshot_age_seconds=last[1] if last else None,
        problem="; ".join(problems),
    )


def _size_bytes(path: Path) -> int | None:
    try:
        return path.stat().st_blocks * 512  # the file is sparse
    except OSError:
        return None


def _revision(store: Path) -> int | None:
    try:
        return snapshots.newest_revision(store)
    except snapshots.SnapshotFailed:
        return None


def _certificate(config: Config, problems: list[str]) -> CertificateView | None:
    try:
        leaves = [one for one in certificates(config) if not one.is_authority]
    except Refused as error:
        problems.append(str(error))
        return None
    soonest = min(leaves, key=lambda leaf: leaf.not_after, default=None)
    return None if soonest is None else CertificateView(soonest.name, soonest.not_after)


def _last_snapshot(config: Config, clock: Clock, problems: list[str]) -> tuple[str, float] | None:
    """Return name and age in seconds of the last snapshot."""
    try:
        kept = listed(config, clock, in_bucket=False)
        if not kept:
            return None
        taken = (config.snapshots_dir / kept[-1].name).stat().st_mtime
    except (OSError, NotListed) as error:
        problems.append(f"{config.snapshots_dir}: {error}")
        return None
    return kept[-1].name, (clock.now() - datetime.fromtimestamp(taken, UTC)).total_seconds()


def overview(
    config: Config, kubeconfig: Path | None, clock: Clock, randomness: Randomness
) -> Overview:
    """Return the state of the cluster of a kubeconfig, or of the server of this host. Blocks for some seconds at most.

    Files of this host count only without a kubeconfig, which may be another cluster's.
    """
    files = read_files(config, clock) if kubeconfig is None else None
    server, reason = None, ""
    try:
        access = read_kubeconfig(kubeconfig or Path(config.write_kubeconfig))
        server = asyncio.run(ask(access, clock, randomness))
    except KubeconfigInvalid as error:
        reason = str(error)
    except APIError as error:
        reason = " ".join(error.message.split())
    except TimeoutError:
        reason = f"no answer within {ANSWER_SECONDS:g} s"
    except msgspec.MsgspecError as error:
        reason = f"its answer cannot be read: {error}"
    return Overview(clock.now(), __version__, files, server, reason)


def lines(seen: Overview) -> Iterator[str]:
    """Yield what people read; texts of others in it may be unprintable."""
    server, files = seen.server, seen.files
    yield _line("server", _server_in_words(seen))
    if server is not None:
        yield from _server_lines(server, seen.now)
    if files is None:
        return
    if files.certificate is not None:
        one = files.certificate
        left = human_duration((one.not_after - seen.now).total_seconds())
        yield _line(
            "certificates",
            f"the first to end is {one.name}, on {one.not_after:%Y-%m-%d} (in {left})",
        )
    if files.free_bytes is not None and files.total_bytes:
        share = files.free_bytes / files.total_bytes
        yield _line(
            "data", f"{files.data}: {files.free_bytes / 1e9:.1f} GB ({share:.0%}) free on its disk"
        )
    if files.store_bytes is not None:
        revision = f" at revision {files.revision}" if files.revision is not None else ""
        yield _line("store", f"{files.store_bytes / 1e6:.1f} MB{revision}")
    if files.snapshot is not None and files.snapshot_age_seconds is not None:
        yield _line(
            "snapshots",
            f"the last is {files.snapshot}, {human_duration(files.snapshot_age_seconds)} old",
        )
    elif not files.problem:
        yield _line("snapshots", "none; kubelite snapshot save makes one")
    if files.problem:
        yield _line("not seen", files.problem)


def _line(name: str, text: str) -> str:
    return f"{name:<14}{text}"


def _server_in_words(seen: Overview) -> str:
    server, files = seen.server, seen.files
    if server is not None:
        how = "ready" if not server.unhealthy else "not ready"
        return f"{how}, kubelite {seen.version} (Kubernetes {server.version.removeprefix('v')}) at {server.url}"
    if files is not None and files.is_running:
        return f"runs, but does not answer: {seen.reason}; see its log"
    if files is not None and not files.problem:
        return "does not run; this is what its files say (kubelite server starts it)"
    return f"does not answer: {seen.reason}"


def _server_lines(server: ServerView, now: datetime) -> Iterator[str]:
    for name, why in server.unhealthy.items():
        yield _line("unhealthy", f"{name}: {why}")
    if server.healthy:
        yield _line("healthy", ", ".join(server.healthy))
    ready = sum(node.is_ready for node in server.nodes)
    yield _line("nodes", f"{ready} of {len(server.nodes)} ready")
    # Those that are not ready first: with many nodes only some are shown.
    nodes = sorted(server.nodes, key=lambda node: node.is_ready)
    if nodes:
        yield from _table([COLUMNS, *(_row(node, now) for node in nodes[:SHOWN_MAX])])
    if len(nodes) > SHOWN_MAX:
        yield _line("", f"and {len(nodes) - SHOWN_MAX} more; see kubectl get nodes")
    counts = ", ".join(f"{count} {phase}" for phase, count in server.phases.items()) or "none"
    yield _line("pods", f"{counts}; {len(server.failing)} failing")
    for name, why in list(server.failing.items())[:SHOWN_MAX]:
        yield _line("", f"{name}: {why}")
    if len(server.failing) > SHOWN_MAX:
        yield _line("", f"and {len(server.failing) - SHOWN_MAX} more; see kubectl get pods -A")
    see = "; see kubectl get events -A --field-selector type=Warning" if server.warnings else ""
    yield _line("warnings", f"{server.warnings} in the last hour{see}")


def _row(node: NodeView, now: datetime) -> tuple[str, ...]:
    return (
        node.name,
        "Ready" if node.is_ready else "NotReady",
        age(node.created, now),
        node.version,
        f"{node.pods}/{node.pods_max}",
        "-" if node.cpu is None else f"{node.cpu:.0%}",
        "-" if node.memory is None else f"{node.memory:.0%}",
    )


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield _line("", cells).rstrip()
