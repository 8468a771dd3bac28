"""Three nodes, two of them on one link: pods spread, and reach each other, services and names from everywhere."""

from collections.abc import Iterator
from itertools import permutations

import pytest
from testbed.api import Object, name_of
from testbed.bed import Bed
from testbed.cluster import DNS, PORT, Cluster, deployment, service
from testbed.topology import FAR, LAN, spread

from integration.beds import needs_bed, no_traceback

pytestmark = needs_bed

NODE_PORT = 30080
TUNNEL = "dev kubelite-vxlan"
NAMES = ("alpha", "beta", "gamma")
BIG_BYTES = 3_000_000


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Bed(spread(alpha=LAN, beta=LAN, gamma=FAR)) as bed:
        made = Cluster(bed, "alpha")
        made.join("beta", "gamma")
        made.apply(deployment("web", 3), service("web", node_port=NODE_PORT))
        made.ready_pods("web", 3)
        yield made
        no_traceback(bed)


@pytest.fixture
def pods(cluster: Cluster) -> dict[str, Object]:
    """The pods of `web` by node."""
    return {pod["spec"]["nodeName"]: pod for pod in cluster.ready_pods("web", 3)}


def test_nodes_have_ranges_of_their_own_and_their_hosts_addresses(cluster: Cluster) -> None:
    nodes = cluster.nodes()
    assert set(nodes) == set(NAMES)
    assert len({node["spec"]["podCIDR"] for node in nodes.values()}) == 3
    for name, node in nodes.items():
        addresses = {one["type"]: one["address"] for one in node["status"]["addresses"]}
        assert addresses["InternalIP"] == cluster.bed[name].address
        assert addresses["Hostname"] == name


def test_pods_are_spread_over_the_nodes(cluster: Cluster, pods: dict[str, Object]) -> None:
    assert set(pods) == set(NAMES)
    for name, pod in pods.items():
        assert pod["status"]["hostIP"] == cluster.bed[name].address
        assert len(cluster.bed[name].containers()) == 2  # the sandbox and the server


def test_pods_reach_pods_by_routes_on_one_link_and_by_vxlan_elsewhere(
    cluster: Cluster, pods: dict[str, Object]
) -> None:
    for a, b in permutations(NAMES, 2):
        address = pods[b]["status"]["podIP"]
        assert cluster.ask_from_pod(name_of(pods[a]), address) == name_of(pods[b])
        assert cluster.ask(cluster.bed[a], address) == name_of(pods[b])
        route = cluster.bed[a].run("ip", "route", "get", address)
        assert (TUNNEL in route) is ("gamma" in (a, b)), route


def test_full_packets_pass_between_all_nodes(cluster: Cluster, pods: dict[str, Object]) -> None:
    make = f"head -c {BIG_BYTES} /dev/urandom >/www/big; md5sum </www/big"
    for name in ("alpha", "gamma"):
        source = pods[name]
        made = cluster.kubectl("exec", name_of(source), "--", "sh", "-c", make).split()[0]
        for other in NAMES:
            fetch = (
                f"printf 'GET /big HTTP/1.0\\r\\n\\r\\n' | nc -w 10 {source['status']['podIP']} {PORT}"
                f" | tail -c {BIG_BYTES} | md5sum"
            )
            fetched = cluster.kubectl("exec", name_of(pods[other]), "--", "sh", "-c", fetch)
            assert fetched.split()[0] == made, f"from {name} to {other}"


def test_a_service_is_answered_by_all_pods_on_every_node_and_in_every_pod(
    cluster: Cluster, pods: dict[str, Object]
) -> None:
    address = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    names = {name_of(pod) for pod in pods.values()}
    for node in NAMES:
        cluster.answers(cluster.bed[node], address, 80, names)
        for _ in range(4):
            assert cluster.ask_from_pod(name_of(pods[node]), address, 80) in names


def test_a_node_port_is_open_at_every_node_for_every_node(
    cluster: Cluster, pods: dict[str, Object]
) -> None:
    names = {name_of(pod) for pod in pods.values()}
    for asking in NAMES:
        for asked in NAMES:
            cluster.answers(cluster.bed[asking], cluster.bed[asked].address, NODE_PORT, names)


def test_names_resolve_on_every_node_and_in_every_pod(
    cluster: Cluster, pods: dict[str, Object]
) -> None:
    address = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    names = {name_of(pod) for pod in pods.values()}
    full = "web.default.svc.cluster.local"
    for node in NAMES:
        on_node = cluster.bed[node].run("busybox", "nslookup", full, DNS, only_network=True)
        assert address in on_node
        assert address in cluster.kubectl("exec", name_of(pods[node]), "--", "nslookup", full)
        assert cluster.ask_from_pod(name_of(pods[node]), "web", 80) in names


def test_kubectl_works_on_every_host(cluster: Cluster, pods: dict[str, Object]) -> None:
    for node in NAMES:
        machine = cluster.bed[node]
        assert "gamma" in cluster.kubectl("get", "nodes", on=machine)
        for pod in pods.values():
            said = cluster.kubectl("exec", name_of(pod), "--", "hostname", on=machine)
            assert said.strip() == name_of(pod)


def test_scaling_keeps_the_spread(cluster: Cluster) -> None:
    cluster.kubectl("scale", "deployment/web", "--replicas=6")
    cluster.ready_pods("web", 6)
    assert set(cluster.places("web").values()) == {2}
    cluster.kubectl("scale", "deployment/web", "--replicas=3")
    cluster.ready_pods("web", 3)
