"""Loop devices of the kernel, over files of a test."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed.loops import needs_loop_devices

from kubelite.node.volumes import loop_devices
from kubelite.node.volumes.loop_devices import attach, attached, detach

pytestmark = needs_loop_devices
MARK = "kubelite-test-of-loop-devices"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk.img"
    with path.open("wb") as opened:
        opened.truncate(1 << 20)
    try:
        yield path
    finally:
        detach(MARK)
        detach("kubelite-other")


def devices_of(file: Path) -> list[Path]:
    state = file.stat()
    return [one.path for one in attached() if one.file == (state.st_dev, state.st_ino)]


def test_a_file_is_read_and_written_through_its_device(file: Path) -> None:
    device = attach(file, MARK)
    with device.open("r+b", buffering=0) as opened:
        assert opened.seek(0, os.SEEK_END) == 1 << 20
        opened.seek(0)
        opened.write(b"x" * 512)
        os.fsync(opened.fileno())
    assert file.read_bytes()[:512] == b"x" * 512


def test_a_file_has_one_device_however_often_it_is_attached(file: Path) -> None:
    device = attach(file, MARK)
    assert attach(file, MARK) == device
    assert attach(file, "kubelite-other") == device
    assert devices_of(file) == [device]


def test_only_what_has_the_mark_is_detached(file: Path) -> None:
    attach(file, "kubelite-other")
    detach(MARK)
    assert len(devices_of(file)) == 1
    detach("kubelite-other")
    assert devices_of(file) == []
    detach("kubelite-other")


def test_a_device_that_another_took_meanwhile_is_not_used(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel names a free device, and somebody attaches it before we do."""
    other = tmp_path / "other.img"
    with other.open("wb") as opened:
        opened.truncate(1 << 20)
    real = fcntl.ioctl
    taken: list[int] = []

    def ioctl(device: int, request: int, argument: bytes = b"") -> int | bytes:
        if request == loop_devices._CONFIGURE and not taken:
            taken.append(device)
            monkeypatch.setattr(fcntl, "ioctl", real)
            attach(other, "kubelite-other")
            monkeypatch.setattr(fcntl, "ioctl", ioctl)
        return real(device, request, argument) if argument else real(device, request)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    first = attach(file, MARK)
    assert devices_of(other) != [first]
    assert devices_of(file) == [first]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/null")):
        with pytest.raises(OSError, match="not a regular file"):
            attach(path, MARK)
