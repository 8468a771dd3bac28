"""Defaults of volumes and claims, shared by pods, persistent volumes and stateful sets."""

from __future__ import annotations

from typing import Any

from kubelite.api.machinery.defaults.resources import round_up_to_milli

Fields = dict[str, Any]


def default_host_path(source: Fields) -> None:
    """Set the type of a hostPath to "", which checks nothing."""
    if "hostPath" in source:
        source["hostPath"].setdefault("type", "")


def default_claim_spec(spec: Fields) -> None:
    """Set the defaults of a claim's spec."""
    spec.setdefault("volumeMode", "Filesystem")
    for amounts in spec.get("resources", {}).values():
        round_up_to_milli(amounts)


def default_claim(claim: Fields) -> None:
    """Set the defaults of a claim."""
    default_claim_spec(claim["spec"])
    status = claim["status"]
    status.setdefault("phase", "Pending")
    for name in ("capacity", "allocatedResources"):
        round_up_to_milli(status.get(name, {}))


def default_volume_spec(spec: Fields) -> None:
    """Set the defaults of a persistent volume's source."""
    default_host_path(spec)


def default_persistent_volume(volume: Fields) -> None:
    """Set the defaults of a persistent volume."""
    spec = volume["spec"]
    volume["status"].setdefault("phase", "Pending")
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    default_volume_spec(spec)
    round_up_to_milli(spec.get("capacity", {}))
