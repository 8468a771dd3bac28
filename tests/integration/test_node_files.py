"""Containers that turn what the node writes, reads and removes against the host: real containers, real mounts."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

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
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.clock import SystemClock
from kubelite.node.environment import ConfigUnavailable, Surroundings
from kubelite.node.name_resolution import DNSSettings
from kubelite.node.untrusted_files import remove_path
from kubelite.node.volumes.host import HostVolumes
from kubelite.node.volumes.tmpfs import bind_mount, mount_tmpfs, mounts_below, unmount_below
from kubelite.randomness import SystemRandomness

pytestmark = [*needs_engine, pytest.mark.timeout(180)]
KINDS: dict[str, dict[str, Any]] = {
    "configmap": {"configMap": {"name": "c"}},
    "secret": {"secret": {"secretName": "s"}},
    "downward": {
        "downwardAPI": {"items": [{"path": "key", "fieldRef": {"fieldPath": "metadata.name"}}]}
    },
    "projected": {"projected": {"sources": [{"configMap": {"name": "c"}}]}},
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    yield from engine_folder()


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[RealNode]:
    async with running_node(folder) as made:
        meta = ObjectMeta(name="c", namespace="default")
        await made.client.create(ConfigMap(metadata=meta, data={"key": "old"}))
        meta = ObjectMeta(name="s", namespace="default")
        await made.client.create(Secret(metadata=meta, data={"key": "b2xk"}))
        yield made


@pytest.fixture
def victim(node: RealNode) -> Path:
    """Something of the host's beside the pods, which no container was given."""
    made = node.folder / "victim"
    made.mkdir()
    (made / "precious").write_text("kept")
    return made


async def refresh(node: RealNode, pod: Pod) -> None:
    """Do what the node does when an object changes; it may be doing so just now, and two must not write at once."""
    volumes = HostVolumes(
        node.folder, node.client, SystemClock(), SystemRandomness(), DNSSettings(("10.43.0.10",))
    )
    async with asyncio.timeout(30):
        while True:
            try:
                await volumes.set_up(pod, Surroundings())
            except ConfigUnavailable:
                await asyncio.sleep(0.1)
            else:
                return


def volume_folder(node: RealNode, pod: Pod, name: str) -> Path:
    (found,) = (node.folder / "pods" / pod.metadata.uid / "volumes").glob(f"*/{name}")
    return found


async def test_no_container_writes_to_what_shows_the_api(node: RealNode, victim: Path) -> None:
    turn = "ln -sfn ../../../../../victim ..data"
    mounts = [{"name": kind, "mountPath": f"/{kind}", "readOnly": False} for kind in KINDS]
    await node.create(
        {
            "volumes": [{"name": kind, **source} for kind, source in KINDS.items()],
            "containers": [container(script=TERM, volumeMounts=mounts)],
        }
    )
    pod = await node.until(is_ready)
    for kind in KINDS:
        script = f"cd /{kind}; touch x; {turn} || readlink ..data"
        code, output = await node.exec(pod, "sh", "-c", script)
        assert code == 0
        assert "touch: x: Read-only file system" in output
        assert "victim" not in output
    await refresh(node, pod)
    assert (victim / "precious").read_text() == "kept"


@pytest.mark.parametrize("kind", ["configmap", "secret", "projected"])
@pytest.mark.parametrize(
    "trick",
    [
        "ln -sfn ../../../../../victim ..data",
        "ln -sfn $VICTIM ..data",
        "v=$(readlink ..data); rm -rf $v; ln -sfn $VICTIM $v",
        "rm key; ln -s $VICTIM/precious key",
        "rm ..data; mkdir -p ..data/x ..data_tmp/x",
    ],
)
async def test_links_that_a_container_turned_are_not_followed(
    node: RealNode, victim: Path, kind: str, trick: str
) -> None:
    """As a container can that mounted the volume anew, or that sees it by a path of the host."""
    target = {"name": "seen", **KINDS[kind]}
    await node.create(
        {
            "volumes": [target],
            "containers": [
                container(script=TERM, volumeMounts=[{"name": "seen", "mountPath": "/v"}])
            ],
        }
    )
    pod = await node.until(is_ready)
    place = volume_folder(node, pod, "seen")
    await node.create(
        {
            "volumes": [{"name": "host", "hostPath": {"path": str(place)}}],
            "containers": [
                container(
                    script=f"cd /v && {trick} && touch /done; {TERM}",
                    env=[{"name": "VICTIM", "value": str(victim)}],
                    volumeMounts=[{"name": "host", "mountPath": "/v"}],
                    readinessProbe={
                        "exec": {"command": ["test", "-e", "/done"]},
                        "periodSeconds": 1,
                    },
                )
            ],
        },
        "attacker",
    )
    await node.until(is_ready, "attacker")
    await node.client.patch(ConfigMap, "c", {"data": {"key": "new"}}, "default")
    await node.client.patch(Secret, "s", {"data": {"key": "bmV3"}}, "default")
    await refresh(node, pod)
    await refresh(node, pod)
    assert sorted(path.name for path in victim.iterdir()) == ["precious"]
    assert (victim / "precious").read_text() == "kept"
    code, output = await node.exec(pod, "cat", "/v/key")
    assert (code, output) == (0, "new")


async def test_what_containers_leave_goes_with_the_pod_and_nothing_else(
    node: RealNode, victim: Path
) -> None:
    script = (
        "cd /v; mkdir -p a/b; ln -s ../../../../../../victim out; ln -s / root; mkfifo fifo; "
        "i=0; while [ $i -lt 300 ]; do mkdir -p d/d/d/d; cd d/d/d/d; i=$((i+1)); done; "
        "echo -e '\\xff\\xfe' > /etc/hosts; head -c 300000000 /dev/zero > /etc/resolv.conf; "
        f"head -c 9000 /dev/zero > /dev/termination-log; touch /v/done; {TERM}"
    )
    await node.create(
        {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [
                container(
                    script=script,
                    volumeMounts=[{"name": "v", "mountPath": "/v"}],
                    readinessProbe={
                        "exec": {"command": ["test", "-e", "/v/done"]},
                        "periodSeconds": 1,
                    },
                ),
                container("other", script=f"sleep 1; exit 1; {TERM}"),
            ],
        }
    )

    def is_over(pod: Pod) -> bool:
        statuses = {status.name: status for status in pod.status.containerStatuses}
        return len(statuses) == 2 and statuses["app"].ready and statuses["other"].restartCount > 0

    await node.until(is_over)
    await node.client.delete(Pod, "pod", "default")
    await node.until_gone()
    assert list((node.folder / "pods").iterdir()) == []
    assert (victim / "precious").read_text() == "kept"


def test_mounts_are_taken_away_where_they_are_and_not_where_a_link_leads(tmp_path: Path) -> None:
    host, home = tmp_path / "host", tmp_path / "home"
    (host / "b").mkdir(parents=True)
    (home / "a/b").mkdir(parents=True)
    mount_tmpfs(host / "b")
    (host / "b/precious").write_text("kept")
    mount_tmpfs(home / "a/b")
    mount_tmpfs(home / "a/b")  # one above the other
    try:
        listed = mounts_below(home)
        assert len(listed) == 2
        # As between the list and the unmount: the mount's own path leads to another one.
        (home / "a").rename(home / "moved")
        (home / "a").symlink_to(host)
        unmount_below(home)
        assert mounts_below(home) == []
        assert (host / "b/precious").read_text() == "kept"
    finally:
        unmount_below(tmp_path)


@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_what_is_mounted_is_not_removed(tmp_path: Path, kind: str) -> None:
    host, place = tmp_path / "host", tmp_path / "home/a/b"
    host.mkdir()
    place.mkdir(parents=True)
    if kind == "bind":  # of the same file system, so that no device number tells
        bind_mount(host, place)
    else:
        mount_tmpfs(place)
    (place / "precious").write_text("kept")
    try:
        with pytest.raises(OSError, match="busy"):
            remove_path(tmp_path / "home")
        assert (place / "precious").read_text() == "kept"
    finally:
        unmount_below(tmp_path)
    remove_path(tmp_path / "home")
    assert not (tmp_path / "home").exists()
