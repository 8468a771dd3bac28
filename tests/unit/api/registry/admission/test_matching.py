"""Which requests a webhook or policy concerns."""

from collections.abc import Sequence

import pytest
from fakes.rows import row_of

from kubelite.api.registry.admission.matching import Place, Rule, is_exempt, matched, rule_of
from kubelite.api.registry.resource import Resource


def rule(
    *resources: str,
    operations: Sequence[str] = ("CREATE",),
    groups: Sequence[str] = ("apps",),
    versions: Sequence[str] = ("v1",),
    scope: str | None = None,
) -> Rule:
    return rule_of(operations, groups, versions, resources, scope)


def place(
    plural: str,
    subresource: str = "",
    *,
    operation: str = "CREATE",
    group: str = "apps",
    version: str = "v1",
    namespace: str = "shop",
) -> Place:
    return Place(operation, group, version, plural, subresource, namespace)


@pytest.mark.parametrize(
    ("meant", "asked", "is_meant"),
    [
        (rule("deployments"), place("deployments"), True),
        (rule("deployments"), place("deployments", "scale"), False),
        (rule("deployments"), place("daemonsets"), False),
        (rule("deployments/scale"), place("deployments", "scale"), True),
        (rule("deployments/*"), place("deployments", "scale"), True),
        (rule("deployments/*"), place("deployments"), True),
        (rule("*"), place("deployments"), True),
        (rule("*"), place("deployments", "scale"), False),
        (rule("*/scale"), place("deployments", "scale"), True),
        (rule("*/*"), place("deployments", "scale"), True),
        (rule("deployments"), place("deployments", operation="UPDATE"), False),
        (rule("deployments", operations="*"), place("deployments", operation="DELETE"), True),
        (rule("deployments"), place("deployments", group="other.io"), False),
        (rule("deployments", groups="*"), place("deployments", group="other.io"), True),
        (rule("deployments"), place("deployments", version="v2"), False),
        (rule("deployments", versions="*"), place("deployments", version="v2"), True),
        (rule("*", scope="Namespaced"), place("deployments"), True),
        (rule("*", scope="Namespaced"), place("nodes", namespace=""), False),
        (rule("*", scope="Cluster"), place("nodes", namespace=""), True),
        (rule("*", scope="Cluster"), place("deployments"), False),
        (rule("*", groups="*", scope="Cluster"), place("namespaces", group=""), True),
        (rule("*", groups="*", scope="Namespaced"), place("namespaces", group=""), False),
    ],
)
def test_rules(meant: Rule, asked: Place, is_meant: bool) -> None:
    assert meant.matches(asked) is is_meant


def autoscalers() -> Sequence[Resource]:
    group, kind = "autoscaling", "HorizontalPodAutoscaler"
    return [row_of(group, kind, "v2"), row_of(group, kind)]


def test_other_versions_are_meant_only_where_no_rule_names_the_own() -> None:
    asked = place("horizontalpodautoscalers", group="autoscaling", version="v2")
    v1 = rule("horizontalpodautoscalers", groups=["autoscaling"])
    v2 = rule("horizontalpodautoscalers", groups=["autoscaling"], versions=["v2"])
    assert matched([v1], asked, autoscalers) == ("autoscaling", "v1", "horizontalpodautoscalers")
    assert matched([v1, v2], asked, autoscalers) == (
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
    )
    assert matched([v1], asked, tuple) is None


def test_nobody_is_locked_out_of_webhooks_and_policies() -> None:
    for plural in ("validatingwebhookconfigurations", "mutatingadmissionpolicybindings"):
        assert is_exempt(place(plural, group="admissionregistration.k8s.io", namespace=""))
    assert not is_exempt(place("validatingwebhookconfigurations", group="other.io"))
