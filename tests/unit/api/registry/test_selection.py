from typing import Any

import msgspec
import pytest

from kubelite.api.registry.builtin import RESOURCES
from kubelite.api.registry.selection import parse_selection
from kubelite.store.protocol import Entry

PODS = next(row for row in RESOURCES if row.plural == "pods")
POD: dict[str, Any] = {
    "metadata": {"name": "a", "namespace": "n", "labels": {"app": "web", "q": 'say "hi"'}},
    "spec": {"nodeName": "n1", "hostNetwork": True},
    "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]},
}


@pytest.mark.parametrize(
    ("labels", "fields", "expected"),
    [
        ("", "", True),
        ("app=web", "", True),
        ("app=db", "", False),
        ("app", "", True),
        ("!app", "", False),
        ("app in (web,db)", "spec.nodeName=n1", True),
        ("app=web", "spec.nodeName=n2", False),
        ("", "spec.nodeName!=n2", True),
        ("", "spec.nodeName=", False),
        ("", "spec.hostNetwork=true", True),
        ("", "spec.hostNetwork=false", False),
        ("", "status.phase=Running,status.podIP=10.0.0.1", True),
        ("", "status.nominatedNodeName=", True),
    ],
)
def test_bytes_and_objects_are_selected_alike(labels: str, fields: str, expected: bool) -> None:
    selection = parse_selection(PODS, labels, fields)
    assert selection.selects(POD) is expected
    value = msgspec.json.encode(POD)
    entry = Entry("/pods.core/n/a", value, 1, 1)
    assert selection.selects_entry(entry) is expected
    if expected:
        assert selection.candidates([entry])


def test_equal_selections_share_an_identity() -> None:
    first = parse_selection(PODS, "a=b,c=d", "spec.nodeName=n1")
    second = parse_selection(PODS, "c=d,a=b", "spec.nodeName=n1")
    assert first.identity == second.identity
    assert first.identity != parse_selection(PODS, "a=b", "spec.nodeName=n1").identity


def test_an_exact_field_is_pinned() -> None:
    pin = parse_selection(PODS, "", "status.phase!=Failed,spec.nodeName=n1").pin
    assert pin is not None
    assert (pin.field, pin.value) == ("spec.nodeName", "n1")
    assert parse_selection(PODS, "", "metadata.name=a").pin is None


def test_a_name_narrows_a_selection() -> None:
    assert parse_selection(PODS, "", "metadata.name=a").named("b").selects(POD) is False
    narrowed = parse_selection(PODS, "app=web", "spec.nodeName=n1").named("a")
    assert narrowed.selects_key("n", "a")
    assert not narrowed.selects_key("n", "b")
    assert narrowed.selects(POD)
