"""Services of type LoadBalancer get addresses through the API, and are cleaned up."""

import asyncio
from ipaddress import IPv4Address, ip_address
from typing import Any

import msgspec
import pytest
from fakes.harness import Harness
from fakes.network_objects import endpoint, endpoint_slice
from msgspec.structs import replace
from simulation.simulated_loop import simulated

from kubelite.api.kinds.coordination import Lease
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node, NodeAddress
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.load_balancing import FINALIZER, announcer_of
from kubelite.control.load_balancers import SILENCE_SECONDS, LoadBalancerController
from kubelite.control.options import LoadBalancing, Options


def node(name: str, address: str, *, external: str = "", ready: str = "True", **more: Any) -> Node:
    addresses = [{"type": "InternalIP", "address": address}]
    if external:
        addresses.append({"type": "ExternalIP", "address": external})
    return msgspec.convert(
        {
            "metadata": {"name": name, "labels": more.pop("labels", {})},
            "spec": more,
            "status": {
                "addresses": addresses,
                "conditions": [{"type": "Ready", "status": ready}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            },
        },
        Node,
    )


def service(name: str = "web", port: int = 80, **spec: Any) -> Service:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "type": "LoadBalancer",
                "ports": [{"port": port, "protocol": "TCP"}],
                **spec,
            },
        },
        Service,
    )


def pool(first: str, last: str) -> Options:
    ends = int(IPv4Address(first)), int(IPv4Address(last))
    return Options(load_balancing=LoadBalancing(pool=(ends,)))


async def addresses(harness: Harness, name: str = "web") -> list[str]:
    found = await harness.client.get(Service, name, "default")
    return [entry.ip for entry in found.status.loadBalancer.ingress]


async def messages(harness: Harness, name: str) -> list[str]:
    """Return what failed, without the words that all failures begin with."""
    found = await harness.client.list(Event, "default")
    begin = "Error syncing load balancer: failed to ensure load balancer: "
    return [
        one.message.removeprefix(begin)
        for one in found
        if one.involvedObject.name == name and one.type == "Warning"
    ]


async def reasons(harness: Harness, name: str = "web") -> list[str]:
    found = await harness.client.list(Event, "default")
    return [one.reason for one in found if one.involvedObject.name == name]


async def test_the_nodes_addresses_are_given_and_followed() -> None:
    async with Harness(LoadBalancerController) as harness:
        client = harness.client
        await client.create(node("a", "192.0.2.1"))
        await client.create(node("b", "192.0.2.2", external="203.0.113.2"))
        await client.create(node("c", "192.0.2.3", ready="False"))
        label = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}
        await client.create(node("d", "192.0.2.4", labels=label))
        await client.create(node("e", "192.0.2.5", unschedulable=True))
        await client.create(service())
        await harness.settle()
        assert await addresses(harness) == ["192.0.2.1", "203.0.113.2"]
        stored = await client.get(Service, "web", "default")
        assert stored.metadata.finalizers == [FINALIZER]
        assert {entry.ipMode for entry in stored.status.loadBalancer.ingress} == {"VIP"}
        assert await reasons(harness) == ["EnsuringLoadBalancer", "EnsuredLoadBalancer"]
        await client.patch(Node, "b", {"spec": {"unschedulable": True}})
        await harness.settle()
        assert await addresses(harness) == ["192.0.2.1"]


async def test_a_port_is_one_services_and_free_when_that_goes() -> None:
    async with Harness(LoadBalancerController) as harness:
        client = harness.client
        await client.create(node("a", "192.0.2.1"))
        await client.create(service("web"))
        await harness.settle()
        await client.create(service("also"))  # later, though its name comes first
        await harness.settle()
        assert await addresses(harness, "also") == []
        [event] = [
            one for one in await client.list(Event, "default") if one.involvedObject.name == "also"
        ]
        assert event.reason == "SyncLoadBalancerFailed"
        assert event.message.endswith("port 80/TCP is already in use by service default/web")
        assert (await client.get(Service, "also", "default")).metadata.finalizers == []
        await client.delete(Service, "web", "default")
        await harness.settle()
        assert await addresses(harness, "also") == ["192.0.2.1"]


async def test_other_classes_are_left_alone() -> None:
    async with Harness(LoadBalancerController) as harness:
        await harness.client.create(node("a", "192.0.2.1"))
        other = service(loadBalancerClass="example.com/other")
        other.metadata.finalizers.append(FINALIZER)
        await harness.client.create(other)
        await harness.settle()
        assert await addresses(harness) == []
        stored = await harness.client.get(Service, "web", "default")
        assert stored.metadata.finalizers == [FINALIZER]  # of whoever cares for that class


async def test_when_switched_off_nothing_happens_but_the_clean_up() -> None:
    async with Harness(
        LoadBalancerController, options=Options(load_balancing=LoadBalancing(is_on=False))
    ) as harness:
        await harness.client.create(node("a", "192.0.2.1"))
        await harness.client.create(service())
        foreign = service("foreign")
        foreign.metadata.finalizers.append(FINALIZER)
        await harness.client.create(foreign)
        await harness.settle()
        assert await addresses(harness) == []
        stored = await harness.client.get(Service, "foreign", "default")
        assert stored.metadata.finalizers == [FINALIZER]


async def test_a_service_that_is_no_load_balancer_any_more_loses_all() -> None:
    async with Harness(LoadBalancerController) as harness:
        await harness.client.create(node("a", "192.0.2.1"))
        await harness.client.create(service())
        await harness.settle()
        await harness.client.patch(Service, "web", {"spec": {"type": "ClusterIP"}}, "default")
        await harness.settle()
        assert (await harness.client.get(Service, "web", "default")).metadata.finalizers == []
        assert await addresses(harness) == []
        assert (await reasons(harness))[-2:] == ["DeletingLoadBalancer", "DeletedLoadBalancer"]


async def test_without_nodes_it_waits_and_says_so() -> None:
    async with Harness(LoadBalancerController) as harness:
        await harness.client.create(service())
        await harness.settle()
        assert await reasons(harness) == ["UnAvailableLoadBalancer"]
        await harness.client.create(node("a", "192.0.2.1"))
        await harness.settle()
        assert await addresses(harness) == ["192.0.2.1"]


async def test_an_earlier_host_port_keeps_its_node_and_a_later_pod_is_told() -> None:
    def pod(name: str, on: str) -> Pod:
        ports = [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]
        body = {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": on, "containers": [{"name": "c", "ports": ports}]},
        }
        return msgspec.convert(body, Pod)

    async with Harness(LoadBalancerController) as harness:
        for name in ("a", "b"):
            await harness.client.create(node(name, f"192.0.2.{ord(name)}"))
        await harness.client.create(pod("earlier", "a"))
        await harness.client.create(service())
        await harness.settle()
        assert await addresses(harness) == ["192.0.2.98"]
        assert "SyncLoadBalancerFailed" in await reasons(harness)
        await harness.client.create(pod("later", "b"))
        await harness.settle()
        assert await addresses(harness) == ["192.0.2.98"]
        assert await reasons(harness, "later") == ["HostPortConflict"]


async def test_the_pool_gives_each_service_an_address_until_there_is_none() -> None:
    async with Harness(LoadBalancerController, options=pool("192.0.2.10", "192.0.2.11")) as harness:
        await harness.client.create(node("a", "192.0.2.1"))
        for name in ("one", "two", "three"):
            await harness.client.create(service(name))
            await harness.settle()
        assert await addresses(harness, "one") == ["192.0.2.10"]
        assert await addresses(harness, "two") == ["192.0.2.11"]
        assert announcer_of(await harness.client.get(Service, "one", "default")) == "a"
        assert await addresses(harness, "three") == []
        assert await messages(harness, "three") == ["no address is left in the pool"]
        await harness.client.delete(Service, "one", "default")
        await harness.settle()
        assert await addresses(harness, "three") == ["192.0.2.10"]


async def test_an_address_that_is_asked_for_is_given_or_the_reason() -> None:
    async with Harness(LoadBalancerController, options=pool("192.0.2.10", "192.0.2.20")) as harness:
        await harness.client.create(node("a", "192.0.2.12"))
        for name, wanted in (("one", ".15"), ("two", ".15"), ("three", ".99"), ("four", ".12")):
            await harness.client.create(service(name, loadBalancerIP=f"192.0.2{wanted}"))
            await harness.settle()
        assert await addresses(harness, "one") == ["192.0.2.15"]
        said = [await messages(harness, name) for name in ("two", "three", "four")]
        assert said == [
            ["address 192.0.2.15 is already in use by service default/one"],
            ["address 192.0.2.99 is not in the pool"],
            ["address 192.0.2.12 is already in use by a node"],
        ]
        await harness.client.patch(
            Service, "two", {"spec": {"loadBalancerIP": "192.0.2.16"}}, "default"
        )
        await harness.settle()
        assert await addresses(harness, "two") == ["192.0.2.16"]


@simulated
async def test_a_silent_announcer_is_replaced_and_a_server_that_was_away_replaces_none() -> None:
    async with Harness(LoadBalancerController, options=pool("192.0.2.10", "192.0.2.20")) as harness:
        client, loop = harness.client, asyncio.get_running_loop()
        for name in ("a", "b"):
            await client.create(node(name, f"192.0.2.{ord(name)}"))
            await client.create(Lease(metadata=ObjectMeta(name=name, namespace="kube-node-lease")))

        async def renew(name: str, count: int) -> None:
            spec = {"spec": {"leaseTransitions": count}}
            await client.patch(Lease, name, spec, "kube-node-lease")

        async def announcer() -> str:
            await harness.settle()
            return announcer_of(await client.get(Service, "web", "default"))

        await client.create(service())
        first = await announcer()
        other = "b" if first == "a" else "a"
        for count in range(10):
            await asyncio.sleep(2)
            await renew(first, count)
            assert await announcer() == first
        started = loop.time()
        while await announcer() == first:
            await asyncio.sleep(0.25)
            assert loop.time() - started < SILENCE_SECONDS + 1
        assert await announcer() == other
        assert await addresses(harness) == ["192.0.2.10"]
        await renew(first, 99)  # it is back, and does not take the address away again
        for count in range(5):
            await asyncio.sleep(2)
            await renew(other, count)
            assert await announcer() == other


async def test_with_the_policy_local_only_nodes_with_endpoints_count() -> None:
    def endpoints(*names: str) -> EndpointSlice:
        return endpoint_slice(*(endpoint(f"10.42.0.{ord(name)}", name) for name in names))

    async with Harness(LoadBalancerController) as harness:
        for name in ("a", "b"):
            await harness.client.create(node(name, f"192.0.2.{ord(name)}"))
        await harness.client.create(endpoints("b"))
        await harness.client.create(service(externalTrafficPolicy="Local"))
        await harness.settle()
        assert await addresses(harness) == ["192.0.2.98"]
        moved = endpoints("a")
        await harness.client.update(moved)
        await harness.settle()
        assert await addresses(harness) == ["192.0.2.97"]


def dual_pool(*ends: tuple[str, str]) -> Options:
    ranges = tuple((int(ip_address(first)), int(ip_address(last))) for first, last in ends)
    return Options(load_balancing=LoadBalancing(pool=ranges))


FOUR, SIX = ("192.0.2.50", "192.0.2.51"), ("2001:db8::50", "2001:db8::50")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ["192.0.2.50", "2001:db8::50"]),
        ({"ipFamilies": ["IPv4"]}, ["192.0.2.50"]),
        ({"ipFamilies": ["IPv6"]}, ["2001:db8::50"]),
        ({"ipFamilies": ["IPv6", "IPv4"]}, ["2001:db8::50", "192.0.2.50"]),
        (
            {"ipFamilies": ["IPv4", "IPv6"], "loadBalancerIP": "192.0.2.51"},
            ["192.0.2.51", "2001:db8::50"],
        ),
    ],
)
async def test_a_pool_gives_an_address_of_each_family(
    spec: dict[str, Any], expected: list[str]
) -> None:
    async with Harness(LoadBalancerController, options=dual_pool(FOUR, SIX)) as harness:
        await harness.client.create(node("a", "192.0.2.1"))
        await harness.client.create(service(**spec))
        await harness.settle()
        assert await addresses(harness) == expected
        stored = await harness.client.get(Service, "web", "default")
        assert announcer_of(stored) == "a"


async def test_a_family_that_is_used_up_is_missed_only_by_who_needs_it() -> None:
    async with Harness(LoadBalancerController, options=dual_pool(FOUR, SIX)) as harness:
        client = harness.client
        await client.create(node("a", "192.0.2.1"))
        await client.create(service("first", ipFamilies=["IPv6"]))
        both: dict[str, Any] = {"ipFamilies": ["IPv4", "IPv6"]}
        await harness.settle()
        await client.create(service("all", ipFamilyPolicy="RequireDualStack", **both))
        await client.create(service("may", ipFamilyPolicy="PreferDualStack", **both))
        await client.create(service("four", ipFamilies=["IPv4"]))
        await harness.settle()
        assert await addresses(harness, "all") == []
        assert await messages(harness, "all") == ["no address is left in the pool"]
        # The address that `all` would have had is there for another one.
        given = [await addresses(harness, name) for name in ("may", "four")]
        assert sorted(given) == [["192.0.2.50"], ["192.0.2.51"]]
        await client.delete(Service, "first", "default")
        await client.delete(Service, "four", "default")
        await harness.settle()
        assert len(await addresses(harness, "all")) == 2


async def test_a_pool_of_one_family_serves_no_other() -> None:
    async with Harness(LoadBalancerController, options=dual_pool(FOUR)) as harness:
        await harness.client.create(node("a", "192.0.2.1"))
        await harness.client.create(service(ipFamilies=["IPv6"]))
        await harness.settle()
        assert await addresses(harness) == []
        assert await messages(harness, "web") == ["no address is left in the pool"]


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        (["IPv4"], ["192.0.2.1", "192.0.2.2"]),
        (["IPv6"], ["2001:db8::1"]),
        (["IPv4", "IPv6"], ["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
        (["IPv6", "IPv4"], ["2001:db8::1", "192.0.2.1", "192.0.2.2"]),
    ],
)
async def test_nodes_serve_the_families_that_they_have(
    families: list[str], expected: list[str]
) -> None:
    async with Harness(LoadBalancerController) as harness:
        first = node("a", "192.0.2.1")
        more = [*first.status.addresses, NodeAddress(type="InternalIP", address="2001:db8::1")]
        status = replace(first.status, addresses=more)
        await harness.client.create(replace(first, status=status))
        await harness.client.create(node("b", "192.0.2.2"))
        await harness.client.create(service(ipFamilies=families))
        await harness.settle()
        assert await addresses(harness) == expected
