"""The network of a node alone: rules of many services, a change of one, policies and throughput, in namespaces."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from fakes.mirrored import MirroringClient
from fakes.network_objects import NODE, endpoint_slice, service
from integration.net_namespaces import in_new_namespace, process_in_namespace, shell
from integration.net_node import proxy_of, running_node

from bench.lag import LagMeter
from bench.report import Figure
from kubelite import collector
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod, PodSpec, PodStatus
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.kinds.networking import (
    NetworkPolicy,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicySpec,
)

SERVICES, ENDPOINTS = 1000, 3
POLICIES, PODS = 1000, 500
CHANGES = 20
SECONDS = 2.0
ROUNDS = 5

SINK = """
import socket, sys, time
server = socket.create_server(("0.0.0.0", 9999))
print("ready", flush=True)
while True:
    conversation, _ = server.accept()
    room = bytearray(1 << 20)
    while conversation.recv_into(room):
        pass
    conversation.close()
"""

SOURCE = """
import socket, sys, time
address, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
conversation = socket.create_connection((address, port))
data, sent = bytes(1 << 17), 0
until = time.monotonic() + seconds
while time.monotonic() < until:
    sent += conversation.send(data)
print(sent / seconds)
"""


def measure(_: Path) -> Iterator[Figure]:
    """Measure in namespaces of their own."""
    for part in (_services, _policies, _throughput):
        figures: list[Figure] = []
        in_new_namespace(_collecting(part, figures))
        yield from figures


def _collecting(
    part: Callable[[ExitStack], Coroutine[None, None, list[Figure]]], figures: list[Figure]
) -> Callable[[ExitStack], Coroutine[None, None, None]]:
    async def main(stack: ExitStack) -> None:
        figures.extend(await part(stack))

    return main


def _many() -> list[object]:
    return [
        item
        for number in range(SERVICES)
        for item in (
            service(f"s{number}", f"10.43.{1 + number // 250}.{1 + number % 250}"),
            endpoint_slice(
                *(
                    f"10.42.{number // 80}.{2 + 3 * (number % 80) + one}"
                    for one in range(ENDPOINTS)
                ),
                service_name=f"s{number}",
            ),
        )
    ]


async def _services(_: ExitStack) -> list[Figure]:
    client = MirroringClient()
    client.put(*_many())  # type: ignore[arg-type]  # each is a kind
    proxy = proxy_of(client)
    await proxy.start()
    with LagMeter() as lag:
        started = time.perf_counter()
        running = asyncio.create_task(proxy.run())
        await _applied(proxy.applied)
        whole = time.perf_counter() - started
    waits = []
    with LagMeter() as lag_of_changes:
        for number in range(CHANGES):
            await asyncio.sleep(0.15)  # quiet
            started = time.perf_counter()
            client.put(endpoint_slice(f"10.42.200.{2 + number}", service_name=f"s{number}"))
            await _applied(proxy.applied)
            waits.append(time.perf_counter() - started)
        assert "10.42.200.21" in shell("nft list chain ip kubelite service/default/s19/tcp/80")
    running.cancel()
    await asyncio.wait([running])
    await proxy.stop()
    many = f"{SERVICES} services x {ENDPOINTS}"
    return [
        Figure(f"net: rules of {many} in the kernel", whole, "s", "0.4"),
        Figure(f"net: loop held meanwhile, longest, {many}", lag.longest_ms, "ms"),
        Figure(
            f"net: one endpoint's change in effect, p50, {many}", median(waits) * 1e3, "ms", "60"
        ),
        Figure("net: the same, longest", max(waits) * 1e3, "ms", "60"),
        Figure("net: loop held by a change, longest", lag_of_changes.longest_ms, "ms"),
    ]


async def _policies(_: ExitStack) -> list[Figure]:
    client = MirroringClient()
    client.put(Namespace(metadata=ObjectMeta(name="default")))
    for number in range(PODS):
        client.put(_pod(number))
    for number in range(POLICIES):
        client.put(_policy(number))
    proxy = proxy_of(client)
    await proxy.start()
    started = time.perf_counter()
    running = asyncio.create_task(proxy.run())
    await _applied(proxy.applied)
    whole = time.perf_counter() - started
    waits = []
    collector.resume()  # as in a server that has started: what is there is not visited again and again
    with LagMeter() as lag:
        for number in range(CHANGES):
            await asyncio.sleep(0.15)
            started = time.perf_counter()
            client.put(_pod(number, color="red"))
            await _applied(proxy.applied)
            waits.append(time.perf_counter() - started)
    running.cancel()
    await asyncio.wait([running])
    await proxy.stop()
    many = f"{POLICIES} policies x {PODS} pods"
    return [
        Figure(f"net: rules of {many} in the kernel", whole, "s"),
        Figure(f"net: a pod's labels in effect, p50, {many}", median(waits) * 1e3, "ms", "200"),
        Figure("net: the same, longest", max(waits) * 1e3, "ms", "200"),
        Figure("net: loop held by it, p99", lag.p99_ms, "ms"),
        Figure("net: loop held by it, longest", lag.longest_ms, "ms"),
    ]


def _pod(number: int, **labels: str) -> Pod:
    return Pod(
        metadata=ObjectMeta(
            namespace="default",
            name=f"p{number}",
            uid=f"p{number}",
            labels={"app": f"a{number % 100}", "pod": str(number), **labels},
        ),
        # A node has a hundred of the cluster's pods.
        spec=PodSpec(nodeName=NODE if number % 5 == 0 else "other"),
        status=PodStatus(phase="Running", podIP=f"10.42.{number // 250}.{2 + number % 250}"),
    )


def _policy(number: int) -> NetworkPolicy:
    peers = [
        NetworkPolicyPeer(
            podSelector=LabelSelector(matchLabels={"app": f"a{(number + one) % 100}"})
        )
        for one in (1, 2)
    ]
    spec = NetworkPolicySpec(
        podSelector=LabelSelector(matchLabels={"app": f"a{number % 100}"}),
        policyTypes=["Ingress"],
        ingress=[NetworkPolicyIngressRule(from_=peers)],
    )
    return NetworkPolicy(metadata=ObjectMeta(namespace="default", name=f"n{number}"), spec=spec)


async def _applied(applied: Callable[[], Coroutine[None, None, None]]) -> None:
    async with asyncio.timeout(60):
        await applied()


async def _throughput(stack: ExitStack) -> list[Figure]:
    async with running_node(stack) as node:
        await node.put(
            service("sink", "10.43.0.6"),
            endpoint_slice("10.42.0.3", service_name="sink", port=9999),
        )
        bare = _bare(stack)
        _sink(stack, node.two)
        figures: dict[str, list[float]] = {"pod": [], "service": [], "veth": []}
        for _ in range(ROUNDS):  # in turn, so that what else the machine does meets all
            figures["veth"].append(await _send(bare, "192.0.2.2", 9999))
            figures["pod"].append(await _send(node.one, "10.42.0.3", 9999))
            figures["service"].append(await _send(node.one, "10.43.0.6", 80))
    veth = median(figures["veth"])
    return [
        Figure("net: one TCP stream over a bare veth pair", veth * 8 / 1e9, "Gbit/s"),
        Figure("net: pod to pod, of that", 100 * median(figures["pod"]) / veth, "%", "90"),
        Figure("net: pod to service, of that", 100 * median(figures["service"]) / veth, "%", "90"),
    ]


def _bare(stack: ExitStack) -> int:
    """Connect two namespaces by nothing but a pair of links; return the sender's pid."""
    sender, receiver = (stack.enter_context(process_in_namespace()) for _ in range(2))
    shell(f"ip link add bare0 netns {sender} type veth peer name bare0 netns {receiver}")
    for pid, address in ((sender, "192.0.2.1"), (receiver, "192.0.2.2")):
        shell(
            f"nsenter -t {pid} -n sh -ec 'ip link set lo up; ip address add {address}/24 dev bare0;"
            " ip link set bare0 up'"
        )
    _sink(stack, receiver)
    return sender


def _sink(stack: ExitStack, pid: int) -> None:
    command = ["nsenter", "-t", str(pid), "-n", sys.executable, "-SEc", SINK]
    process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
    stack.callback(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


async def _send(pid: int, address: str, port: int) -> float:
    """Return the bytes a second of one stream."""
    process = await asyncio.create_subprocess_exec(
        *("nsenter", "-t", str(pid), "-n", sys.executable, "-SEc", SOURCE),
        *(address, str(port), str(SECONDS)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return float(output)
