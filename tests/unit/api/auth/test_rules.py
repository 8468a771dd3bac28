from typing import Any

import pytest

from kubelite.api.auth.caller import Attributes
from kubelite.api.auth.rules import (
    allows,
    asked,
    broken_down,
    compiled,
    covers,
    object_name,
)
from kubelite.api.kinds.rbac import PolicyRule


def rule(
    verbs: str, groups: str = "", resources: str = "", names: str = "", urls: str = ""
) -> PolicyRule:
    return PolicyRule(
        verbs=verbs.split(),
        apiGroups=[part.replace("core", "") for part in groups.split()],
        resources=resources.split(),
        resourceNames=names.split(),
        nonResourceURLs=urls.split(),
    )


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        (rule("get", "core", "pods"), {"verb": "get", "resource": "pods"}, True),
        (rule("get", "core", "pods"), {"verb": "get", "resource": "pods", "group": "apps"}, False),
        (
            rule("*", "*", "*"),
            {"verb": "whatever", "group": "x", "resource": "y", "subresource": "z"},
            True,
        ),
        (rule("get", "*", "*"), {"verb": "list", "resource": "pods"}, False),
        (
            rule("get", "core", "pods"),
            {"verb": "get", "resource": "pods", "subresource": "log"},
            False,
        ),
        (
            rule("get", "core", "pods/log"),
            {"verb": "get", "resource": "pods", "subresource": "log"},
            True,
        ),
        (
            rule("get", "core", "*/scale"),
            {"verb": "get", "resource": "any", "subresource": "scale"},
            True,
        ),
        (rule("get", "core", "*/scale"), {"verb": "get", "resource": "any"}, False),
        (
            rule("get", "core", "pods/*"),
            {"verb": "get", "resource": "pods", "subresource": "log"},
            False,
        ),
        (
            rule("get", "core", "secrets", "a b"),
            {"verb": "get", "resource": "secrets", "name": "b"},
            True,
        ),
        (
            rule("get", "core", "secrets", "a"),
            {"verb": "get", "resource": "secrets", "name": "c"},
            False,
        ),
        (rule("list", "core", "secrets", "a"), {"verb": "list", "resource": "secrets"}, False),
        (
            rule("list", "core", "secrets", "a"),
            {"verb": "list", "resource": "secrets", "field_selector": "metadata.name=a"},
            True,
        ),
        (rule("create", "core", "secrets", "a"), {"verb": "create", "resource": "secrets"}, False),
        (rule("get", urls="/healthz"), {"verb": "get", "path": "/healthz"}, True),
        (rule("get", urls="/healthz"), {"verb": "get", "path": "/healthz/etcd"}, False),
        (rule("get", urls="/healthz/*"), {"verb": "get", "path": "/healthz/etcd"}, True),
        (rule("get", urls="*"), {"verb": "get", "path": "/anything"}, True),
        (rule("get", urls="*"), {"verb": "get", "resource": "pods"}, False),
        (rule("get", "*", "*"), {"verb": "get", "path": "/healthz"}, False),
    ],
)
def test_allows(given: PolicyRule, wanted: dict[str, Any], expected: bool) -> None:
    assert allows(compiled([given]), asked(Attributes(**wanted))) is expected


def test_a_rule_without_names_wins_over_one_with_names() -> None:
    for rules in (
        [rule("get", "core", "secrets", "a"), rule("get", "core", "secrets")],
        [rule("get", "core", "secrets"), rule("get", "core", "secrets", "a")],
    ):
        request = asked(Attributes("get", resource="secrets", name="b"))
        assert allows(compiled(rules), request)


@pytest.mark.parametrize(
    ("held", "given", "expected"),
    [
        (rule("*", "*", "*"), rule("get list", "core apps", "pods deployments"), True),
        (rule("get", "*", "*"), rule("get list", "core", "pods"), False),
        (rule("get", "core", "pods"), rule("get", "core", "pods", "one"), True),
        (rule("get", "core", "pods", "one"), rule("get", "core", "pods"), False),
        (rule("get", "core", "pods", "one two"), rule("get", "core", "pods", "two"), True),
        (rule("get", "core", "*/scale"), rule("get", "core", "x/scale"), True),
        (rule("get", "core", "pods"), rule("*", "core", "pods"), False),
        (rule("get", "core", "pods"), rule("get", "core", "*"), False),
        (rule("get", urls="/a/*"), rule("get", urls="/a/b /a/*"), True),
        (rule("get", urls="/a"), rule("get", urls="/a/*"), False),
        (rule("get", "core", "pods"), rule("get", urls="/a"), False),
    ],
)
def test_covers(held: PolicyRule, given: PolicyRule, expected: bool) -> None:
    assert all(covers(compiled([held]), part) for part in broken_down(given)) is expected


def test_a_list_may_name_its_one_object() -> None:
    selector = "spec.nodeName=one,status.phase!=Failed,metadata.name==web"
    assert object_name(Attributes("watch", field_selector=selector)) == "web"
    assert object_name(Attributes("get", field_selector=selector)) == ""
    assert object_name(Attributes("deletecollection", field_selector=selector)) == ""
    assert object_name(Attributes("list", field_selector=r"type!=a\,metadata.name=web")) == ""
