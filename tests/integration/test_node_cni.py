"""A whole node whose pods are connected by the CNI plugins of Debian (`--network-plugin=cni`)."""

import json
from collections.abc import Iterator

import pytest
from testbed.bed import Bed
from testbed.cluster import Cluster, deployment, pod_on, service
from testbed.waiting import wait_for

from integration.beds import bed_of_one, needs_bed, with_crio

pytestmark = needs_bed
FOLDER = "/etc/cni/test.d"  # not the one in which packages put their own networks
CONFIG = f"{FOLDER}/50-test.conflist"
FLAGS = ("--network-plugin", "cni", "--cni-conf-dir", FOLDER)
LEASES = "/var/lib/test-leases"
NETWORK = {
    "cniVersion": "1.0.0",
    "name": "test",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipam": {
                "type": "host-local",
                "subnet": "10.42.7.0/24",
                "dataDir": LEASES,
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


class OneHost:
    """A server on one host whose network is what the file says."""

    def __init__(self, bed: Bed) -> None:
        self.host = bed["alpha"]
        self.configure()
        self.cluster = Cluster(bed, "alpha", *FLAGS)

    def configure(self) -> None:
        self.host.run("mkdir", "-p", FOLDER)
        self.host.run("sh", "-c", f"cat > {CONFIG} <<'E'\n{json.dumps(NETWORK)}\nE")

    def ready(self) -> tuple[str, str]:
        [node] = self.cluster.api.get("/api/v1/nodes")["items"]
        [found] = [c for c in node["status"]["conditions"] if c["type"] == "Ready"]
        return found["status"], found["message"]

    def leases(self) -> list[str]:
        listed = self.host.run("sh", "-c", f"ls {LEASES}/test 2>/dev/null || true")
        return [name for name in listed.split() if name.startswith("10.")]


@pytest.fixture(scope="module", params=["containerd", "docker", with_crio])
def one(request: pytest.FixtureRequest) -> Iterator[OneHost]:
    with bed_of_one(request.param) as bed:
        yield OneHost(bed)


def test_1_pods_have_addresses_of_the_plugin_and_services_work(one: OneHost) -> None:
    one.cluster.apply(deployment("web", 2, is_spread=False), service("web"))
    pods = one.cluster.ready_pods("web", 2)
    addresses = {pod["status"]["podIP"] for pod in pods}
    assert all(address.startswith("10.42.7.") for address in addresses)
    assert set(one.leases()) == addresses
    names = {pod["metadata"]["name"] for pod in pods}
    spec = one.cluster.api.get("/api/v1/namespaces/default/services/web")["spec"]
    one.cluster.answers(one.host, spec["clusterIP"], 80, names)
    said = one.cluster.kubectl("exec", pods[0]["metadata"]["name"], "--", "cat", "/etc/resolv.conf")
    assert "nameserver 10.43.0.10" in said


def test_2_host_ports_go_through_the_plugins(one: OneHost) -> None:
    mapped = pod_on("alpha", "mapped")
    mapped["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": 18080}]
    one.cluster.apply(mapped)
    one.cluster.ready_pods("mapped", 1)
    assert "18080" in one.host.run("iptables-save")


def test_3_without_a_network_the_node_is_not_ready_until_it_is_back(one: OneHost) -> None:
    one.host.run("rm", CONFIG)
    wait_for(lambda: one.ready()[0] == "False", "node that is not ready")
    status, message = one.ready()
    assert "NetworkPluginNotReady message:cni plugin not initialized" in message, status
    one.configure()
    wait_for(lambda: one.ready()[0] == "True", "ready node")


def test_4_a_restart_keeps_addresses_and_the_end_gives_them_back(one: OneHost) -> None:
    before = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in one.cluster.pods("web")}
    one.host.kubelite.kill()
    one.host.start_server(*FLAGS)
    one.cluster.reconnect()
    one.cluster.ready_nodes(["alpha"])
    after = {
        pod["metadata"]["name"]: pod["status"]["podIP"] for pod in one.cluster.ready_pods("web", 2)
    }
    assert after == before
    one.cluster.kubectl(
        "delete", "deployment/web", "pod/mapped", "--wait=false", "--ignore-not-found"
    )
    one.cluster.no_pods("web")
    wait_for(lambda: one.leases() == [], "end of all leases")
    assert "18080" not in one.host.run("iptables-save")
