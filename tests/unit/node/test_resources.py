"""Requests and limits in the kernel's units."""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.admission import rejection
from kubelite.node.live_node import NodeView
from kubelite.node.pods import qos_class
from kubelite.node.resources import (
    cgroup_parent,
    group_limits,
    limits_of,
    oom_score_adj,
    pod_requests,
    storage_limit,
)


def pod_of(*resources: dict[str, Any], **spec: Any) -> Pod:
    containers = [
        {"name": f"c{i}", "image": "a:1", "resources": given} for i, given in enumerate(resources)
    ]
    return msgspec.convert(
        {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": containers, **spec}}, Pod
    )


GUARANTEED = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}
BURSTABLE = {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}


@pytest.mark.parametrize(
    ("resources", "quality", "parent"),
    [
        ((GUARANTEED,), "Guaranteed", "/kubelite/podu"),
        ((GUARANTEED, BURSTABLE), "Burstable", "/kubelite/burstable/podu"),
        (({},), "BestEffort", "/kubelite/besteffort/podu"),
    ],
)
def test_quality_of_service(resources: Any, quality: str, parent: str) -> None:
    assert qos_class(pod_of(*resources)) == quality
    assert cgroup_parent(pod_of(*resources)) == parent


def test_limits() -> None:
    pod = pod_of(BURSTABLE)
    limits = limits_of(pod, pod.spec.containers[0], 1 << 30)
    assert (limits.cpu_shares, limits.cpu_quota_us, limits.memory_bytes) == (256, 0, 512 << 20)
    assert limits.oom_score_adj == 750
    pod = pod_of(GUARANTEED)
    limits = limits_of(pod, pod.spec.containers[0], 1 << 30)
    assert (limits.cpu_shares, limits.cpu_quota_us, limits.oom_score_adj) == (1024, 100_000, -997)
    pod = pod_of({})
    limits = limits_of(pod, pod.spec.containers[0], 1 << 30)
    assert (limits.cpu_shares, limits.oom_score_adj) == (2, 1000)


def test_requests_of_a_pod_are_those_of_its_peak() -> None:
    inits = [
        {"name": "big", "image": "a", "resources": {"requests": {"cpu": "900m"}}},
        {"name": "side", "image": "a", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
    ]  # fmt: skip
    pod = pod_of(BURSTABLE, BURSTABLE, initContainers=inits, overhead={"cpu": "10m"})
    assert pod_requests(pod) == {"cpu": 910, "memory": 512 << 20}


def test_a_full_node_and_taken_ports_refuse() -> None:
    pod = pod_of(BURSTABLE)
    node = NodeView("n", {"cpu": "1", "memory": "1Gi", "pods": "2"})
    assert rejection(pod, [], node) is None
    refused = rejection(pod, [pod, pod], node)
    assert refused is not None
    assert refused.reason == "OutOfpods"
    refused = rejection(pod, [pod], NodeView("n", {"cpu": "400m", "memory": "1Gi", "pods": "9"}))
    assert refused is not None
    assert refused.message == (
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 250, used: 250, capacity: 400"
    )
    port = [{"name": "c", "image": "a", "ports": [{"containerPort": 80, "hostPort": 80}]}]
    with_port = msgspec.convert({"spec": {"containers": port}}, Pod)
    refused = rejection(with_port, [with_port], NodeView("n", {"pods": "9"}))
    assert refused is not None
    assert refused.reason == "NodePorts"


def test_a_limit_of_the_pod_is_that_of_its_one_container() -> None:
    pod = pod_of({"limits": {"cpu": "2"}}, resources={"limits": {"cpu": "4", "memory": "64Mi"}})
    limits = limits_of(pod, pod.spec.containers[0], 1 << 30)
    assert (limits.cpu_shares, limits.cpu_quota_us) == (2048, 200_000)
    assert limits.memory_bytes == 64 << 20
    bare = pod_of({}, resources={"limits": {"cpu": "500m"}})
    limits = limits_of(bare, bare.spec.containers[0], 1 << 30)
    assert (limits.cpu_shares, limits.cpu_quota_us, limits.memory_bytes) == (2, 50_000, 0)


def test_oom_scores() -> None:
    half = {"requests": {"memory": "512Mi"}}
    quarter = {"requests": {"memory": "256Mi"}}
    spared = pod_of(quarter, priority=2_000_001_000, priorityClassName="system-node-critical")
    critical = pod_of(quarter, priority=2_000_000_000, priorityClassName="system-cluster-critical")
    assert oom_score_adj(spared, spared.spec.containers[0], 1 << 30) == -997
    assert oom_score_adj(critical, critical.spec.containers[0], 1 << 30) == 750
    claims = pod_of(quarter, priorityClassName="system-node-critical")  # without its priority
    assert oom_score_adj(claims, claims.spec.containers[0], 1 << 30) == 750
    init = {"name": "s", "image": "a:1", "restartPolicy": "Always"}
    pod = pod_of(half, quarter, initContainers=[init])
    # The app containers depend on a sidecar, so it counts as the least of them.
    assert oom_score_adj(pod, pod.spec.initContainers[0], 1 << 30) == 750
    pod = pod_of(quarter, initContainers=[{**init, "resources": half}])
    assert oom_score_adj(pod, pod.spec.initContainers[0], 1 << 30) == 500


def test_the_limit_of_storage_of_what_runs_at_once() -> None:
    two = {"limits": {"ephemeral-storage": "2Mi"}}
    pod = pod_of(two, {}, two)
    assert storage_limit(pod) == 4 << 20
    init = {"name": "i", "image": "a:1", "resources": {"limits": {"ephemeral-storage": "9Mi"}}}
    assert storage_limit(pod_of(two, initContainers=[init])) == 9 << 20
    assert storage_limit(pod_of({})) is None


def test_what_a_pod_has_none_of_its_own_is_summed_up() -> None:
    own = {"requests": {"cpu": "1", "ephemeral-storage": "1Gi", "example.com/gpu": "1"}}
    body = {
        "containers": [{"name": "a", "image": "i", "resources": own}],
        "resources": {"requests": {"cpu": "2", "memory": "1Ki"}},
        "overhead": {"cpu": "10m"},
    }
    pod = msgspec.convert({"metadata": {"name": "p"}, "spec": body}, Pod)
    assert pod_requests(pod) == {
        "cpu": 2010,
        "memory": 1024,
        "ephemeral-storage": 1 << 30,
        "example.com/gpu": 1,
    }


def test_the_overhead_of_the_runtime_is_beyond_a_pods_own_limits() -> None:
    body = {
        "containers": [{"name": "a", "image": "i"}],
        "resources": {"limits": {"memory": "1Mi"}, "requests": {"memory": "1Mi"}},
        "overhead": {"cpu": "10m", "memory": "1Mi"},
    }
    pod = msgspec.convert({"metadata": {"name": "p"}, "spec": body}, Pod)
    limits = group_limits(pod)
    assert (limits.memory_bytes, limits.cpu_quota_us, limits.cpu_shares) == (2 << 20, 0, 10)
