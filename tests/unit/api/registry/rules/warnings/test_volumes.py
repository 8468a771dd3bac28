"""Warnings about volumes."""

from typing import Any

import pytest

from kubelite.api.registry.rules.warnings import volumes
from kubelite.limits import OBJECT_WARNINGS


@pytest.mark.parametrize(
    ("field", "warning"),
    [
        (
            "photonPersistentDisk",
            "photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+",
        ),
        ("gitRepo", "gitRepo: deprecated in v1.11, and disabled by default in v1.33+"),
        ("scaleIO", "scaleIO: deprecated in v1.16, non-functional in v1.22+"),
        ("flocker", "flocker: deprecated in v1.22, non-functional in v1.25+"),
        ("storageos", "storageOS: deprecated in v1.22, non-functional in v1.25+"),
        ("quobyte", "quobyte: deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "glusterfs: deprecated in v1.25, non-functional in v1.26+"),
        ("cephfs", "cephfs: deprecated in v1.28, non-functional in v1.31+"),
        ("rbd", "rbd: deprecated in v1.28, non-functional in v1.31+"),
    ],
)
def test_kinds_that_are_gone(field: str, warning: str) -> None:
    found: list[Any] = [{"name": "a", "emptyDir": {}}, {"name": "b", field: {}}]
    assert list(volumes.volumes("spec.volumes", found)) == [f"spec.volumes[1].{warning}"]


def test_claims_made_for_a_pod() -> None:
    spec = {"resources": {"requests": {"storage": "100m"}, "limits": {"storage": "1G"}}}
    found: list[Any] = [{"name": "a", "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}]
    assert list(volumes.volumes("spec.volumes", found)) == [
        (
            "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: "
            'fractional byte value "100m" is invalid, must be an integer'
        )
    ]


def _files(*paths: str) -> list[dict[str, str]]:
    return [{"key": f"k{index}", "path": path} for index, path in enumerate(paths)]


@pytest.mark.parametrize(
    ("volume", "warnings"),
    [
        ({"configMap": {"name": "c", "items": _files("a", "b/c", "b/d")}}, []),
        (
            {"configMap": {"name": "c", "items": _files("a", "b", "a/")}},
            ['volume "v" (ConfigMap "c"): overlapping paths: "a" with "a"'],
        ),
        (
            {"secret": {"secretName": "s", "items": _files("a/b/c", "a", "a-b")}},
            ['volume "v" (Secret "s"): overlapping paths: "a" with "a/b/c"'],
        ),
        (
            {"downwardAPI": {"items": _files("a", "a/b", "a/b")}},
            [
                'volume "v" (DownwardAPI): overlapping paths: "a/b" with "a"',
                'volume "v" (DownwardAPI): overlapping paths: "a/b" with "a"',
                'volume "v" (DownwardAPI): overlapping paths: "a/b" with "a/b"',
            ],
        ),
        (
            {
                "projected": {
                    "sources": [
                        {"configMap": {"name": "c", "items": _files("t")}},
                        {"secret": {"name": "s", "items": _files("x/y")}},
                        {"downwardAPI": {"items": _files("x")}},
                        {"serviceAccountToken": {"path": "t"}},
                        {"clusterTrustBundle": {"name": "roots", "path": "t/ca"}},
                        {"podCertificate": {"keyPath": "key", "certificateChainPath": "key"}},
                        {},
                    ]
                }
            },
            [
                'volume "v" (Projected) has no sources provided',
                'volume "v" (Projected): overlapping paths: "x" (DownwardAPI) with "x/y" (Secret "s")',
                (
                    'volume "v" (Projected): overlapping paths: "t" (ServiceAccountToken) with '
                    '"t" (ConfigMap "c")'
                ),
                (
                    'volume "v" (Projected): overlapping paths: "t/ca" (ClusterTrustBundle "roots") with '
                    '"t" (ConfigMap "c")'
                ),
                (
                    'volume "v" (Projected): overlapping paths: "t/ca" (ClusterTrustBundle "roots") with '
                    '"t" (ServiceAccountToken)'
                ),
                (
                    'volume "v" (Projected): overlapping paths: "key" (PodCertificate key) with '
                    '"key" (PodCertificate chain)'
                ),
            ],
        ),
    ],
)
def test_files_in_each_others_way(volume: dict[str, Any], warnings: list[str]) -> None:
    assert list(volumes.overlapping_paths([{"name": "v", **volume}])) == warnings


def test_pairs_are_not_counted_to_the_end() -> None:
    same = [("a", "")] * 3000
    assert len(list(volumes._overlaps(same))) < OBJECT_WARNINGS.value + len(same)


def test_claims() -> None:
    spec = {"resources": {"requests": {"storage": "1.5"}, "limits": {"storage": "100m"}}}
    assert list(volumes.claim_spec("spec", spec)) == [
        'spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer',
        'spec.resources.limits[storage]: fractional byte value "100m" is invalid, must be an integer',
    ]
