"""Disks without room: that of the data folder, of images and of logs. What needs room says so, the rest goes on."""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from testbed import registry
from testbed.bed import Bed
from testbed.topology import one_link
from testbed.waiting import wait_for

from integration.beds import needs_bed, no_traceback
from integration.trouble_host import TroubleHost, spec

pytestmark = needs_bed
DATA, AGENT, IMAGES, LOGS = (
    "/var/lib/kubelite",
    "/var/lib/kubelite/agent",
    "/var/lib/containerd",
    "/var/log/pods",
)
MIB = {DATA: 64, AGENT: 32, IMAGES: 96, LOGS: 16}
REGISTRY = "127.0.0.1:5000"
BIG, SMALL = f"{REGISTRY}/big:1", f"{REGISTRY}/small:1"
# A threshold of disks would evict pods, which test_pressure shows; here a disk is full at once, or its threshold off.
FLAGS = "--eviction-hard=memory.available<1Mi", "--container-log-max-size=1Mi"
TICKS = "i=0; while true; do i=$((i+1)); echo $i > /memory/ticks; echo tick $i; sleep 0.2; done"


class FullHost(TroubleHost):
    """A host whose disks are small file systems of their own."""

    def fill(self, folder: str) -> None:
        """Leave no free byte."""
        ballast = f"{folder}/ballast"
        script = f"dd if=/dev/zero bs=64k of={ballast} 2>&1; dd if=/dev/zero bs=1 count=5000 >> {ballast}"
        self.host.run("sh", "-c", script, check=False)
        assert self.room(folder) == 0

    def free(self, folder: str) -> None:
        self.host.run("rm", f"{folder}/ballast")

    def room(self, folder: str) -> int:
        return int(self.host.run("sh", "-c", f"df -B1 --output=avail {folder} | tail -n 1"))

    def ticks(self, name: str) -> int:
        def said() -> str:  # nothing right after a restart, and while the pod writes the file
            words = self.kubectl("exec", name, "--", "cat", "/memory/ticks", check=False).split()
            return words[0] if len(words) == 1 and words[0].isdecimal() else ""

        return int(wait_for(said, "tick", 20, self.cluster.describe))

    def goes_on(self, name: str) -> None:
        """Wait until a pod has done more than it had, and check that it is the same one."""
        before = self.ticks(name)
        wait_for(lambda: self.ticks(name) > before + 3, "going on", 20, self.cluster.describe)
        [status] = self.pod(name)["status"]["containerStatuses"]
        assert (status["ready"], status["restartCount"]) == (True, 0)

    def waits(self, name: str, look: Callable[[Any], bool]) -> None:
        def found() -> bool:
            statuses = self.pod(name)["status"].get("containerStatuses", [{}])
            return look(statuses[0].get("state", {}).get("waiting", {}))

        wait_for(found, f"reason of {name}", 60, self.cluster.describe)

    def events(self, name: str) -> str:
        return self.kubectl("get", "events", f"--field-selector=involvedObject.name={name}")


@pytest.fixture(scope="module")
def one() -> Iterator[FullHost]:
    with Bed(one_link("alpha"), engine="containerd") as bed:
        host = bed["alpha"]
        host.stop_engine()
        for folder, size in MIB.items():
            host.run("mkdir", "-p", folder)
            host.run("mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", folder)
        host.run("mkdir", "-p", f"{DATA}/agent/images")
        host.run("cp", str(bed.folder / "hello.tar"), f"{DATA}/agent/images")
        images = "small=1", f"big={MIB[IMAGES] // 2},{MIB[IMAGES] // 2}"
        line = sys.executable, registry.__file__, "5000", str(bed.folder), *images
        serves = host.start("registry", *line)
        wait_for(lambda: "serves" in serves.output(), "registry")
        host.start_engine()
        made = FullHost(bed, "containerd", *FLAGS)
        made.cluster.apply(spec("ticks", script=TICKS))
        made.until_ready("ticks")
        yield made
        no_traceback(bed)


def _small(name: str, image: str) -> dict[str, Any]:
    made = spec(name)
    made["spec"]["containers"][0] |= {"image": image, "imagePullPolicy": "Always"}
    return made


def test_1_an_image_without_room_is_told_and_pulled_once_there_is(one: FullHost) -> None:
    one.cluster.apply(_small("big", BIG))
    one.waits("big", lambda waiting: "no space left on device" in waiting.get("message", ""))
    assert "no space left on device" in one.events("big")
    one.goes_on("ticks")
    one.kubectl("delete", "pod", "big")
    one.cluster.apply(_small("small", SMALL))
    one.until_ready("small")  # nothing of the failed pull takes the room


def test_2_a_full_image_folder_stops_nothing_that_runs(one: FullHost) -> None:
    one.kubectl("delete", "pod", "small")
    one.fill(IMAGES)
    one.cluster.apply(_small("late", SMALL))
    wait_for(lambda: "no space left on device" in one.events("late"), "event")
    one.goes_on("ticks")
    one.free(IMAGES)
    one.until_ready("late")
    one.kubectl("delete", "pod", "late")


def test_3_a_full_log_folder_stops_neither_containers_nor_the_node(one: FullHost) -> None:
    one.fill(LOGS)
    one.goes_on("ticks")
    one.kubectl("logs", "ticks", "--tail=1")
    one.cluster.apply(spec("quiet"))
    one.goes_on("ticks")
    one.free(LOGS)
    one.until_ready("quiet")
    last = one.ticks("ticks")
    wait_for(lambda: f"tick {last}" in one.kubectl("logs", "ticks") or None, "output again")
    one.kubectl("delete", "pod", "quiet")


def test_4_a_full_data_folder_of_a_node_delays_pods_and_stops_none(one: FullHost) -> None:
    settings = {"a": "b" * 100_000}
    one.cluster.apply(_config_map("settings", settings))
    mounted = spec("mounted")
    mounted["spec"]["volumes"].append({"name": "settings", "configMap": {"name": "settings"}})
    mounted["spec"]["containers"][0]["volumeMounts"].append({"name": "settings", "mountPath": "/s"})
    one.fill(AGENT)
    one.cluster.apply(mounted)
    wait_for(lambda: "No space left on device" in one.events("mounted"), "event", 30)
    one.goes_on("ticks")
    one.kubelite.restart()
    one.goes_on("ticks")
    one.free(AGENT)
    one.until_ready("mounted")
    one.kubectl("delete", "pod", "mounted")


def _config_map(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


def test_5_a_full_data_folder_refuses_writes_until_there_is_room(one: FullHost) -> None:
    one.fill(DATA)
    large = json.dumps(_config_map("large", {"a": "b" * 900_000}))
    said = one.kubectl("create", "-f", "-", stdin=large, check=False)
    assert "the store cannot write: No space left on device" in said
    assert one.pod("ticks")["status"]["phase"] == "Running"
    one.goes_on("ticks")
    one.free(DATA)
    one.kubectl("create", "-f", "-", stdin=large)
    one.cluster.apply(spec("after"))
    one.until_ready("after")
    [node] = one.get("nodes")["items"]
    assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"] == "True"
    one.goes_on("ticks")
