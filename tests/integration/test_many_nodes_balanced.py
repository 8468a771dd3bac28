"""Load balancers of three nodes: the nodes' own addresses, an address of a pool, and what a power cut changes."""

import json
import time
from collections.abc import Iterator

import pytest
from testbed.api import Object
from testbed.bed import Bed
from testbed.cluster import PORT, Cluster, deployment
from testbed.topology import one_link
from testbed.waiting import wait_for

from integration.beds import needs_bed, no_traceback

pytestmark = needs_bed

POOL = "192.0.2.200-192.0.2.203"
FIRST, SECOND = "192.0.2.200", "192.0.2.201"
NAMES = ("beta", "gamma")
FAIL_OVER_SECONDS = 15  # six of silence, and the time that the announcement and a first answer take


def balanced(name: str, app: str = "web", port: int = 80, **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": app},
            "ports": [{"port": port, "targetPort": PORT}],
            **spec,
        },
    }


def external(cluster: Cluster, name: str) -> str:
    """Return what kubectl shows as EXTERNAL-IP."""
    return cluster.kubectl("get", "service", name, "--no-headers").split()[3]


def announcer(cluster: Cluster, name: str) -> str:
    """Return the name of the node that announces a Service's address."""
    item = json.loads(cluster.kubectl("get", "service", name, "-o", "json"))
    [found] = [
        one for one in item["status"]["conditions"] if one["type"] == "kubelite.io/Announced"
    ]
    return str(found["message"])


def until_external(cluster: Cluster, name: str, wanted: str) -> None:
    wait_for(lambda: external(cluster, name) == wanted, f"{wanted} for {name}", 30)


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    with Bed(one_link("alpha", "client", *NAMES)) as bed:
        cluster = Cluster(bed, "alpha")
        cluster.join(*NAMES)
        cluster.apply(deployment("web", 3))
        cluster.ready_pods("web", 3)
        yield cluster
        no_traceback(bed)


def test_1_every_node_answers_at_its_address(own: Cluster) -> None:
    machines = [own.bed[name] for name in ("alpha", *NAMES)]
    own.apply(balanced("web", allocateLoadBalancerNodePorts=False))
    until_external(own, "web", ",".join(sorted(one.address for one in machines)))
    for machine in machines:
        wanted = {pod["metadata"]["name"] for pod in own.pods("web")}
        own.answers(own.bed["client"], machine.address, 80, wanted)
    own.apply(balanced("late"))
    wait_for(
        lambda: (
            "port 80/TCP is already in use by service default/web"
            in own.kubectl("describe", "service", "late")
        ),
        "an event about the port",
        30,
    )
    assert external(own, "late") == "<pending>"


def test_2_an_excluded_node_is_left_out_and_stops_answering(own: Cluster) -> None:
    gamma = own.bed["gamma"].address
    label = "node.kubernetes.io/exclude-from-external-load-balancers"
    own.kubectl("label", "node", "gamma", f"{label}=")
    rest = sorted(own.bed[name].address for name in ("alpha", "beta"))
    until_external(own, "web", ",".join(rest))
    wait_for(lambda: "curl: (7)" in own.ask(own.bed["client"], gamma, 80), "a refusal", 30)
    own.kubectl("delete", "service", "web")
    until_external(own, "late", ",".join(rest))


@pytest.fixture(scope="module")
def pooled() -> Iterator[Cluster]:
    with Bed(one_link("alpha", "client", *NAMES)) as bed:
        cluster = Cluster(bed, "alpha", "--load-balancer-pool", POOL)
        cluster.join(*NAMES)
        cluster.kubectl(
            "label", "node", "alpha", "node.kubernetes.io/exclude-from-external-load-balancers="
        )
        cluster.apply(deployment("web", 3, toleration_seconds=3))
        cluster.ready_pods("web", 3)
        yield cluster
        no_traceback(bed)


def neighbour(cluster: Cluster, address: str) -> str:
    """Return the hardware address that the client has for an address."""
    words = cluster.bed["client"].run("ip", "neigh", "show", address).split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else ""


def fresh_neighbour(cluster: Cluster, address: str) -> str:
    """Return the hardware address that the client gets when it asks anew; the first answer counts."""
    client = cluster.bed["client"]
    client.run("ip", "neigh", "flush", "all")
    cluster.ask(client, address, 80)
    return neighbour(cluster, address)


def mac(cluster: Cluster, name: str) -> str:
    [link] = json.loads(cluster.bed[name].run("ip", "-j", "link", "show", "eth0"))
    return str(link["address"])


def test_3_an_address_of_the_pool_is_answered_by_the_chosen_node(pooled: Cluster) -> None:
    pooled.apply(balanced("web"), balanced("asked", loadBalancerIP=SECOND))
    until_external(pooled, "web", FIRST)
    until_external(pooled, "asked", SECOND)
    client = pooled.bed["client"]
    wanted = {pod["metadata"]["name"] for pod in pooled.pods("web")}
    pooled.answers(client, FIRST, 80, wanted)
    assert announcer(pooled, "web") in NAMES
    assert neighbour(pooled, FIRST) == mac(pooled, announcer(pooled, "web"))
    for name in ("alpha", *NAMES):
        assert FIRST not in pooled.bed[name].run("ip", "address")
        pooled.answers(pooled.bed[name], FIRST, 80, wanted)


def test_4_a_server_that_is_away_costs_no_traffic(pooled: Cluster) -> None:
    client, chosen = pooled.bed["client"], announcer(pooled, "web")
    pooled.server.kubelite.stop()
    for _ in range(10):  # longer than a node may be silent
        client.run("ip", "neigh", "flush", "all")
        assert pooled.ask(client, FIRST, 80)
        time.sleep(1)
    pooled.server.kubelite.start()
    pooled.ready_nodes(NAMES)
    assert announcer(pooled, "web") == chosen
    assert external(pooled, "web") == FIRST


def test_5_a_node_that_is_cut_off_from_the_server_only_falls_silent(pooled: Cluster) -> None:
    """It goes on answering until it hears the other one: then the client has the other's hardware address only."""
    cut = announcer(pooled, "web")
    [other] = set(NAMES) - {cut}
    alpha = pooled.server.address
    pooled.bed[cut].run("ip", "route", "add", "blackhole", f"{alpha}/32")
    try:
        wait_for(lambda: announcer(pooled, "web") == other, "another announcer", 30)
        wait_for(lambda: fresh_neighbour(pooled, FIRST) == mac(pooled, other), "its answer", 10)
        for _ in range(10):
            assert fresh_neighbour(pooled, FIRST) == mac(pooled, other)
    finally:
        pooled.bed[cut].run("ip", "route", "del", "blackhole", f"{alpha}/32")
    pooled.ready_nodes(NAMES, 90)


def test_6_another_node_takes_over_within_seconds_of_a_power_cut(pooled: Cluster) -> None:
    client, lost = pooled.bed["client"], announcer(pooled, "web")
    [other] = set(NAMES) - {lost}
    assert pooled.ask(client, FIRST, 80)
    pooled.bed[lost].power_off()
    wait_for(
        lambda: neighbour(pooled, FIRST) == mac(pooled, other) and pooled.ask(client, FIRST, 80),
        f"an answer of {other}",
        FAIL_OVER_SECONDS,
    )
    assert announcer(pooled, "web") == other
    assert external(pooled, "web") == FIRST
