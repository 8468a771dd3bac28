"""Volumes of the default StorageClass on a real node: data outlives pods and restarts, and goes with its claim."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed.hosts import Host, Server, missing_tools
from testbed.waiting import wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip")
STATEFUL = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsUser: 1000, fsGroup: 2000}
      containers:
      - name: app
        image: kubelite.local/hello:1
        command: [sh, -c, 'while true; do sleep 1; done']
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 1Gi}}
"""
RETAINED = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: kept}
provisioner: kubelite.io/local-path
reclaimPolicy: Retain
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kept}
spec:
  accessModes: [ReadWriteOncePod]
  storageClassName: kept
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Pod
metadata: {name: kept}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: kubelite.local/hello:1
    command: [sh, -c, 'echo kept > /data/file; while true; do sleep 1; done']
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: kept}}]
"""
BLOCK = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: block}
spec:
  accessModes: [ReadWriteOnce]
  volumeMode: Block
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Pod
metadata: {name: block}
spec:
  containers:
  - name: app
    image: kubelite.local/hello:1
    volumeDevices: [{name: data, devicePath: /dev/xvda}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: block}}]
"""

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-storage-"))
    host = Host("kubelite-storage", folder)
    try:
        host.start_engine()
        server = Server(host, folder)
        images = folder / "data" / "agent" / "images"
        images.mkdir(parents=True)
        host.run(sys.executable, str(EXAMPLE / "image.py"), str(images / "hello.tar"))
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        host.close()


def _storage(server: Server) -> Path:
    return server.folder / "data" / "storage"


def _folders(server: Server) -> dict[str, Path]:
    """Return the folders by the names of their claims."""
    return {path.name.split("_")[2]: path for path in _storage(server).iterdir()}


def _volumes(server: Server) -> dict[str, Any]:
    """Return the volumes by the names of their claims."""
    items = json.loads(server.kubectl("get", "pv", "-o", "json"))["items"]
    return {item["spec"]["claimRef"]["name"]: item for item in items}


def _events(server: Server, name: str) -> str:
    return server.kubectl("get", "events", f"--field-selector=involvedObject.name={name}")


def test_1_a_statefulset_has_volumes_of_the_default_class(server: Server) -> None:
    assert "local-path (default)" in server.kubectl("get", "storageclass")
    server.kubectl("apply", "-f", "-", stdin=STATEFUL)
    server.kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    folders, volumes = _folders(server), _volumes(server)
    assert set(folders) == set(volumes) == {"data-db-0", "data-db-1"}
    for claim, volume in volumes.items():
        name = volume["metadata"]["name"]
        assert folders[claim].name == f"{name}_default_{claim}"
        assert volume["spec"]["local"]["path"] == str(folders[claim])
        assert volume["spec"]["storageClassName"] == "local-path"
        state = folders[claim].stat()
        assert (state.st_mode & 0o7777, state.st_gid) == (0o2777, 2000)
    told = _events(server, "data-db-0")
    for reason in ("WaitForFirstConsumer", "Provisioning", "ProvisioningSucceeded"):
        assert reason in told


def test_2_data_outlives_the_pod_and_a_kill_of_the_server(server: Server) -> None:
    server.kubectl("exec", "db-0", "--", "sh", "-c", "echo rows > /data/table")
    assert (_folders(server)["data-db-0"] / "table").read_text() == "rows\n"
    uid = server.kubectl("get", "pod", "db-0", "-o", "jsonpath={.metadata.uid}")
    server.kubectl("delete", "pod", "db-0", "--wait=false")
    server.kill()
    server.start()

    def is_new() -> bool:
        found = server.kubectl("get", "pod", "db-0", "-o", "jsonpath={.metadata.uid}", check=False)
        return len(found) == len(uid) and found != uid

    wait_for(is_new, "another db-0", 60)
    server.kubectl("rollout", "status", "statefulset/db", "--timeout=90s")
    assert server.kubectl("exec", "db-0", "--", "cat", "/data/table") == "rows\n"


def test_3_a_claim_grows(server: Server) -> None:
    request = '{"spec":{"resources":{"requests":{"storage":"3Gi"}}}}'
    server.kubectl("patch", "pvc", "data-db-0", "-p", request)
    capacity = "--for=jsonpath={.status.capacity.storage}=3Gi"
    server.kubectl("wait", "pvc/data-db-0", capacity, "--timeout=30s")
    assert _volumes(server)["data-db-0"]["spec"]["capacity"] == {"storage": "3Gi"}


def test_4_folder_and_volume_go_with_the_claim(server: Server) -> None:
    outside = server.folder / "outside"
    outside.mkdir()
    (outside / "file").write_text("not a volume's")
    (_folders(server)["data-db-1"] / "link").symlink_to(outside)
    disk = _folders(server)["data-db-0"] / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(disk)], check=True)
    try:
        (disk / "precious").write_text("of somebody else")
        server.kubectl("delete", "statefulset", "db")
        server.kubectl("wait", "pod/db-0", "pod/db-1", "--for=delete", "--timeout=60s", check=False)
        server.kubectl("delete", "pvc", "--all", "--timeout=60s")
        wait_for(lambda: "data-db-1" not in _volumes(server), "volume of db-1 gone", 60)
        assert set(_folders(server)) == {"data-db-0"}
        assert (outside / "file").read_text() == "not a volume's"
        name = _volumes(server)["data-db-0"]["metadata"]["name"]
        wait_for(lambda: "VolumeFailedDelete" in _events(server, name), "event", 60)
        assert (disk / "precious").read_text() == "of somebody else"
        assert (disk.parent / "table").read_text() == "rows\n"
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    wait_for(lambda: not _volumes(server), "volume of db-0 gone", 120)
    assert _folders(server) == {}


def test_5_retained_data_stays(server: Server) -> None:
    server.kubectl("apply", "-f", "-", stdin=RETAINED)
    server.kubectl("wait", "pod/kept", "--for=condition=Ready", "--timeout=60s")
    wait_for((_folders(server)["kept"] / "file").exists, "file", 30)
    server.kubectl("delete", "pod/kept", "pvc/kept", "--timeout=60s")
    wait_for(lambda: _volumes(server)["kept"]["status"]["phase"] == "Released", "release", 30)
    server.kubectl("delete", "pv", _volumes(server)["kept"]["metadata"]["name"], "--timeout=30s")
    assert (_folders(server)["kept"] / "file").read_text() == "kept\n"


def test_6_a_block_device_is_refused_in_clear_words(server: Server) -> None:
    server.kubectl("apply", "-f", "-", stdin=BLOCK)
    told = "volumeMode Block is not supported: a folder is no block device"
    wait_for(lambda: told in _events(server, "block"), "event", 60)
    server.kubectl("delete", "pod/block", "pvc/block", "--timeout=60s")


def test_7_a_volume_that_names_another_folder_makes_the_node_remove_nothing(
    server: Server,
) -> None:
    victim = server.folder / "victim"
    victim.mkdir()
    (victim / "file").write_text("safe")
    node = server.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    item = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": "hostile",
            "labels": {"kubelite.io/node": node},
            "annotations": {"pv.kubernetes.io/provisioned-by": "kubelite.io/local-path"},
        },
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {"namespace": "default", "name": "none", "uid": "none"},
            "local": {"path": str(victim)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
    server.kubectl("create", "-f", "-", stdin=json.dumps(item))
    told = f"path {victim} is not the folder"
    wait_for(lambda: told in _events(server, "hostile"), "event", 60)
    assert (victim / "file").read_text() == "safe"
