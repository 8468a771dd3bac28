"""The kernel's numbers, compared with what the standard library says."""

import os
import resource
from pathlib import Path

import pytest

from kubelite import process_metrics
from kubelite.metrics import Registry

NAMES = {
    "process_cpu_seconds_total": "counter",
    "process_open_fds": "gauge",
    "process_max_fds": "gauge",
    "process_virtual_memory_bytes": "gauge",
    "process_virtual_memory_max_bytes": "gauge",
    "process_resident_memory_bytes": "gauge",
    "process_network_receive_bytes_total": "counter",
    "process_network_transmit_bytes_total": "counter",
    "process_start_time_seconds": "gauge",
}


def shown() -> dict[str, float]:
    registry = Registry()
    process_metrics.expose(registry)
    lines = registry.exposition().splitlines()
    assert {line[7:] for line in lines if line.startswith("# TYPE")} == {
        f"{name} {kind}" for name, kind in NAMES.items()
    }
    return {name: float(value) for name, value in (one.split() for one in lines if one[0] != "#")}


def test_numbers_of_this_process() -> None:
    found = shown()
    spent = os.times()
    assert found["process_cpu_seconds_total"] <= spent.user + spent.system + 0.01
    assert found["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert 3 <= found["process_open_fds"] <= found["process_max_fds"]
    assert (
        1e6
        < found["process_resident_memory_bytes"]
        <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    assert found["process_virtual_memory_bytes"] >= found["process_resident_memory_bytes"]
    assert found["process_start_time_seconds"] > 1.7e9


def test_a_name_with_brackets_does_not_shift_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = " ".join(str(number) for number in range(50))
    (tmp_path / "stat").write_text(f"1 (a) b (c) S {fields}")
    monkeypatch.setattr(process_metrics, "_PROC", tmp_path)
    assert process_metrics._stat(11, 12) == 10 + 11


def test_without_proc_the_other_metrics_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_metrics, "_PROC", tmp_path)
    registry = Registry()
    process_metrics.expose(registry)
    text = registry.exposition()
    assert "process_cpu_seconds_total NaN\n" in text
    assert "process_max_fds NaN" not in text
