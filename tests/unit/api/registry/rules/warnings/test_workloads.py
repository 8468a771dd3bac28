"""Warnings about workloads."""

from typing import Any

import pytest
from fakes.rows import row_of
from fakes.rule_samples import template, workload

GRACE = "terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
BAD = template(terminationGracePeriodSeconds=-1)


def told(group: str, kind: str, thing: Any, old: Any = None) -> list[str]:
    rule = row_of(group, kind).warnings
    if old is None:
        assert rule.create is not None
        return list(rule.create(thing))
    assert rule.update is not None
    return list(rule.update(thing, old))


def made(generation: int, **spec: Any) -> dict[str, Any]:
    thing = workload(**spec)
    thing["metadata"] = {**thing["metadata"], "name": "web", "generation": generation}
    return thing


@pytest.mark.parametrize(
    ("group", "kind", "path", "spec"),
    [
        ("apps", "Deployment", "spec.template.spec", {"template": BAD}),
        ("apps", "ReplicaSet", "spec.template.spec", {"template": BAD}),
        ("", "ReplicationController", "spec.template.spec", {"template": BAD}),
        ("apps", "StatefulSet", "spec.template.spec", {"template": BAD}),
        ("batch", "Job", "spec.template.spec", {"template": BAD}),
        (
            "batch",
            "CronJob",
            "spec.jobTemplate.spec.template.spec",
            {"jobTemplate": {"spec": {"template": BAD}}},
        ),
    ],
)
def test_templates(group: str, kind: str, path: str, spec: dict[str, Any]) -> None:
    assert told(group, kind, made(1, **spec)) == [f"{path}.{GRACE}"]
    assert told(group, kind, made(2, **spec), made(1)) == [f"{path}.{GRACE}"]
    assert told(group, kind, made(1, **spec), made(1, **spec)) == []


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("", "ReplicationController"),
        ("batch", "Job"),
        ("batch", "CronJob"),
    ],
)
def test_names_that_pods_inherit(group: str, kind: str) -> None:
    thing = made(1)
    thing["metadata"]["name"] = "web.1"
    assert told(group, kind, thing) == [
        (
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising "
            "behavior; a DNS label is recommended: [must not contain dots]"
        )
    ]


def test_a_daemon_set_is_warned_about_when_its_template_changes() -> None:
    def counted(number: str) -> dict[str, Any]:
        thing = made(1, template=BAD)
        key = "deprecated.daemonset.template.generation"
        thing["metadata"]["annotations"] = {key: number}
        return thing

    assert told("apps", "DaemonSet", counted("1")) == [f"spec.template.spec.{GRACE}"]
    assert told("apps", "DaemonSet", counted("2"), counted("1")) == [f"spec.template.spec.{GRACE}"]
    assert told("apps", "DaemonSet", counted("1"), counted("1")) == []


def test_a_stored_template() -> None:
    thing = {"metadata": {"generation": 1}, "template": BAD}
    newer = {"metadata": {"generation": 2}, "template": BAD}
    assert told("", "PodTemplate", thing) == [f"template.spec.{GRACE}"]
    assert told("", "PodTemplate", newer, thing) == [f"template.spec.{GRACE}"]
    assert told("", "PodTemplate", thing, thing) == []


def test_stateful_sets() -> None:
    claim = {"spec": {"resources": {"requests": {"storage": "100m"}}}}
    thing = made(1, volumeClaimTemplates=[claim], revisionHistoryLimit=-1)
    fraction = (
        'resources.requests[storage]: fractional byte value "100m" is invalid, must be an integer'
    )
    history = (
        "spec.revisionHistoryLimit: a negative value retains all historical revisions; "
        "a value >= 0 is recommended"
    )
    assert told("apps", "StatefulSet", thing) == [
        f"spec.volumeClaimTemplates[0].{fraction}",
        history,
    ]
    assert told("apps", "StatefulSet", thing, thing) == [
        f"spec.volumeClaimTemplates[0].Spec.{fraction}",
        history,
    ]


def test_large_indexed_jobs() -> None:
    large = {"completionMode": "Indexed", "completions": 100_001, "parallelism": 10_001}
    text = (
        ": In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
        "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
    )
    assert told("batch", "Job", made(1, **large)) == [f"spec{text}"]
    assert told("batch", "Job", made(1, **{**large, "parallelism": 10_000})) == []
    nested = made(1, jobTemplate={"spec": large})
    assert told("batch", "CronJob", nested) == [f"spec.jobTemplate.spec{text}"]


def test_a_zone_in_a_schedule() -> None:
    thing = made(1, schedule="CRON_TZ=Asia/Tokyo 0 * * * *")
    assert told("batch", "CronJob", thing) == []
    assert told("batch", "CronJob", thing, thing) == [
        (
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
            "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        )
    ]
