"""Clusters from files alone: no default route, no registry, no DNS server, and at last no network at all.

The last of them then loses parts of itself by flags, and gets them back.
"""

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


@pytest.fixture(scope="module")
def solo(bed: Bed) -> Cluster:
    machine = bed["solo"]
    seal(machine, deployment("web", 1), service("web"), INGRESS, pod_on("solo", "shell"))
    machine.run("ip", "link", "set", "eth0", "down")
    machine.run("ip", "address", "flush", "dev", "eth0")
    return Cluster(bed, "solo")


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


def test_2_a_server_comes_up_on_loopback_alone(solo: Cluster) -> None:
    pods = {pod["metadata"]["name"] for pod in solo.ready_pods("web", 1)}
    solo.ready_pods("shell", 1)
    serves(solo, "shell", pods)
    solo.answers(solo.server, "127.0.0.1", 80, pods)
    said = (solo.server.logs / "kubelite.log").read_text()
    assert "the host has no address" in said
    assert "--node-ip" in said
    # An address that the administrator gives is followed.
    solo.server.run("ip", "address", "add", "192.0.2.77/32", "dev", "lo")

    def endpoint() -> bool:
        return "192.0.2.77:6443" in solo.kubectl("get", "endpoints", "kubernetes", "--no-headers")

    wait_for(endpoint, "an endpoint of the API", 30, solo.describe)


FLAGS = ("--disable=coredns,ingress,local-storage,metrics-server", "--disable-scheduler")
PARTS = (
    "service/kube-dns",
    "ingressclass/kubelite",
    "storageclass/local-path",
    "apiservice/v1beta1.metrics.k8s.io",
)


def present(cluster: Cluster) -> set[str]:
    """Return those of the objects of parts that there are."""
    found = cluster.kubectl("get", "-n", "kube-system", *PARTS, "-o", "name", check=False)
    return {part for part in PARTS if part.rpartition("/")[2] in found.split("Error")[0]}


def test_3_parts_that_are_switched_off_lose_what_they_made_and_get_it_back(solo: Cluster) -> None:
    machine = solo.server
    address = solo.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")

    def resolves() -> bool:
        return address in solo.kubectl("exec", "shell", "--", "nslookup", NAME, check=False)

    assert present(solo) == set(PARTS)
    assert resolves()
    machine.kubelite.restart("server", *FLAGS)
    solo.apply(pod_on("solo", "waits"))
    wait_for(lambda: not present(solo), "removal of all parts", 30, solo.describe)
    wait_for(
        lambda: "10.43.0.10" not in machine.run("ip", "address", "show", "dev", "kubelite0"),
        "removal of the address of DNS",
        30,
    )
    wait_for(lambda: "curl: (7)" in solo.ask(machine, "127.0.0.1", 80), "a refusal", 30)
    assert solo.ask_from_pod("shell", address, 80)  # what is not switched off goes on
    assert solo.kubectl("get", "pod", "waits", "-o", "jsonpath={.spec.nodeName}") == ""
    machine.kubelite.restart("server", "--disable-kube-proxy")
    wait_for(lambda: present(solo) == set(PARTS), "all parts", 30, solo.describe)
    solo.ready_pods("waits", 1)
    wait_for(resolves, "DNS", 30)
    assert solo.ask_from_pod("shell", address, 80).startswith("command terminated")
