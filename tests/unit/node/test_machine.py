"""What is read of the host, whatever stands in its files."""

import platform
from pathlib import Path

import pytest

from kubelite.node import machine
from kubelite.node.machine import HOST_FILE_BYTES, read_host_file


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"nameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"),
        (b"# caf\xe9\nnameserver 192.0.2.1\n", "# caf\ufffd\nnameserver 192.0.2.1\n"),
        (b"\xff\xfe\x00", "\ufffd\ufffd\x00"),
        (b"a" * (HOST_FILE_BYTES + 10), "a" * HOST_FILE_BYTES),
    ],
)
def test_odd_bytes_in_a_hosts_file_are_no_error(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "file").write_bytes(data)
    assert read_host_file(tmp_path / "file") == text


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_host_file(tmp_path / "none") == ""
    assert read_host_file(tmp_path) == ""


def test_an_odd_os_release_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd() -> dict[str, str]:
        return {"PRETTY_NAME": b"\xff".decode()}

    monkeypatch.setattr(platform, "freedesktop_os_release", odd)
    assert machine._os_image() == "Linux"
