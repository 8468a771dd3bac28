from datetime import UTC, datetime
from typing import Any

import pytest

from kubelite.api.machinery.quota import (
    added,
    in_scope,
    increase,
    matching,
    over,
    read,
    total,
    unspecified,
    usage,
    written,
)

NOW = datetime(2026, 9, 1, tzinfo=UTC)


def used(plural: str, item: dict[str, Any], group: str = "") -> dict[str, str]:
    return written(usage(plural, group, item, NOW))


def pod(*resources: dict[str, Any], **spec: Any) -> dict[str, Any]:
    containers = [{"name": f"c{index}", "resources": one} for index, one in enumerate(resources)]
    return {"spec": {"containers": containers, **spec}}


def test_any_kind_is_counted() -> None:
    assert used("deployments", {}, "apps") == {"count/deployments.apps": "1"}
    assert used("configmaps", {}) == {"configmaps": "1", "count/configmaps": "1"}


def test_pods() -> None:
    one = {
        "requests": {"cpu": "100m", "memory": "1Gi", "example.com/gpu": "1"},
        "limits": {"cpu": "1"},
    }
    assert used("pods", pod(one, {"requests": {"cpu": "50m"}})) == {
        "count/pods": "1",
        "cpu": "150m",
        "limits.cpu": "1",
        "memory": "1Gi",
        "pods": "1",
        "requests.cpu": "150m",
        "requests.example.com/gpu": "1",
        "requests.memory": "1Gi",
    }


def test_the_largest_init_container_counts() -> None:
    init = [{"name": "i", "resources": {"requests": {"cpu": "2"}}}]
    assert used("pods", pod({"requests": {"cpu": "1"}}, initContainers=init))["requests.cpu"] == "2"
    sidecar = [init[0] | {"restartPolicy": "Always"}]
    assert (
        used("pods", pod({"requests": {"cpu": "1"}}, initContainers=sidecar))["requests.cpu"] == "3"
    )


def test_finished_pods_free_what_they_had() -> None:
    done = pod({"requests": {"cpu": "1"}}) | {"status": {"phase": "Succeeded"}}
    assert used("pods", done) == {"count/pods": "1"}
    late = {"deletionTimestamp": "2026-08-31T23:00:00Z", "deletionGracePeriodSeconds": 30}
    assert used("pods", {"metadata": late, "spec": {}}) == {"count/pods": "1"}
    soon = late | {"deletionGracePeriodSeconds": 7200}
    assert used("pods", {"metadata": soon, "spec": {}})["pods"] == "1"


@pytest.mark.parametrize(
    ("spec", "ports", "balancers"),
    [
        ({"ports": [{}]}, "0", "0"),
        ({"type": "NodePort", "ports": [{}, {}]}, "2", "0"),
        ({"type": "LoadBalancer", "ports": [{}]}, "1", "1"),
        ({"type": "LoadBalancer", "ports": [{}], "allocateLoadBalancerNodePorts": False}, "0", "1"),
    ],
)
def test_services(spec: dict[str, Any], ports: str, balancers: str) -> None:
    amounts = used("services", {"spec": spec})
    assert (amounts["services.nodeports"], amounts["services.loadbalancers"]) == (ports, balancers)


def test_claims() -> None:
    spec = {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}
    assert used("persistentvolumeclaims", {"spec": spec}) == {
        "count/persistentvolumeclaims": "1",
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "fast.storageclass.storage.k8s.io/requests.storage": "1Gi",
        "persistentvolumeclaims": "1",
        "requests.storage": "1Gi",
    }


def test_matching() -> None:
    hard = [
        "pods",
        "requests.cpu",
        "count/deployments.apps",
        "secrets",
        "requests.nvidia.com/gpu",
        "requests.storage",
    ]
    assert matching("pods", "", hard) == ["pods", "requests.cpu", "requests.nvidia.com/gpu"]
    assert matching("deployments", "apps", hard) == ["count/deployments.apps"]
    assert matching("secrets", "", hard) == ["secrets"]
    assert matching("persistentvolumeclaims", "", hard) == ["requests.storage"]


@pytest.mark.parametrize(
    ("scope", "spec", "expected"),
    [
        ({"scopes": ["Terminating"]}, {"activeDeadlineSeconds": 0}, True),
        ({"scopes": ["NotTerminating"]}, {"activeDeadlineSeconds": 5}, False),
        ({"scopes": ["BestEffort"]}, {"containers": [{"name": "c"}]}, True),
        (
            {"scopes": ["NotBestEffort"]},
            {"containers": [{"resources": {"limits": {"cpu": "1"}}}]},
            True,
        ),
        ({"scopes": ["BestEffort", "NotTerminating"]}, {}, True),
        ({"scopes": ["PriorityClass"]}, {"priorityClassName": "high"}, True),
        ({"scopes": ["PriorityClass"]}, {}, False),
        ({"scopes": ["Nonsense"]}, {}, False),
        (
            {"scopes": ["CrossNamespacePodAffinity"]},
            {
                "affinity": {
                    "podAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"]}]
                    }
                }
            },
            True,
        ),
    ],
)
def test_scopes(scope: dict[str, Any], spec: dict[str, Any], expected: bool) -> None:
    assert in_scope({"spec": scope}, "pods", "", {"spec": spec}) is expected
    assert not in_scope({"spec": scope}, "services", "", {"spec": spec})


@pytest.mark.parametrize(
    ("operator", "values", "name", "expected"),
    [
        ("In", ["high"], "high", True),
        ("In", ["high"], "low", False),
        ("NotIn", ["high"], "low", True),
        ("Exists", [], "low", True),
        ("DoesNotExist", [], "", True),
    ],
)
def test_scope_selectors(operator: str, values: list[str], name: str, expected: bool) -> None:
    term = {"scopeName": "PriorityClass", "operator": operator, "values": values}
    quota = {"spec": {"scopeSelector": {"matchExpressions": [term]}}}
    assert in_scope(quota, "pods", "", {"spec": {"priorityClassName": name}}) is expected


def test_what_must_be_specified() -> None:
    given = {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
    required = ["requests.cpu", "limits.memory", "limits.cpu", "pods"]
    assert unspecified(pod(given, {}), required) == (
        "must specify limits.cpu for: c0,c1; limits.memory for: c1; requests.cpu for: c1"
    )
    assert unspecified(pod(given), ["requests.cpu", "limits.memory"]) == ""
    assert unspecified(pod({}, resources={"requests": {"cpu": "1"}}), required) == ""


def test_growth_and_limits() -> None:
    assert written(
        increase(read({"cpu": "2", "pods": "1"}), read({"cpu": "500m", "pods": "1"}))
    ) == {"cpu": "1500m"}
    assert over(
        read({"cpu": "2", "pods": "1"}), read({"cpu": "1", "pods": "1"}), ["cpu", "pods"]
    ) == ["cpu"]


def test_what_lies_in_a_group_is_counted_there_alone() -> None:
    assert matching("secrets", "example.com", ["secrets", "count/secrets.example.com"]) == [
        "count/secrets.example.com"
    ]
    assert matching("pods", "example.com", ["pods", "requests.cpu"]) == []
    hard = ["services.nodeports", "services.loadbalancers", "services", "pods"]
    assert matching("services", "", hard) == hard[:3]


def test_empty_parts_of_an_object_are_none() -> None:
    assert used("pods", {"spec": None}) == {"count/pods": "1", "pods": "1"}
    assert used("pods", {}) == {"count/pods": "1", "pods": "1"}
    assert used("persistentvolumeclaims", {"spec": {"resources": None}}) == {
        "count/persistentvolumeclaims": "1",
        "persistentvolumeclaims": "1",
    }
    assert unspecified({"spec": {"containers": [{"name": "c", "resources": None}]}}, ["cpu"]) == (
        "must specify cpu for: c"
    )
    assert in_scope({"spec": None}, "pods", "", {})
    balanced = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": None}
    assert used("services", {"spec": balanced})["services.nodeports"] == "0"


def test_hugepages_are_counted_under_both_names() -> None:
    pages = pod({"requests": {"hugepages-2Mi": "4Mi"}})
    assert used("pods", pages)["hugepages-2Mi"] == "4Mi"
    assert used("pods", pages)["requests.hugepages-2Mi"] == "4Mi"


def test_a_pod_that_goes_counts_until_its_time_is_over() -> None:
    def count(second: int, grace: int | None) -> str:
        meta = {"deletionTimestamp": f"2026-08-31T23:59:{second:02}Z"}
        if grace is not None:
            meta |= {"deletionGracePeriodSeconds": grace}  # type: ignore[dict-item]
        return used("pods", {"metadata": meta, "spec": {}}).get("pods", "0")

    assert [count(30, grace) for grace in (29, 30, 31, None)] == ["0", "1", "1", "1"]
    only_grace = {"metadata": {"deletionGracePeriodSeconds": 0}, "spec": {}}
    assert used("pods", only_grace)["pods"] == "1"


def test_a_load_balancers_given_ports_count() -> None:
    ports = [{"nodePort": 30000}, {}]
    spec = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": ports}
    assert used("services", {"spec": spec})["services.nodeports"] == "1"


def test_a_claim_counts_what_it_has_if_that_is_more_than_what_it_wants() -> None:
    def storage(allocated: str) -> str:
        spec = {"resources": {"requests": {"storage": "2"}}}
        item = {"spec": spec, "status": {"allocatedResources": {"storage": allocated}}}
        return used("persistentvolumeclaims", item)["requests.storage"]

    assert [storage(text) for text in ("1", "2", "3")] == ["2", "2", "3"]
    annotated = {"annotations": {"volume.beta.kubernetes.io/storage-class": "old"}}
    item = {"metadata": annotated, "spec": {"storageClassName": "new"}}
    name = "old.storageclass.storage.k8s.io/persistentvolumeclaims"
    assert used("persistentvolumeclaims", item)[name] == "1"


def test_attributes_classes_scope_claims() -> None:
    quota = {"spec": {"scopes": ["VolumeAttributesClass"]}}
    claims = "persistentvolumeclaims"
    assert in_scope(quota, claims, "", {"spec": {"volumeAttributesClassName": "fast"}})
    assert not in_scope(quota, claims, "", {"spec": {}})
    assert not in_scope(quota, claims, "", {})
    assert not in_scope(quota, "pods", "", {"spec": {"volumeAttributesClassName": "fast"}})
    assert not in_scope(quota, claims, "other", {"spec": {"volumeAttributesClassName": "fast"}})


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"requests": {"cpu": "0"}, "limits": {"memory": "0"}}, True),
        ({"requests": {"example.com/gpu": "1"}}, True),
        ({"requests": {"memory": "1"}}, False),
    ],
)
def test_who_asks_for_nothing(resources: dict[str, Any], expected: bool) -> None:
    quota = {"spec": {"scopes": ["BestEffort"]}}
    assert in_scope(quota, "pods", "", pod(resources)) is expected
    assert in_scope(quota, "pods", "", pod({}, resources=resources)) is expected


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([], False),
        ([{}], False),
        ([{"namespaces": ["x"]}], True),
        ([{}, {"namespaceSelector": {}}], True),
    ],
)
@pytest.mark.parametrize("kind", ["podAffinity", "podAntiAffinity"])
@pytest.mark.parametrize("is_preferred", [True, False])
def test_who_looks_into_other_namespaces(
    terms: list[dict[str, Any]], expected: bool, kind: str, is_preferred: bool
) -> None:
    rules = (
        {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"podAffinityTerm": one} for one in terms
            ]
        }
        if is_preferred
        else {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    )
    quota = {"spec": {"scopes": ["CrossNamespacePodAffinity"]}}
    assert in_scope(quota, "pods", "", {"spec": {"affinity": {kind: rules}}}) is expected
    assert not in_scope(quota, "pods", "", {"spec": {"affinity": None}})


def test_sums() -> None:
    both = added(read({"cpu": "1", "pods": "1"}), read({"cpu": "2", "memory": "3"}))
    assert written(both) == {"cpu": "3", "memory": "3", "pods": "1"}
    assert written(total([read({"cpu": "1"}), read({"cpu": "2", "pods": "1"})])) == {
        "cpu": "3",
        "pods": "1",
    }
