"""Finds a Docker engine, or starts one of kubelite's own where there is none but the program is installed.

An engine that was started here is left running when kubelite ends, so that pods go on, and found again by its socket.
All it writes lies in two folders of kubelite's; it makes neither a bridge nor firewall rules.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from kubelite.backoff import backoff_seconds
from kubelite.limits import ENGINE_LOG
from kubelite.spawn import start_detached
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

SYSTEM_SOCKET = Path("/var/run/docker.sock")
ANSWER_SECONDS = 2.0
RESTART_FIRST_SECONDS = 1.0
RESTART_MAX_SECONDS = 60.0
LOOK_SECONDS = 0.1
STOP_SECONDS = 30.0
LOG_CHECK_SECONDS = 600.0


class EngineFolders(Struct, frozen=True):
    """The folders of an engine that kubelite starts itself."""

    data: Path  # images and containers; persistent
    run: Path  # sockets and process ids; empty after a boot

    @property
    def socket(self) -> Path:
        """The socket of its API."""
        return self.run / "docker.sock"

    @property
    def log(self) -> Path:
        """The file of its standard output and error."""
        return self.run / "docker.log"


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


async def until_answers(socket: Path) -> None:
    """Wait until an engine answers."""
    while not await answers(socket):  # noqa: ASYNC110 - nothing tells when another process listens
        await asyncio.sleep(LOOK_SECONDS)


async def find_socket(given: Path | None, folders: EngineFolders) -> Path:
    """Return the socket to use: the one that was given, our own engine's if it runs or must, else the system's."""
    if given is not None:
        return given
    if await answers(folders.socket):
        return folders.socket
    if await answers(SYSTEM_SOCKET) or shutil.which("dockerd") is None:
        return SYSTEM_SOCKET
    return folders.socket


def command_line(folders: EngineFolders) -> list[str]:
    """Return how our own engine is started; containers outlive it."""
    return [
        "dockerd",
        f"--data-root={folders.data}",
        f"--exec-root={folders.run / 'exec'}",
        f"--pidfile={folders.run / 'docker.pid'}",
        f"--host=unix://{folders.socket}",
        "--bridge=none",
        "--iptables=false",
        "--ip-forward=false",
        "--live-restore",
    ]


class OwnEngine:
    """Keeps an engine of our own running while kubelite does."""

    def __init__(self, folders: EngineFolders, arguments: Sequence[str] = ()) -> None:
        self._folders = folders
        self._arguments = [*command_line(folders), *arguments]

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
            await asyncio.to_thread(cut_log, self._folders.log)
            await asyncio.sleep(LOG_CHECK_SECONDS)

    async def _keep_running(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            if await answers(self._folders.socket):
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
        self._folders.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folders.data.mkdir(mode=0o710, parents=True, exist_ok=True)
        return start_detached(self._arguments, self._folders.log)

    async def _until_gone(self) -> None:
        """Wait for the end of an engine that an earlier run of kubelite started."""
        with contextlib.suppress(OSError, ValueError):
            await _ended(int((self._folders.run / "docker.pid").read_text()))


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


async def stop_engine(folders: EngineFolders) -> None:
    """Terminate an engine of our own, whichever process started it, and wait for its end. Raises TimeoutError."""
    try:
        pid = int((folders.run / "docker.pid").read_text())
        with _opened_process(pid) as descriptor:
            # The file of an engine that was killed stays, and its number may be another process's by now.
            if not _is_engine(pid, folders):
                return
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):
                await _readable(descriptor)
    except TimeoutError:  # an OSError as well
        raise
    except (OSError, ValueError):
        return  # it does not run


def _is_engine(pid: int, folders: EngineFolders) -> bool:
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return os.fsencode(f"--data-root={folders.data}") in arguments


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
