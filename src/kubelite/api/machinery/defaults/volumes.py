"""Defaults of volumes and claims, shared by pods, persistent volumes and stateful sets."""

from __future__ import annotations

from typing import Any

from kubelite.api.machinery.defaults.resources import round_up_to_milli

Fields = dict[str, Any]


def default_host_path(source: Fields) -> None:
    """Say that nothing is checked about a host path unless asked for."""
    if "hostPath" in source:
        source["hostPath"].setdefault("type", "")


def default_claim_spec(spec: Fields) -> None:
    """Fill in what a claim asks for."""
    spec.setdefault("volumeMode", "Filesystem")
    for amounts in spec.get("resources", {}).values():
        round_up_to_milli(amounts)


def default_claim(claim: Fields) -> None:
    """Fill in a claim."""
    default_claim_spec(claim["spec"])
    status = claim["status"]
    status.setdefault("phase", "Pending")
    for name in ("capacity", "allocatedResources"):
        round_up_to_milli(status.get(name, {}))


def default_volume_spec(spec: Fields) -> None:
    """Fill in the source of a persistent volume."""
    default_host_path(spec)


def default_persistent_volume(volume: Fields) -> None:
    """Fill in a persistent volume."""
    spec = volume["spec"]
    volume["status"].setdefault("phase", "Pending")
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    default_volume_spec(spec)
    round_up_to_milli(spec.get("capacity", {}))
