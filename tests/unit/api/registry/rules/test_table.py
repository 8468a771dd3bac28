"""The entry to all rules."""

from fakes.rule_samples import changed, lines, pod, service

from kubelite.api.registry.builtin import RESOURCES
from kubelite.api.registry.resources import Resource
from kubelite.api.registry.rules import RULES, invalid, validate


def row(kind: str) -> Resource:
    """Return the row of a kind of the core group."""
    return next(row for row in RESOURCES if row.kind.kind == kind and not row.group)


def test_every_rule_is_of_a_served_kind() -> None:
    served = {(row.group, row.kind.kind) for row in RESOURCES}
    assert set(RULES) - served <= {("", "Binding"), ("autoscaling", "Scale")}


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
