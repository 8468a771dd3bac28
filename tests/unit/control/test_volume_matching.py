"""Which volume satisfies a claim."""

from typing import Any

import pytest

from kubelite.api.kinds.core.persistent_volumes import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeSpec,
)
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.core.volumes import PersistentVolumeClaimSpec, VolumeResourceRequirements
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.control.volume_matching import BETA_CLASS, best, class_of, is_candidate, satisfies


def claim(**fields: Any) -> PersistentVolumeClaim:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": VolumeResourceRequirements(requests={"storage": "1Gi"}),
        "storageClassName": "fast",
        **fields,
    }
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name="data", namespace="default", uid="u"),
        spec=PersistentVolumeClaimSpec(**spec),
    )


def volume(name: str = "pv", *, deleted: str | None = None, **fields: Any) -> PersistentVolume:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        **fields,
    }
    return PersistentVolume(
        metadata=ObjectMeta(name=name, labels={"disk": "ssd"}, deletionTimestamp=deleted),
        spec=PersistentVolumeSpec(**spec),
    )


@pytest.mark.parametrize(
    ("of_claim", "of_volume", "is_fine"),
    [
        ({}, {}, True),
        ({}, {"capacity": {"storage": "1025Mi"}}, True),
        ({}, {"capacity": {"storage": "1023Mi"}}, False),
        ({}, {"storageClassName": ""}, False),
        ({"storageClassName": None}, {}, False),
        ({"storageClassName": None}, {"storageClassName": ""}, True),
        ({}, {"volumeMode": "Block"}, False),
        ({"volumeMode": "Filesystem"}, {}, True),
        ({"accessModes": ["ReadWriteMany"]}, {}, False),
        ({}, {"accessModes": ["ReadWriteMany", "ReadWriteOnce"]}, True),
        ({"selector": LabelSelector(matchLabels={"disk": "ssd"})}, {}, True),
        ({"selector": LabelSelector(matchLabels={"disk": "tape"})}, {}, False),
    ],
)
def test_what_satisfies(of_claim: dict[str, Any], of_volume: dict[str, Any], is_fine: bool) -> None:
    assert satisfies(volume(**of_volume), claim(**of_claim)) is is_fine


def test_the_old_annotation_names_the_class() -> None:
    annotated = claim()
    annotated.metadata.annotations[BETA_CLASS] = "old"
    assert class_of(annotated) == "old"


def test_candidates() -> None:
    mine = ObjectReference(namespace="default", name="data")
    assert is_candidate(volume(), claim())
    # The administrator who reserves a volume answers for its size.
    assert is_candidate(volume(claimRef=mine, capacity={"storage": "1Mi"}), claim())
    assert not is_candidate(
        volume(claimRef=ObjectReference(namespace="other", name="data")), claim()
    )
    namesake = ObjectReference(namespace="default", name="data", uid="former")
    assert not is_candidate(volume(claimRef=namesake), claim())
    assert not is_candidate(volume(deleted="2026-01-01T00:00:00Z"), claim())


def test_the_best_is_reserved_or_the_smallest_or_the_first_by_name() -> None:
    mine = ObjectReference(namespace="default", name="data")
    large, b, a = volume("large", capacity={"storage": "2Gi"}), volume("b"), volume("a")
    reserved = volume("z", claimRef=mine, capacity={"storage": "9Gi"})
    assert best(claim(), [large, b, a, reserved]) is reserved
    assert best(claim(), [large, b, a]) is a
    assert best(claim(), [large]) is large
    assert best(claim(), []) is None
