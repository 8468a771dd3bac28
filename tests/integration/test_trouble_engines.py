"""An engine that is replaced under running pods, or loses what it knew or its images: pods go on or are made anew."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from testbed.waiting import wait_for

from integration.beds import bed_of_one, needs_bed, no_traceback, with_crio
from integration.trouble_host import IMAGE, TroubleHost, spec

pytestmark = needs_bed
DATA = {
    "containerd": ("/var/lib/containerd",),
    "docker": ("/var/lib/docker",),
    "crio": ("/var/lib/containers",),
}
RUN = "/run/containerd", "/run/docker", "/run/crio"


@pytest.fixture(scope="module", params=["containerd", "docker", with_crio])
def one(request: pytest.FixtureRequest) -> Iterator[TroubleHost]:
    with bed_of_one(request.param) as bed:
        made = TroubleHost(bed, request.param)
        made.cluster.apply(spec("pod"))
        made.until_ready("pod")
        yield made
        no_traceback(bed)


def _runs_anew(one: TroubleHost, before: Any) -> None:
    """Wait until the pod runs in other containers, and check that it is there once."""
    former = before["status"]["containerStatuses"][0]["containerID"]

    def is_new() -> bool:
        [status] = one.pod("pod")["status"]["containerStatuses"]
        return bool(status["ready"]) and status["containerID"] != former

    wait_for(is_new, "pod in new containers", 60, one.cluster.describe)
    after = one.pod("pod")
    address = after["status"]["podIP"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "pod" in one.cluster.ask(one.host, address)
    assert one.containers() == {"POD": 1, "app": 1}
    assert len(one.links()) == 1
    mounts = one.mounts(after["metadata"]["uid"])
    assert len(mounts) == len(set(mounts)) == 2
    if (old := before["status"]["podIP"]) != address:
        assert one.rules_with(old) == []


def _wipe(one: TroubleHost, *folders: str) -> None:
    for folder in folders:
        mounts = one.host.run("cat", "/proc/self/mountinfo").splitlines()
        inside = [row.split()[4] for row in mounts if row.split()[4].startswith(f"{folder}/")]
        for mount in reversed(inside):
            one.host.run("umount", "-l", mount, check=False)
        one.host.run("sh", "-c", f"rm -rf {folder}/*")


def _end_containers(one: TroubleHost) -> None:
    one.host.run("pkill", "-KILL", "-f", "containerd-shim|conmon", check=False)
    one.host.run("sh", "-c", "pkill -KILL -x pause; pkill -KILL -f /hello", check=False)


def test_1_an_engine_with_other_folders_has_its_pods_made_anew(one: TroubleHost) -> None:
    before = one.pod("pod")
    one.host.stop_engine()
    _end_containers(one)
    _wipe(one, *DATA[one.engine], *RUN)
    one.host.start_engine()
    _runs_anew(one, before)


def test_2_an_engine_that_lost_what_runs_has_its_pods_made_anew(one: TroubleHost) -> None:
    before = one.pod("pod")
    one.host.stop_engine()
    _wipe(one, *RUN)
    one.host.start_engine()
    _runs_anew(one, before)


def test_3_a_pod_whose_image_vanished_waits_until_it_is_back(one: TroubleHost) -> None:
    one.kubectl("delete", "pod", "pod")
    one.cluster.apply(spec("pod"))  # its first restart has no back-off
    one.until_ready("pod")
    before, ids = one.pod("pod"), _ids(one)
    engine = one.host.engine_kind
    engine.forget(one.host, IMAGE)
    for each in ids:
        engine.kill(one.host, each)
    if one.engine == "containerd":  # the others keep it for their containers, by its id
        _until(one, lambda status: "Pull" in status["state"].get("waiting", {}).get("reason", ""))
        engine.load(one.host, one.host.images / "hello.tar")
    _until(one, lambda status: status["ready"] and _ids(one) != ids)
    assert one.pod("pod")["metadata"]["uid"] == before["metadata"]["uid"]


def _until(one: TroubleHost, look: Callable[[Any], bool]) -> None:
    def found() -> bool:
        [status] = one.pod("pod")["status"]["containerStatuses"]
        return look(status)

    wait_for(found, "status of the container", 60, one.cluster.describe)


def _ids(one: TroubleHost) -> list[str]:
    statuses = one.pod("pod")["status"]["containerStatuses"]
    return [status["containerID"].partition("//")[2] for status in statuses]


def test_4_a_reset_leaves_nothing(one: TroubleHost) -> None:
    one.kubelite.kill()
    one.host.run(*one.kubelite.program("reset", "--yes"))
    assert one.left_containers() == []
    assert one.links() == []
