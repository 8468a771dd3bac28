"""Rules of workloads."""

from typing import Any

import pytest
from fakes.rule_samples import changed, lines, workload

from kubelite.api.registry.rules import workloads

DEPLOYMENT = workload(
    strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
    progressDeadlineSeconds=600,
)
STATEFUL = workload(
    podManagementPolicy="OrderedReady",
    updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    serviceName="web",
)
DAEMON = workload(
    updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
)


def test_good_workloads_pass() -> None:
    assert lines(workloads.deployment(DEPLOYMENT)) == []
    assert lines(workloads.replica_set(workload())) == []
    assert lines(workloads.stateful_set(STATEFUL)) == []
    assert lines(workloads.daemon_set(DAEMON)) == []
    controller = workload(selector={"app": "web"})
    assert lines(workloads.replication_controller(controller)) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("spec.selector", None, "spec.selector: Required value"),
        (
            "spec.selector",
            {},
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
        ),
        (
            "spec.template.metadata.labels.app",
            "other",
            (
                'spec.template.metadata.labels: Invalid value: {"app":"other"}: '
                "`selector` does not match template `labels`"
            ),
        ),
        (
            "spec.template.spec.restartPolicy",
            "Never",
            'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        ),
        (
            "spec.replicas",
            -1,
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "spec.strategy.type",
            "Recreate",
            (
                "spec.strategy.rollingUpdate: Forbidden: "
                "may not be specified when strategy `type` is 'Recreate'"
            ),
        ),
        (
            "spec.strategy.rollingUpdate.maxUnavailable",
            "200%",
            (
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "200%": '
                "must not be greater than 100%"
            ),
        ),
        (
            "spec.strategy.rollingUpdate",
            {"maxSurge": 0, "maxUnavailable": 0},
            (
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: "
                "may not be 0 when `maxSurge` is 0"
            ),
        ),
        (
            "spec.template.spec.containers.0.image",
            None,
            "spec.template.spec.containers[0].image: Required value",
        ),
    ],
)
def test_wrong_deployments_are_named(path: str, value: Any, line: str) -> None:
    assert line in lines(workloads.deployment(changed(DEPLOYMENT, path, value)))


def test_selectors_stay() -> None:
    labels = {"app": "web", "tier": "front"}
    new = changed(DEPLOYMENT, "spec.template.metadata.labels", labels)
    new = changed(new, "spec.selector.matchLabels", labels)
    assert lines(workloads.deployment_update(new, DEPLOYMENT)) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"front"}}: field is immutable'
    ]


def test_counts_agree() -> None:
    new = {"status": {"replicas": 1, "readyReplicas": 2}}
    assert lines(workloads.deployment_status(new, {})) == [
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"
    ]


def test_most_of_a_stateful_set_is_fixed() -> None:
    assert workloads.stateful_set_update(changed(STATEFUL, "spec.replicas", 3), STATEFUL) == []
    (line,) = lines(
        workloads.stateful_set_update(changed(STATEFUL, "spec.serviceName", "x"), STATEFUL)
    )
    assert line.startswith("spec: Forbidden: updates to statefulset spec for fields other than")


def test_claim_templates_are_volumes() -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    mounts = [{"name": "data", "mountPath": "/data"}]
    thing = changed(STATEFUL, "spec.template.spec.containers.0.volumeMounts", mounts)
    assert lines(workloads.stateful_set(thing)) == [
        'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "data"'
    ]
    assert workloads.stateful_set(changed(thing, "spec.volumeClaimTemplates", [claim])) == []


def test_daemon_sets_surge_or_drop() -> None:
    both = changed(DAEMON, "spec.updateStrategy.rollingUpdate.maxSurge", 1)
    assert lines(workloads.daemon_set(both)) == [
        (
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: "
            "may not be set when maxUnavailable is non-zero"
        )
    ]


def test_revisions_keep_their_data() -> None:
    old = {"revision": 1, "data": {"a": 1}}
    assert workloads.controller_revision(old) == []
    assert lines(workloads.controller_revision_update({**old, "data": {"a": 2}}, old)) == [
        'data: Invalid value: {"a":2}: field is immutable'
    ]


def test_percentages_of_thousands_of_digits_are_above_all() -> None:
    found = workloads.deployment(
        changed(DEPLOYMENT, "spec.strategy.rollingUpdate.maxUnavailable", "9" * 5000 + "%")
    )
    assert [line.rpartition(": ")[2] for line in lines(found)] == ["must not be greater than 100%"]
