"""The sandbox program runs, ends on a signal and reaps."""

import os
import platform
import signal
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from kubelite.node.pause_image import NAME, pause_archive, pause_program

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "")


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("arm64", 183)])
def test_the_program_is_a_small_static_executable(architecture: str, machine: int) -> None:
    program = pause_program(architecture)
    assert program.startswith(b"\x7fELF\x02\x01\x01")
    assert int.from_bytes(program[18:20], "little") == machine
    assert len(program) < 512


@pytest.mark.skipif(not ARCHITECTURE, reason="there is no program for this processor")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_ends_well_on_a_signal(tmp_path: Path, number: int) -> None:
    path = tmp_path / "pause"
    path.write_bytes(pause_program(ARCHITECTURE))
    path.chmod(0o755)
    with subprocess.Popen([path]) as process:
        try:
            # Its first system call blocks the signals; before that they would kill it. It waits in the second.
            call = Path(f"/proc/{process.pid}/syscall")
            while not call.read_text().startswith(("128 ", "137 ")):
                os.sched_yield()
            process.send_signal(signal.SIGCHLD)
            process.send_signal(number)
            assert process.wait(5) == 0
        finally:
            process.kill()


def test_the_archive_names_the_image() -> None:
    with tarfile.open(fileobj=BytesIO(pause_archive("amd64"))) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        assert NAME.encode() in manifest.read()
    assert pause_archive("amd64") == pause_archive("amd64")
