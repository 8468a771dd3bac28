"""SCTP through services and policies, by both families; the kernel need not have its sockets, only its connections."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from fakes.network_objects import NODE, endpoint_slice, port, service

from integration.net_namespaces import needs_root
from integration.net_node import V4, V6, Node, on_a_node_of
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod, PodIP, PodSpec, PodStatus
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.kinds.networking import (
    NetworkPolicy,
    NetworkPolicyIngressRule,
    NetworkPolicyPort,
    NetworkPolicySpec,
)

pytestmark = [
    *needs_root,
    pytest.mark.skipif(
        not Path("/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_established").exists(),
        reason="the kernel does not follow connections of SCTP",
    ),
]

# The first two messages of an association (RFC 9260): INIT, and INIT ACK.
PROGRAM = """
import select, socket, struct, sys, time
def crc(data):
    value = 0xffffffff
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return struct.pack("<I", value ^ 0xffffffff)
def packet(source, to, tag, kind):
    body = struct.pack("!BBHIIHHI", kind, 0, 20, 7, 65536, 1, 1, 1)
    head = struct.pack("!HHI", source, to, tag)
    return head + crc(head + bytes(4) + body) + body
def read(data, family):
    return data if family == socket.AF_INET6 else data[20:]  # raw sockets of IPv4 tell the header too
def opened(family):
    return socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_SCTP)
if sys.argv[1] == "serve":
    sockets = [opened(family) for family in (socket.AF_INET, socket.AF_INET6)]
    print("ready", flush=True)
    while True:
        for s in select.select(sockets, [], [])[0]:
            data, peer = s.recvfrom(2000)
            data = read(data, s.family)
            source, to = struct.unpack_from("!HH", data)
            if to == 8080 and data[12] == 1:
                s.sendto(packet(8080, source, 7, 2), (peer[0], 0))
address, number = sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = opened(family)
s.sendto(packet(int(sys.argv[4]), number, 0, 1), (address, 0))
until = time.monotonic() + 0.5
while select.select([s], [], [], max(0, until - time.monotonic()))[0]:
    data, peer = s.recvfrom(2000)
    data = read(data, family)
    if data[12] == 2:
        print(f"answered by {peer[0]} {struct.unpack_from('!H', data)[0]}")
        sys.exit()
print("lost")
"""
PODS = {"one": ("10.42.0.2", "fd42::2"), "two": ("10.42.0.3", "fd42::3")}
LOST = "lost"
SOURCES = count(20000)


@contextmanager
def serving(pid: int) -> Iterator[None]:
    command = ["nsenter", "-t", str(pid), "-n", sys.executable, "-SEc", PROGRAM, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


async def ask(pid: int, address: str, number: int) -> str:
    """Begin an association from a port of its own."""
    source = next(SOURCES)
    process = await asyncio.create_subprocess_exec(
        *("nsenter", "-t", str(pid), "-n", sys.executable, "-SEc", PROGRAM),
        *("ask", address, str(number), str(source)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return output.decode().strip()


def pod(name: str) -> Pod:
    addresses = PODS[name]
    return Pod(
        metadata=ObjectMeta(namespace="default", name=name, uid=name, labels={"app": name}),
        spec=PodSpec(nodeName=NODE),
        status=PodStatus(
            phase="Running", podIP=addresses[0], podIPs=[PodIP(ip=one) for one in addresses]
        ),
    )


def policy(*ports: NetworkPolicyPort) -> NetworkPolicy:
    rules = [NetworkPolicyIngressRule(ports=list(ports))] if ports else []
    spec = NetworkPolicySpec(
        podSelector=LabelSelector(matchLabels={"app": "two"}),
        ingress=rules,
        policyTypes=["Ingress"],
    )
    return NetworkPolicy(metadata=ObjectMeta(namespace="default", name="p"), spec=spec)


@on_a_node_of(V4, V6)
async def test_services_and_policies_of_sctp(node: Node) -> None:
    both = ["10.43.0.5", "fd43::5"]
    item = service(clusterIPs=both, type="NodePort", ports=[port(80, "SCTP", node_port=30080)])
    slices = [
        endpoint_slice(address, name=f"s{number}", protocol="SCTP")
        for number, address in enumerate(PODS["two"])
    ]
    await node.put(Namespace(metadata=ObjectMeta(name="default")), pod("one"), pod("two"))
    await node.put(item, *slices)
    with serving(node.two):
        for address, own in zip(both, PODS["two"], strict=True):
            assert await ask(node.one, own, 8080) == f"answered by {own} 8080"
            assert await ask(node.one, address, 80) == f"answered by {address} 80"
        for address in ("198.51.100.1", "2001:db8:1::1"):
            assert await ask(node.far, address, 30080) == f"answered by {address} 30080"
        tcp = NetworkPolicyPort(port=8080)
        for ports in ((), (tcp,), (NetworkPolicyPort(port=8081, protocol="SCTP"),)):
            await node.put(policy(*ports))
            for address in both:
                assert await ask(node.one, address, 80) == LOST
        allowing = NetworkPolicyPort(port=8000, endPort=8080, protocol="SCTP")
        for last in (allowing, NetworkPolicyPort(protocol="SCTP")):
            await node.put(policy(tcp, last))
            for address in both:
                assert await ask(node.one, address, 80) == f"answered by {address} 80"
