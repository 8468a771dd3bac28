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


BOTH, SIX_FIRST = ("IPv4", "IPv6"), ("IPv6", "IPv4")


@pytest.mark.parametrize(
    ("configured", "given", "policy", "families"),
    [
        (BOTH, {}, "SingleStack", ["IPv4"]),
        (SIX_FIRST, {}, "SingleStack", ["IPv6"]),
        (("IPv6",), {}, "SingleStack", ["IPv6"]),
        (("IPv6",), {"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv6"]),
        (BOTH, {"ipFamilies": ["IPv6"]}, "SingleStack", ["IPv6"]),
        (BOTH, {"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4", "IPv6"]),
        (SIX_FIRST, {"ipFamilyPolicy": "RequireDualStack"}, "RequireDualStack", ["IPv6", "IPv4"]),
        (
            BOTH,
            {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]},
            "RequireDualStack",
            ["IPv6", "IPv4"],
        ),
        (
            BOTH,
            {
                "ipFamilyPolicy": "PreferDualStack",
                "clusterIP": "fd00::1",
                "clusterIPs": ["fd00::1"],
            },
            "PreferDualStack",
            ["IPv6", "IPv4"],
        ),
        (
            BOTH,
            {"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}},
            "SingleStack",
            ["IPv4"],
        ),
        (
            SIX_FIRST,
            {"clusterIP": "None", "clusterIPs": ["None"]},
            "RequireDualStack",
            ["IPv6", "IPv4"],
        ),
    ],
)
def test_families_of_a_service_by_those_of_the_cluster(
    configured: tuple[str, ...], given: JSON, policy: str, families: list[str]
) -> None:
    spec = dict(given)
    assert settle_families(spec, {}, configured) == []
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == (policy, families)


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({"ipFamilies": ["IPv6", "IPv4"]}, "spec.ipFamilyPolicy", "multiple IP families"),
        (
            {"clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9", "fd00::9"]},
            "spec.ipFamilyPolicy",
            "multiple cluster IPs",
        ),
        (
            {"ipFamilies": ["IPv6"], "clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"]},
            "spec.clusterIPs[0]",
            "expected an IPv6 value as indicated by `ipFamilies[0]`",
        ),
        ({"ipFamilies": ["IPv5"]}, "spec.ipFamilies[0]", "IPv4"),
        ({"ipFamilyPolicy": "Both"}, "spec.ipFamilyPolicy", "PreferDualStack"),
    ],
)
def test_what_no_service_of_a_dual_stack_cluster_may_say(
    spec: JSON, path: str, message: str
) -> None:
    (cause,) = settle_families(spec, {}, BOTH)
    assert cause.path == path
    assert message in cause.message


def test_a_service_that_prefers_two_families_does_not_follow_the_cluster_by_itself() -> None:
    before = {
        "type": "ClusterIP",
        "clusterIP": "10.43.0.9",
        "clusterIPs": ["10.43.0.9"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "PreferDualStack",
    }
    spec: JSON = {**before, "selector": {"a": "b"}}
    assert settle_families(spec, before, BOTH) == []
    assert spec["ipFamilies"] == ["IPv4"]
    spec = {**before, "ipFamilyPolicy": "RequireDualStack"}
    assert settle_families(spec, before, BOTH) == []
    assert spec["ipFamilies"] == ["IPv4", "IPv6"]
