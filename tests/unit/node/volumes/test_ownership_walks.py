"""Walks of large volumes: few at a time, and reported."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import convert

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.volumes import ownership_walks
from kubelite.node.volumes.ownership_walks import OwnershipWalks

POD = convert({"metadata": {"name": "p", "namespace": "default", "uid": "u"}}, Pod)


async def test_a_long_walk_is_reported_as_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership_walks, "FIRST_REPORT_SECONDS", 0.001)
    monkeypatch.setattr(ownership_walks, "REPORT_SECONDS", 0.002)
    told: list[str] = []
    is_told = threading.Event()

    def give(path: Path, group: int, policy: str, changed: Callable[[], None]) -> None:
        assert (path, group, policy) == (Path("/v"), 7, "Always")
        changed()
        assert is_told.wait(30)

    def tell(pod: Pod, reason: str, message: str) -> None:
        assert (pod, reason) == (POD, "VolumePermissionChangeInProgress")
        told.append(message)
        if len(told) == 2:
            is_told.set()

    monkeypatch.setattr(ownership_walks, "give", give)
    await OwnershipWalks().give(POD, Path("/v"), 7, "Always", tell)
    assert "taking longer than expected, consider using OnRootMismatch" in told[0]
    assert told[1] == "Setting volume ownership for /v, processed 1 files."
