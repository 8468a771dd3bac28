"""Validation by the rules of a row."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from fakes.custom_resources import custom_resource
from fakes.rule_samples import changed, container, lines, pod, service, workload
from fakes.steps import RATIO_MAX, Word, growth

from kubelite.api.machinery.causes import invalid_object as invalid
from kubelite.api.registry.builtin import RESOURCES
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.validation import validate
from kubelite.limits import CAUSES, CAUSES_TEXT

JSON = dict[str, Any]


def row(kind: str, group: str = "") -> Resource:
    """Return the row of a kind."""
    return next(row for row in RESOURCES if row.kind.kind == kind and row.group == group)


def test_new_objects_are_checked_with_their_metadata() -> None:
    assert validate(row("Pod"), pod(), None) == []
    found = lines(validate(row("Pod"), changed(pod(containers=[]), "metadata.name", "A"), None))
    assert found[0].startswith('metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain')
    assert found[1] == "spec.containers: Required value"


def test_changes_are_checked_against_what_was() -> None:
    old = service()
    new = changed(old, "metadata.uid", "other")
    assert lines(validate(row("Service"), new, old)) == [
        'metadata.uid: Invalid value: "other": field is immutable'
    ]


def test_subresources_have_rules_of_their_own() -> None:
    old = pod()
    new = changed(pod(), "spec.nodeName", "n")
    assert validate(row("Pod"), new, old, "binding") == []
    assert len(validate(row("Pod"), new, old)) == 1
    bad = changed(old, "status", {"podIPs": [{"ip": "nowhere"}]})
    assert len(validate(row("Pod"), bad, old, "status")) == 1


def test_the_answer_tells_all() -> None:
    found = validate(row("Pod"), pod(containers=[]), None)
    assert invalid("Pod", "", "web", found).message == (
        'Pod "web" is invalid: spec.containers: Required value'
    )


def _named(prefix: str, count: int, **fields: Any) -> list[JSON]:
    return [{"name": Word(f"{prefix}{index}"), **fields} for index in range(count)]


def _pod_of(**fields: Any) -> JSON:
    return pod(containers=[container(**fields)])


def _affinity(count: int) -> JSON:
    terms = [
        {"topologyKey": "k", "labelSelector": {"matchLabels": {Word(f"a{index}"): "b"}}}
        for index in range(count)
    ]
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _expressions(count: int) -> list[JSON]:
    return [{"key": Word(f"k{index}"), "operator": "In", "values": ["a"]} for index in range(count)]


def _addresses(count: int) -> list[str]:
    return [f"10.1.{index // 256}.{index % 256}" for index in range(count)]


def _balanced(count: int) -> JSON:
    ranges = [f"{address}/32" for address in _addresses(count)]
    fields = {"type": "LoadBalancer", "loadBalancerSourceRanges": ranges}
    return changed(service(), "spec", {**service()["spec"], **fields})


def _metadata(**fields: Any) -> JSON:
    return {"metadata": {"name": "a", "namespace": "b", **fields}}


def _policy(count: int) -> JSON:
    blocks = [
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": [f"{address}/32"]}}
        for address in _addresses(count)
    ]
    return {**_metadata(), "spec": {"podSelector": {}, "ingress": [{"from": blocks}]}}


def _ingress(count: int) -> JSON:
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    http = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
    rules = [{"host": Word(f"h{index}.example.com"), "http": http} for index in range(count)]
    return {**_metadata(), "spec": {"rules": rules}}


def _owner(index: int) -> JSON:
    return {"apiVersion": "v1", "kind": "A", "name": "a", "uid": str(index), "controller": True}


def _variables(count: int) -> JSON:
    reference = {"key": "k", "path": "p", "volumeName": "v0"}
    env = [{**each, "valueFrom": {"fileKeyRef": reference}} for each in _named("V", count)]
    return pod(containers=[container(env=env)], volumes=_named("v", count, emptyDir={}))


def _mounts(count: int) -> JSON:
    mounts = [{**each, "mountPath": Word(f"/{each['name']}")} for each in _named("v", count)]
    return pod(containers=[container(volumeMounts=mounts)], volumes=_named("v", count, emptyDir={}))


LARGE: list[tuple[str, str, Callable[[int], JSON]]] = [
    ("Pod", "", lambda count: pod(containers=[container(**each) for each in _named("c", count)])),
    ("Pod", "", lambda count: pod(initContainers=[container(**e) for e in _named("i", count)])),
    ("Pod", "", lambda count: _pod_of(env=_named("V", count))),
    ("Pod", "", _variables),
    ("Pod", "", _mounts),
    ("Pod", "", lambda count: _pod_of(ports=_named("p", count, containerPort=1, protocol="TCP"))),
    ("Pod", "", lambda count: pod(affinity=_affinity(count))),
    ("Pod", "", lambda count: pod(tolerations=[{"operator": "Exists"}] * count)),
    ("Pod", "", lambda count: pod(schedulingGates=_named("g", count))),
    ("Pod", "", lambda count: pod(resourceClaims=_named("c", count, resourceClaimName="x"))),
    ("Service", "", lambda count: changed(service(), "spec.externalIPs", _addresses(count))),
    ("Service", "", _balanced),
    ("NetworkPolicy", "networking.k8s.io", _policy),
    ("Ingress", "networking.k8s.io", _ingress),
    ("ConfigMap", "", lambda count: {**_metadata(), "data": {f"k{i}": "v" for i in range(count)}}),
    ("ConfigMap", "", lambda count: _metadata(finalizers=[f"a.b/c{i}" for i in range(count)])),
    (
        "ConfigMap",
        "",
        lambda count: _metadata(
            ownerReferences=[_owner(0)]
            + [{**_owner(index), "controller": False} for index in range(count)]
        ),
    ),
    (
        "Deployment",
        "apps",
        lambda count: workload(selector={"matchExpressions": _expressions(count)}),
    ),
]


@pytest.mark.parametrize(("kind", "group", "make"), LARGE)
def test_the_work_grows_no_faster_than_the_object(
    kind: str, group: str, make: Callable[[int], JSON]
) -> None:
    resource = row(kind, group)

    def checking(size: int) -> Callable[[], Any]:
        thing = make(size)
        return lambda: validate(resource, thing, None)

    assert growth(checking) < RATIO_MAX


BROKEN: list[tuple[str, str, JSON]] = [
    ("ConfigMap", "", _metadata(ownerReferences=[_owner(index) for index in range(3000)])),
    ("ConfigMap", "", _metadata(finalizers=["/"] * 20_000)),
    ("ConfigMap", "", {**_metadata(), "data": {f"/{index}": "" for index in range(20_000)}}),
    ("Pod", "", pod(containers=[{}] * 5000)),
    ("Role", "rbac.authorization.k8s.io", {**_metadata(), "rules": [{}] * 20_000}),
    (
        "Service",
        "",
        changed(service(), "spec", {**service()["spec"], "clusterIPs": ["None"] * 10_000}),
    ),
]


@pytest.mark.parametrize(("kind", "group", "thing"), BROKEN)
def test_an_object_of_mistakes_is_answered_within_bounds(
    kind: str, group: str, thing: JSON
) -> None:
    found = validate(row(kind, group), thing, None)
    assert 0 < len(found) <= CAUSES.value + 1
    answer = msgspec.json.encode(invalid(kind, group, "a", found).status())
    assert len(answer) < 3 * CAUSES_TEXT.value


def test_the_search_for_mistakes_ends_where_an_answer_is_full() -> None:
    visited = 0

    class Finalizers(list[str]):
        def __iter__(self) -> Any:
            nonlocal visited
            for text in super().__iter__():
                visited += 1
                yield text

    found = validate(row("ConfigMap"), _metadata(finalizers=Finalizers(["/"] * 20_000)), None)
    assert visited <= CAUSES.value
    assert lines(found)[-1].endswith("correct the existing errors to complete validation")


def test_of_a_custom_object_of_another_type_nothing_else_is_told() -> None:
    thing = {"apiVersion": "x/v1", "kind": "Dog", "metadata": {"name": "A"}}
    assert lines(validate(custom_resource("cats"), thing, None)) == [
        'kind: Invalid value: "Dog": must be Cat',
        'apiVersion: Invalid value: "x/v1": must be example.com/v1',
    ]
