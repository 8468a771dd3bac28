"""What drivers are told of volumes: access modes, groups, lifecycles."""

from typing import Any

import pytest
from msgspec import convert

from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import CSIVolumeSource
from kubelite.api.kinds.storage import CSIDriver
from kubelite.node.csi.messages import AccessMode, Capability
from kubelite.node.csi.requests import (
    CSISource,
    access_mode,
    capability,
    inline_source,
    is_group_ours,
    persistent_source,
    refused_lifecycle,
    tokens_attribute,
)

TELLS_APART = (Capability.SINGLE_NODE_MULTI_WRITER,)


def source(**fields: Any) -> CSISource:
    given = {"fs_type": "ext4", "access_modes": ("ReadWriteOnce",), "lifecycle": "Persistent"}
    return CSISource(**{"name": "pv", "driver": "d", "handle": "h", **given, **fields})


def driver(**spec: Any) -> CSIDriver:
    return convert({"metadata": {"name": "d"}, "spec": spec}, CSIDriver)


@pytest.mark.parametrize(
    ("modes", "capabilities", "expected"),
    [
        ((), (), AccessMode.SINGLE_NODE_WRITER),
        (("ReadWriteOnce",), (), AccessMode.SINGLE_NODE_WRITER),
        (("ReadWriteOncePod",), (), AccessMode.SINGLE_NODE_WRITER),
        (("ReadWriteOnce",), TELLS_APART, AccessMode.SINGLE_NODE_MULTI_WRITER),
        (("ReadWriteOncePod",), TELLS_APART, AccessMode.SINGLE_NODE_SINGLE_WRITER),
        (("ReadOnlyMany",), TELLS_APART, AccessMode.MULTI_NODE_READER_ONLY),
        (("ReadWriteMany", "ReadWriteOnce"), (), AccessMode.MULTI_NODE_MULTI_WRITER),
    ],
)
def test_access_modes(
    modes: tuple[str, ...], capabilities: tuple[int, ...], expected: AccessMode
) -> None:
    assert access_mode(modes, capabilities) == expected


def test_a_driver_that_applies_the_group_is_told_it() -> None:
    able = (Capability.VOLUME_MOUNT_GROUP,)
    told = capability(source(), able, 2000)
    assert told.mount is not None
    assert told.mount.volume_mount_group == "2000"
    assert not is_group_ours(source(), driver(fsGroupPolicy="File"), able, 2000)
    untold = capability(source(), (), 2000)
    assert untold.mount is not None
    assert untold.mount.volume_mount_group == ""


def test_a_block_volume_has_no_file_system() -> None:
    told = capability(source(is_block=True), (), 2000)
    assert told.mount is None
    assert told.block is not None


@pytest.mark.parametrize(
    ("fields", "policy", "is_ours"),
    [
        ({}, None, True),
        ({"fs_type": ""}, None, False),
        ({"access_modes": ("ReadWriteOncePod",)}, None, True),
        ({"access_modes": ("ReadWriteMany",)}, None, False),
        ({"access_modes": ()}, None, False),
        ({"lifecycle": "Ephemeral", "access_modes": ()}, None, True),
        ({"access_modes": ("ReadWriteMany",), "fs_type": ""}, "File", True),
        ({}, "None", False),
        ({"read_only": True}, "File", False),
        ({"is_block": True}, "File", False),
    ],
)
def test_who_gives_files_to_the_group(
    fields: dict[str, Any], policy: str | None, is_ours: bool
) -> None:
    known = driver(fsGroupPolicy=policy) if policy else None
    assert is_group_ours(source(**fields), known, (), 2000) is is_ours
    assert not is_group_ours(source(**fields), known, (), None)


def test_lifecycles_in_upstreams_words() -> None:
    assert refused_lifecycle(None, "d", "Persistent") == ""
    assert refused_lifecycle(driver(), "d", "Persistent") == ""
    both = driver(volumeLifecycleModes=["Persistent", "Ephemeral"])
    assert refused_lifecycle(both, "d", "Ephemeral") == ""
    assert refused_lifecycle(None, "d", "Ephemeral") == (
        'volume mode "Ephemeral" not supported by driver d (no CSIDriver object)'
    )
    only = driver(volumeLifecycleModes=["Ephemeral"])
    assert refused_lifecycle(only, "d", "Persistent") == (
        'volume mode "Persistent" not supported by driver d (only supports ["Ephemeral"])'
    )


def test_sources() -> None:
    spec = {
        "csi": {
            "driver": "d",
            "volumeHandle": "h",
            "fsType": "xfs",
            "nodeStageSecretRef": {"namespace": "n", "name": "stage"},
            "nodeExpandSecretRef": {"namespace": "n", "name": "expand"},
        },
        "mountOptions": ["noatime"],
        "volumeMode": "Block",
    }
    made = persistent_source(
        convert({"metadata": {"name": "pv"}, "spec": spec}, PersistentVolume), read_only=True
    )
    assert made is not None
    assert made.key == ("d", "h")
    assert (made.read_only, made.is_block, made.mount_options) == (True, True, ("noatime",))
    assert made.stage_secret == ("n", "stage")
    assert made.publish_secret is None
    assert made.expand_secret == ("n", "expand")
    assert persistent_source(PersistentVolume(), read_only=False) is None
    pod = convert({"metadata": {"name": "p", "namespace": "shop", "uid": "u"}}, Pod)
    inline = inline_source(pod, "v", convert({"driver": "d"}, CSIVolumeSource))
    other = inline_source(pod, "w", convert({"driver": "d"}, CSIVolumeSource))
    assert inline.handle != other.handle
    assert len(inline.handle) == len("csi-") + 64


def test_tokens_are_told_by_audience() -> None:
    assert tokens_attribute({"b": ("y", "2030"), "": ("x", "2031")}) == (
        '{"":{"token":"x","expirationTimestamp":"2031"},"b":{"token":"y","expirationTimestamp":"2030"}}'
    )
