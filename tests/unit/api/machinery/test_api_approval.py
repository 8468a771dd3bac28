"""The approval of APIs in groups of Kubernetes."""

import pytest

from kubelite.api.machinery.api_approval import APPROVED_ANNOTATION, approval, is_protected


@pytest.mark.parametrize("group", ["k8s.io", "x.k8s.io", "kubernetes.io", "a.b.kubernetes.io"])
def test_groups_of_kubernetes_are_protected(group: str) -> None:
    assert is_protected(group)


@pytest.mark.parametrize("group", ["", "example.com", "myk8s.io", "k8s.io.example.com"])
def test_others_are_not(group: str) -> None:
    assert not is_protected(group)


@pytest.mark.parametrize(
    ("text", "state", "reason"),
    [
        ("https://example.com/1", "approved", "approved in https://example.com/1"),
        ("unapproved, a test", "bypassed", 'not approved: "unapproved, a test"'),
        (
            "",
            "missing",
            (
                'protected groups must have approval annotation "api-approved.kubernetes.io", see '
                "https://github.com/kubernetes/enhancements/pull/1111"
            ),
        ),
        *(
            (
                text,
                "invalid",
                (
                    'protected groups must have approval annotation "api-approved.kubernetes.io" with '
                    'either a URL or a reason starting with "unapproved", see '
                    "https://github.com/kubernetes/enhancements/pull/1111"
                ),
            )
            for text in ("yes", "/path", "https://", "http://[", "https://a b/")
        ),
    ],
)
def test_what_the_annotation_says(text: str, state: str, reason: str) -> None:
    assert approval({APPROVED_ANNOTATION: text}) == (state, reason)
