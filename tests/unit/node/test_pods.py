from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.pods import is_critical
from kubelite.node.static_pods import MIRROR, SOURCE, is_static

STATIC = {"uid": "4f", "annotations": {SOURCE: "file"}}


def pod_of(metadata: dict[str, Any], **spec: Any) -> Pod:
    return msgspec.convert({"metadata": metadata, "spec": spec}, Pod)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (STATIC, True),
        # Whoever may create a pod may give it the annotation, or add it later; it comes from the API nevertheless.
        ({**STATIC, "resourceVersion": "7"}, False),
        ({"uid": "4f", "annotations": {SOURCE: "file", MIRROR: "4f"}}, False),
        ({"uid": "4f", "annotations": {SOURCE: "api"}}, False),
    ],
)
def test_only_pods_of_manifests_are_static_and_so_critical(
    metadata: dict[str, Any], expected: bool
) -> None:
    assert is_static(pod_of(metadata)) is expected
    assert is_critical(pod_of(metadata)) is expected


@pytest.mark.parametrize(("priority", "expected"), [(2_000_000_000, True), (1_999_999_999, False)])
def test_the_systems_priorities_are_critical(priority: int, expected: bool) -> None:
    assert is_critical(pod_of({"resourceVersion": "7"}, priority=priority)) is expected
