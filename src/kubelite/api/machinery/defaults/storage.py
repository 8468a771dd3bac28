"""Defaults of storage classes, CSI drivers and attachments."""

from __future__ import annotations

from typing import Any

from kubelite.api.machinery.defaults.volumes import default_volume_spec

Fields = dict[str, Any]


def default_storage_class(storage_class: Fields) -> None:
    """Set the defaults of a storage class."""
    storage_class.setdefault("reclaimPolicy", "Delete")
    storage_class.setdefault("volumeBindingMode", "Immediate")


def default_csi_driver(driver: Fields) -> None:
    """Set the defaults of a CSI driver."""
    spec = driver["spec"]
    spec.setdefault("attachRequired", True)
    spec.setdefault("podInfoOnMount", False)
    spec.setdefault("storageCapacity", False)
    spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]
    spec.setdefault("requiresRepublish", False)
    spec.setdefault("seLinuxMount", False)


def default_volume_attachment(attachment: Fields) -> None:
    """Set the defaults of an attachment's inline volume."""
    default_volume_spec(attachment["spec"]["source"].get("inlineVolumeSpec", {}))
