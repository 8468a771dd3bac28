"""Places inside volumes, and links that lead out of them."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from kubelite.node.environment import ConfigUnavailable
from kubelite.node.volumes.sub_path import open_inside


def opened(volume: Path, inner: str) -> Path:
    place = open_inside(volume, inner)
    try:
        return Path(f"/proc/self/fd/{place}").readlink()
    finally:
        os.close(place)


def test_missing_folders_are_made_with_the_volumes_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)
    assert opened(tmp_path, "a/b") == tmp_path / "a/b"
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o2775


def test_links_inside_the_volume_are_followed_and_others_refused(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "real").mkdir(parents=True)
    (volume / "file").write_text("x")
    (volume / "inside").symlink_to("real")
    (volume / "outside").symlink_to(tmp_path)
    assert opened(volume, "inside/new") == volume / "real/new"
    assert opened(volume, "file") == volume / "file"
    for path in ("outside", "outside/x", "../x", "/etc", "file/x"):
        with pytest.raises(ConfigUnavailable):
            open_inside(volume, path)


@pytest.mark.parametrize("path", ["swapped", "swapped/etc"])
def test_a_link_put_there_after_the_check_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "swapped").symlink_to("/")
    monkeypatch.setattr(Path, "resolve", lambda self: self)  # as if it had been a folder then
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ConfigUnavailable):
        open_inside(tmp_path, path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_links_are_followed_from_the_volume_however_they_are_written(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "a/b").mkdir(parents=True)
    (volume / "a/up").symlink_to("../c/./d")
    (volume / "whole").symlink_to(volume / "a")
    (volume / "chain").symlink_to("whole/b")
    assert opened(volume, "a/up") == volume / "c/d"
    assert opened(volume, "chain") == volume / "a/b"
    assert opened(volume, "./a//b/") == volume / "a/b"


@pytest.mark.parametrize(
    "target",
    [
        "..",
        "a/../..",
        "../volume",
        "/",
        "//etc",
        "/proc/self/root/etc",
        "self",
        "a/" * 100,
        "/../../../etc",
    ],
)
def test_links_that_lead_out_or_nowhere_are_refused(tmp_path: Path, target: str) -> None:
    volume = tmp_path / "volume"
    (volume / "a").mkdir(parents=True)
    (volume / "self").symlink_to(target)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ConfigUnavailable):
        open_inside(volume, "self/etc")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_links_that_multiply_take_bounded_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each link goes through the one before twice: 2 to the power of 30 steps if nobody counts."""
    (tmp_path / "l0").mkdir()
    for number in range(1, 31):
        (tmp_path / f"l{number}").symlink_to(f"l{number - 1}/../l{number - 1}")
    steps: list[object] = []
    real = os.open

    def counted(*arguments: Any, **named: Any) -> int:
        steps.append(arguments)
        return real(*arguments, **named)

    monkeypatch.setattr(os, "open", counted)
    with pytest.raises(ConfigUnavailable, match="Too many levels"):
        open_inside(tmp_path, "l30")
    assert len(steps) < 1000
