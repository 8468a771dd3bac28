"""Rules of storage kinds."""

from fakes.rule_samples import changed, lines

from kubelite.api.registry.rules import storage

CLAIM = {
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "volumeMode": "Filesystem",
    },
    "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
}
VOLUME = {
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "hostPath": {"path": "/data"},
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"name": "x"},
    }
}
CLASS = {"provisioner": "x.io/y", "volumeBindingMode": "Immediate", "reclaimPolicy": "Delete"}


def test_good_ones_pass() -> None:
    assert lines(storage.claim(CLAIM)) == []
    assert lines(storage.volume(VOLUME)) == []
    assert lines(storage.storage_class(CLASS)) == []


def test_claims() -> None:
    assert lines(storage.claim({"spec": {}})) == [
        "spec.accessModes: Required value: at least 1 access mode is required",
        "spec.resources[storage]: Required value",
    ]
    bigger = changed(CLAIM, "spec.resources.requests.storage", "2Gi")
    assert storage.claim_update(bigger, CLAIM) == []
    (line,) = lines(
        storage.claim_update(
            changed(CLAIM, "spec.volumeName", "v"), changed(CLAIM, "spec.volumeName", "w")
        )
    )
    assert line.startswith("spec: Forbidden: spec is immutable after creation except")
    smaller = changed(CLAIM, "spec.resources.requests.storage", "1Mi")
    assert lines(storage.claim_update(smaller, CLAIM)) == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]


def test_volumes() -> None:
    assert lines(storage.volume(changed(VOLUME, "spec.hostPath", None))) == [
        "spec: Required value: must specify a volume type"
    ]
    (line,) = lines(storage.volume_update(changed(VOLUME, "spec.hostPath.path", "/other"), VOLUME))
    assert line.startswith("spec.persistentvolumesource: Forbidden: ")


def test_classes_are_fixed() -> None:
    assert lines(storage.storage_class_update({**CLASS, "provisioner": "other"}, CLASS)) == [
        "provisioner: Forbidden: updates to provisioner are forbidden."
    ]
