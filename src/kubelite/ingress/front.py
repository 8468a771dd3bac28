"""Runs the proxy's process: its sockets, what it is told, and its restarts.

The sockets belong to this process. Where the proxy ends, connections wait in them until the next one is there, and the
ports below 1024 need no rights in the proxy itself.
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kubelite.backoff import backoff_seconds
from kubelite.ingress.endpoints import PLAIN, Speech
from kubelite.ingress.messages import (
    Certificate,
    Certificates,
    Counts,
    EndpointChanges,
    Port,
    Ports,
    Ready,
    Report,
    Routes,
    encode,
    receive,
)
from kubelite.ingress.routes import Route, Scope
from kubelite.own_programs import own_program
from kubelite.spawn import Companion
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

BACKLOG = 1024
END_SECONDS = 12.0  # a little more than the proxy gives requests in flight
RESTART_FIRST_SECONDS, RESTART_MAX_SECONDS = 1.0, 30.0
TAKEN_SECONDS = (5.0, 15.0, 60.0)  # after which a port that is taken is tried again
NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class FrontSettings(Struct, frozen=True):
    """Where the proxy listens, and whether it logs."""

    http_port: int = 80  # 0: a free one; -1: none
    https_port: int = 443
    address: str = ""  # "": all of the host
    access_log: str = ""  # a file
    own_ports: Mapping[int, str] = {}  # that kubelite's other servers have, and whose each is


class PortTaken(Exception):
    """A port belongs to another program."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} of the node is in use by another program")
        self.port = port


class Front:
    """See the module. What it is given before and during `run` reaches every process that it starts."""

    def __init__(
        self,
        settings: FrontSettings,
        *,
        counted: Callable[[Counts], None] = lambda _: None,
        taken: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`taken` is called once with each port that is in use by another program."""
        self._settings = settings
        self._counted = counted
        self._taken = taken
        self._routes = Routes(())
        self._endpoints: dict[str, tuple[str, ...]] = {}
        self._speeches: dict[str, Speech] = {}
        self._default = b""
        self._certificates: tuple[Certificate, ...] = ()
        self._changed: set[str] = set()  # keys of endpoints
        self._dirty: set[type[Struct]] = set()
        self._wake = asyncio.Event()
        self._wanted = {
            Port(port, is_https=is_https)
            for port, is_https in ((settings.http_port, False), (settings.https_port, True))
            if port >= 0
        }
        self._open: dict[Port, tuple[Port, socket.socket]] = {}  # with its number
        self._passed: dict[Port, Port] = {}  # what the present process has
        self._ports_changed = asyncio.Event()
        self._told: set[int] = set()
        self.ready = asyncio.Event()
        self.pid = 0

    @property
    def ports(self) -> dict[str, int]:
        """The ports for Ingresses that are open, by `http` and `https`."""
        return {
            "https" if port.is_https else "http": port.number
            for port, _ in self._open.values()
            if not port.is_extra
        }

    def use_ports(self, extra: Mapping[int, bool]) -> None:
        """Listen on these ports beside those of Ingresses; with each whether it is for HTTPS."""
        wanted = {one for one in self._wanted if not one.is_extra}
        wanted |= {
            Port(number, is_https=is_https, is_extra=True) for number, is_https in extra.items()
        }
        if wanted != self._wanted:
            self._wanted = wanted
            self._ports_changed.set()

    def use_routes(self, routes: Sequence[Route], scopes: Sequence[Scope] = ()) -> None:
        """Route by these; `scopes` are the listeners of Gateways."""
        wanted = Routes(tuple(routes), tuple(scopes))
        if wanted != self._routes:
            self._routes = wanted
            self._mark(Routes)

    def use_endpoints(
        self, changed: Mapping[str, tuple[str, ...]], speeches: Mapping[str, Speech] | None = None
    ) -> None:
        """Change some sets of endpoints; () forgets one. `speeches` has what they speak if not plain HTTP/1.1."""
        for key, addresses in changed.items():
            speech = (speeches or {}).get(key, PLAIN)
            before = self._endpoints.get(key, ()), self._speeches.get(key, PLAIN)
            if before == (addresses, speech):
                continue
            if addresses:
                self._endpoints[key] = addresses
            else:
                self._endpoints.pop(key, None)
            self._speeches.pop(key, None)
            if addresses and speech != PLAIN:
                self._speeches[key] = speech
            self._changed.add(key)
            self._mark(EndpointChanges)

    def use_certificates(self, default: bytes, certificates: Sequence[Certificate]) -> None:
        """Use these certificates."""
        wanted = (default, tuple(certificates))
        if wanted != (self._default, self._certificates):
            self._default, self._certificates = wanted
            self._mark(Certificates)

    def _mark(self, what: type[Struct]) -> None:
        self._dirty.add(what)
        self._wake.set()

    async def run(self) -> None:
        """Serve until cancelled. A proxy that ends is started again; connections wait meanwhile."""
        loop, failures = asyncio.get_running_loop(), 0
        tasks, first = TaskSet(), asyncio.Event()
        try:
            tasks.start(self._keep_ports(first), name="keep the ingress ports")
            await first.wait()
            while True:
                started = loop.time()
                await self._run_process()
                failures = 0 if loop.time() - started > RESTART_MAX_SECONDS else failures + 1
                log.warning("the ingress proxy ended, starting it again")
                if failures > 1:
                    await asyncio.sleep(
                        backoff_seconds(failures - 2, RESTART_FIRST_SECONDS, RESTART_MAX_SECONDS)
                    )
        finally:
            await tasks.stop()
            self.close()

    def close(self) -> None:
        """Close the ports."""
        for _, listener in self._open.values():
            listener.close()
        self._open.clear()

    async def _keep_ports(self, first: asyncio.Event) -> None:
        """Open and close ports as wanted; `first` is set once there is one. One that is taken is tried again."""
        pauses = iter(TAKEN_SECONDS)
        while True:
            self._ports_changed.clear()
            is_whole = self._change_ports()
            if self._open:
                first.set()
            if is_whole:
                pauses = iter(TAKEN_SECONDS)
            pause = None if is_whole else next(pauses, TAKEN_SECONDS[-1])
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ports_changed.wait()

    def _change_ports(self) -> bool:
        """Close what is not wanted, open what is not open yet; return whether all is."""
        before = dict(self._open)
        for wanted in self._open.keys() - self._wanted:
            self._open.pop(wanted)[1].close()
        is_whole = True
        for wanted in sorted(
            self._wanted - self._open.keys(), key=lambda one: (one.is_extra, one.number)
        ):
            try:
                listener = open_port(self._settings.address, wanted.number)
            except PortTaken:
                is_whole = False
                if wanted.number not in self._told:
                    self._told.add(wanted.number)
                    self._taken(wanted.number)
            else:
                self._told.discard(wanted.number)
                port = replace(wanted, number=listener.getsockname()[1])
                self._open[wanted] = port, listener
        self._told &= {one.number for one in self._wanted}
        if before != self._open:
            self._mark(Ports)
        return is_whole

    async def _run_process(self) -> None:
        """Run one process until it ends."""
        with ExitStack() as stack:
            own, theirs = socket.socketpair()
            stack.callback(theirs.close)
            handing, handed = socket.socketpair(type=socket.SOCK_SEQPACKET)
            stack.callback(handed.close)
            arguments = [*own_program("kubelite.ingress.process")]
            arguments += ["--parent", str(theirs.fileno()), "--sockets", str(handed.fileno())]
            arguments += ["--https-port", str(self.ports.get("https", 443))]
            descriptors = [theirs.fileno(), handed.fileno()]
            if (file := self._open_log()) >= 0:
                stack.callback(os.close, file)
                arguments += ["--log", str(file)]
                descriptors.append(file)
            companion = Companion(arguments)
            try:
                await asyncio.to_thread(companion.start, descriptors)
            except BaseException:
                own.close()
                handing.close()
                raise
        self.pid = companion.pid
        reader, writer = await asyncio.open_unix_connection(sock=own)
        tasks = TaskSet()
        try:
            self._dirty = {Routes, EndpointChanges, Certificates, Ports}
            self._changed = set(self._endpoints)
            self._passed = {}
            tasks.start(self._tell(writer, handing), name="tell the ingress proxy")
            await self._hear(reader)
        finally:
            self.ready.clear()
            await tasks.stop()
            handing.close()
            writer.close()  # which tells it to finish
            ending = partial(companion.end, END_SECONDS)
            await asyncio.shield(asyncio.to_thread(ending))

    def _open_log(self) -> int:
        if not self._settings.access_log:
            return -1
        try:
            return os.open(
                self._settings.access_log,
                os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW,
                0o640,
            )
        except OSError as error:
            log.warning("cannot open the access log of the ingress", extra={"error": str(error)})
            return -1

    async def _tell(self, writer: asyncio.StreamWriter, handing: socket.socket) -> None:
        """Send what changed, in an order that leaves no route without its endpoints, and no port without routes."""
        with suppress(ConnectionError):
            while True:
                dirty, self._dirty = self._dirty, set()
                if EndpointChanges in dirty:
                    changed, self._changed = self._changed, set()
                    sets = {key: self._endpoints.get(key, ()) for key in changed}
                    speeches = {key: self._speeches[key] for key in changed & self._speeches.keys()}
                    writer.write(encode(EndpointChanges(sets, speeches)))
                if Routes in dirty:
                    writer.write(encode(self._routes))
                if Certificates in dirty:
                    writer.write(encode(Certificates(self._default, self._certificates)))
                if Ports in dirty:
                    writer.write(encode(self._hand_over(handing)))
                await writer.drain()
                self._wake.clear()
                if not self._dirty:
                    await self._wake.wait()

    def _hand_over(self, handing: socket.socket) -> Ports:
        """Send the sockets of ports that the process has not; return what changes for it."""
        closed = [
            port
            for wanted, port in self._passed.items()
            if self._open.get(wanted, (None, None))[0] != port
        ]
        opened = [
            (port, listener)
            for wanted, (port, listener) in self._open.items()
            if self._passed.get(wanted) != port
        ]
        for _, listener in opened:
            socket.send_fds(handing, [b"s"], [listener.fileno()])
        self._passed = {wanted: port for wanted, (port, _) in self._open.items()}
        return Ports(tuple(port for port, _ in opened), tuple(closed))

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        decoder: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                match await receive(reader, decoder):
                    case Counts() as counts:
                        self._counted(counts)
                    case Ready():
                        self.ready.set()


def open_port(address: str, port: int) -> socket.socket:
    """Return the listening socket of a port, of both families where there is IPv6. Raises PortTaken."""
    try:
        if address:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server((address, port), family=family, backlog=BACKLOG)
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
        except ValueError:
            pass  # a Python or a kernel without
        except OSError as error:
            if error.errno not in NO_IPV6:
                raise
        return socket.create_server(("", port), backlog=BACKLOG)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EPERM):
            raise PortTaken(port) from None
        raise
