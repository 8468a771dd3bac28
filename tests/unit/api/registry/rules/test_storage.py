"""Rules of storage kinds."""

from typing import Any

import pytest
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


def claim_line(path: str, value: Any) -> list[str]:
    return lines(storage.claim(changed(CLAIM, path, value)))


def volume_line(path: str, value: Any) -> list[str]:
    return lines(storage.volume(changed(VOLUME, path, value)))


MODE = '"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"'
SNAPSHOT = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        (
            "spec.accessModes",
            ["Often"],
            f'spec.accessModes: Unsupported value: "Often": supported values: {MODE}',
        ),
        (
            "spec.accessModes",
            ["ReadWriteOncePod", "ReadOnlyMany"],
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        ),
        (
            "spec.resources.requests.storage",
            "0",
            'spec.resources[storage]: Invalid value: "0": must be greater than zero',
        ),
        (
            "spec.resources.requests.storage",
            "-1",
            'spec.resources[storage]: Invalid value: "-1": must be greater than or equal to 0',
        ),
        (
            "spec.volumeMode",
            "Tape",
            'spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"',
        ),
        (
            "spec.dataSource",
            {"kind": "Pod", "name": "p"},
            (
                'spec.dataSource: Invalid value: "Pod": '
                "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
            ),
        ),
        (
            "spec.dataSource",
            {"kind": "PersistentVolumeClaim"},
            "spec.dataSource.name: Required value",
        ),
    ],
)
def test_each_rule_of_claims(path: str, value: Any, wanted: str) -> None:
    assert claim_line(path, value) == [wanted]


def test_names_in_claims() -> None:
    for field in ("storageClassName", "volumeAttributesClassName"):
        (line,) = claim_line(f"spec.{field}", "A_")
        assert line.startswith(f'spec.{field}: Invalid value: "A_": a lowercase RFC 1123')
    (line,) = claim_line("spec.dataSource", {**SNAPSHOT, "apiGroup": "A_"})
    assert line.startswith('spec.dataSource.apiGroup: Invalid value: "A_"')


def test_the_two_data_sources_agree() -> None:
    both = changed(changed(CLAIM, "spec.dataSource", SNAPSHOT), "spec.dataSourceRef", SNAPSHOT)
    assert lines(storage.claim(both)) == []
    other = changed(both, "spec.dataSourceRef.name", "t")
    assert lines(storage.claim(other)) == [
        'spec: Invalid value: "spec.dataSource": must match dataSourceRef'
    ]
    far = changed(both, "spec.dataSourceRef.namespace", "other")
    assert lines(storage.claim(far)) == [
        (
            'spec: Invalid value: "spec.dataSource": '
            "may not be specified when dataSourceRef.namespace is specified"
        )
    ]


@pytest.mark.parametrize(
    ("field", "before", "after", "is_fine"),
    [
        ("volumeName", None, "v", True),  # the binder sets it
        ("volumeName", "v", "w", False),
        ("storageClassName", None, "fast", True),  # a default class set afterwards
        ("storageClassName", "fast", "slow", False),
        ("volumeAttributesClassName", "silver", "gold", True),  # of a bound claim
        ("accessModes", ["ReadWriteOnce"], ["ReadWriteMany"], False),
    ],
)
def test_what_of_a_claim_may_change(field: str, before: Any, after: Any, is_fine: bool) -> None:
    old, new = (changed(CLAIM, f"spec.{field}", value) for value in (before, after))
    found = lines(storage.claim_update(new, old))
    assert (found == []) is is_fine
    assert all(line.startswith("spec: Forbidden: spec is immutable") for line in found)


def test_an_unbound_claim_does_not_grow() -> None:
    pending = changed(CLAIM, "status.phase", "Pending")
    bigger = changed(pending, "spec.resources.requests.storage", "2Gi")
    (line,) = lines(storage.claim_update(bigger, pending))
    assert line.startswith("spec: Forbidden: spec is immutable after creation")


def test_a_claim_may_shrink_back_to_more_than_it_has() -> None:
    asked = changed(CLAIM, "spec.resources.requests.storage", "8Gi")  # it cannot be expanded so far
    less = changed(CLAIM, "spec.resources.requests.storage", "2Gi")
    assert lines(storage.claim_update(less, asked)) == []


def test_the_mode_of_a_claim_is_fixed() -> None:
    found = lines(storage.claim_update(changed(CLAIM, "spec.volumeMode", "Block"), CLAIM))
    assert 'volumeMode: Invalid value: "Block": field is immutable' in found


def test_amounts_in_the_status_of_a_claim() -> None:
    broken = changed(CLAIM, "status.capacity.storage", "-1")
    assert lines(storage.claim_status(broken, CLAIM)) == [
        'status.capacity[storage]: Invalid value: "-1": must be greater than or equal to 0'
    ]


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        ("spec.capacity", None, "spec.capacity: Required value"),
        (
            "spec.capacity.storage",
            "0",
            'spec.capacity[storage]: Invalid value: "0": must be greater than zero',
        ),
        (
            "spec.persistentVolumeReclaimPolicy",
            "Burn",
            (
                'spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn": '
                'supported values: "Delete", "Recycle", "Retain"'
            ),
        ),
        (
            "spec.nodeAffinity",
            {},
            "spec.nodeAffinity.required: Required value: must specify required node constraints",
        ),
        (
            "spec.volumeMode",
            "Tape",
            'spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"',
        ),
        (
            "spec.nfs",
            {"server": "s", "path": "/"},
            "spec.nfs: Forbidden: may not specify more than 1 volume type",
        ),
        ("spec.hostPath.path", "", "spec.hostPath.path: Required value"),
        (
            "spec.hostPath.path",
            "/a/../b",
            "spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
        ),
    ],
)
def test_each_rule_of_volumes(path: str, value: Any, wanted: str) -> None:
    assert volume_line(path, value) == [wanted]


def test_sources_of_volumes() -> None:
    def source(**sources: Any) -> list[str]:
        spec = {key: value for key, value in VOLUME["spec"].items() if key != "hostPath"}
        return lines(storage.volume({"spec": {**spec, **sources}}))

    assert source(local={"path": "/disk"}) == [
        "spec.nodeAffinity: Required value: Local volume requires node affinity"
    ]
    assert source(csi={"driver": "d"}) == ["spec.csi.volumeHandle: Required value"]
    assert source(nfs={"server": "s", "path": "relative"}) == [
        'spec.nfs.path: Invalid value: "relative": must be an absolute path'
    ]
    recycled = changed(VOLUME, "spec.persistentVolumeReclaimPolicy", "Recycle")
    assert lines(storage.volume(changed(recycled, "spec.hostPath.path", "/"))) == [
        "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"
    ]


def test_the_affinity_of_a_volume_is_set_once() -> None:
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
    placed = changed(VOLUME, "spec.nodeAffinity", {"required": {"nodeSelectorTerms": terms}})
    assert lines(storage.volume_update(placed, VOLUME)) == []
    moved = changed(
        placed, "spec.nodeAffinity.required.nodeSelectorTerms.0.matchExpressions.0.values", ["b"]
    )
    (line,) = lines(storage.volume_update(moved, placed))
    assert line.startswith("spec.nodeAffinity: Invalid value: ")
    assert line.endswith(": field is immutable")


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        ("provisioner", "", "provisioner: Required value"),
        (
            "reclaimPolicy",
            "Recycle",
            'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"',
        ),
        ("parameters", {"": "x"}, 'parameters: Invalid value: "": field can not be empty.'),
        (
            "parameters",
            {str(number): "" for number in range(513)},
            "Provisioner Parameters Length: Too long: may not be more than 512 bytes",
        ),
        (
            "parameters",
            {"a": "x" * 256 * 1024},
            "parameters: Too long: may not be more than 262144 bytes",
        ),
        (
            "allowedTopologies",
            [{"matchLabelExpressions": [{"key": "zone"}]}],
            "allowedTopologies[0].matchLabelExpressions[0].values: Required value",
        ),
        (
            "allowedTopologies",
            [{"matchLabelExpressions": [{"key": "zone", "values": ["a"]}] * 2}],
            'allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "zone"',
        ),
    ],
)
def test_each_rule_of_classes(path: str, value: Any, wanted: str) -> None:
    assert lines(storage.storage_class(changed(CLASS, path, value))) == [wanted]


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        (
            "parameters",
            {"a": "b"},
            "parameters: Forbidden: updates to parameters are forbidden.",
        ),
        (
            "reclaimPolicy",
            "Retain",
            "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
        ),
        (
            "volumeBindingMode",
            "WaitForFirstConsumer",
            'volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable',
        ),
        ("allowVolumeExpansion", True, None),
    ],
)
def test_what_of_a_class_may_change(path: str, value: Any, wanted: str | None) -> None:
    found = lines(storage.storage_class_update(changed(CLASS, path, value), CLASS))
    assert found == ([] if wanted is None else [wanted])


ATTACHMENT = {
    "spec": {"attacher": "x.io", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}
}


def test_attachments() -> None:
    assert lines(storage.attachment(ATTACHMENT)) == []
    exactly = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    none = changed(ATTACHMENT, "spec.source", {})
    assert lines(storage.attachment(none)) == [f"spec.source: Required value: {exactly}"]
    both = changed(ATTACHMENT, "spec.source.inlineVolumeSpec", {"hostPath": {}})
    assert lines(storage.attachment(both)) == [f"spec.source: Forbidden: {exactly}"]
    moved = changed(ATTACHMENT, "spec.nodeName", "m")
    (line,) = lines(storage.attachment_update(moved, ATTACHMENT))
    assert line.startswith("spec: Invalid value: ")
    assert line.endswith(": field is immutable")


DRIVER = {
    "metadata": {"name": "d"},
    "spec": {"attachRequired": True, "podInfoOnMount": False, "storageCapacity": False},
}


def test_drivers() -> None:
    assert lines(storage.csi_driver(DRIVER)) == []
    assert lines(storage.csi_driver(changed(DRIVER, "spec.attachRequired", None))) == [
        "spec.attachRequired: Required value"
    ]
    assert lines(storage.csi_driver(changed(DRIVER, "metadata.name", "d" * 64))) == [
        "metadata.name: Too long: may not be more than 63 bytes"
    ]
    requests = [{"audience": "a", "expirationSeconds": 599}, {"audience": "a"}]
    assert lines(storage.csi_driver(changed(DRIVER, "spec.tokenRequests", requests))) == [
        (
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 599: "
            "may not specify a duration less than 10 minutes"
        ),
        'spec.tokenRequests[1].audience: Duplicate value: "a"',
    ]
    other = changed(DRIVER, "spec.attachRequired", False)
    assert lines(storage.csi_driver_update(other, DRIVER)) == [
        "spec.attachRequired: Invalid value: false: field is immutable"
    ]


def test_drivers_of_a_node() -> None:
    def found(*drivers: dict[str, Any]) -> list[str]:
        return lines(storage.csi_node({"spec": {"drivers": list(drivers)}}))

    good = {"name": "d", "nodeID": "n", "topologyKeys": ["zone"], "allocatable": {"count": 0}}
    assert found(good) == []
    assert found(good, good) == ['spec.drivers[1].name: Duplicate value: "d"']
    assert found({**good, "nodeID": ""}) == ["spec.drivers[0].nodeID: Required value"]
    assert found({**good, "nodeID": "n" * 257})[0].endswith(": must be 256 characters or less")
    assert found({**good, "allocatable": {"count": -1}}) == [
        "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0"
    ]


def test_capacities() -> None:
    good = {"storageClassName": "fast", "capacity": "1Gi"}
    assert lines(storage.capacity(good)) == []
    assert lines(storage.capacity({**good, "maximumVolumeSize": "-1"})) == [
        'maximumVolumeSize: Invalid value: "-1": must be greater than or equal to 0'
    ]
    assert lines(storage.capacity_update({**good, "storageClassName": "slow"}, good)) == [
        'storageClassName: Invalid value: "slow": field is immutable'
    ]


def test_attributes_classes() -> None:
    good = {"driverName": "d", "parameters": {"iops": "1"}}
    assert lines(storage.attributes_class(good)) == []
    assert lines(storage.attributes_class({})) == [
        "driverName: Required value",
        "parameters: Required value: must contain at least one key/value pair",
    ]
    assert lines(
        storage.attributes_class_update({"driverName": "e", "parameters": {"iops": "2"}}, good)
    ) == [
        "driverName: Forbidden: updates to driverName are forbidden.",
        "parameters: Forbidden: updates to parameters are forbidden.",
    ]


def test_further_rules_of_volumes_and_drivers() -> None:
    assert volume_line("spec.capacity", {"storage": "1Gi", "cpu": "1"}) != []
    (line,) = volume_line("spec.storageClassName", "A_")
    assert line.startswith('spec.storageClassName: Invalid value: "A_": a lowercase RFC 1123')
    assert lines(storage.csi_driver(changed(DRIVER, "spec.volumeLifecycleModes", ["Never"]))) == [
        (
            'spec.volumeLifecycleModes: Unsupported value: "Never": '
            'supported values: "Ephemeral", "Persistent"'
        )
    ]
    assert lines(storage.csi_driver(changed(DRIVER, "spec.fsGroupPolicy", "Never"))) == [
        (
            'spec.fsGroupPolicy: Unsupported value: "Never": '
            'supported values: "File", "None", "ReadWriteOnceWithFSType"'
        )
    ]
