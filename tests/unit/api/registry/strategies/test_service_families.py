from typing import Any

import pytest

from kubelite.api.registry.strategies.service_families import settle_families

JSON = dict[str, Any]


@pytest.mark.parametrize(
    ("given", "policy", "families"),
    [
        ({}, "SingleStack", ["IPv4"]),
        ({"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4"]),
        ({"clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"]}, "SingleStack", ["IPv4"]),
        (
            {"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}},
            "SingleStack",
            ["IPv4"],
        ),
        (
            {"clusterIP": "None", "clusterIPs": ["None"]},
            "RequireDualStack",
            ["IPv4", "IPv6"],
        ),
        (
            {"clusterIP": "None", "clusterIPs": ["None"], "ipFamilyPolicy": "SingleStack"},
            "SingleStack",
            ["IPv4"],
        ),
    ],
)
def test_what_is_not_said_is_filled_in(given: JSON, policy: str, families: list[str]) -> None:
    spec = dict(given)
    assert settle_families(spec, {}) == []
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == (policy, families)


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({"ipFamilyPolicy": "RequireDualStack"}, "spec.ipFamilyPolicy", "not configured for dual"),
        ({"ipFamilies": ["IPv6"]}, "spec.ipFamilies[0]", "not configured on this cluster"),
        ({"ipFamilies": ["IPv4", "IPv6"]}, "spec.ipFamilyPolicy", "multiple IP families"),
        ({"clusterIPs": ["10.43.0.9"]}, "spec.clusterIPs", "must be empty when `clusterIP`"),
        (
            {"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]},
            "spec.clusterIPs[0]",
            "IPv6 is not configured on this cluster",
        ),
    ],
)
def test_what_a_cluster_of_one_family_cannot_do_is_refused(
    spec: JSON, path: str, message: str
) -> None:
    (cause,) = settle_families(spec, {})
    assert cause.path == path
    assert message in cause.message


def test_an_old_policy_stays() -> None:
    before = {
        "clusterIP": "10.43.0.9",
        "clusterIPs": ["10.43.0.9"],
        "ipFamilyPolicy": "PreferDualStack",
    }
    spec = {"clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"]}
    assert settle_families(spec, before) == []
    assert spec["ipFamilyPolicy"] == "PreferDualStack"


def test_the_second_family_goes_only_where_the_policy_says_so() -> None:
    both = {"clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4", "IPv6"]}
    spec: JSON = {**both, "ipFamilyPolicy": "SingleStack"}
    assert settle_families(spec, {**both, "ipFamilyPolicy": "PreferDualStack"}) == []
    assert spec["ipFamilies"] == ["IPv4"]
    spec = {**both, "ipFamilies": ["IPv4"], "ipFamilyPolicy": "PreferDualStack"}
    (cause,) = settle_families(spec, {**both, "ipFamilyPolicy": "PreferDualStack"})
    assert "to release the secondary IP family" in cause.message
