"""An engine of CRI is made ready for pods."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from kubelite.node.cni.plugin import CONFIG_FILE, remove_noted
from kubelite.node.cri.preparation import (
    DEFAULT_SANDBOX_IMAGES,
    Examined,
    examine,
    install_plugin,
    provide_sandbox_image,
)
from kubelite.node.runtime import Image, RuntimeFailure

PAUSE = "registry.k8s.io/pause:3.6"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"cni": {"binDir": "/usr/lib/cni", "confDir": "/c"}, "sandboxImage": PAUSE},
            Examined(PAUSE, Path("/usr/lib/cni"), Path("/c")),
        ),
        (
            {"cni": {"binDirs": ["/opt/a", "/opt/b"], "binDir": "", "confDir": "/c"}},
            Examined("", Path("/opt/a"), Path("/c")),
        ),
        ({"cni": {"binDir": "relative", "confDir": 5}, "sandboxImage": []}, Examined()),
        ({"cni": []}, Examined()),
        ([], Examined()),
    ],
)
def test_the_status_says_image_and_folders(config: object, expected: Examined) -> None:
    assert examine({"config": json.dumps(config)}) == expected


def test_an_engine_that_says_nothing_is_as_usual() -> None:
    assert examine({}) == examine({"config": "{"}) == examine({"config": "[" * 9999}) == Examined()


class Engine:
    """An engine with folders below one, that keeps what is loaded."""

    def __init__(self, folder: Path) -> None:
        cni = {"binDir": str(folder / "bin"), "confDir": str(folder / "net.d")}
        self.info = {"config": json.dumps({"cni": cni, "sandboxImage": PAUSE})}
        self.loaded: list[str] = []

    async def status_info(self) -> dict[str, str]:
        return self.info

    async def image(self, reference: str) -> Image | None:
        return Image("sha256:1") if reference in self.loaded else None

    async def load(self, archive: Path) -> None:
        with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as content:
            manifest = content.extractfile("manifest.json")
            assert manifest is not None
            self.loaded += json.load(manifest)[0]["RepoTags"]


async def prepare(engine: Engine, folder: Path) -> None:
    await install_plugin(engine, folder, folder / "cni.sock")
    await provide_sandbox_image(engine, "amd64")


async def test_plugin_and_sandbox_image_are_put_where_the_engine_looks(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    await prepare(engine, tmp_path)
    assert engine.loaded == [PAUSE]
    assert (tmp_path / "net.d" / CONFIG_FILE).exists()
    assert (tmp_path / "bin" / "kubelite").stat().st_mode & 0o111
    await prepare(engine, tmp_path)
    assert engine.loaded == [PAUSE]
    remove_noted(tmp_path)
    assert [*(tmp_path / "net.d").iterdir(), *(tmp_path / "bin").iterdir()] == []


async def test_an_earlier_network_of_others_is_a_failure_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "net.d").mkdir()
    (tmp_path / "net.d" / "05-other.conf").write_text("{}")
    with pytest.raises(RuntimeFailure, match=r"net\.d/05-other\.conf instead of 10-kubelite"):
        await prepare(Engine(tmp_path), tmp_path)
    assert (tmp_path / "net.d" / "05-other.conf").exists()


def test_a_damaged_note_does_not_keep_a_reset_from_its_end(tmp_path: Path) -> None:
    (tmp_path / "cni.json").write_text("{")
    remove_noted(tmp_path)
    assert not (tmp_path / "cni.json").exists()


async def test_an_engine_that_names_no_sandbox_image_gets_the_usual_ones(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.info = {"config": json.dumps({"cni": {}})}
    await provide_sandbox_image(engine, "amd64")
    await provide_sandbox_image(engine, "amd64")
    assert engine.loaded == list(DEFAULT_SANDBOX_IMAGES)
