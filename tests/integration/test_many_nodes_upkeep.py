"""What administrators do to a cluster that serves: restarts, drains, removals, moves. Clients notice nothing."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from testbed.api import NODES, Object, is_going, name_of
from testbed.bed import Bed
from testbed.cluster import Cluster, deployment, service
from testbed.topology import one_link
from testbed.traffic import Traffic
from testbed.waiting import wait_for

from integration.beds import needs_bed, no_traceback

pytestmark = needs_bed

NAMES = ("alpha", "beta", "gamma")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Bed(one_link(*NAMES)) as bed:
        made = Cluster(bed, "alpha")
        made.join("beta", "gamma")
        made.apply(deployment("web", 3), service("web"))
        made.ready_pods("web", 3)
        yield made
        no_traceback(bed)


@pytest.fixture
def clients(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[list[Traffic]]:
    """Clients of the service on each host and in a pod on each node but the server's."""
    address = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    pods = {pod["spec"]["nodeName"]: pod for pod in cluster.ready_pods("web", 3)}
    test = request.node.name
    with ExitStack() as stack:
        yield [
            *(
                stack.enter_context(
                    Traffic(cluster.bed[name], address, 80, name=f"traffic-{test}-{name}")
                )
                for name in NAMES
            ),
            *(
                stack.enter_context(
                    Traffic(
                        cluster.bed[name],
                        address,
                        80,
                        name=f"traffic-{test}-pod-{name}",
                        pod_uid=pods[name]["metadata"]["uid"],
                    )
                )
                for name in ("beta", "gamma")
            ),
        ]


def assert_unharmed(cluster: Cluster, clients: list[Traffic]) -> None:
    """No request has failed, and every pod answers after it."""
    names = {name_of(pod) for pod in cluster.ready_pods("web", 3)}
    for client in clients:
        since = client.more(30)
        assert client.answers(since) <= names
    seen = set().union(*(client.answers(len(client.lines()) - 30) for client in clients))
    assert seen == names
    assert [client.stop() for client in clients] == [[] for _ in clients]


def running(cluster: Cluster) -> dict[str, dict[str, str]]:
    """Return the containers of all hosts with their states."""
    return {name: cluster.bed[name].containers() for name in NAMES}


def test_a_server_restarts_under_load(cluster: Cluster, clients: list[Traffic]) -> None:
    containers, restarts = running(cluster), cluster.restarts()
    cluster.server.kubelite.restart()
    cluster.ready_nodes(NAMES)
    for client in clients:
        client.more(20)
    cluster.server.kubelite.kill()
    for client in clients:
        client.more(50)  # with nobody there
    cluster.server.kubelite.start()
    cluster.ready_nodes(NAMES)
    assert_unharmed(cluster, clients)
    assert running(cluster) == containers
    assert cluster.restarts() == restarts


def test_agents_catch_up_after_a_server_restart(cluster: Cluster) -> None:
    """What changes after the restart reaches every node: its proxy, its names and its pods."""
    cluster.server.kubelite.restart()
    cluster.apply(deployment("late", 3), service("late"))
    pods = {name_of(pod) for pod in cluster.ready_pods("late", 3)}
    address = cluster.kubectl("get", "service", "late", "-o", "jsonpath={.spec.clusterIP}")
    for name in NAMES:
        cluster.answers(cluster.bed[name], address, 80, pods)
    cluster.kubectl("delete", "deployment/late", "service/late")
    cluster.no_pods("late")


def test_all_agents_restart_one_after_the_other(cluster: Cluster, clients: list[Traffic]) -> None:
    containers, restarts = running(cluster), cluster.restarts()
    for name in ("beta", "gamma"):
        cluster.bed[name].kubelite.restart()
        cluster.ready_nodes(NAMES)
        for client in clients:
            client.more(20)
    cluster.bed["beta"].kubelite.kill()
    for client in clients:
        client.more(50)
    cluster.bed["beta"].kubelite.start()
    assert_unharmed(cluster, clients)
    assert running(cluster) == containers
    assert cluster.restarts() == restarts


def test_what_happens_without_an_agent_is_told_when_it_is_back(cluster: Cluster) -> None:
    """A container that ended meanwhile is started again, and its restart counted."""
    beta = cluster.bed["beta"]
    [pod] = [pod for pod in cluster.ready_pods("web", 3) if pod["spec"]["nodeName"] == "beta"]
    container = pod["status"]["containerStatuses"][0]["containerID"].partition("//")[2]
    assert beta.kubelite.stop() == 0
    beta.docker("kill", container)
    beta.kubelite.start()

    def look(pods: list[Object]) -> bool:
        states = [one for each in pods for one in each["status"].get("containerStatuses", [])]
        return sum(one["restartCount"] for one in states) == 1 and all(
            one["ready"] for one in states
        )

    path = "/api/v1/namespaces/default/pods"
    cluster.api.until(path, look, "restarted container", 30, labelSelector="app=web")


def test_cordon_drain_and_uncordon(cluster: Cluster) -> None:
    cluster.kubectl("cordon", "beta")
    cluster.kubectl("scale", "deployment/web", "--replicas=6")
    cluster.ready_pods("web", 6)
    assert cluster.places("web") == {"alpha": 3, "beta": 1, "gamma": 2} or cluster.places(
        "web"
    ) == {
        "alpha": 2,
        "beta": 1,
        "gamma": 3,
    }
    assert "SchedulingDisabled" in cluster.kubectl("get", "node", "beta")
    cluster.kubectl("drain", "beta", "--ignore-daemonsets", "--timeout=60s")
    cluster.ready_pods("web", 6)
    assert cluster.places("web")["beta"] == 0
    wait_for(lambda: not cluster.bed["beta"].containers(), "host without containers", 30)
    cluster.kubectl("uncordon", "beta")
    cluster.kubectl("scale", "deployment/web", "--replicas=9")
    cluster.ready_pods("web", 9)
    assert cluster.places("web") == {"alpha": 3, "beta": 3, "gamma": 3}
    cluster.kubectl("scale", "deployment/web", "--replicas=3")
    cluster.ready_pods("web", 3)


def until_reached(cluster: Cluster, pod: Object) -> None:
    """Wait until a pod answers every host and runs commands."""
    name, address = name_of(pod), pod["status"]["podIP"]

    def is_reached() -> bool:
        asked = [cluster.ask(cluster.bed[asking], address) for asking in NAMES]
        return asked == [name] * 3 and name in cluster.kubectl(
            "exec", name, "--", "hostname", check=False
        )

    what = f"answers of {name} on {pod['spec']['nodeName']}"
    wait_for(is_reached, what, 30, cluster.describe)


def test_an_agent_comes_back_with_another_address(cluster: Cluster) -> None:
    bed = cluster.bed
    beta, former = bed["beta"], bed["beta"].interface
    cluster.apply(deployment("web", 3))
    pods = cluster.ready_pods("web", 3)

    def check() -> None:
        address = beta.address
        cluster.api.until(
            NODES,
            lambda nodes: any(
                one["address"] == address and one["type"] == "InternalIP"
                for node in nodes
                if name_of(node) == "beta"
                for one in node["status"]["addresses"]
            ),
            f"node at {address}",
            30,
        )
        cluster.ready_nodes(NAMES)
        for pod in pods:
            until_reached(cluster, pod)

    assert beta.kubelite.stop() == 0
    beta.move(type(former)("192.0.2.77/24"))
    beta.kubelite.start()
    check()
    beta.move(former)  # while it runs
    check()
    assert {pod["metadata"]["uid"] for pod in cluster.ready_pods("web", 3)} == {
        pod["metadata"]["uid"] for pod in pods
    }


def test_a_node_is_deleted_and_its_host_joins_again(cluster: Cluster) -> None:
    gamma = cluster.bed["gamma"]
    cluster.kubectl("drain", "gamma", "--ignore-daemonsets", "--timeout=60s")
    assert gamma.kubelite.stop() == 0
    cluster.kubectl("delete", "node", "gamma")
    cluster.ready_pods("web", 3)
    assert set(cluster.nodes()) == {"alpha", "beta"}
    assert cluster.places("web")["gamma"] == 0
    cluster.join("gamma")
    cluster.ready_nodes(NAMES)
    assert not cluster.nodes()["gamma"]["spec"].get("unschedulable")
    cluster.kubectl("rollout", "restart", "deployment/web")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    pods = cluster.ready_pods("web", 3)
    assert {pod["spec"]["nodeName"] for pod in pods if not is_going(pod)} == set(NAMES)
    for pod in pods:
        assert cluster.ask(cluster.server, pod["status"]["podIP"]) == name_of(pod)
