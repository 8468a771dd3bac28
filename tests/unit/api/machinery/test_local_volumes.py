from typing import Any

import pytest
from msgspec import convert

from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.local_volumes import (
    FINALIZER,
    IN_USE,
    NAME_BYTES_MAX,
    NODE_LABEL,
    PROVISIONED_BY,
    PROVISIONER_NAME,
    STORAGE_PATH,
    STORAGE_ROOM,
    awaits_removal,
    folder_name,
    keeper_of,
    room_told,
    storage_path,
    storage_room,
)


def volume(name: str = "pvc-1", claim: str = "data", **metadata: Any) -> PersistentVolume:
    meta = {
        "name": name,
        "labels": {NODE_LABEL: "one"},
        "annotations": {PROVISIONED_BY: PROVISIONER_NAME},
        "finalizers": [FINALIZER],
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        **metadata,
    }
    spec = {
        "claimRef": {"namespace": "shop", "name": claim},
        "persistentVolumeReclaimPolicy": "Delete",
    }
    return convert({"metadata": meta, "spec": spec}, PersistentVolume)


def test_a_folder_is_named_as_local_path_provisioner_names_it() -> None:
    assert folder_name(volume()) == "pvc-1_shop_data"


def test_a_long_name_is_cut_where_no_two_volumes_can_meet() -> None:
    one, other = volume("a" * 253, "x" * 253), volume("a" * 252, "x" * 253)
    assert len(folder_name(one)) == len(folder_name(other)) == NAME_BYTES_MAX
    assert folder_name(one) != folder_name(other)


def test_a_volume_without_a_claim_has_no_folder() -> None:
    assert folder_name(PersistentVolume(metadata=volume().metadata)) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {}},
        {"labels": {NODE_LABEL: "two"}},
        {"annotations": {}},
        {"annotations": {PROVISIONED_BY: "rancher.io/local-path"}},
        {"finalizers": [FINALIZER, IN_USE]},
        {"finalizers": []},
        {"deletionTimestamp": None},
    ],
)
def test_only_the_folder_of_a_deleted_unbound_volume_of_the_node_is_removed(
    change: dict[str, Any],
) -> None:
    assert awaits_removal(volume(), "one")
    assert not awaits_removal(volume(**change), "one")


def test_a_volume_of_another_provisioner_is_kept_by_no_node() -> None:
    assert keeper_of(volume()) == "one"
    assert keeper_of(volume(annotations={})) == ""


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/var/lib/kubelite/storage", "/var/lib/kubelite/storage"),
        ("/mnt/disk/", "/mnt/disk"),
        ("", ""),
        ("storage", ""),
        ("/var/../etc", ""),
        ("/a\nb", ""),
        ("/" + "a" * 1024, ""),
    ],
)
def test_the_path_of_a_node_is_one_that_can_be_used(text: str, path: str) -> None:
    node = convert({"metadata": {"name": "one", "annotations": {STORAGE_PATH: text}}}, Node)
    assert storage_path(node) == path


@pytest.mark.parametrize(
    ("capacity", "available", "told"),
    [
        (1000, 1000, ""),
        (1000, 100, ""),  # a tenth is enough
        (1000, 99, "90"),
        (1000, 9, "0"),
        (0, 0, ""),
    ],
)
def test_room_is_told_of_a_disk_that_is_nearly_full(
    capacity: int, available: int, told: str
) -> None:
    assert room_told(capacity, available) == told


@pytest.mark.parametrize(
    ("text", "room"),
    [("90", 90), ("0", 0), ("", None), ("-1", None), ("9" * 30, None), ("\u0661", None)],
)
def test_the_room_of_a_node_is_a_number_of_bytes(text: str, room: int | None) -> None:
    node = Node(metadata=ObjectMeta(name="one", annotations={STORAGE_ROOM: text}))
    assert storage_room(node) == room
    assert storage_room(Node()) is None
