"""A client that never stops asking, to find out whether a single request fails while something is done to a cluster."""

import signal
import sys

from testbed.machine import Machine
from testbed.processes import Process
from testbed.waiting import wait_for

# A new connection a request, as most clients of a service make; what the kernel sends again within the time is no
# failure, since it is none to a client.
PROGRAM = """
import signal, socket, sys, time
address, port, pause, limit = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
going = [True]
signal.signal(signal.SIGTERM, lambda *_: going.clear())
while going:
    began = time.monotonic()
    try:
        with socket.create_connection((address, port), timeout=limit) as conversation:
            conversation.settimeout(limit)
            conversation.sendall(b"GET / HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n")
            answer = b""
            while piece := conversation.recv(4096):
                answer += piece
        head, _, body = answer.partition(b"\\r\\n\\r\\n")
        if b" 200 " not in head.split(b"\\r\\n")[0] + b" ":
            raise ValueError(f"answer {answer[:80]!r}")
        print("ok", body.decode().strip(), flush=True)
    except (OSError, ValueError) as error:
        took = time.monotonic() - began
        print("FAILED", time.strftime("%H:%M:%S", time.gmtime()), f"after {took:.2f} s", repr(error), flush=True)
    time.sleep(pause)
"""
PAUSE_SECONDS = 0.02
LIMIT_SECONDS = 5.0


class Traffic:
    """Requests from one place to one address, one after the other; a context manager that ends them."""

    def __init__(
        self, machine: Machine, address: str, port: int, *, name: str = "traffic", pod_uid: str = ""
    ) -> None:
        """Ask from a host, or from one of its pods."""
        inside: list[str] = []
        if pod_uid:
            inside = ["nsenter", f"--target={machine.sandbox_pid(pod_uid)}", "--net"]
        arguments = (address, str(port), str(PAUSE_SECONDS), str(LIMIT_SECONDS))
        self._from = machine.name
        self._process: Process = machine.start(
            name, *inside, sys.executable, "-SEPc", PROGRAM, *arguments
        )

    def __enter__(self) -> "Traffic":
        self.more(3)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def lines(self) -> list[str]:
        """Return one line a request: `ok` and the answer, or FAILED, when, after how long and why."""
        return self._process.output().splitlines()

    def failures(self) -> list[str]:
        """Return the lines of the requests that failed."""
        return [line for line in self.lines() if not line.startswith("ok ")]

    def answers(self, since: int = 0) -> set[str]:
        """Return who answered, from a number of requests on."""
        return {line[3:] for line in self.lines()[since:] if line.startswith("ok ")}

    def more(self, number: int, timeout_seconds: float = 30) -> int:
        """Wait until so many further requests have been made; return how many there were before."""
        before = len(self.lines())

        def made() -> bool:
            assert self._process.poll() is None, self._process.output()[-2000:]
            return len(self.lines()) >= before + number

        wait_for(made, f"{number} requests from {self._from}", timeout_seconds)
        return before

    def stop(self) -> list[str]:
        """End it; return the failures."""
        self._process.send(signal.SIGTERM)
        self._process.wait()
        return self.failures()
