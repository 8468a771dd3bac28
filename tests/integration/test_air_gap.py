"""Clusters from files alone: no default route, no registry, no DNS server, and at last no network at all."""

import json
from collections.abc import Iterator

import pytest
from testbed.api import Object
from testbed.bed import Bed
from testbed.cluster import Cluster, deployment, pod_on, service
from testbed.machine import Machine
from testbed.topology import one_link
from testbed.waiting import wait_for

from integration.beds import needs_bed, no_traceback

pytestmark = needs_bed

NAME = "web.default.svc.cluster.local"
INGRESS: Object = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {"name": "web"},
    "spec": {
        "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
    },
}


def seal(machine: Machine, *objects: Object) -> None:
    """Take a host's way out and its DNS servers away; put objects into its folder of manifests."""
    machine.run("ip", "route", "del", "default")
    assert machine.run("ip", "route", "show", "default") == ""
    machine.run("sh", "-c", "echo >/etc/resolv.conf")
    manifests = machine.folder / "lib" / "kubelite" / "server" / "manifests"
    manifests.mkdir(parents=True)
    for item in objects:
        name = f"{item['kind'].lower()}-{item['metadata']['name']}"
        (manifests / f"{name}.json").write_text(json.dumps(item))


def serves(cluster: Cluster, pod: str, names: set[str], *machines: Machine) -> None:
    """Check that service, DNS and Ingress lead to the pods of these names."""
    address = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    assert address in cluster.kubectl("exec", pod, "--", "nslookup", NAME)
    outside = cluster.kubectl("exec", pod, "--", "nslookup", "example.com", check=False)
    assert "SERVFAIL" in outside or "can't" in outside  # at once, not after a time-out
    assert cluster.ask_from_pod(pod, "web", 80) in names
    for machine in machines:
        cluster.answers(machine, machine.address, 80, names)


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with Bed(one_link("alpha", "beta", "solo")) as bed:
        yield bed
        no_traceback(bed)


def test_1_a_server_and_an_agent_come_up_from_files(bed: Bed) -> None:
    alpha, beta = bed["alpha"], bed["beta"]
    shells = [pod_on(name, f"shell-{name}") for name in ("alpha", "beta")]
    seal(alpha, deployment("web", 2), service("web"), INGRESS, *shells)
    seal(beta)
    cluster = Cluster(bed, "alpha")
    cluster.join("beta")
    pods = {pod["metadata"]["name"] for pod in cluster.ready_pods("web", 2)}
    nodes = {name: one["status"]["addresses"][0] for name, one in cluster.nodes().items()}
    assert nodes == {
        name: {"type": "InternalIP", "address": bed[name].address} for name in ("alpha", "beta")
    }
    for name in ("alpha", "beta"):
        cluster.ready_pods(f"shell-{name}", 1)
        serves(cluster, f"shell-{name}", pods, alpha, beta)


def test_2_a_server_comes_up_on_loopback_alone(bed: Bed) -> None:
    solo = bed["solo"]
    seal(solo, deployment("web", 1), service("web"), INGRESS, pod_on("solo", "shell"))
    solo.run("ip", "link", "set", "eth0", "down")
    solo.run("ip", "address", "flush", "dev", "eth0")
    cluster = Cluster(bed, "solo")
    pods = {pod["metadata"]["name"] for pod in cluster.ready_pods("web", 1)}
    cluster.ready_pods("shell", 1)
    serves(cluster, "shell", pods)
    cluster.answers(solo, "127.0.0.1", 80, pods)
    said = (solo.logs / "kubelite.log").read_text()
    assert "the host has no address" in said
    assert "--node-ip" in said
    # An address that the administrator gives is followed.
    solo.run("ip", "address", "add", "192.0.2.77/32", "dev", "lo")
    wait_for(
        lambda: (
            cluster.kubectl("get", "endpoints", "kubernetes", "--no-headers").split()[1]
            == "192.0.2.77:6443"
        ),
        "an endpoint of the API",
        30,
        cluster.describe,
    )
