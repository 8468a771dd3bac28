"""Rules of cluster-wide and small kinds."""

from typing import Any

import pytest
from fakes.rule_samples import lines

from kubelite.api.registry.rules import cluster


def test_nodes() -> None:
    good = {
        "spec": {
            "podCIDRs": ["10.42.0.0/24"],
            "taints": [{"key": "a", "effect": "NoSchedule"}],
        },
        "status": {"capacity": {"cpu": "2", "pods": "110"}},
    }
    assert cluster.node(good) == []
    assert lines(cluster.node({"status": {"capacity": {"pods": "1.5"}}})) == [
        'status.capacity.pods: Invalid value: "1500m": must be an integer'
    ]
    new = {"spec": {"podCIDRs": ["10.42.1.0/24"]}}
    assert lines(cluster.node_update(new, good)) == [
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'
    ]


def test_namespaces() -> None:
    assert cluster.namespace({"spec": {"finalizers": ["kubernetes"]}}) == []
    assert len(cluster.namespace({"spec": {"finalizers": ["mine"]}})) == 1
    assert lines(cluster.namespace_status({"status": {"phase": "Terminating"}}, {})) == [
        (
            'status.Phase: Invalid value: "Terminating": '
            "may only be 'Active' if `deletionTimestamp` is empty"
        )
    ]


def test_limit_ranges() -> None:
    limit = {"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}}
    assert lines(cluster.limit_range({"spec": {"limits": [limit]}})) == [
        'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1'
    ]
    assert cluster.limit_range({"spec": {"limits": [{**limit, "min": {"cpu": "1"}}]}}) == []


def test_quotas() -> None:
    good = {"spec": {"hard": {"pods": "5", "requests.cpu": "1", "count/jobs.batch": "3"}}}
    assert cluster.quota(good) == []
    assert lines(cluster.quota({"spec": {"hard": {"pods": "1.5"}, "scopes": ["Odd"]}})) == [
        'spec.hard[pods]: Invalid value: "1500m": must be an integer',
        'spec.scopes: Invalid value: "Odd": unsupported scope',
    ]


def test_priorities() -> None:
    assert cluster.priority_class({"metadata": {"name": "high"}, "value": 5}) == []
    assert lines(cluster.priority_class_update({"value": 2}, {"value": 1})) == [
        "value: Forbidden: may not be changed in an update."
    ]
    assert len(cluster.priority_class({"metadata": {"name": "system-mine"}, "value": 1})) == 1


def test_leases_and_runtime_classes() -> None:
    assert cluster.lease({"spec": {"leaseDurationSeconds": 40}}) == []
    assert lines(cluster.lease({"spec": {"leaseDurationSeconds": 0}})) == [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"
    ]
    assert cluster.runtime_class({"handler": "runc"}) == []
    assert len(cluster.runtime_class_update({"handler": "b"}, {"handler": "a"})) == 1


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        # What Go's leader election writes when a leader lets go.
        ({"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 3}, []),
        ({"strategy": "OldestEmulationVersion", "preferredHolder": "a"}, []),
        ({"strategy": "example.com/mine"}, []),
        (
            {"strategy": "mine"},
            [
                'spec.strategy.strategy: Unsupported value: "mine": supported values: "OldestEmulationVersion"'
            ],
        ),
        (
            {"preferredHolder": "a"},
            ["spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"],
        ),
    ],
)
def test_leases(spec: dict[str, Any], expected: list[str]) -> None:
    assert lines(cluster.lease({"spec": spec})) == expected


def test_events() -> None:
    good = {"metadata": {"namespace": "shop"}, "involvedObject": {"namespace": "shop"}}
    assert cluster.event(good) == []
    assert lines(cluster.event({**good, "involvedObject": {"namespace": "other"}})) == [
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace'
    ]


NOW = "2026-05-01T12:00:00.000000Z"
NEW = {
    "eventTime": NOW,
    "reportingComponent": "a.b/c",
    "reportingInstance": "i",
    "action": "Do",
    "reason": "Why",
}


@pytest.mark.parametrize(
    ("home", "about", "more", "fits"),
    [
        ("shop", "shop", {}, True),
        ("shop", "other", {}, False),
        ("shop", "", {}, False),
        ("default", "", {}, True),
        ("kube-system", "", {}, False),
        ("kube-system", "", NEW, True),
        ("default", "", NEW, True),
        ("shop", "", NEW, False),
        ("shop", "other", NEW, True),  # one of the new kind may be about an object elsewhere
    ],
)
def test_events_fit_what_they_are_about(
    home: str, about: str, more: dict[str, str], fits: bool
) -> None:
    involved = {"namespace": about} if about else {}
    event = {"metadata": {"namespace": home}, "involvedObject": involved, **more}
    wrong = f'involvedObject.namespace: Invalid value: "{about}": does not match event.namespace'
    assert lines(cluster.event(event)) == ([] if fits else [wrong])


def test_new_events_say_who_reports_what() -> None:
    event = {"metadata": {"namespace": "default"}, "eventTime": NOW, "reportingComponent": ""}
    assert lines(cluster.event(event)) == [
        "reportingComponent: Required value",
        "reportingInstance: Required value",
        "action: Required value",
        "reason: Required value",
    ]
