"""Runs other programs off the event loop: the only module that starts a process.

uvloop forks on the loop, which blocks it the longer the more memory the process has, and raises when a child ends
before it has read its input. So a program runs in a thread, in a session of its own, with a deadline and a bound on
its output; its own children are killed with it.
"""

import asyncio
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

from msgspec import Struct

from kubelite.limits import PROGRAM_OUTPUT

PIECE_BYTES = 1 << 16


class ProgramFailed(Exception):
    """A program did not end by itself; `str()` has its name and the reason."""


class ProgramMissing(ProgramFailed):
    """The program does not exist, or may not be executed."""


class ProgramTooSlow(ProgramFailed):
    """The program did not end in time and was killed."""


class ProgramTooLoud(ProgramFailed):
    """The program wrote more than `limits.PROGRAM_OUTPUT` and was killed."""


class Finished(Struct, frozen=True):
    """The result of a program that has ended by itself."""

    code: int  # exit code; if negative, the signal that ended it
    output: bytes
    errors: bytes


async def run_program(
    arguments: Sequence[str],
    *,
    stdin: bytes = b"",
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program to its end; cancelling the call kills it. `environment` is added to that of this process.

    Raises ProgramMissing, ProgramTooSlow and ProgramTooLoud. An exit code other than 0 is not an error here.
    """
    program = _Program(arguments, stdin, timeout_seconds, environment)
    running = asyncio.ensure_future(asyncio.to_thread(program.run))  # noqa: TID251 - awaited right here
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        program.cancel()
        # The caller may undo the program's effects next, so wait until its thread has ended.
        with suppress(ProgramFailed):
            await running
        raise


def start_detached(arguments: Sequence[str], log_file: Path) -> int:
    """Start a program that outlives this process; return its process id. Blocks; raises OSError.

    It has a session of its own, so neither a signal to this process's group nor the end of this process reaches it.
    Its output is appended to `log_file`. The caller must reap the process.
    """
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawnp(
        arguments[0],
        list(arguments),
        os.environ,
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log_file), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )


def become(arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by a program; `environment` is added to that of this process. Raises OSError."""
    os.execve(arguments[0], list(arguments), {**os.environ, **environment})  # noqa: S606 - no shell is wanted


class Conversation:
    """A program that reads a line of its input, answers by a line of its output, and so on. Blocks; not thread-safe.

    Its errors go to those of this process. It runs until `close`, and ends by itself if this process does: it reads
    the end of its input then.
    """

    def __init__(self, arguments: Sequence[str], *, timeout_seconds: float) -> None:
        """Start the program. Raises ProgramMissing."""
        self._name = _name_of(arguments)
        self._timeout_seconds = timeout_seconds  # of one answer
        try:
            self._process = subprocess.Popen(  # noqa: S603 - no shell; the callers name the program
                arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise ProgramMissing(f"cannot run {self._name}: {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._input, False)

    def ask(self, line: bytes) -> bytes:
        """Write a line and return the next line of output. Raises ProgramFailed; all that is left then is `close`."""
        deadline = time.monotonic() + self._timeout_seconds
        rest = memoryview(line)
        while rest:
            self._wait(selectors.EVENT_WRITE, deadline)
            try:
                rest = rest[os.write(self._input, rest[:PIECE_BYTES]) :]
            except BrokenPipeError:
                raise ProgramFailed(f"{self._name} ended") from None
        heard = bytearray()
        while not heard.endswith(b"\n"):
            self._wait(selectors.EVENT_READ, deadline)
            piece = os.read(self._output, PIECE_BYTES)
            if not piece:
                raise ProgramFailed(f"{self._name} ended")
            heard += piece
            _require_bounded(self._name, heard)
        return bytes(heard)

    def _wait(self, event: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(
                self._input if event == selectors.EVENT_WRITE else self._output, event
            )
            if not selector.select(max(deadline - time.monotonic(), 0.0)):
                raise _too_slow(self._name, self._timeout_seconds)

    def close(self) -> None:
        """Kill the program and wait for its end."""
        _kill(self._process)
        for stream in (self._process.stdin, self._process.stdout):
            _close(stream)
        self._process.wait()


class Companion:
    """A program that runs beside this process and has some of its descriptors. `start` and `end` block."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = list(arguments)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id, 0 before the start."""
        return self._process.pid if self._process is not None else 0

    def start(self, descriptors: Sequence[int]) -> None:
        """Start the program with these descriptors, which keep their numbers. Raises ProgramMissing."""
        try:
            self._process = subprocess.Popen(  # noqa: S603 - no shell; the callers name the program
                self._arguments,
                stdin=subprocess.DEVNULL,
                pass_fds=tuple(descriptors),
                start_new_session=True,
            )
        except OSError as error:
            raise ProgramMissing(
                f"cannot run {_name_of(self._arguments)}: {error.strerror}"
            ) from error

    def end(self, grace_seconds: float) -> int:
        """Wait for the program's end, kill it after `grace_seconds`; return its exit code."""
        process = self._process
        if process is None:
            return 0
        with suppress(subprocess.TimeoutExpired):
            return process.wait(grace_seconds)
        _kill(process)
        return process.wait()


class _Program:
    """One run of a program; `run` belongs to a thread, `cancel` to any other."""

    def __init__(
        self,
        arguments: Sequence[str],
        stdin: bytes,
        timeout_seconds: float,
        environment: Mapping[str, str] | None,
    ) -> None:
        self._arguments = list(arguments)
        self._environment = None if environment is None else {**os.environ, **environment}
        self._stdin = memoryview(stdin)
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()  # guards the event descriptor, which `run` closes
        self._cancelled = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_over = False

    @property
    def _name(self) -> str:
        return _name_of(self._arguments)

    def cancel(self) -> None:
        """Kill the program, or prevent its start; thread-safe."""
        with self._lock:
            if not self._is_over:
                os.eventfd_write(self._cancelled, 1)

    def run(self) -> Finished:
        """Start the program and wait for its end. Blocks."""
        try:
            process = self._start()
            try:
                output, errors = self._converse(process)
            finally:
                _kill(process)
                for stream in (process.stdin, process.stdout, process.stderr):
                    _close(stream)
                code = process.wait()
            return Finished(code, output, errors)
        finally:
            with self._lock:
                self._is_over = True
                os.close(self._cancelled)

    def _start(self) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(  # noqa: S603 - no shell; the callers name the program
                self._arguments,
                stdin=subprocess.PIPE if self._stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=self._environment,
            )
        except OSError as error:
            raise ProgramMissing(f"cannot run {self._name}: {error.strerror}") from error

    def _converse(self, process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
        """Write the program's input and read its outputs, until it has ended and its outputs are closed."""
        deadline = time.monotonic() + self._timeout_seconds
        ended = os.pidfd_open(process.pid)
        waiting: set[object] = {ended, process.stdout, process.stderr}
        heard: dict[object, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
        try:
            with selectors.DefaultSelector() as selector:
                for source in (*waiting, self._cancelled):
                    selector.register(source, selectors.EVENT_READ)  # type: ignore[arg-type]  # descriptors and streams
                if process.stdin is not None:
                    os.set_blocking(process.stdin.fileno(), False)
                    selector.register(process.stdin, selectors.EVENT_WRITE)
                while waiting:
                    for key, _ in self._ready(selector, deadline):
                        if key.fileobj == self._cancelled:
                            raise ProgramFailed(f"{self._name} was cancelled")
                        if self._is_done(key, process, heard):
                            waiting.discard(key.fileobj)
                            selector.unregister(key.fileobj)
        finally:
            os.close(ended)
        return bytes(heard[process.stdout]), bytes(heard[process.stderr])

    def _ready(
        self, selector: selectors.BaseSelector, deadline: float
    ) -> list[tuple[selectors.SelectorKey, int]]:
        ready = selector.select(max(deadline - time.monotonic(), 0.0))
        if not ready:
            raise _too_slow(self._name, self._timeout_seconds)
        return ready

    def _is_done(
        self,
        key: selectors.SelectorKey,
        process: "subprocess.Popen[bytes]",
        heard: dict[object, bytearray],
    ) -> bool:
        """Handle one ready descriptor; return whether it is exhausted."""
        if key.fileobj in heard:
            return self._hear(key.fd, heard[key.fileobj])
        if key.fileobj is process.stdin:
            if not self._feed(key.fd):
                return False
            _close(process.stdin)
            return True
        # The program has ended, but its children may hold its outputs open, so kill them.
        _kill(process)
        return True

    def _feed(self, descriptor: int) -> bool:
        """Write some of the input; return whether all is written or the program no longer reads."""
        try:
            written = os.write(descriptor, self._stdin[:PIECE_BYTES])
        except BlockingIOError:
            return False
        except BrokenPipeError:
            return True  # it ended early; its exit code has the reason
        self._stdin = self._stdin[written:]
        return not self._stdin

    def _hear(self, descriptor: int, heard: bytearray) -> bool:
        """Read some of an output; return whether it has ended."""
        piece = os.read(descriptor, PIECE_BYTES)
        heard += piece
        _require_bounded(self._name, heard)
        return not piece


def _name_of(arguments: Sequence[str]) -> str:
    return arguments[0].rpartition("/")[2]


def _too_slow(name: str, timeout_seconds: float) -> ProgramTooSlow:
    return ProgramTooSlow(f"{name} did not end within {timeout_seconds:g} s")


def _require_bounded(name: str, heard: bytearray) -> None:
    if len(heard) > PROGRAM_OUTPUT.value:
        PROGRAM_OUTPUT.reached()
        raise ProgramTooLoud(f"{name} wrote more than {PROGRAM_OUTPUT.value} bytes")


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program and its session's process group; its id is not reused until it is reaped."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with suppress(OSError):  # input that nothing reads any more
            stream.close()
