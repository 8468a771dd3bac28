"""The node's own HTTPS API: logs, exec, attach, port-forward, statistics; the API server passes users' requests on.

Every request is authorized by what the composition root injected, from the client certificate's names or the bearer
token; nothing but /healthz is answered without.
"""

import asyncio
import logging
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import WSMsgType, web
from msgspec import Struct

from kubelite.api.errors import APIError, BadRequest, Forbidden, NotFound, Unauthorized
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.model import to_wire
from kubelite.api.machinery.times import format_time
from kubelite.clock import Clock
from kubelite.limits import NODE_CONNECTIONS
from kubelite.metrics import REGISTRY, exposition
from kubelite.node import port_forward, stat_metrics, stats, streams
from kubelite.node.kubelet import Kubelet
from kubelite.node.logs import log_bytes, read_request, record_to_read
from kubelite.node.pod_files import Files
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pods import find_container
from kubelite.node.runtime import (
    ContainerRecord,
    ContainerRuntime,
    EngineUnavailable,
    RuntimeFailure,
    Session,
)
from kubelite.node.spdy import SPDYConnection, SPDYViolation
from kubelite.node.stream_end import stream_end
from kubelite.node.upgrade import take_over
from kubelite.node.usage import Measure, Sampler
from kubelite.serving.connection import ConnectionServer
from kubelite.serving.descriptors import own_shares
from kubelite.serving.listener import Listener, without_renegotiation
from kubelite.serving.table import ConnectionTable
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

TUNNEL_MESSAGE_LIMIT_BYTES = 4 << 20
SHUTDOWN_SECONDS = 2.0
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
RUNS = "create"  # the verb that exec, attach and port-forward require, also by a WebSocket, which is a GET
PORT = re.compile(r"[0-9]{1,5}")
READING = ("GET", "HEAD")
LOGS = "containerLogs"
JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class NodeRequest(Struct, frozen=True):
    """A request to authorize; `user` and `groups` are those of the verified client certificate."""

    user: str
    groups: tuple[str, ...]
    bearer_token: str
    verb: str  # get, create
    subresource: str  # of nodes: proxy, pods, stats, metrics


Authorize = Callable[[NodeRequest], Awaitable[None]]  # raises Unauthorized or Forbidden


class Place(Struct, frozen=True):
    """The pod, and the container if there is one, that a path names."""

    namespace: str
    pod: str
    container: str = ""


ReadFiles = Callable[[Iterable[PodMemory]], Awaitable[Files]]
ServePage = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
ServePlace = Callable[[web.BaseRequest, Place], Awaitable[web.StreamResponse]]


async def _no_files(_: Iterable[PodMemory]) -> Files:
    return {}


class NodeAPI:
    """Serves one node's HTTPS API."""

    def __init__(
        self,
        node_name: str,
        kubelet: Kubelet,
        runtime: ContainerRuntime,
        clock: Clock,
        authorize: Authorize,
        measure: Measure,
        connections: ConnectionTable | None = None,
        configuration: Mapping[str, Any] | None = None,
    ) -> None:
        """Without `connections` there may be as many as the files the process may open allow.

        `configuration` is what /configz shows.
        """
        if connections is None:
            total = own_shares().node
            # All requests of users come from the one address of the API server.
            connections = ConnectionTable(NODE_CONNECTIONS, total, per_address=total // 2)
        self.connections = connections
        self._node_name = node_name
        self._kubelet = kubelet
        self._runtime = runtime
        self._clock = clock
        self._authorize = authorize
        self._started = format_time(clock.now())
        self.files: ReadFiles = (
            _no_files  # counts the files of pods; set it before the API is served
        )
        self._sampler = Sampler(lambda: measure(kubelet.memories.values()))
        self._pages: Mapping[str, ServePage] = {
            "/healthz": self._healthz,
            "/healthz/ping": self._healthz,
            "/healthz/syncloop": self._sync_loop,
            "/configz": self._configz,
            "/pods": self._pods,
            "/pods/": self._pods,
            "/runningpods": self._running_pods,
            "/runningpods/": self._running_pods,
            "/metrics": self._metrics,
            "/metrics/cadvisor": self._cadvisor_metrics,
            "/metrics/probes": self._probe_metrics,
            "/metrics/resource": self._resource_metrics,
            "/stats/summary": self._summary,
        }
        # By the path's first part and the number of those behind it.
        self._streams: Mapping[tuple[str, int], ServePlace] = {
            (LOGS, 3): self._logs,
            ("exec", 3): self._exec,
            ("attach", 3): self._attach,
            ("portForward", 2): self._port_forward,
        }
        self._configuration = configuration or {}
        self._forwarded = port_forward.forwarded_places()
        self._listener: Listener | None = None
        self.port = 0

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; with port 0 `self.port` says which was taken. Raises OSError when it is in use."""
        # A handler is cancelled when its client leaves, else one that follows a silent log would run for ever.
        server = ConnectionServer(self._answer, self.connections, handler_cancellation=True)
        self._listener = Listener(server, lambda: without_renegotiation(tls))
        self.port = self._listener.open(host, port, "node API")

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        if self._listener is not None:
            await self._listener.stop(SHUTDOWN_SECONDS)
        await self._sampler.stop()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve a request by its path."""
        path = request.rel_url.raw_path
        if (page := self._pages.get(path)) is not None:
            if request.method not in READING:
                return web.Response(status=405, headers={"Allow": "GET,HEAD"})
            return await page(request)
        name, *parts = (unquote(part) for part in path.removeprefix("/").split("/"))
        stream = self._streams.get((name, len(parts)))
        if stream is None:
            return web.Response(status=404, text="404 page not found\n")
        if name == LOGS and request.method not in READING:
            return web.Response(status=405, headers={"Allow": "GET,HEAD"})
        return await stream(request, Place(*parts))

    async def _healthz(self, request: web.BaseRequest) -> web.Response:
        del request
        return web.Response(text="ok")

    async def _sync_loop(self, request: web.BaseRequest) -> web.StreamResponse:
        """Tell whether pods are kept as they should be, which takes an engine that answers."""

        async def work() -> web.Response:
            if error := self._kubelet.engine_error:
                text = f"sync loop healthcheck failed: {error}\n"
                return web.Response(status=500, text=text)
            return web.Response(text="ok")

        return await self._guarded(request, ("healthz", "proxy"), work)

    async def _check(
        self, request: web.BaseRequest, subresources: Sequence[str], verb: str
    ) -> None:
        """Return if the right to one of the subresources is there; raises Unauthorized or Forbidden."""
        certificate = request.get_extra_info("peercert") or {}
        user, groups = names_in(certificate)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        *finer, last = (NodeRequest(user, groups, bearer, verb, one) for one in subresources)
        for asked in finer:
            with suppress(Forbidden):
                return await self._authorize(asked)
        return await self._authorize(last)

    async def _guarded(
        self,
        request: web.BaseRequest,
        subresource: str | Sequence[str],
        work: Callable[[], Awaitable[web.StreamResponse]],
        verb: str = "",
    ) -> web.StreamResponse:
        """Authorize, by the request's own verb unless one is given; do the work, and put what goes wrong into words."""
        try:
            wanted = [subresource] if isinstance(subresource, str) else subresource
            await self._check(request, wanted, verb or VERBS.get(request.method, "create"))
            return await work()
        except APIError as error:
            return web.Response(status=error.code, text=error.message)
        except EngineUnavailable as error:
            return web.Response(status=503, text=str(error))
        except RuntimeFailure as error:
            return web.Response(status=500, text=str(error))

    # What is there

    async def _pods(self, request: web.BaseRequest) -> web.StreamResponse:
        async def work() -> web.Response:
            known = self._kubelet.memories.values()
            pods = [to_wire(pod) for m in known if (pod := m.current) and not m.gone]
            body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods}
            return _json(body)

        return await self._guarded(request, ("pods", "proxy"), work)

    async def _running_pods(self, request: web.BaseRequest) -> web.StreamResponse:
        async def work() -> web.Response:
            memories = self._kubelet.memories.values()
            pods = [running for memory in memories if (running := running_pod(memory))]
            body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods}
            return _json(body)

        return await self._guarded(request, ("pods", "proxy"), work)

    async def _configz(self, request: web.BaseRequest) -> web.StreamResponse:
        async def work() -> web.Response:
            return _json({"kubeletconfig": self._configuration})

        return await self._guarded(request, ("configz", "proxy"), work)

    async def _metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        async def work() -> web.Response:
            samples = [metric.sample() for metric in REGISTRY.metrics()]
            files = await self.files(self._kubelet.memories.values())
            names = {
                memory.uid: pod.metadata.namespace
                for memory in self._kubelet.memories.values()
                if (pod := memory.current) is not None
            }

            def made() -> bytes:
                return (exposition(samples) + stat_metrics.volume_metrics(files, names)).encode()

            body = await asyncio.to_thread(made)
            return web.Response(body=body, headers={"Content-Type": TEXT_TYPE})

        return await self._guarded(request, "metrics", work)

    async def _resource_metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        async def work() -> web.Response:
            newest = await self._sampler.newest()
            return _text(await asyncio.to_thread(stat_metrics.resource_metrics, newest))

        return await self._guarded(request, "metrics", work)

    async def _cadvisor_metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        async def work() -> web.Response:
            newest = await self._sampler.newest()
            cpus = len(os.sched_getaffinity(0))
            return _text(await asyncio.to_thread(stat_metrics.cadvisor_metrics, newest, cpus))

        return await self._guarded(request, "metrics", work)

    async def _probe_metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        async def work() -> web.Response:
            return _text(stat_metrics.probe_metrics(self._kubelet.memories.values()))

        return await self._guarded(request, "metrics", work)

    async def _summary(self, request: web.BaseRequest) -> web.StreamResponse:
        async def work() -> web.Response:
            measured = await self._sampler.measured()
            short = request.query.get("only_cpu_and_memory", "").lower() in {"true", "1"}

            files = await self.files(self._kubelet.memories.values()) if not short else {}

            def made() -> bytes:
                shown = stats.summary(
                    self._node_name,
                    self._started,
                    measured,
                    only_cpu_and_memory=short,
                    files=files,
                )
                return msgspec.json.encode(shown)

            body = await asyncio.to_thread(made)
            return web.Response(body=body, headers={"Content-Type": JSON_TYPE})

        return await self._guarded(request, "stats", work)

    # One pod

    def _find(self, request: web.BaseRequest, place: Place) -> tuple[Pod, PodMemory]:
        uid = request.query.get("uid", "")
        for memory in self._kubelet.memories.values():
            pod = memory.current
            mirror = memory.mirror.metadata.uid if memory.mirror is not None else ""
            if pod is None or memory.gone or (uid and uid not in {memory.uid, mirror}):
                continue
            if (pod.metadata.namespace, pod.metadata.name) == (place.namespace, place.pod):
                return pod, memory
        raise NotFound(f"pod {place.pod} in namespace {place.namespace} is not on this node")

    def _running(self, request: web.BaseRequest, place: Place) -> tuple[PodMemory, ContainerRecord]:
        pod, memory = self._find(request, place)
        name = place.container
        if find_container(pod, name) is None:
            raise NotFound(f"container {name} is not valid for pod {pod.metadata.name}")
        record = memory.observe().newest(name)
        if record is None or not record.is_running:
            raise BadRequest(f'container not found ("{name}")')
        return memory, record

    async def _logs(self, request: web.BaseRequest, place: Place) -> web.StreamResponse:
        async def work() -> web.StreamResponse:
            pod, memory = self._find(request, place)
            wanted = read_request(request.query, self._clock.now())
            record = record_to_read(pod, memory, place.container, previous=wanted.previous)
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            # The head is sent at once, so that a client following a silent container sees that it works.
            await response.prepare(request)
            try:
                async with (
                    aclosing(log_bytes(self._runtime, record, wanted)) as pieces,
                    stream_end(memory.ended(record.id)) as end,
                ):
                    while (piece := await end.read(anext(pieces, None))) is not None:
                        await response.write(piece)
            except (EngineUnavailable, RuntimeFailure, ValueError) as error:
                # The status is sent already, so the error can only be shown by cutting the body short.
                log.info("log broke off: %s", error, extra={"container": record.name})
                if request.transport is not None:
                    request.transport.abort()
                return response
            await response.write_eof()
            return response

        return await self._guarded(request, "proxy", work)

    async def _exec(self, request: web.BaseRequest, place: Place) -> web.StreamResponse:
        async def work() -> web.StreamResponse:
            memory, record = self._running(request, place)
            wanted = wanted_streams(request.query)
            command = request.query.getall("command", [])
            if not command:
                raise BadRequest("you must specify at least 1 command")

            async def open_session() -> Session:
                return await self._runtime.exec(
                    record.id, command, tty=wanted.tty, stdin=wanted.stdin
                )

            opening = Opening(open_session, "error executing command in container")
            return await self._converse(request, wanted, opening, lambda: memory.ended(record.id))

        return await self._guarded(request, "proxy", work, RUNS)

    async def _attach(self, request: web.BaseRequest, place: Place) -> web.StreamResponse:
        async def work() -> web.StreamResponse:
            memory, record = self._running(request, place)
            wanted = wanted_streams(request.query)

            async def open_session() -> Session:
                return await self._runtime.attach(record.id, tty=wanted.tty, stdin=wanted.stdin)

            opening = Opening(open_session, "error attaching to container")
            return await self._converse(request, wanted, opening, lambda: memory.ended(record.id))

        return await self._guarded(request, "proxy", work, RUNS)

    async def _converse(
        self,
        request: web.BaseRequest,
        wanted: streams.Wanted,
        opening: "Opening",
        ended: Callable[[], Coroutine[Any, Any, None]],
    ) -> web.StreamResponse:
        if not (wanted.stdin or wanted.stdout or wanted.stderr):
            raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
        if is_websocket(request):
            socket = web.WebSocketResponse(
                protocols=streams.WEBSOCKET_PROTOCOLS, max_msg_size=streams.MESSAGE_LIMIT_BYTES
            )
            await socket.prepare(request)
            await _run(opening, streams.WebSocketChannels(socket), ended)
            return socket
        offered = request.headers.getall("X-Stream-Protocol-Version", [])
        protocol = streams.choose_protocol(offered, streams.SPDY_PROTOCOLS)
        if protocol is None:
            known = ", ".join(streams.SPDY_PROTOCOLS)
            raise Forbidden(f"unable to upgrade: supported protocols are {known}")

        async def serve(connection: SPDYConnection) -> None:
            channels = await streams.open_spdy_channels(connection, wanted, protocol)
            if channels is not None:
                await _run(opening, channels, ended)

        return await take_over(request, protocol, serve)

    async def _port_forward(self, request: web.BaseRequest, place: Place) -> web.StreamResponse:
        async def work() -> web.StreamResponse:
            pod, memory = self._find(request, place)
            sandbox = memory.observe().newest_sandbox()
            if sandbox is None or not sandbox.is_running:
                raise NotFound(f"pod {pod.metadata.name} is not running")
            name = pod.metadata.name
            ports = port_forward.PodPorts(
                0 if pod.spec.hostNetwork else sandbox.pid,
                sandbox.id,
                memory.uid,
                self._forwarded,
            )
            numbers = port_numbers(request.query.getall("port", []))
            if len(numbers) > port_forward.PORTS_LIMIT:
                raise BadRequest(f"more than {port_forward.PORTS_LIMIT} ports")
            if not is_websocket(request):
                return await take_over(
                    request,
                    port_forward.SPDY_PROTOCOL,
                    lambda connection: _while_it_runs(
                        port_forward.forward_spdy(connection, ports, name),
                        memory.ended(sandbox.id),
                    ),
                )
            socket = web.WebSocketResponse(
                protocols=port_forward.WEBSOCKET_PROTOCOLS,
                max_msg_size=TUNNEL_MESSAGE_LIMIT_BYTES,
            )
            await socket.prepare(request)
            if socket.ws_protocol == port_forward.TUNNEL_PROTOCOL:
                serving = _serve_tunnel(socket, ports, name)
            else:
                serving = port_forward.forward_websocket(socket, ports, numbers, name)
            await _while_it_runs(serving, memory.ended(sandbox.id))
            await socket.close()
            return socket

        return await self._guarded(request, "proxy", work, RUNS)


class Opening(Struct, frozen=True):
    """How an exec or attach starts, and the message when it cannot."""

    session: Callable[[], Awaitable[Session]]
    failure: str


async def _run(
    opening: Opening,
    channels: streams.Channels,
    ended: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """Start the process and copy its streams; a failure goes to the client's error channel."""
    try:
        session = await opening.session()
    except (RuntimeFailure, EngineUnavailable) as error:
        with suppress(ConnectionError):
            await channels.finish(streams.failed(f"{opening.failure}: {error}"))
        return
    await streams.converse(session, channels, ended())


async def _while_it_runs(work: Coroutine[Any, Any, None], ended: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it is done, its client has left, or its container has ended."""

    async def forwarding() -> None:
        with suppress(ConnectionError):
            await work

    tasks = TaskSet()
    try:
        either = {
            tasks.start(forwarding(), name="port-forward"),
            tasks.start(ended, name="end of a forwarded pod"),
        }
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await tasks.stop()


async def _serve_tunnel(
    socket: web.WebSocketResponse, ports: port_forward.PodPorts, pod: str
) -> None:
    """Speak SPDY inside the binary messages of a WebSocket."""
    may_read = (
        asyncio.Event()
    )  # cleared while the pod takes nothing, so that its client has to wait
    may_read.set()

    def hold(is_held: bool) -> None:
        if is_held:
            may_read.clear()
        else:
            may_read.set()

    connection = SPDYConnection(socket.send_bytes, hold)

    async def feed() -> None:
        try:
            while (message := await socket.receive()).type == WSMsgType.BINARY:
                await connection.feed(message.data)
                await may_read.wait()
        except SPDYViolation as error:
            log.info("port-forward ended: %s", error, extra={"pod": pod})
        finally:
            connection.feed_end()

    tasks = TaskSet()
    tasks.start(feed(), name=f"port-forward tunnel {pod}")
    try:
        await port_forward.forward_spdy(connection, ports, pod)
    finally:
        await tasks.stop()
        await socket.close()


def running_pod(memory: PodMemory) -> dict[str, Any] | None:
    """Return a pod as the engine knows it, with its running containers; None if none runs, nor its sandbox."""
    running = [record for record in memory.records.values() if record.is_running]
    if not running:
        return None
    first = running[0]
    containers = [
        {"name": one.name, "image": one.image, "resources": {}}
        for one in running
        if not one.is_sandbox
    ]
    metadata = {"name": first.pod_name, "namespace": first.namespace, "uid": memory.uid}
    return {"metadata": metadata, "spec": {"containers": containers}, "status": {}}


def is_websocket(request: web.BaseRequest) -> bool:
    """Return whether a request asks for an upgrade to WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


def wanted_streams(query: Mapping[str, str]) -> streams.Wanted:
    """Read which streams are wanted, by the API's names or by those between API server and node."""

    def flag(*names: str) -> bool:
        return any(query.get(name, "").lower() in {"true", "1"} for name in names)

    return streams.Wanted(
        stdin=flag("stdin", "input"),
        stdout=flag("stdout", "output"),
        stderr=flag("stderr", "error"),
        tty=flag("tty"),
    )


def port_numbers(values: Sequence[str]) -> list[int]:
    """Read port numbers; raises BadRequest."""
    for value in values:
        if not PORT.fullmatch(value) or not 0 < int(value) < 65536:
            raise BadRequest(f'invalid port "{value}"')
    return [int(value) for value in values]


def names_in(certificate: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the common name and the organizations of a verified client certificate."""
    user = ""
    groups = []
    for relative_name in certificate.get("subject", ()):
        for field, value in relative_name:
            if field == "commonName":
                user = value
            elif field == "organizationName":
                groups.append(value)
    return user, tuple(groups)


def _text(body: str) -> web.Response:
    return web.Response(body=body.encode(), headers={"Content-Type": TEXT_TYPE})


def _json(body: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), headers={"Content-Type": JSON_TYPE})


async def only_the_server(asked: NodeRequest) -> None:
    """Authorize the API server and administrators only, by their certificates. Raises Unauthorized, Forbidden."""
    if not asked.user:
        raise Unauthorized("Unauthorized")
    if "system:masters" not in asked.groups and asked.user != "kube-apiserver-kubelet-client":
        raise Forbidden(f"Forbidden (user={asked.user}, verb={asked.verb}, resource=nodes)")
