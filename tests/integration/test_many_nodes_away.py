"""Nodes that are lost, and nodes that are only cut off: what is evicted, what is replaced, what must not run twice.

Both are told at the same time, since the server waits for the same silence of both.
"""

from collections.abc import Iterator

import pytest
from testbed.api import NODES, PODS, Object, condition, is_going, name_of
from testbed.bed import Bed
from testbed.cluster import Cluster, deployment, places, service, stateful_set
from testbed.topology import one_link

from integration.beds import needs_bed, no_traceback

pytestmark = needs_bed

TOLERATED_SECONDS = 3
SILENCE_SECONDS = 50 + 30  # the server's patience with a node, and time to act
LOST, CUT = "gamma", "beta"
UNREACHABLE = "node.kubernetes.io/unreachable"


class Before:
    """What ran before anything was lost."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.web = cluster.ready_pods("web", 3)
        self.data = cluster.ready_pods("data", 3)
        self.calm = cluster.ready_pods("calm", 3)
        self.cut_containers = cluster.bed[CUT].containers()

    @staticmethod
    def on(node: str, pods: list[Object]) -> Object:
        """Return the pod on a node."""
        [pod] = [pod for pod in pods if pod["spec"]["nodeName"] == node]
        return pod


@pytest.fixture(scope="module")
def before() -> Iterator[Before]:
    with Bed(one_link("alpha", CUT, LOST)) as bed:
        cluster = Cluster(bed, "alpha")
        cluster.join(CUT, LOST)
        cluster.apply(
            deployment("web", 3, toleration_seconds=TOLERATED_SECONDS),
            service("web"),
            stateful_set("data", 3, toleration_seconds=TOLERATED_SECONDS),
            service("data", is_headless=True),
            deployment("calm", 3),
        )
        yield Before(cluster)
        no_traceback(bed)


def taints(node: Object) -> set[tuple[str, str]]:
    return {(taint["key"], taint["effect"]) for taint in node["spec"].get("taints", [])}


def test_1_silent_nodes_become_unknown_and_are_tainted(before: Before) -> None:
    cluster = before.cluster
    assert places(before.web) == places(before.data) == places(before.calm)
    cluster.bed.fabric.isolate(CUT)
    cluster.bed[LOST].power_off()

    def look(nodes: list[Object]) -> bool:
        away = {name_of(node): node for node in nodes if name_of(node) in (CUT, LOST)}
        return all(
            condition(node, "Ready") == "Unknown"
            and taints(node) >= {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}
            for node in away.values()
        )

    cluster.api.until(NODES, look, "unknown and tainted nodes", SILENCE_SECONDS)


def test_2_pods_are_evicted_and_replaced_elsewhere(before: Before) -> None:
    cluster = before.cluster
    former = {pod["metadata"]["uid"] for pod in before.web}

    def look(pods: list[Object]) -> list[Object] | None:
        new = [pod for pod in pods if not is_going(pod)]
        good = all(condition(pod, "Ready") == "True" for pod in new)
        return new if good and places(new) == {"alpha": 3} else None

    new = cluster.api.until(PODS, look, "three pods on alpha", 60, labelSelector="app=web")
    assert len(former & {pod["metadata"]["uid"] for pod in new}) == 1
    address = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    names = {name_of(pod) for pod in new}
    cluster.answers(cluster.bed["alpha"], address, 80, names)
    assert {cluster.ask(cluster.bed["alpha"], address, 80) for _ in range(20)} <= names


def test_3_what_tolerates_a_silent_node_stays_bound_but_is_no_longer_ready(before: Before) -> None:
    calm = before.cluster.api.until(
        PODS,
        lambda pods: (
            [
                pod
                for pod in pods
                if condition(pod, "Ready") == "False" and pod["spec"]["nodeName"] in (CUT, LOST)
            ]
            if sum(condition(pod, "Ready") == "False" for pod in pods) == 2
            else None
        ),
        "two pods that are not ready",
        30,
        labelSelector="app=calm",
    )
    assert not any(is_going(pod) for pod in calm)
    uids = {pod["metadata"]["uid"] for pod in before.calm}
    assert {pod["metadata"]["uid"] for pod in calm} <= uids


def test_4_a_stateful_pod_has_no_double_while_its_node_may_still_run_it(before: Before) -> None:
    pods = before.cluster.pods("data")
    assert {name_of(pod) for pod in pods} == {"data-0", "data-1", "data-2"}
    uids = {pod["metadata"]["uid"] for pod in before.data}
    assert {pod["metadata"]["uid"] for pod in pods} == uids
    assert {pod["spec"]["nodeName"] for pod in pods if is_going(pod)} == {CUT, LOST}


def test_5_the_pods_of_a_cut_node_answer_on_it(before: Before) -> None:
    cut = before.cluster.bed[CUT]
    for pods in (before.web, before.data, before.calm):
        pod = before.on(CUT, pods)
        assert before.cluster.ask(cut, pod["status"]["podIP"]) == name_of(pod)
    assert cut.containers() == before.cut_containers


def test_6_after_the_cut_everything_is_caught_up(before: Before) -> None:
    cluster = before.cluster
    cluster.bed.fabric.heal()
    cluster.ready_nodes([CUT])
    cluster.api.until(
        NODES,
        lambda nodes: not any(taints(node) for node in nodes if name_of(node) == CUT),
        "node without taints",
        30,
    )
    stayed = before.on(CUT, before.calm)

    def look(pods: list[Object]) -> bool:
        on_cut = [pod for pod in pods if pod["spec"].get("nodeName") == CUT]
        by_app = {pod["metadata"]["labels"]["app"]: pod for pod in on_cut}
        return (
            # Evicted, gone, and only then made again.
            condition(by_app.get("data", {}), "Ready") == "True"
            and not is_going(by_app["data"])
            and "web" not in by_app
            and condition(by_app["calm"], "Ready") == "True"
        )

    cluster.api.until("/api/v1/namespaces/default/pods", look, f"settled pods on {CUT}", 60)
    now = before.on(CUT, cluster.pods("calm"))
    assert now["metadata"]["uid"] == stayed["metadata"]["uid"]
    [container] = now["status"]["containerStatuses"]
    assert container["containerID"] == stayed["status"]["containerStatuses"][0]["containerID"]
    assert container["restartCount"] == 0
    # Sandbox and container of `calm` and of the new `data`; what was evicted has left nothing.
    running = [state for state in cluster.bed[CUT].containers().values() if state == "running"]
    assert len(running) == 4


def test_7_a_lost_host_that_boots_again_is_a_node_again(before: Before) -> None:
    cluster, lost = before.cluster, before.cluster.bed[LOST]
    lost.power_on()
    lost.start_engine()
    cluster.rejoin(LOST)
    cluster.ready_nodes([LOST])
    data = cluster.ready_pods("data", 3)
    calm = cluster.ready_pods("calm", 3)
    assert places(data) == places(calm) == {"alpha": 1, CUT: 1, LOST: 1}
    uids = {pod["metadata"]["uid"] for pod in before.calm}
    assert {pod["metadata"]["uid"] for pod in calm} == uids
    [container] = before.on(LOST, calm)["status"]["containerStatuses"]
    assert container["restartCount"] == 1  # by the boot
    cluster.ready_pods("web", 3)


def test_8_agents_find_a_server_whose_host_lost_power(before: Before) -> None:
    """Nothing closes the connections of such a server, so the agents must find out that they lead nowhere."""
    cluster = before.cluster
    restarts = {uid: count for uid, count in cluster.restarts().items() if "/data-" in uid}
    cluster.server.power_off()
    cluster.server.power_on()
    cluster.server.start_engine()
    cluster.server.kubelite.start()
    cluster.reconnect()
    cluster.apply(deployment("late", 3), service("late"))
    late = cluster.ready_pods("late", 3)
    assert places(late) == {"alpha": 1, CUT: 1, LOST: 1}
    address = cluster.kubectl("get", "service", "late", "-o", "jsonpath={.spec.clusterIP}")
    for machine in cluster.bed:
        cluster.answers(machine, address, 80, {name_of(pod) for pod in late})
    on_server = {
        pod["metadata"]["uid"]: pod["spec"]["nodeName"] == "alpha"
        for pod in cluster.ready_pods("data", 3)
    }
    for container, count in cluster.restarts().items():
        if container in restarts:
            assert count == restarts[container] + on_server[container.rpartition("/")[2]]
