"""Warnings about storage."""

from typing import Any

import pytest

from kubelite.api.registry.rules.warnings import storage

TOKENS = (
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true "
    "to prevent possible logging of tokens in volume attributes"
)


@pytest.mark.parametrize(
    ("metadata", "spec", "warnings"),
    [
        ({}, {"persistentVolumeReclaimPolicy": "Retain"}, []),
        (
            {"annotations": {"volume.beta.kubernetes.io/storage-class": "fast"}},
            {},
            [
                (
                    "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since "
                    'v1.8; use "storageClassName" attribute instead'
                )
            ],
        ),
        (
            {"annotations": {"volume.beta.kubernetes.io/mount-options": "ro"}},
            {},
            [
                (
                    "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since "
                    'v1.31; use "mountOptions" attribute instead'
                )
            ],
        ),
        (
            {},
            {"persistentVolumeReclaimPolicy": "Recycle"},
            [
                (
                    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
                    "Instead, the recommended approach is to use dynamic provisioning."
                )
            ],
        ),
        (
            {},
            {
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "beta.kubernetes.io/os"}]}
                        ]
                    }
                }
            },
            [
                (
                    "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: "
                    'beta.kubernetes.io/os is deprecated since v1.14; use "kubernetes.io/os" instead'
                )
            ],
        ),
        ({}, {"cephfs": {}}, ["spec.cephfs: deprecated in v1.28, non-functional in v1.31+"]),
        (
            {},
            {"photonPersistentDisk": {}},
            ["spec.photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+"],
        ),
        ({}, {"scaleIO": {}}, ["spec.scaleIO: deprecated in v1.16, non-functional in v1.22+"]),
        ({}, {"storageos": {}}, ["spec.storageOS: deprecated in v1.22, non-functional in v1.25+"]),
        ({}, {"glusterfs": {}}, ["spec.glusterfs: deprecated in v1.25, non-functional in v1.26+"]),
        ({}, {"rbd": {}}, ["spec.rbd: deprecated in v1.28, non-functional in v1.31+"]),
    ],
)
def test_volumes(metadata: dict[str, Any], spec: dict[str, Any], warnings: list[str]) -> None:
    assert list(storage.volume({"metadata": metadata, "spec": spec})) == warnings


def test_claims() -> None:
    metadata = {"annotations": {"volume.beta.kubernetes.io/storage-class": "fast"}}
    spec = {"resources": {"requests": {"storage": "100m"}}}
    assert list(storage.claim({"metadata": metadata, "spec": spec})) == [
        (
            "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; "
            'use "storageClassName" attribute instead'
        ),
        'spec.resources.requests[storage]: fractional byte value "100m" is invalid, must be an integer',
    ]


def test_classes() -> None:
    topology = {"matchLabelExpressions": [{"key": "failure-domain.beta.kubernetes.io/zone"}]}
    assert list(storage.storage_class({"allowedTopologies": [{}, topology]})) == [
        (
            "allowedTopologies[1].matchLabelExpressions[0].key: deprecated since v1.17; "
            'use "topology.kubernetes.io/zone" instead'
        )
    ]


def test_capacities() -> None:
    key = "beta.kubernetes.io/arch"
    topology = {"matchExpressions": [{"key": key}], "matchLabels": {key: "amd64"}}
    about = 'deprecated since v1.14; use "kubernetes.io/arch" instead'
    assert list(storage.capacity({"nodeTopology": topology})) == [
        f"nodeTopology.matchExpressions[0].key: {key} is {about}",
        f"nodeTopology.matchLabels.{key}: {about}",
    ]


def test_drivers() -> None:
    plain: dict[str, Any] = {"spec": {}}
    asks = {"spec": {"tokenRequests": [{"audience": "a"}]}}
    hides = {"spec": {**asks["spec"], "serviceAccountTokenInSecrets": True}}
    assert list(storage.driver(plain)) == []
    assert list(storage.driver(asks)) == [TOKENS]
    assert list(storage.driver(hides)) == []
    assert list(storage.driver_update(asks, plain)) == [TOKENS]
    assert list(storage.driver_update(asks, asks)) == []
