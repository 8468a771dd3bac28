"""Links for log collectors: made, found again, removed, and never followed."""

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from kubelite.node.log_links import LogLinks
from kubelite.node.runtime import SANDBOX, ContainerRecord

RECORD = ContainerRecord(
    id="f00",
    pod_uid="7-u",
    pod_name="web",
    namespace="prod",
    name="app",
    attempt=2,
    phase="running",
    created_at=datetime(2026, 5, 1, tzinfo=UTC),
    log_path="/engine/f00-json.log",
)
POD, LINK = "prod_web_7-u", "web_prod_app-f00.log"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "log"


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


async def test_the_layout_is_that_of_the_kubelet_with_docker(root: Path) -> None:
    await LogLinks(root).add([RECORD, msgspec.structs.replace(RECORD, name=SANDBOX)])
    assert names(root) == [f"containers/{LINK}", f"pods/{POD}/app/2.log"]
    link = root / "containers" / LINK
    assert link.readlink() == root / "pods" / POD / "app" / "2.log"
    assert (root / "pods" / POD / "app" / "2.log").readlink() == Path("/engine/f00-json.log")
    assert (root / "pods" / POD).stat().st_mode & 0o777 == 0o755


async def test_links_are_made_again_and_wrong_ones_replaced(root: Path) -> None:
    links = LogLinks(root)
    await links.add([RECORD])
    await links.add([RECORD])
    await links.add([msgspec.structs.replace(RECORD, log_path="/moved.log")])
    assert (root / "pods" / POD / "app" / "2.log").readlink() == Path("/moved.log")


async def test_links_go_with_their_container_and_their_pod(root: Path) -> None:
    links = LogLinks(root)
    second = msgspec.structs.replace(RECORD, id="f01", attempt=3, log_path="/engine/f01-json.log")
    other = msgspec.structs.replace(RECORD, id="f02", pod_uid="8-u", pod_name="web2")
    await links.add([RECORD, second, other])
    await links.remove(RECORD)
    await links.remove(RECORD)
    assert names(root) == [
        "containers/web2_prod_app-f02.log",
        "containers/web_prod_app-f01.log",
        "pods/prod_web2_8-u/app/2.log",
        f"pods/{POD}/app/3.log",
    ]
    await links.remove_pod("7-u")
    await links.remove_pod("7-u")
    assert names(root) == ["containers/web2_prod_app-f02.log", "pods/prod_web2_8-u/app/2.log"]
    assert not (root / "pods" / POD).exists()


async def test_the_folders_go_when_nothing_is_in_them(root: Path) -> None:
    links = LogLinks(root)
    await links.remove_folders()
    await links.add([RECORD])
    await links.remove_folders()
    assert len(names(root)) == 2
    await links.remove_pod("7-u")
    (root / "pods" / "somebody-elses").mkdir()
    await links.remove_folders()
    assert [path.name for path in root.iterdir()] == ["pods"]


async def test_without_a_file_of_the_engine_there_is_nothing_to_show(root: Path) -> None:
    await LogLinks(root).add([msgspec.structs.replace(RECORD, log_path="")])
    await LogLinks(root).remove(RECORD)
    await LogLinks(root).remove_pod("7-u")
    assert not root.exists()


@pytest.mark.parametrize("place", ["pods", "containers", f"pods/{POD}", f"pods/{POD}/app"])
async def test_a_folder_that_was_turned_into_a_link_is_not_followed(
    root: Path, tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A pod that has the host's /var/log can put anything there."""
    links, victim = LogLinks(root), tmp_path / "etc"
    (victim / "app").mkdir(parents=True)
    kept = [victim / "2.log", victim / LINK, victim / "app" / "2.log"]
    for path in kept:
        path.symlink_to("/engine/f00-json.log")
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).symlink_to(victim)
    before = sorted(os.listdir(victim))  # noqa: PTH208 - names only
    for _ in range(3):
        await links.add([RECORD])
        await links.remove(RECORD)
    await links.remove_pod("7-u")
    assert sorted(os.listdir(victim)) == before  # noqa: PTH208 - names only
    assert all(path.is_symlink() for path in kept)
    assert len([one for one in caplog.records if one.levelname == "WARNING"]) <= 2


async def test_only_links_are_replaced_and_removed(root: Path) -> None:
    file = root / "containers" / LINK
    file.parent.mkdir(parents=True)
    file.write_text("somebody else's")
    await LogLinks(root).add([RECORD])
    await LogLinks(root).remove(RECORD)
    assert file.read_text() == "somebody else's"


async def test_a_name_that_is_too_long_leaves_the_others_alone(root: Path) -> None:
    long = msgspec.structs.replace(RECORD, pod_name="x" * 250)
    await LogLinks(root).add([long, RECORD])
    assert names(root) == [f"containers/{LINK}", f"pods/{POD}/app/2.log"]
