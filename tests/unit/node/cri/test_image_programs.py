"""Programs that load images where the interface cannot."""

from pathlib import Path
from typing import Any

import pytest

from kubelite.node.cri.image_programs import Ctr, Podman, reason_of, storage_flags
from kubelite.node.runtime import RuntimeFailure


@pytest.mark.parametrize(
    ("config", "flags"),
    [
        (
            {
                "crio": {
                    "root": "/r",
                    "runroot": "/s",
                    "storage_driver": "overlay",
                    "imagestore": "",
                }
            },
            ["--root=/r", "--runroot=/s", "--storage-driver=overlay"],
        ),
        (
            {"crio": {"root": "/r", "storage_option": ["overlay.mountopt=nodev", 7]}},
            ["--root=/r", "--storage-opt=overlay.mountopt=nodev"],
        ),
        ({"crio": []}, []),
        ({}, []),
    ],
)
def test_podman_uses_the_folders_of_crio(config: dict[str, Any], flags: list[str]) -> None:
    assert storage_flags(config) == flags


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        (b"ctr: no such file\n", "no such file"),
        (b"Getting image\nError: payload does not match\n", "payload does not match"),
        (b"plain\n", "plain"),
        (b"\xff", "\ufffd"),
    ],
)
def test_the_reason_is_what_the_program_says_last(errors: bytes, reason: str) -> None:
    assert reason_of(errors) == reason


@pytest.mark.parametrize("program", [Ctr, Podman])
async def test_a_program_that_is_not_installed_is_named(
    program: type[Ctr] | type[Podman], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeFailure, match=r"program (ctr|podman) .*is not installed"):
        await program(tmp_path / "engine.sock").load(tmp_path / "image.tar")
