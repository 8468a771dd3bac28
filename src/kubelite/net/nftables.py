"""Applies nftables transactions: by libnftables in a thread, by the `nft` program where the library is missing."""

import asyncio
import contextlib
import ctypes
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kubelite.spawn import ProgramFailed, run_program

LIBRARIES = ("libnftables.so.1",)
APPLY_TIMEOUT_SECONDS = 60.0
LARGE_TRANSACTION_BYTES = (
    200_000  # beyond it the context is freed after the transaction, with the memory it holds
)
OWN_NAME = "kubelite-rules"  # of the thread; notifications of the kernel carry it, so our own changes are recognized


class RulesRefused(Exception):
    """The kernel or the parser rejected a transaction, of which nothing was applied."""


class RulesUnavailable(Exception):
    """Neither libnftables nor nft is installed."""


class LibraryEngine:
    """libnftables by ctypes; not thread-safe."""

    def __init__(self, library: ctypes.CDLL) -> None:
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).restype = ctypes.c_char_p
            getattr(library, name).argtypes = [ctypes.c_void_p]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        library.nft_run_cmd_from_buffer.restype = ctypes.c_int
        self._library = library
        self._context: int | None = None

    def run(self, commands: str) -> str:
        """Run a transaction and return its output. Raises RulesRefused.

        The context is kept between transactions, which halves the time of a small one.
        """
        library = self._library
        if not self._context:
            self._context = library.nft_ctx_new(0)
            if not self._context:
                raise MemoryError("nft_ctx_new")
            library.nft_ctx_buffer_output(self._context)
            library.nft_ctx_buffer_error(self._context)
        failed = library.nft_run_cmd_from_buffer(self._context, commands.encode())
        if failed:
            refusal = RulesRefused(_shorten(library.nft_ctx_get_error_buffer(self._context)))
            self.forget()
            raise refusal
        output: bytes = library.nft_ctx_get_output_buffer(self._context)
        return output.decode(errors="replace")

    def forget(self) -> None:
        """Free the context with its cache of the kernel's tables; the next `run` makes a new one."""
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None


class Nftables:
    """One transaction at a time, off the event loop."""

    def __init__(self) -> None:
        self._engine: LibraryEngine | None = None
        self._program = ""
        self._thread = ThreadPoolExecutor(1, initializer=_name_thread)
        self.running = 0  # transactions in flight

    @property
    def is_by_program(self) -> bool:
        """Whether each transaction is a process of its own."""
        return bool(self._program)

    def open(self) -> None:
        """Find the library or the program; raises RulesUnavailable."""
        for name in LIBRARIES:
            try:
                self._engine = LibraryEngine(ctypes.CDLL(name))
            except OSError:
                continue
            return
        program = shutil.which("nft")
        if program is None:
            raise RulesUnavailable("cannot set up service networking: needs libnftables or nft")
        self._program = program

    async def close(self) -> None:
        """End the thread; rules stay."""
        await asyncio.to_thread(self._thread.shutdown)

    async def run(self, commands: str) -> str:
        """Run a transaction and return its output; one at a time, in order. Raises RulesRefused."""
        self.running += 1
        try:
            if self._program:
                return await self._run_program(commands)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._run_library, commands)
        finally:
            self.running -= 1

    def _run_library(self, commands: str) -> str:
        assert self._engine is not None, "open comes first"
        try:
            return self._engine.run(commands)
        finally:
            if len(commands) > LARGE_TRANSACTION_BYTES:
                self._engine.forget()

    async def _run_program(self, commands: str) -> str:
        try:
            finished = await run_program(
                (self._program, "-f", "-"),
                stdin=commands.encode(),
                timeout_seconds=APPLY_TIMEOUT_SECONDS,
            )
        except ProgramFailed as error:
            raise RulesRefused(str(error)) from error
        if finished.code:
            raise RulesRefused(_shorten(finished.errors))
        return finished.output.decode(errors="replace")


def _name_thread() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/thread-self/comm").write_text(OWN_NAME)


def _shorten(errors: bytes) -> str:
    return errors.decode(errors="replace")[:2000].strip()
