from typing import Any

import pytest
from msgspec import convert

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.kinds.storage import StorageClass
from kubelite.api.registry.admission.volume_claims import (
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)

GROWS = convert(
    {"metadata": {"name": "grows"}, "provisioner": "x", "allowVolumeExpansion": True}, StorageClass
)
FIXED = convert({"metadata": {"name": "fixed"}, "provisioner": "x"}, StorageClass)
PATH = "persistentvolumeclaims"


def claim(size: str, name: str = "grows", phase: str = "Bound") -> dict[str, Any]:
    spec = {"resources": {"requests": {"storage": size}}, "storageClassName": name}
    return {"metadata": {"name": "data"}, "spec": spec, "status": {"phase": phase}}


async def test_protection(ask: Any) -> None:
    plugin = StorageObjectInUseProtection()
    made = (await ask(plugin, PATH, {"metadata": {"finalizers": ["own"]}})).item
    assert made["metadata"]["finalizers"] == ["own", "kubernetes.io/pvc-protection"]
    volume = (await ask(plugin, "persistentvolumes", {})).item
    assert volume["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    assert "finalizers" not in (await ask(plugin, "pods", {})).item["metadata"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (claim("1Gi"), claim("2Gi"), ""),
        (claim("1Gi"), claim("1024Mi"), ""),
        (claim("2Gi", "fixed"), claim("1Gi", "fixed"), ""),
        (
            claim("1Gi", phase="Pending"),
            claim("2Gi"),
            "Only bound persistent volume claims can be expanded",
        ),
        (
            claim("1Gi", "fixed"),
            claim("2Gi", "fixed"),
            "only dynamically provisioned pvc can be resized",
        ),
        (
            claim("1Gi", "gone"),
            claim("2Gi", "gone"),
            "only dynamically provisioned pvc can be resized",
        ),
    ],
)
async def test_growth(ask: Any, old: dict[str, Any], new: dict[str, Any], reason: str) -> None:
    asked = await ask(PersistentVolumeClaimResize(FixedLookup([GROWS, FIXED])), PATH, new, old=old)
    assert reason in asked.refusal if reason else asked.item
