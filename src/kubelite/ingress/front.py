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

from kubelite.backoff import backoff_seconds
from kubelite.ingress.messages import (
    Certificate,
    Certificates,
    Counts,
    EndpointChanges,
    Ready,
    Report,
    Routes,
    encode,
    receive,
)
from kubelite.ingress.routes import Route
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
        self._default = b""
        self._certificates: tuple[Certificate, ...] = ()
        self._changed: set[str] = set()  # keys of endpoints
        self._dirty: set[type[Struct]] = set()
        self._wake = asyncio.Event()
        self._sockets: dict[str, list[socket.socket]] = {"http": [], "https": []}
        self._told: set[int] = set()
        self.ready = asyncio.Event()
        self.pid = 0

    @property
    def ports(self) -> dict[str, int]:
        """The ports that are open, by `http` and `https`."""
        return {name: found[0].getsockname()[1] for name, found in self._sockets.items() if found}

    def use_routes(self, routes: Sequence[Route], scopes: Sequence[str] = ()) -> None:
        """Route by these; `scopes` are the host names of listeners."""
        wanted = Routes(tuple(routes), tuple(scopes))
        if wanted != self._routes:
            self._routes = wanted
            self._mark(Routes)

    def use_endpoints(self, changed: Mapping[str, tuple[str, ...]]) -> None:
        """Change some sets of endpoints; () forgets one."""
        for key, addresses in changed.items():
            if self._endpoints.get(key, ()) == addresses:
                continue
            if addresses:
                self._endpoints[key] = addresses
            else:
                del self._endpoints[key]
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
        try:
            while True:
                is_whole = self._open_ports()
                pauses = iter(TAKEN_SECONDS)
                while not any(self._sockets.values()):
                    await asyncio.sleep(next(pauses, TAKEN_SECONDS[-1]))
                    is_whole = self._open_ports()
                started = loop.time()
                if await self._run_process(is_whole=is_whole):
                    continue
                failures = 0 if loop.time() - started > RESTART_MAX_SECONDS else failures + 1
                log.warning("the ingress proxy ended, starting it again")
                if failures > 1:
                    await asyncio.sleep(
                        backoff_seconds(failures - 2, RESTART_FIRST_SECONDS, RESTART_MAX_SECONDS)
                    )
        finally:
            self.close()

    def close(self) -> None:
        """Close the ports."""
        for found in self._sockets.values():
            while found:
                found.pop().close()

    def _open_ports(self) -> bool:
        """Open what is not open yet; return whether all is."""
        wanted = {"http": self._settings.http_port, "https": self._settings.https_port}
        is_whole = True
        for name, port in wanted.items():
            if port < 0 or self._sockets[name]:
                continue
            try:
                self._sockets[name] = open_port(self._settings.address, port)
            except PortTaken:
                is_whole = False
                if port not in self._told:
                    self._told.add(port)
                    self._taken(port)
            else:
                self._told.discard(port)
        return is_whole

    async def _run_process(self, *, is_whole: bool) -> bool:
        """Run one process until it ends (False), or until a port that was taken is free (True)."""
        with ExitStack() as stack:
            own, theirs = socket.socketpair()
            stack.callback(theirs.close)
            arguments = [*own_program("kubelite.ingress.process"), "--parent", str(theirs.fileno())]
            descriptors = [theirs.fileno()]
            for name, sockets in self._sockets.items():
                for one in sockets:
                    arguments += [f"--{name}", str(one.fileno())]
                    arguments += [f"--{name}-port", str(one.getsockname()[1])]
                    descriptors.append(one.fileno())
            if (file := self._open_log()) >= 0:
                stack.callback(os.close, file)
                arguments += ["--log", str(file)]
                descriptors.append(file)
            companion = Companion(arguments)
            try:
                await asyncio.to_thread(companion.start, descriptors)
            except BaseException:
                own.close()
                raise
        self.pid = companion.pid
        reader, writer = await asyncio.open_unix_connection(sock=own)
        tasks = TaskSet()
        try:
            self._dirty = {Routes, EndpointChanges, Certificates}
            self._changed = set(self._endpoints)
            tasks.start(self._tell(writer), name="tell the ingress proxy")
            if is_whole:
                await self._hear(reader)
            else:
                hearing = tasks.start(self._hear(reader), name="hear the ingress proxy")
                trying = tasks.start(self._try_ports(), name="try taken ports")
                await asyncio.wait((hearing, trying), return_when=asyncio.FIRST_COMPLETED)
                return not hearing.done()
            return False
        finally:
            self.ready.clear()
            await tasks.stop()
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

    async def _try_ports(self) -> None:
        pauses = iter(TAKEN_SECONDS)
        missing = {name for name, found in self._sockets.items() if not found}
        while True:
            await asyncio.sleep(next(pauses, TAKEN_SECONDS[-1]))
            self._open_ports()
            if any(self._sockets[name] for name in missing):
                return

    async def _tell(self, writer: asyncio.StreamWriter) -> None:
        """Send what changed, in an order that leaves no route without its endpoints."""
        with suppress(ConnectionError):
            while True:
                dirty, self._dirty = self._dirty, set()
                if EndpointChanges in dirty:
                    changed, self._changed = self._changed, set()
                    sets = {key: self._endpoints.get(key, ()) for key in changed}
                    writer.write(encode(EndpointChanges(sets)))
                if Routes in dirty:
                    writer.write(encode(self._routes))
                if Certificates in dirty:
                    writer.write(encode(Certificates(self._default, self._certificates)))
                await writer.drain()
                self._wake.clear()
                if not self._dirty:
                    await self._wake.wait()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        decoder: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                match await receive(reader, decoder):
                    case Counts() as counts:
                        self._counted(counts)
                    case Ready():
                        self.ready.set()


def open_port(address: str, port: int) -> list[socket.socket]:
    """Return the listening sockets of a port: one for both families where there is IPv6. Raises PortTaken."""
    try:
        if address:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return [socket.create_server((address, port), family=family, backlog=BACKLOG)]
        try:
            return [
                socket.create_server(
                    ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
                )
            ]
        except ValueError:
            pass  # a Python or a kernel without
        except OSError as error:
            if error.errno not in NO_IPV6:
                raise
        return [socket.create_server(("", port), backlog=BACKLOG)]
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EPERM):
            raise PortTaken(port) from None
        raise
