"""Processes in a namespace of processes, watched from outside of it."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_SECONDS = 20.0


class Process:
    """A process that was started through `nsenter`; its output is appended to a file of its own."""

    def __init__(
        self, line: Sequence[str], log: Path, environment: Mapping[str, str], *, forks: bool
    ) -> None:
        """`forks` says that `line` enters a namespace of processes, which only a child can."""
        self.log = log
        with log.open("ab") as output:
            self._outer = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=dict(environment),
            )
        self.pid = self._inner_pid() if forks else self._outer.pid
        self._descriptor = self._open()

    def poll(self) -> int | None:
        """Return the exit code of a process that has ended, else None."""
        return self._outer.poll()

    def wait(self, timeout_seconds: float = STOP_SECONDS) -> int:
        """Wait for its end and return its exit code. Raises subprocess.TimeoutExpired."""
        code = self._outer.wait(timeout_seconds)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        if self._descriptor >= 0:
            try:
                signal.pidfd_send_signal(self._descriptor, number)
            except ProcessLookupError:
                return

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> int:
        """Ask it to end, then kill it; return its exit code."""
        self.send(signal.SIGTERM)
        try:
            return self.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """Kill it at once; return its exit code."""
        self.send(signal.SIGKILL)
        return self.wait()

    def output(self) -> str:
        """Return all it has written."""
        return self.log.read_text(errors="replace")

    def _inner_pid(self) -> int:
        """Return the child's number as seen from outside, 0 if it has ended already."""
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        while self._outer.poll() is None:
            try:
                if found := children.read_text().split():
                    return int(found[0])
            except FileNotFoundError:
                break
            time.sleep(0.001)
        return 0

    def _open(self) -> int:
        try:
            return os.pidfd_open(self.pid) if self.pid else -1
        except ProcessLookupError:
            return -1
