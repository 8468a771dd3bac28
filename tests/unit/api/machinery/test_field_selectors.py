"""Field selectors."""

from typing import Any

import pytest
from fakes.rows import row_of

from kubelite.api.errors import BadRequest
from kubelite.api.machinery.field_selectors import (
    Fields,
    parse_field_selector,
    paths,
    required_values,
)
from kubelite.limits import SELECTOR_REQUIREMENTS

POD = {
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"nodeName": "n1"},
    "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.7"}]},
}


@pytest.mark.parametrize(
    ("text", "kind", "fields", "matches"),
    [
        ("metadata.name=web,spec.nodeName==n1", "Pod", POD, True),
        ("status.phase!=Running", "Pod", POD, False),
        ("status.phase!=Failed,status.phase!=Succeeded", "Pod", POD, True),
        ("status.phase=Running,status.phase=Failed", "Pod", POD, False),
        ("status.phase=Running,status.phase!=Running", "Pod", POD, False),
        ("spec.host=n1", "Pod", POD, True),
        ("spec.hostNetwork=false", "Pod", POD, True),
        ("status.podIP=10.0.0.7", "Pod", POD, True),
        ("spec.unschedulable=false", "Node", {"metadata": {"name": "n"}}, True),
        ("spec.unschedulable=true", "Node", {"spec": {"unschedulable": True}}, True),
        ("status.replicas=0", "ReplicationController", {}, True),
        ("source=kubelet", "Event", {"source": {"component": "kubelet"}}, True),
        (r"reason=a\,b\=c", "Event", {"reason": "a,b=c"}, True),
    ],
)
def test_matches(text: str, kind: str, fields: dict[str, Any], matches: bool) -> None:
    assert parse_field_selector(text, row_of("", kind).fields).matches(fields) is matches


def test_exact_values_are_known() -> None:
    selector = parse_field_selector("metadata.name=web,metadata.namespace=shop")
    assert selector.exact("metadata.name") == "web"
    assert selector.only_metadata
    assert str(selector) == "metadata.name=web,metadata.namespace=shop"


def test_custom_fields() -> None:
    selector = parse_field_selector("spec.color=red", Fields(paths("spec.color")))
    assert selector.matches({"spec": {"color": "red"}})


@pytest.mark.parametrize(
    ("text", "group", "kind", "message"),
    [
        ("spec.image=x", "", "Pod", "field label not supported: spec.image"),
        ("a=b", "batch", "Job", 'field label "a" not supported for Job'),
        (
            "a=b",
            "apps",
            "Deployment",
            '"a" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("nonsense", "", "Pod", "invalid selector: 'nonsense'; can't understand 'nonsense'"),
        (r"reason=a\b", "", "Event", r"invalid field selector: invalid escape sequence: \b"),
        ("reason=a=b", "", "Event", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_refusals(text: str, group: str, kind: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_field_selector(text, row_of(group, kind).fields)
    assert refused.value.message == message


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("metadata.name=a,type!=b,spec.nodeName==n", {"metadata.name": "a", "spec.nodeName": "n"}),
        (r"type!=a\,metadata.name=b", {}),
        (r"metadata.name=a\,b", {"metadata.name": "a,b"}),
        ("metadata.name=a,nonsense", {}),
    ],
)
def test_what_a_selector_demands_is_what_it_selects(text: str, values: dict[str, str]) -> None:
    assert required_values(text) == values


def test_thousands_of_terms_read_each_field_once() -> None:
    reads = 0

    class Counted(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            nonlocal reads
            reads += 1
            return super().get(key, default)

    text = ",".join(f"status.phase!=v{number},spec.nodeName!=v{number}" for number in range(400))
    assert parse_field_selector(text, row_of("", "Pod").fields).matches(Counted(POD))
    assert reads == 2


def test_selectors_of_many_requirements_are_refused() -> None:
    text = ",".join(["metadata.name=b"] * (SELECTOR_REQUIREMENTS.value + 1))
    with pytest.raises(BadRequest, match="more than 1000"):
        parse_field_selector(text, row_of("", "Pod").fields)
