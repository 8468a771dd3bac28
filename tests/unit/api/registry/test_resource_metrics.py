"""metrics.k8s.io: what nodes say is read side by side, within bounds, and believed of their own pods only."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from simulation.simulated_loop import SimulatedClock, SimulatedLoop, run_simulated

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.errors import ServiceUnavailable
from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.quantity import canonical_quantity, parse_quantity
from kubelite.api.registry.resource_metrics import (
    KEPT_SECONDS,
    Reading,
    ResourceMetrics,
    Usage,
    cpu_quantity,
    memory_quantity,
    read_summary,
)
from kubelite.limits import NODE_SUMMARIES, NODE_SUMMARY_SECONDS, NODE_SUMMARY_WAIT_SECONDS
from kubelite.offload import AtOnce
from kubelite.tasks import TaskSet

AT = datetime(2026, 1, 1, tzinfo=UTC)
TIME = "2025-12-31T23:59:58Z"


def said(cpu: Any = 1500, memory: Any = 2048, time: Any = TIME) -> dict[str, Any]:
    return {"cpu": {"time": time, "usageNanoCores": cpu}, "memory": {"workingSetBytes": memory}}


def of_pod(uid: str, **containers: dict[str, Any]) -> dict[str, Any]:
    listed = [{"name": name, **usage} for name, usage in containers.items()]
    return {"podRef": {"name": "p", "namespace": "a", "uid": uid}, "containers": listed}


def body(*pods: dict[str, Any], node: dict[str, Any] | None = None) -> bytes:
    return msgspec.json.encode({"node": said() if node is None else node, "pods": pods})


KNOWN = {"u1": frozenset({"main", "side"})}


def test_what_a_node_says_of_its_pods_is_taken_over() -> None:
    reading = read_summary(body(of_pod("u1", main=said(), side=said(0, 0))), KNOWN, AT)
    assert reading == Reading(
        Usage(1500, 2048, TIME),
        {"u1": {"main": Usage(1500, 2048, TIME), "side": Usage(0, 0, TIME)}},
    )


@pytest.mark.parametrize(
    "pod",
    [
        of_pod("u2", main=said()),  # another node's
        of_pod("u1", other=said()),  # it has no such container
        of_pod("u1"),
        of_pod("u1", main=said(cpu=None)),  # no rate yet
        of_pod("u1", main=said(), side=said(cpu=None)),
        of_pod("u1", main={"cpu": None}),
        of_pod("u1", main=said(cpu=-1)),
        of_pod("u1", main=said(memory=1 << 62)),
        {},
    ],
)
def test_pods_of_which_nothing_is_known(pod: dict[str, Any]) -> None:
    assert read_summary(body(pod), KNOWN, AT).pods == {}


@pytest.mark.parametrize("time", ["", "tomorrow", "2999-01-01T00:00:00Z"])
def test_a_node_whose_clock_is_wrong(time: str) -> None:
    reading = read_summary(body(node=said(time=time)), {}, AT)
    assert reading.node == Usage(1500, 2048, "2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"pods": 1}',
        b'{"pods": [{"podRef": {"uid": 1}}]}',
        b"[" * 100_000,
        b'{"node": {"cpu": {"usageNanoCores": ' + b"9" * 5000 + b"}}}",
    ],
)
def test_garbage_is_no_summary(garbage: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_summary(garbage, KNOWN, AT)


@pytest.mark.parametrize(
    ("amount", "cpu", "memory"),
    [
        (0, "0", "0"),
        (1, "1n", "1"),
        (1024, "1024n", "1Ki"),
        (1000, "1u", "1000"),
        (1_500_000, "1500u", "1500000"),
        (2_000_000_000, "2", "1953125Ki"),
        (3 << 30, "3221225472n", "3Gi"),
    ],
)
def test_quantities_are_canonical(amount: int, cpu: str, memory: str) -> None:
    assert (cpu_quantity(amount), memory_quantity(amount)) == (cpu, memory)
    assert canonical_quantity(cpu) == cpu
    assert parse_quantity(memory).value() == amount


Fetch = Callable[[str], Awaitable[bytes]]


def pod(name: str, node: str, namespace: str = "a", uid: str = "") -> Pod:
    metadata = ObjectMeta(
        name=name, namespace=namespace, uid=uid or f"u-{name}", labels={"of": name}
    )
    spec = PodSpec(nodeName=node, containers=[Container(name="main")])
    return Pod(metadata=metadata, spec=spec)


def metrics(fetch: Fetch, *items: Any) -> ResourceMetrics:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return ResourceMetrics(FixedLookup(items), SimulatedClock(loop), AtOnce(), fetch, TaskSet())


def nodes(*names: str) -> list[Node]:
    return [Node(metadata=ObjectMeta(name=name, labels={"zone": name})) for name in names]


def names_of(items: Any) -> list[str]:
    return [item["metadata"]["name"] for item in items]


def test_all_who_ask_share_what_the_nodes_said() -> None:
    async def story() -> None:
        asked: list[str] = []

        async def fetch(node: str) -> bytes:
            asked.append(node)
            await asyncio.sleep(1)
            return body(of_pod("u-p", main=said()), of_pod("u-q", main=said()))

        measured = metrics(fetch, *nodes("n1", "n2"), pod("p", "n1"), pod("q", "n2", "b"))
        await asyncio.gather(*(measured.nodes() for _ in range(50)))
        assert sorted(asked) == ["n1", "n2"]
        (shown,) = await measured.pods("a")
        assert sorted(asked) == ["n1", "n2"]
        assert shown["kind"] == "PodMetrics"
        assert shown["apiVersion"] == "metrics.k8s.io/v1beta1"
        assert shown["metadata"]["labels"] == {"of": "p"}
        assert shown["window"] == "15s"
        usage = {"cpu": "1500n", "memory": "2Ki"}
        assert shown["containers"] == [{"name": "main", "usage": usage}]
        assert names_of(await measured.pods("")) == ["p", "q"]  # each of its own node alone
        (first, _) = await measured.nodes()
        assert (first["usage"], first["metadata"]["labels"]) == (usage, {"zone": "n1"})
        await asyncio.sleep(KEPT_SECONDS)
        await measured.nodes()
        assert len(asked) == 4
        await asyncio.sleep(1000)
        assert len(asked) == 4  # nobody asked

    run_simulated(1, story)


def test_a_node_speaks_for_its_own_pods_alone() -> None:
    async def story() -> None:
        async def fetch(node: str) -> bytes:
            if node == "liar":
                return body(of_pod("u-p", main=said(cpu=1 << 60)), of_pod("u-q", main=said()))
            return body(of_pod("u-p", main=said()))

        measured = metrics(fetch, *nodes("honest", "liar"), pod("p", "honest"), pod("q", "liar"))
        first, second = await measured.pods("a")
        assert first["containers"][0]["usage"]["cpu"] == "1500n"
        assert second["metadata"]["name"] == "q"

    run_simulated(1, story)


def test_a_node_that_hangs_is_waited_for_once() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        hanging = True

        async def fetch(node: str) -> bytes:
            if node == "hangs" and hanging:
                await asyncio.sleep(1000)
            return body()

        measured = metrics(fetch, *nodes("answers", "hangs"))
        began = loop.time()
        assert names_of(await measured.nodes()) == ["answers"]
        assert loop.time() - began == pytest.approx(NODE_SUMMARY_WAIT_SECONDS.value)
        before = NODE_SUMMARY_SECONDS.times_reached
        for _ in range(5):
            await asyncio.sleep(KEPT_SECONDS)
            began = loop.time()
            assert names_of(await measured.nodes()) == ["answers"]
            assert loop.time() - began < 0.1
        assert NODE_SUMMARY_SECONDS.times_reached > before  # it is asked again, in the background
        hanging = False
        for _ in range(3):
            await asyncio.sleep(KEPT_SECONDS)
            await measured.nodes()
        assert names_of(await measured.nodes()) == ["answers", "hangs"]

    run_simulated(1, story)


DEEP = b'{"x": ' + b"[" * 100_000


@pytest.mark.parametrize("answer", [b"garbage", b'{"pods": 7}', DEEP, None])
def test_a_node_that_sends_garbage_harms_nobody(answer: bytes | None) -> None:
    async def story() -> None:
        broken = False

        async def fetch(node: str) -> bytes:
            if node == "n2" and broken:
                if answer is None:
                    raise ServiceUnavailable("refused")
                return answer
            return body(of_pod("u-p", main=said()), of_pod("u-q", main=said()))

        measured = metrics(fetch, *nodes("n1", "n2"), pod("p", "n1"), pod("q", "n2"))
        assert names_of(await measured.pods("")) == ["p", "q"]
        broken = True
        await asyncio.sleep(KEPT_SECONDS)
        assert names_of(await measured.pods("")) == ["p"]
        assert names_of(await measured.nodes()) == ["n1"]

    run_simulated(1, story)


def test_few_nodes_are_read_at_once() -> None:
    async def story() -> None:
        under_way, most = 0, 0

        async def fetch(node: str) -> bytes:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.1)
            under_way -= 1
            return body()

        many = [f"n{number}" for number in range(NODE_SUMMARIES.value * 3)]
        measured = metrics(fetch, *nodes(*many))
        assert len(await measured.nodes()) == len(many)
        assert most == NODE_SUMMARIES.value

    run_simulated(1, story)
