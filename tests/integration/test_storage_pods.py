"""Volumes of pods on a real node: a CSI driver that runs in a pod itself, devices, and what goes with its pod."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed.csi_driver import HostPathDriver
from testbed.csi_pod import NAME, driver_pod
from testbed.hosts import SOURCE, Host, Server, missing_tools
from testbed.loops import needs_loop_devices
from testbed.waiting import wait_for

from kubelite.node.volumes.block_devices import mark_of
from kubelite.node.volumes.loop_devices import attached, detach
from kubelite.node.volumes.tmpfs import mounts_below

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
IMAGE = "kubelite.local/hello:1"
ENGINES = ["docker", "containerd"]
MISSING = missing_tools("root", "dockerd", "containerd", "kubectl", "nft", "ip")
pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(300),
    needs_loop_devices,
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]


class Bed:
    """A server with one node."""

    def __init__(self, host: Host, folder: Path, engine: str) -> None:
        self.folder = folder
        self.kubelet = folder / "kubelet"
        self.disks = folder / "disks"
        self.mark = HostPathDriver(self.disks).mark("vol-2")
        self.server = Server(host, folder, f"--root-dir={self.kubelet}")
        if engine == "containerd":
            others = [flag for flag in self.server.flags if not flag.startswith("--docker-socket")]
            self.server.flags = [*others, "--container-runtime-endpoint=containerd"]
        self.kubectl = self.server.kubectl

    @property
    def agent(self) -> Path:
        return self.folder / "data" / "agent"

    def apply(self, *items: dict[str, Any]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(items)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def ready(self, name: str) -> None:
        try:
            self.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
        except AssertionError as error:
            told = self.kubectl("describe", "pod", name)
            raise AssertionError(f"{error}\n{told}\n{self.logs()}") from error

    def logs(self) -> str:
        return self.kubectl("logs", "csi-driver", check=False)

    def remove(self, *names: str) -> None:
        self.kubectl("delete", *names, "--timeout=60s")

    def reset(self) -> None:
        line = [
            sys.executable,
            "-m",
            "kubelite",
            "reset",
            "--yes",
            f"--data-dir={self.folder}/data",
        ]
        line += self.server.flags[-1:]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        assert self.server.host is not None
        subprocess.run(self.server.host.command(*line), check=True, env=environment)


@pytest.fixture(scope="module", params=ENGINES)
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-pods-"))
    host = Host("kubelite-pods", folder)
    try:
        if request.param == "docker":
            host.start_engine()
        made = Bed(host, folder, request.param)
        images = made.agent / "images"
        images.mkdir(parents=True)
        host.run(sys.executable, str(EXAMPLE / "image.py"), str(images / "hello.tar"))
        made.server.start()
        try:
            yield made
        finally:
            made.server.stop()
            for mark in (made.mark, mark_of(made.agent)):  # of pods that a failed test left
                detach(mark)
            if request.param == "containerd":
                made.reset()
    finally:
        host.close()


def claim(name: str, mode: str = "Filesystem", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": mode,
            "storageClassName": "",
            "resources": {"requests": {"storage": "1Mi"}},
            "volumeName": name,
            **spec,
        },
    }


def volume(name: str, mode: str = "Filesystem", **source: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": mode,
            "capacity": {"storage": "1Mi"},
            "claimRef": {"namespace": "default", "name": name},
            "persistentVolumeReclaimPolicy": "Retain",
            **source,
        },
    }


def csi(handle: str) -> dict[str, Any]:
    return {"csi": {"driver": NAME, "volumeHandle": handle}}


def pod(name: str, volumes: list[dict[str, Any]], **container: Any) -> dict[str, Any]:
    script = "trap 'exit 0' TERM; while true; do sleep 1 & wait; done"
    app = {"name": "app", "image": IMAGE, "command": ["sh", "-c", script], **container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [app],
            "volumes": volumes,
        },
    }


def of_claim(name: str) -> dict[str, Any]:
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def test_1_a_driver_in_a_pod_serves_files_and_devices(bed: Bed) -> None:
    disks = bed.disks
    disks.mkdir()
    driver = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": NAME},
        "spec": {"attachRequired": False, "fsGroupPolicy": "File"},
    }
    bed.apply(driver, driver_pod(bed.kubelet, disks, IMAGE))
    bed.ready("csi-driver")

    def is_registered() -> bool:
        return NAME in bed.kubectl("get", "csinode", "-o", "yaml")

    wait_for(is_registered, "registered driver", 30)
    app = pod(
        "app",
        [of_claim("files"), of_claim("raw")],
        volumeMounts=[{"name": "files", "mountPath": "/files"}],
        volumeDevices=[{"name": "raw", "devicePath": "/dev/xvda"}],
    )
    bed.apply(
        volume("files", **csi("vol-1")),
        volume("raw", "Block", **csi("vol-2")),
        claim("files"),
        claim("raw", "Block"),
        app,
    )
    bed.ready("app")
    script = (
        "echo hello > /files/file; printf kept | dd of=/dev/xvda bs=512 conv=notrunc,fsync; "
        "head -c 4 /dev/xvda"
    )
    assert "kept" in bed.kubectl("exec", "app", "--", "sh", "-c", script)
    assert (disks / "vol-1/file").read_text() == "hello\n"
    assert (disks / "vol-2.img").read_bytes()[:4] == b"kept"


def test_2_the_node_tells_how_full_the_volume_of_a_driver_is(bed: Bed) -> None:
    node = bed.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    raw = bed.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary")
    (app,) = [one for one in json.loads(raw)["pods"] if one["podRef"]["name"] == "app"]
    found = {one["name"]: one for one in app["volume"]}
    assert found["files"]["pvcRef"] == {"name": "files", "namespace": "default"}
    assert found["files"]["capacityBytes"] > found["files"]["availableBytes"] > 0


def test_3_the_driver_comes_back_under_a_running_pod_and_all_is_undone(bed: Bed) -> None:
    disks = bed.disks
    bed.remove("pod/csi-driver")
    assert bed.kubectl("exec", "app", "--", "cat", "/files/file") == "hello\n"
    bed.apply(driver_pod(bed.kubelet, disks, IMAGE))
    bed.ready("csi-driver")
    bed.server.stop()
    bed.server.start()

    def is_kept() -> bool:
        look = ("exec", "app", "--", "head", "-c", "4", "/dev/xvda")
        return bed.kubectl(*look, check=False) == "kept"

    wait_for(is_kept, "the same device", 30)
    bed.remove("pod/app")

    def is_undone() -> bool:
        return bed.logs().split().count("NodeUnstageVolume") == 2

    wait_for(is_undone, "unstaged volumes", 30)
    names = bed.logs().split()
    assert sorted(names) == ["NodeUnpublishVolume"] * 2 + ["NodeUnstageVolume"] * 2
    left = [str(path) for path in mounts_below(bed.agent) if "kubernetes.io" in str(path)]
    assert [path for path in left if "csi" in path] == []

    def is_detached() -> bool:  # the driver tells of a call before it has done it
        return bed.mark not in {one.mark for one in attached()}

    wait_for(is_detached, "detached device", 30)
    assert (disks / "vol-1/file").read_text() == "hello\n"
    bed.remove("pod/csi-driver")


def test_4_a_file_is_a_device_of_its_pod(bed: Bed) -> None:
    disk = bed.folder / "disk.img"
    disk.write_bytes(b"seen".ljust(1 << 20, b"."))
    node = bed.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    local = {"local": {"path": str(disk)}, "nodeAffinity": affinity}
    devices = [{"name": "disk", "devicePath": "/dev/xvda"}]
    bed.apply(
        volume("disk", "Block", **local),
        claim("disk", "Block"),
        pod("disk", [of_claim("disk")], volumeDevices=devices),
    )
    bed.ready("disk")
    script = (
        "head -c 4 /dev/xvda; printf kept | dd of=/dev/xvda bs=512 conv=notrunc,fsync 2>/dev/null"
    )
    assert bed.kubectl("exec", "disk", "--", "sh", "-c", script) == "seen"
    assert disk.read_bytes()[:4] == b"kept"
    state = disk.stat()
    identity = (state.st_dev, state.st_ino)
    assert [one.mark[:9] for one in attached() if one.file == identity] == ["kubelite-"]
    bed.remove("pod/disk")
    wait_for(lambda: identity not in {one.file for one in attached()}, "detached device", 30)


def test_5_an_ephemeral_volume_lives_as_long_as_its_pod(bed: Bed) -> None:
    template = {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
        }
    }
    source = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}
    mounts = [{"name": "scratch", "mountPath": "/scratch"}]
    bed.apply(pod("scratch", [source], volumeMounts=mounts))
    bed.ready("scratch")
    bed.kubectl("exec", "scratch", "--", "sh", "-c", "echo x > /scratch/file")
    owner = "jsonpath={.metadata.ownerReferences[0].name}/{.spec.storageClassName}"
    assert bed.kubectl("get", "pvc", "scratch-scratch", "-o", owner) == "scratch/local-path"
    storage = bed.folder / "data" / "storage"
    (folder,) = storage.iterdir()
    assert (folder / "file").read_text() == "x\n"
    bed.remove("pod/scratch")
    wait_for(lambda: not list(storage.iterdir()), "removed folder", 60)
    assert "scratch" not in bed.kubectl("get", "pvc", check=False)
    assert "scratch" not in bed.kubectl("get", "pv", check=False)
