"""How many volumes a node can attach, and where a volume may be provisioned, as CSI drivers tell it."""

from typing import Any

import pytest
from fakes.fake_client import FakeClient
from msgspec import convert
from msgspec.structs import replace

from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.storage import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    StorageClass,
    VolumeAttachment,
)
from kubelite.api.machinery.local_volumes import PROVISIONER_NAME, STORAGE_ROOM
from kubelite.control.scheduler.csi_limits import exceeds, is_allowed, limits_of
from kubelite.control.scheduler.filters import Rejection
from kubelite.control.scheduler.node_info import Snapshot
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.volumes import Volumes, VolumeState
from unit.control.scheduler.pods import make_node, make_pod

DRIVER = "disk.example.com"
TOO_MANY = "node(s) exceed max volume count"
NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
NO_SPACE = "node(s) did not have enough free storage"


def csi_node(count: int | None, name: str = "one") -> CSINode:
    driver = {"name": DRIVER, "nodeID": "1", "allocatable": {"count": count}}
    return convert({"metadata": {"name": name}, "spec": {"drivers": [driver]}}, CSINode)


def volume(number: int) -> PersistentVolume:
    spec = {
        "csi": {"driver": DRIVER, "volumeHandle": f"vol-{number}"},
        "claimRef": {"namespace": "default", "name": f"data-{number}"},
    }
    return convert({"metadata": {"name": f"pv-{number}"}, "spec": spec}, PersistentVolume)


def claim(number: int, **spec: Any) -> PersistentVolumeClaim:
    fields = {"resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast", **spec}
    meta = {"name": f"data-{number}", "namespace": "default"}
    return convert({"metadata": meta, "spec": fields}, PersistentVolumeClaim)


def attachment(number: int, node: str = "one") -> VolumeAttachment:
    spec = {
        "attacher": DRIVER,
        "nodeName": node,
        "source": {"persistentVolumeName": f"pv-{number}"},
    }
    return convert({"metadata": {"name": f"csi-{number}-{node}"}, "spec": spec}, VolumeAttachment)


def storage_class(**fields: Any) -> StorageClass:
    item = {
        "metadata": {"name": "fast"},
        "provisioner": DRIVER,
        "volumeBindingMode": "WaitForFirstConsumer",
        **fields,
    }
    return convert(item, StorageClass)


def driver(**spec: Any) -> CSIDriver:
    return convert({"metadata": {"name": DRIVER}, "spec": spec}, CSIDriver)


def capacity(name: str, zone: str | None, **amounts: str) -> CSIStorageCapacity:
    topology = None if zone is None else {"matchLabels": {"zone": zone}}
    item = {
        "metadata": {"name": name, "namespace": "default"},
        "storageClassName": "fast",
        "nodeTopology": topology,
        **amounts,
    }
    return convert(item, CSIStorageCapacity)


def claims_of(*numbers: int) -> list[dict[str, Any]]:
    return [
        {"name": f"v{number}", "persistentVolumeClaim": {"claimName": f"data-{number}"}}
        for number in numbers
    ]


class Cluster:
    """A node `one` in zone `a`, with what a test adds."""

    def __init__(self) -> None:
        self.client = FakeClient()
        self.volumes = Volumes(self.client)
        self.snapshot = Snapshot()
        self.snapshot.set_node(make_node("one", labels={"zone": "a"}))

    async def add(self, *items: Any) -> None:
        for item in items:
            await self.client.create(item)

    def place(self, name: str, *numbers: int) -> None:
        self.snapshot.place(PodInfo(make_pod(name, volumes=claims_of(*numbers))), "one")

    def judge(self, *numbers: int) -> tuple[str, ...]:
        info = PodInfo(make_pod("new", volumes=claims_of(*numbers)))
        state = VolumeState(info, self.snapshot, self.volumes)
        assert state.failure == ""
        for _ in state.find_volumes():
            pass
        (node,) = self.snapshot.known()
        found = state.rejection(node)
        assert state.steps >= 0
        assert (found is None) or isinstance(found, Rejection)
        return () if found is None else found.reasons


def bound(number: int) -> PersistentVolumeClaim:
    return claim(number, volumeName=f"pv-{number}")


def test_a_driver_without_a_count_has_no_limit() -> None:
    assert limits_of(csi_node(3)) == {DRIVER: 3}
    assert limits_of(csi_node(None)) == {}
    assert limits_of(None) == {}


@pytest.mark.parametrize(
    ("new", "old", "is_over"),
    [
        (["a"], [], False),
        (["a", "b"], [], False),
        (["a", "b", "c"], [], True),
        (["a"], ["b", "c"], True),
        (["b"], ["b", "c"], False),
        ([], ["b", "c", "d"], False),
    ],
)
def test_a_volume_counts_once_on_a_node(new: list[str], old: list[str], is_over: bool) -> None:
    volumes = [(name, DRIVER) for name in new]
    assert exceeds({DRIVER: 2}, volumes, dict.fromkeys(old, DRIVER)) is is_over
    assert not exceeds({"other.example.com": 0}, volumes, dict.fromkeys(old, DRIVER))


async def test_pods_and_attachments_use_up_the_limit_of_a_node() -> None:
    cluster = Cluster()
    await cluster.add(csi_node(2), *(item for n in (1, 2, 3) for item in (volume(n), bound(n))))
    assert cluster.judge(1, 2) == ()
    assert cluster.judge(1, 2, 3) == (TOO_MANY,)
    cluster.place("old", 1)
    assert cluster.judge(1, 2) == ()
    await cluster.add(attachment(1), attachment(3, "two"))
    assert cluster.judge(2) == ()
    await cluster.add(attachment(3))  # its pod is gone, but it is not detached yet
    assert cluster.judge(2) == (TOO_MANY,)
    assert cluster.judge(3) == ()


async def test_volumes_to_be_provisioned_count_too() -> None:
    cluster = Cluster()
    await cluster.add(csi_node(1), storage_class(), claim(1), claim(2))
    assert cluster.judge(1) == ()
    cluster.place("old", 2)
    assert cluster.judge(1) == (TOO_MANY,)


async def test_a_volume_is_provisioned_where_there_is_room() -> None:
    cluster = Cluster()
    await cluster.add(storage_class(), claim(1), driver(storageCapacity=True))
    assert cluster.judge(1) == (NO_SPACE,)
    await cluster.add(
        capacity("elsewhere", "b", capacity="10Gi"),
        capacity("small", "a", capacity="10Gi", maximumVolumeSize="1Mi"),
        capacity("unreachable", None, capacity="10Gi"),
    )
    assert cluster.judge(1) == (NO_SPACE,)
    await cluster.add(capacity("large", "a", capacity="1Gi"))
    assert cluster.judge(1) == ()


@pytest.mark.parametrize("known", [[], [driver()], [driver(storageCapacity=False)]])
async def test_a_driver_that_tells_no_capacity_is_not_asked(known: list[CSIDriver]) -> None:
    cluster = Cluster()
    await cluster.add(storage_class(), claim(1), *known)
    assert cluster.judge(1) == ()


@pytest.mark.parametrize(
    ("room", "reasons"),
    [(None, ()), (2 << 30, ()), (1 << 30, ()), ((1 << 30) - 1, (NO_SPACE,)), (0, (NO_SPACE,))],
)
async def test_no_folder_is_made_on_a_node_that_says_that_it_has_no_room(
    room: int | None, reasons: tuple[str, ...]
) -> None:
    cluster = Cluster()
    await cluster.add(storage_class(provisioner=PROVISIONER_NAME), claim(1))
    node = make_node("one")
    annotations = {} if room is None else {STORAGE_ROOM: str(room)}
    cluster.snapshot.set_node(
        replace(node, metadata=replace(node.metadata, annotations=annotations))
    )
    assert cluster.judge(1) == reasons


def test_topologies_of_a_class_select_nodes() -> None:
    terms = [
        {
            "matchLabelExpressions": [
                {"key": "zone", "values": ["a", "b"]},
                {"key": "disk", "values": ["ssd"]},
            ]
        },
        {"matchLabelExpressions": [{"key": "zone", "values": ["c"]}]},
    ]
    limited = storage_class(allowedTopologies=terms)
    assert is_allowed(limited, {"zone": "b", "disk": "ssd"})
    assert is_allowed(limited, {"zone": "c"})
    assert not is_allowed(limited, {"zone": "a"})
    assert not is_allowed(limited, {})
    assert is_allowed(storage_class(), {})
    assert not is_allowed(storage_class(allowedTopologies=[{}]), {"zone": "a"})


async def test_a_node_outside_the_topologies_gets_no_volume() -> None:
    cluster = Cluster()
    expression = {"key": "zone", "values": ["b"]}
    terms = [{"matchLabelExpressions": [expression]}]
    await cluster.add(storage_class(allowedTopologies=terms), claim(1))
    assert cluster.judge(1) == (NO_VOLUME,)
