"""Two small programs with which tests find out who reaches whom, without an engine or kubelite.

`LISTENER PORT` counts datagrams and answers each connection with that number and the caller's address; a connection
that sends first gets everything back instead. `CALLER ADDRESS PORT` connects once and prints the answer.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from testbed.machine import Machine
from testbed.processes import Process
from testbed.waiting import wait_for

PORT = 7000
CALL_SECONDS = 1.0

LISTENER = """
import json, socket, sys, threading
port, counted = int(sys.argv[1]), [0]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
udp.bind(("0.0.0.0", port))
def count():
    while True:
        udp.recv(100)
        counted[0] += 1
threading.Thread(target=count, daemon=True).start()
tcp = socket.create_server(("0.0.0.0", port), backlog=128)
print("listening", flush=True)
while True:
    conversation, (peer, _) = tcp.accept()
    with conversation:
        if conversation.recv(1) == b"?":
            answer = {"datagrams": counted[0], "peer": peer}
            conversation.sendall(json.dumps(answer).encode())
        else:
            while piece := conversation.recv(1 << 20):
                conversation.sendall(piece)
"""

CALLER = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as conversation:
    conversation.sendall(b"?")
    print(conversation.recv(1000).decode())
"""

SENDER = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    for _ in range(int(sys.argv[3])):
        udp.sendto(b"!", (sys.argv[1], int(sys.argv[2])))
"""

# Sends and reads at once, or both directions' buffers would fill up.
CARRIER = """
import hashlib, socket, sys, threading
size = int(sys.argv[3])
text = hashlib.shake_256(b"kubelite").digest(size)
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as conversation:
    conversation.sendall(b"=")
    def send():
        conversation.sendall(text)
        conversation.shutdown(socket.SHUT_WR)
    threading.Thread(target=send, daemon=True).start()
    pieces = []
    while piece := conversation.recv(1 << 20):
        pieces.append(piece)
print(b"".join(pieces) == text)
"""


def listen(machine: Machine) -> Process:
    """Start the listener on a host and wait until it listens."""
    process = machine.start("listener", sys.executable, "-SEPc", LISTENER, str(PORT))
    wait_for(lambda: "listening" in process.output(), f"listener on {machine.name}", 10)
    return process


def call(machine: Machine, address: str, seconds: float = CALL_SECONDS) -> dict[str, Any] | None:
    """Call the listener at an address from a host; None when it is not reached within `seconds`."""
    done = _python(machine, CALLER, address, str(PORT), str(seconds))
    answer: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
    return answer


def reaches(machine: Machine, other: Machine) -> bool:
    """Return whether a host reaches the listener of another one."""
    return call(machine, other.address) is not None


def send_datagrams(machine: Machine, address: str, number: int) -> None:
    """Send datagrams to the listener at an address."""
    _python(machine, SENDER, address, str(PORT), str(number)).check_returncode()


def carry(machine: Machine, address: str, size_bytes: int) -> bool:
    """Send a stream to the listener at an address and back; return whether it came back unchanged."""
    return _python(machine, CARRIER, address, str(PORT), str(size_bytes)).stdout.strip() == "True"


def seconds_to_call(machine: Machine, address: str) -> float:
    """Return how long a call takes: two round trips, and the start of the caller."""
    started = time.monotonic()
    assert call(machine, address, 10) is not None
    return time.monotonic() - started


def _python(machine: Machine, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    line = machine.command(sys.executable, "-SEPc", program, *arguments, only_network=True)
    return subprocess.run(line, capture_output=True, text=True, timeout=90, cwd=Path("/"))
