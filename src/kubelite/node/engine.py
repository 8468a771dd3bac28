"""Keeps a container engine of kubelite's own running: a Docker engine here, containerd in `containerd`.

An engine that was started here is left running when kubelite ends, so that pods go on, and found again by its socket.
All it writes lies in folders of kubelite's; it makes neither a bridge nor firewall rules.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from kubelite.backoff import backoff_seconds
from kubelite.limits import ENGINE_LOG
from kubelite.spawn import start_detached
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0
RESTART_FIRST_SECONDS = 1.0
RESTART_MAX_SECONDS = 60.0
LOOK_SECONDS = 0.1
STOP_SECONDS = 30.0
LOG_CHECK_SECONDS = 600.0


class EngineProgram(Protocol):
    """A container engine that kubelite can start, in folders of its own."""

    @property
    def name(self) -> str:
        """The name of the program."""
        ...

    @property
    def data(self) -> Path:
        """The folder of images and containers; persistent."""
        ...

    @property
    def run(self) -> Path:
        """The folder of sockets and process ids; empty after a boot."""
        ...

    @property
    def socket(self) -> Path:
        """The socket of its API."""
        ...

    @property
    def log(self) -> Path:
        """The file of its standard output and error."""
        ...

    @property
    def mark(self) -> str:
        """The argument by which a process is known to be this engine."""
        ...

    def arguments(self) -> list[str]:
        """Return how it is started; containers outlive it."""
        ...

    def prepare(self) -> None:
        """Make the folders and files that it needs. Blocking; raises OSError."""
        ...

    def started(self, pid: int) -> None:
        """Note the process that was started. Blocking; raises OSError."""
        ...

    def pid(self) -> int:
        """Return its process id as noted, or as the socket's. Raises OSError, ValueError if none is known."""
        ...

    def end_remains(self) -> None:
        """End what goes on without the engine, which has been stopped. Blocking."""
        ...

    async def answers(self) -> bool:
        """Return whether it answers."""
        ...


class EngineFolders(Struct, frozen=True):
    """A Docker engine of kubelite's own, as an `EngineProgram`: its folders."""

    data: Path  # images and containers; persistent
    run: Path  # sockets and process ids; empty after a boot

    @property
    def name(self) -> str:
        """The name of the program."""
        return "dockerd"

    @property
    def socket(self) -> Path:
        """The socket of its API."""
        return self.run / "docker.sock"

    @property
    def log(self) -> Path:
        """The file of its standard output and error."""
        return self.run / "docker.log"

    @property
    def mark(self) -> str:
        """The argument by which a process is known to be this engine."""
        return f"--data-root={self.data}"

    def arguments(self) -> list[str]:
        """Return how it is started; containers outlive it."""
        return [
            "dockerd",
            self.mark,
            f"--exec-root={self.run / 'exec'}",
            f"--pidfile={self.run / 'docker.pid'}",
            f"--host=unix://{self.socket}",
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            "--live-restore",
        ]

    def prepare(self) -> None:
        """Make the folders that it needs. Blocking; raises OSError."""
        self.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.data.mkdir(mode=0o710, parents=True, exist_ok=True)

    def started(self, pid: int) -> None:
        """Do nothing: it notes its process id itself."""

    def pid(self) -> int:
        """Return its process id as it has noted it. Raises OSError, ValueError if it has not."""
        return int((self.run / "docker.pid").read_text())

    def end_remains(self) -> None:
        """Do nothing: its shims end with their containers."""

    async def answers(self) -> bool:
        """Return whether it answers."""
        return await answers(self.socket)


async def answers(socket: Path) -> bool:
    """Return whether an engine answers on a socket, within `ANSWER_SECONDS`."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(b"GET /_ping HTTP/1.0\r\nHost: localhost\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


async def until_answers(engine: EngineProgram) -> None:
    """Wait until an engine answers."""
    while not await engine.answers():  # noqa: ASYNC110 - nothing tells when another process listens
        await asyncio.sleep(LOOK_SECONDS)


class OwnEngine:
    """Keeps an engine of our own running while kubelite does."""

    def __init__(self, engine: EngineProgram, arguments: Sequence[str] = ()) -> None:
        self._engine = engine
        self._arguments = [*engine.arguments(), *arguments]

    async def run(self) -> None:
        """Start the engine if it does not answer, and again whenever it ends; until cancelled."""
        tasks = TaskSet()
        tasks.supervise(self._bound_log, name="log of the container engine")
        try:
            await self._keep_running()
        finally:
            await tasks.stop()

    async def _bound_log(self) -> None:
        """Cut the engine's log every `LOG_CHECK_SECONDS`, since the engine never rotates it."""
        while True:
            await asyncio.to_thread(cut_log, self._engine.log)
            await asyncio.sleep(LOG_CHECK_SECONDS)

    async def _keep_running(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            if await self._engine.answers():
                await self._until_gone()
            else:
                await self._start_and_wait()
            if loop.time() - started > RESTART_MAX_SECONDS:
                failures = 0
            log.warning("the container engine has ended, starting it again")
            await asyncio.sleep(
                backoff_seconds(failures, RESTART_FIRST_SECONDS, RESTART_MAX_SECONDS)
            )
            failures += 1

    async def _start_and_wait(self) -> None:
        pid = await asyncio.to_thread(self._spawn)
        log.info("container engine started", extra={"pid": pid})
        await _ended(pid)
        with contextlib.suppress(ChildProcessError):
            _, status = await asyncio.to_thread(os.waitpid, pid, 0)
            code = os.waitstatus_to_exitcode(status)
            log.warning("container engine ended", extra={"exit_code": code})

    def _spawn(self) -> int:
        """Start the engine, which outlives this process; return its process id."""
        self._engine.prepare()
        pid = start_detached(self._arguments, self._engine.log)
        self._engine.started(pid)
        return pid

    async def _until_gone(self) -> None:
        """Wait for the end of an engine that an earlier run of kubelite started."""
        with contextlib.suppress(OSError, ValueError):
            await _ended(await asyncio.to_thread(self._engine.pid))


def cut_log(path: Path) -> None:
    """Rotate a log beyond `ENGINE_LOG` bytes: its newest part stays in one file beside it. Blocks.

    The engine appends, so it continues at the start of the emptied file; a line written between the copy and the cut
    is lost.
    """
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as log_file:
        size = log_file.seek(0, os.SEEK_END)
        if size <= ENGINE_LOG.value:
            return
        ENGINE_LOG.reached()
        log_file.seek(-ENGINE_LOG.value // 2, os.SEEK_END)
        path.with_suffix(".log.1").write_bytes(log_file.read(ENGINE_LOG.value // 2))
        log_file.truncate(0)


async def stop_engine(engine: EngineProgram) -> None:
    """Terminate an engine of our own, whichever process started it, and wait for its end. Raises TimeoutError."""
    try:
        pid = await asyncio.to_thread(engine.pid)
        with _opened_process(pid) as descriptor:
            # The file of an engine that was killed stays, and its number may be another process's by now.
            if not is_engine(pid, engine):
                return
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):
                await _readable(descriptor)
    except TimeoutError:  # an OSError as well
        raise
    except (OSError, ValueError):
        return  # it does not run


def is_engine(pid: int, engine: EngineProgram) -> bool:
    """Return whether a process is this engine. Raises OSError."""
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return os.fsencode(engine.mark) in arguments


async def _ended(pid: int) -> None:
    """Wait until a process, which need not be a child, has ended. Raises OSError if there is none."""
    with _opened_process(pid) as descriptor:
        await _readable(descriptor)


@contextlib.contextmanager
def _opened_process(pid: int) -> Iterator[int]:
    """Open a descriptor of a process, which never comes to mean another one. Raises OSError."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _readable(descriptor: int) -> None:
    """Wait until a descriptor is readable; that of a process is when it has ended."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
