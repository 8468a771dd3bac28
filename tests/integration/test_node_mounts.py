"""How mounts of the host and of containers reach each other: propagation, and read-only all the way down."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from integration.node_host import (
    TERM,
    RealNode,
    container,
    engine_folder,
    is_ready,
    needs_engine,
    running_node,
)
from kubelite.node.volumes.recursive import is_supported
from kubelite.node.volumes.tmpfs import mount_tmpfs, unmount, unmount_below

pytestmark = [*needs_engine, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    yield from engine_folder()


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[RealNode]:
    async with running_node(folder) as made:
        yield made


@pytest.fixture
def disk(node: RealNode) -> Iterator[Path]:
    """A folder of the host's with another file system below it."""
    made = node.folder / "disk"
    (made / "below").mkdir(parents=True)
    # Propagation needs a mount that is shared, which the root of a host under systemd is.
    subprocess.run(["mount", "--bind", str(made), str(made)], check=True)
    subprocess.run(["mount", "--make-shared", str(made)], check=True)
    mount_tmpfs(made / "below")
    (made / "below" / "file").write_text("kept")
    yield made
    unmount_below(made)
    unmount(made)


@pytest.mark.skipif(not is_supported(), reason="needs Linux 5.12")
async def test_a_container_writes_nowhere_below_a_recursively_read_only_mount(
    node: RealNode, disk: Path
) -> None:
    modes = {"plain": None, "whole": "Enabled", "possible": "IfPossible"}
    mounts = [
        {"name": "disk", "mountPath": f"/{name}", "readOnly": True, "recursiveReadOnly": mode}
        for name, mode in modes.items()
    ]
    script = f"for m in {' '.join(modes)}; do echo x > /$m/below/$m; echo x > /$m/$m; done; {TERM}"
    await node.create(
        {
            "volumes": [{"name": "disk", "hostPath": {"path": str(disk)}}],
            "containers": [container(script=script, volumeMounts=mounts)],
        }
    )
    pod = await node.until(is_ready)
    seen = pod.status.containerStatuses[0].volumeMounts
    assert [mount.recursiveReadOnly for mount in seen] == ["Disabled", "Enabled", "Enabled"]
    # The plain one is read-only at its top alone, as upstream documents it.
    assert sorted(path.name for path in (disk / "below").iterdir()) == ["file", "plain"]
    assert sorted(path.name for path in disk.iterdir()) == ["below"]


async def test_mounts_propagate_as_far_as_a_container_asks(node: RealNode, disk: Path) -> None:
    source = {"name": "disk", "hostPath": {"path": str(disk)}}
    hears = {"name": "disk", "mountPath": "/disk", "mountPropagation": "HostToContainer"}
    shares = {"name": "disk", "mountPath": "/disk", "mountPropagation": "Bidirectional"}
    alone = {"name": "disk", "mountPath": "/disk"}
    made = "mkdir -p /disk/inside; mount -t tmpfs none /disk/inside && echo x > /disk/inside/seen"
    await node.create(
        {
            "volumes": [source],
            "containers": [
                container("hears", TERM, volumeMounts=[hears]),
                container("alone", TERM, volumeMounts=[alone]),
                container(
                    "shares",
                    f"{made}; {TERM}",
                    volumeMounts=[shares],
                    securityContext={"privileged": True},
                ),
            ],
        }
    )
    pod = await node.until(is_ready)
    (disk / "late").mkdir()
    mount_tmpfs(disk / "late")
    (disk / "late" / "file").write_text("late")
    shown = {
        status.name: (await node.exec_in(status, "ls", "/disk/late", "/disk/inside"))[1].split()
        for status in pod.status.containerStatuses
    }
    assert (disk / "inside" / "seen").read_text() == "x\n"
    assert "file" in shown["hears"]
    assert "seen" in shown["hears"]
    assert "file" in shown["shares"]
    assert "file" not in shown["alone"]
    unmount(disk / "late")
