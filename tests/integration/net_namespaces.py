"""Network namespaces to play a node, its pods and the world outside; gone when the test ends, also by failure."""

import asyncio
import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

CLONE_NEWNET = 0x40000000

needs_root = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
]


def in_new_namespace(main: Callable[[ExitStack], Coroutine[Any, Any, None]]) -> None:
    """Run `main` on uvloop in a thread that is alone in a new network namespace; what it starts is there too."""
    _in_namespace(lambda libc: libc.unshare(CLONE_NEWNET), main)


def in_namespace_of(pid: int, main: Callable[[ExitStack], Coroutine[Any, Any, None]]) -> None:
    """Run `main` on uvloop in a thread in the network namespace of a process."""
    with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
        _in_namespace(lambda libc: libc.setns(namespace.fileno(), CLONE_NEWNET), main)


def _in_namespace(
    enter: Callable[[ctypes.CDLL], int], main: Callable[[ExitStack], Coroutine[Any, Any, None]]
) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert enter(libc) == 0, os.strerror(ctypes.get_errno())
        try:
            shell("ip link set lo up")
            with ExitStack() as stack:
                uvloop.run(main(stack))
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def shell(command: str) -> str:
    """Run a command here; its output."""
    done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
    return done.stdout


@contextmanager
def process_in_namespace() -> Iterator[int]:
    """Start a process with an empty network namespace, as a pod's sandbox has; yields its pid."""
    sandbox = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 600"], stdout=subprocess.PIPE
    )
    assert sandbox.stdout is not None
    try:
        assert sandbox.stdout.readline() == b"ready\n"
        yield sandbox.pid
    finally:
        sandbox.kill()
        sandbox.wait()
        sandbox.stdout.close()


@contextmanager
def outside(address: str = "198.51.100.2", node_address: str = "198.51.100.1") -> Iterator[int]:
    """Connect a machine outside the cluster with this namespace; yields the pid of a process on it."""
    with process_in_namespace() as pid:
        shell(f"ip link add uplink0 type veth peer name eth0 netns {pid}")
        for where in ("", f"nsenter -t {pid} -n"):
            # Until a link's own address is known to be unique, the kernel looks for no next hop on it.
            shell(f'for dad in {OF_UPLINKS}; do {where} sh -c "echo 0 > $dad"; done 2>/dev/null; :')
        shell(f"ip addr add {node_address}/24 dev uplink0 && ip link set uplink0 up")
        shell(
            f"nsenter -t {pid} -n sh -c 'ip addr add {address}/24 dev eth0; ip link set eth0 up;"
            f" ip link set lo up; ip route add default via {node_address}'"
        )
        shell(f"ip route add default via {address}")
        _connect_by_ipv6(pid)
        yield pid


OF_UPLINKS = "/proc/sys/net/ipv6/conf/uplink0/accept_dad /proc/sys/net/ipv6/conf/eth0/accept_dad"
FAR_V6, NODE_V6 = "2001:db8:1::2", "2001:db8:1::1"


def _connect_by_ipv6(pid: int) -> None:
    if not Path("/proc/sys/net/ipv6").exists():
        return
    shell(f"ip addr add {NODE_V6}/64 dev uplink0 nodad")
    shell(
        f"nsenter -t {pid} -n sh -c 'ip addr add {FAR_V6}/64 dev eth0 nodad;"
        f" ip route add default via {NODE_V6}'"
    )
    shell(f"ip route add default via {FAR_V6}")


SERVER = """
import socket, sys, threading
name, port = sys.argv[1].encode(), int(sys.argv[2])
both = socket.has_dualstack_ipv6()
where, family = ("::", socket.AF_INET6) if both else ("0.0.0.0", socket.AF_INET)
tcp = socket.create_server((where, port), backlog=128, family=family, dualstack_ipv6=both)
udp = socket.socket(family, socket.SOCK_DGRAM)
if both:
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
udp.bind((where, port))
def answer(peer):
    return name + b" " + peer[0].removeprefix("::ffff:").encode()
def datagrams():
    while True:
        _, peer = udp.recvfrom(100)
        udp.sendto(answer(peer), peer)
threading.Thread(target=datagrams, daemon=True).start()
print("ready", flush=True)
while True:
    conversation, peer = tcp.accept()
    conversation.sendall(answer(peer))
    conversation.close()
"""

CLIENT = """
import socket, sys
address, port, times, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
for _ in range(times):
    s = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    s.settimeout(1.5)
    try:
        s.connect(socket.getaddrinfo(address, port, family)[0][4])
        if kind == "udp":
            s.send(b"?")
        print(s.recv(100).decode() or "closed")
    except (OSError, TimeoutError) as error:
        print(type(error).__name__)
    s.close()
"""


@contextmanager
def server(name: str, port: int, pid: int | str) -> Iterator[None]:
    """Answer TCP and UDP in the namespace of `pid` with `name` and the client's address as seen there."""
    where = ["nsenter", "-t", str(pid), "-n"] if pid != "self" else []
    command = [*where, sys.executable, "-SEc", SERVER, name, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


async def ask(
    address: str, port: int, *, times: int = 1, pid: int | str = "self", kind: str = "tcp"
) -> list[str]:
    """Connect `times` times from the namespace of `pid`; what was answered, or the name of the error."""
    where = ["nsenter", "-t", str(pid), "-n"] if pid != "self" else []
    process = await asyncio.create_subprocess_exec(
        *where,
        sys.executable,
        "-SEc",
        CLIENT,
        address,
        str(port),
        str(times),
        kind,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return output.decode().splitlines()
