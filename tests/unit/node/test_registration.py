"""What a node says of itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from fakes.fake_client import FakeClient
from simulation.simulated_loop import SimulatedClock, simulated

from kubelite.api.errors import ServiceUnavailable
from kubelite.api.kinds.coordination import Lease
from kubelite.api.kinds.core.nodes import Node, NodeStatus
from kubelite.api.kinds.core.scheduling import Taint
from kubelite.api.machinery.local_volumes import STORAGE_ROOM
from kubelite.clock import SetClock
from kubelite.node.machine import Machine
from kubelite.node.registration import (
    RENEW_TIMEOUT_SECONDS,
    EngineView,
    NodeIdentity,
    NodeRegistration,
    conditions_of,
    default_labels,
    extended_resources,
    node_labels,
    status_of_node,
)
from kubelite.node.runtime import Image, Version
from kubelite.node.simulated.node import DEFAULT_MACHINE
from unit.node.cluster import Cluster, run_virtually

NOW = datetime(2026, 5, 1, tzinfo=UTC)
MACHINE = Machine(1, 1, 1, "arm64", "kernel", "os", "machine", "boot", "system")
NO_NETWORK = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady"


@pytest.mark.parametrize(
    ("engine_error", "network_error", "status", "message"),
    [
        ("", "", "True", "kubelet is posting ready status"),
        ("gone", "", "False", "container runtime is down: ContainerRuntimeNotReady: gone"),
        ("gone", "none", "False", "container runtime is down: ContainerRuntimeNotReady: gone"),
        (
            "",
            "no range",
            "False",
            f"{NO_NETWORK} message:no range",
        ),
    ],
)
def test_readiness(engine_error: str, network_error: str, status: str, message: str) -> None:
    ready = conditions_of(engine_error, (), NOW, network_error)[-1]
    assert (ready.type, ready.status, ready.message) == ("Ready", status, message)


def test_the_dates_of_conditions_that_did_not_change_stay() -> None:
    before = conditions_of("", (), NOW)
    later = conditions_of("gone", before, NOW.replace(hour=5))
    assert [one.lastTransitionTime == "2026-05-01T00:00:00Z" for one in later] == [True] * 3 + [
        False
    ]
    assert {one.lastHeartbeatTime for one in later} == {"2026-05-01T05:00:00Z"}


def test_only_what_others_advertise_is_taken_over() -> None:
    assert extended_resources({"cpu": "4", "pods": "9", "example.com/gpu": "2"}) == {
        "example.com/gpu": "2"
    }


def test_devices_of_plugins_are_allocatable_as_far_as_they_are_healthy() -> None:
    identity = NodeIdentity("n", (), 10250)
    before = NodeStatus(capacity={"vendor.com/gpu": "9", "example.com/dongle": "2"})
    devices = ({"vendor.com/gpu": "4"}, {"vendor.com/gpu": "3"})
    found = status_of_node(identity, MACHINE, None, (), [], (), before, devices)
    assert (found.capacity["vendor.com/gpu"], found.allocatable["vendor.com/gpu"]) == ("4", "3")
    # What others advertise stays as it is.
    assert found.capacity["example.com/dongle"] == found.allocatable["example.com/dongle"] == "2"


def test_the_node_reports_devices_as_soon_as_they_change() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            registration = cluster.node.registration
            assert registration is not None
            offered: dict[str, str] = {}
            registration.devices = lambda: (offered, offered)
            for amount in ("2", "0"):
                offered["vendor.com/gpu"] = amount
                registration.wake()
                async with asyncio.timeout(5):
                    while True:
                        (node,) = await cluster.client.list(Node) or (Node(),)
                        if node.status.allocatable.get("vendor.com/gpu") == amount:
                            break
                        await asyncio.sleep(0.01)
                assert node.status.capacity["vendor.com/gpu"] == amount

    run_virtually(main())


def test_a_node_tells_how_much_room_there_is_for_volumes_as_long_as_it_must() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            registration = cluster.node.registration
            assert registration is not None
            told: list[str | None] = [None]

            async def room() -> str | None:
                return told[0]

            registration.storage_room = room
            for wanted in ("4096", "8192", ""):
                told[0] = wanted
                registration.wake()
                async with asyncio.timeout(5):
                    while True:
                        (node,) = await cluster.client.list(Node) or (Node(),)
                        if node.metadata.annotations.get(STORAGE_ROOM, "") == wanted:
                            break
                        await asyncio.sleep(0.01)
            told[0] = None  # not known any more: what was said stays
            (node,) = await cluster.client.list(Node)
            version = node.metadata.resourceVersion
            registration.wake()
            await asyncio.sleep(0.1)
            (node,) = await cluster.client.list(Node)
            assert node.metadata.resourceVersion == version

    run_virtually(main())


def test_labels_and_taints_of_flags_are_set_when_the_node_is_created_and_never_again() -> None:
    identity = NodeIdentity("n", (), 10250, {"a": "b", "kubernetes.io/arch": "mine"})
    assert node_labels(identity, MACHINE)["a"] == "b"
    assert node_labels(identity, MACHINE)["kubernetes.io/arch"] == "mine"
    kept = default_labels(identity, MACHINE)
    assert "a" not in kept
    assert "kubernetes.io/arch" not in kept  # it is not corrected to what it was not created with
    assert kept["kubernetes.io/hostname"] == "n"


def test_the_largest_images_are_listed_with_five_names_each() -> None:
    images = [Image(f"sha256:{n}", (f"r.io/{n}:1",), size_bytes=n) for n in range(60)]
    many = Image("sha256:many", tuple(f"r.io/{n}:2" for n in range(9)), size_bytes=1000)
    identity = NodeIdentity("n", ("192.0.2.1",), 10250)
    listed = status_of_node(identity, MACHINE, None, [*images, many], []).images
    assert len(listed) == 50
    assert [len(image.names) for image in listed[:2]] == [5, 1]
    assert [image.sizeBytes for image in listed[:2]] == [1000, 59]


@pytest.mark.parametrize("external", ["", "198.51.100.7"])
def test_the_addresses_of_a_node(external: str) -> None:
    identity = NodeIdentity(
        "n", ("192.0.2.1",), 10250, external_addresses=(external,) if external else ()
    )
    found = status_of_node(identity, MACHINE, None, (), []).addresses
    assert [(one.type, one.address) for one in found] == [
        ("InternalIP", "192.0.2.1"),
        *([("ExternalIP", external)] if external else []),
        ("Hostname", "n"),
    ]


async def test_an_administrator_changes_labels_and_taints_of_flags_for_good() -> None:
    taint = Taint(key="t", value="v", effect="NoSchedule")
    identity = NodeIdentity("n", ("192.0.2.1",), 10250, {"a": "flag"}, (taint,))
    client = FakeClient()

    async def engine() -> EngineView:
        return EngineView()

    registration = NodeRegistration(identity, MACHINE, client, SetClock(NOW), engine)
    created = await registration._register()
    assert created.metadata.labels["a"] == "flag"
    assert [(one.key, one.value, one.effect) for one in created.spec.taints] == [
        ("t", "v", "NoSchedule")
    ]
    change = {
        "metadata": {"labels": {"a": "changed", "kubernetes.io/os": "wrong"}},
        "spec": {"taints": []},
    }
    await client.patch(Node, "n", change)
    again = await registration._register()
    assert again.metadata.labels["a"] == "changed"
    assert again.metadata.labels["kubernetes.io/os"] == "linux"
    assert again.spec.taints == []


async def test_annotations_of_the_node_are_set_at_each_registration() -> None:
    client = FakeClient()
    for text in ("/old", "/new"):
        identity = NodeIdentity("n", ("192.0.2.1",), 10250, annotations={"storage": text})
        found = await NodeRegistration(identity, MACHINE, client, SetClock(NOW), view)._register()
        assert found.metadata.annotations["storage"] == text


async def view() -> EngineView:
    return EngineView(version=Version("simulated", "1"))


def registration(client: FakeClient) -> NodeRegistration:
    identity = NodeIdentity("n1", ("10.0.0.1",), 10250)
    clock = SimulatedClock(asyncio.get_running_loop())
    return NodeRegistration(identity, DEFAULT_MACHINE, client, clock, view)


@asynccontextmanager
async def reported(client: FakeClient) -> AsyncIterator[NodeRegistration]:
    made = registration(client)
    task = asyncio.create_task(made.run())
    await asyncio.sleep(25)
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@simulated
async def test_the_lease_is_renewed_as_soon_as_the_server_is_back() -> None:
    client = FakeClient()
    async with reported(client):
        client.refuse = lambda verb, kind: ServiceUnavailable("cannot reach the server")
        await asyncio.sleep(6 * 3600)
        client.refuse = lambda verb, kind: None
        before = client.revision
        for returned in client.returned:
            returned()
        for _ in range(20):
            await asyncio.sleep(0)  # no time passes
        # What was known is still true, so nothing is read or made again: a renewal, and the status that is due.
        lease, node = client.whole(Lease).get("n1", "kube-node-lease"), client.whole(Node).get("n1")
        versions = [lease.metadata.resourceVersion, node.metadata.resourceVersion]
        assert versions == [str(before + 1), str(before + 2)]
    assert not client.returned


@simulated
async def test_hours_without_a_server_are_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    client = FakeClient()
    async with reported(client):
        caplog.set_level("INFO")
        client.refuse = lambda verb, kind: ServiceUnavailable("cannot reach the server")
        await asyncio.sleep(6 * 3600)
        client.refuse = lambda verb, kind: None
        await asyncio.sleep(60)
    assert [record.getMessage() for record in caplog.records] == [
        "cannot report node: cannot reach the server",
        "node is reported again",
    ]


@simulated
async def test_a_renewal_that_hangs_is_given_up_before_the_lease_runs_out() -> None:
    client = FakeClient()
    async with reported(client):
        whole, asked = client.patch, 0

        async def hang(*_: object, **__: object) -> Any:
            nonlocal asked
            asked += 1
            await asyncio.sleep(3600)

        client.patch = hang  # type: ignore[method-assign]  # a server that takes a request and never answers
        await asyncio.sleep(60)
        assert 4 <= asked <= 6
        client.patch = whole  # type: ignore[method-assign]  # as above
        before = client.revision
        await asyncio.sleep(RENEW_TIMEOUT_SECONDS + 2)
        assert client.revision > before


@simulated
async def test_a_node_of_an_older_state_is_taken_over() -> None:
    client = FakeClient()
    async with reported(client) as made:
        node = client.whole(Node).get("n1")
        older = msgspec.structs.replace(
            node, metadata=msgspec.structs.replace(node.metadata, resourceVersion="1")
        )
        newer = msgspec.structs.replace(
            node, metadata=msgspec.structs.replace(node.metadata, resourceVersion="900")
        )
        made._seen(node, newer)
        assert made._node is newer
        made._seen(None, older)  # late, from a mirror that has just begun
        assert made._node is newer
        made._seen(newer, older)  # the server was restored from a snapshot
        assert made._node is older
