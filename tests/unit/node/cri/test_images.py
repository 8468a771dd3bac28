"""Images of an engine of the Container Runtime Interface."""

from pathlib import Path
from typing import Any

import pytest

from kubelite.clock import SystemClock
from kubelite.node.cri import messages as cri
from kubelite.node.cri.image_programs import targets_in
from kubelite.node.cri.images import EngineImages

NAME, OTHER = "docker.io/library/hello:1", "docker.io/library/other:1"
OLD, NEW = f"sha256:{'0' * 64}", f"sha256:{'1' * 64}"  # what a name stands for
OLD_ID, NEW_ID = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
HEAD = "REF TYPE DIGEST SIZE PLATFORMS LABELS"
BEFORE, LOADED = [(NAME, OLD), (OLD_ID, OLD)], [(NAME, NEW), (OLD_ID, OLD)]
KNOWN = [*LOADED, (NEW_ID, NEW)]


def table(rows: list[tuple[str, str]]) -> str:
    return "\n".join([HEAD, *(f"{name} media/type {digest} 1.0 MiB - -" for name, digest in rows)])


def test_the_list_of_ctr_is_read() -> None:
    assert targets_in(table(BEFORE).encode()) == {NAME: OLD, OLD_ID: OLD}
    assert targets_in(b"") == {}
    assert targets_in(b"REF\nshort line\n\n\xff\n") == {}


class Engine:
    """An engine whose interface tells the ids of `answers` in turn, the last one for good."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, method: Any, request: Any) -> cri.ImageStatusResponse:
        assert method is cri.IMAGE_STATUS
        self.asked.append(request.image.image)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return cri.ImageStatusResponse(cri.Image(id=answer) if answer else None)


def program(folder: Path, *tables: list[tuple[str, str]]) -> Path:
    """Write a `ctr` that lists the tables in turn, the last one for good; return the file of its calls."""
    for number, rows in enumerate(tables):
        (folder / f"table{number}").write_text(table(rows))
    calls, script = folder / "calls", folder / "ctr"
    script.write_text(
        f"""#!/bin/sh
echo "$4" >> {calls}
[ "$4" = list ] || exit 0
n=$(($(/usr/bin/grep -c list {calls}) - 1))
[ -e {folder}/table$n ] || n={len(tables) - 1}
exec /bin/cat {folder}/table$n
"""
    )
    script.chmod(0o755)
    return calls


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("kubelite.node.cri.images.KNOWN_PAUSE_SECONDS", 0)
    (tmp_path / "image.tar").touch()
    return tmp_path


async def load(folder: Path, engine: Engine) -> None:
    async def name() -> str:
        return "containerd"

    images = EngineImages(engine, folder / "socket", name, SystemClock())  # type: ignore[arg-type]  # stands in for the calls
    await images.load(folder / "image.tar")


async def test_an_image_is_loaded_once_the_interface_shows_it(folder: Path) -> None:
    calls = program(folder, BEFORE, LOADED, KNOWN)
    engine = Engine(OLD_ID, "", NEW_ID)
    await load(folder, engine)
    assert engine.asked == [NAME] * 3
    assert calls.read_text().split() == ["list", "import", *["list"] * 4]


async def test_what_was_there_before_is_not_waited_for(folder: Path) -> None:
    calls = program(folder, [*BEFORE, (OTHER, NEW)])
    engine = Engine("")
    await load(folder, engine)
    assert not engine.asked
    assert calls.read_text().split() == ["list", "import", "list"]


async def test_an_image_that_the_interface_never_shows_is_told_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kubelite.node.cri.images.KNOWN_TRIES", 3)
    calls = program(folder, BEFORE, [*BEFORE, (OTHER, NEW)])
    engine = Engine("")
    await load(folder, engine)
    assert not engine.asked, "it has no id there yet"
    assert calls.read_text().split() == ["list", "import", *["list"] * 3]
    assert "does not show an image" in caplog.text
