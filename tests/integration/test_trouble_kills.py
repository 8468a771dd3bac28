"""kubelite is killed at each step of starting and stopping a pod, on real engines, with its real network and mounts."""

import json
from collections.abc import Iterator

import pytest

from integration.beds import bed_of_one, needs_bed, no_traceback, with_crio
from integration.trouble_host import IMAGE, TroubleHost, spec

pytestmark = needs_bed
# In the order in which they come, so that one pod is enough for all. An engine with the Container Runtime Interface has
# the pod connected while it makes the sandbox.
STARTS = {
    "cri": (
        "status._write before",
        "volumes.set_up after",
        "runtime.run_sandbox before",
        "network._set_up_pod_end after",
        "network.attach after",
        "runtime.run_sandbox after",
        "runtime.create after",
        "runtime.start after",
    ),
    "docker": (
        "runtime.run_sandbox before",
        "runtime._create_sandbox after",
        "runtime.run_sandbox after",
        "network._set_up_pod_end after",
        "runtime.create after",
        "runtime.start after",
    ),
}
STOPS = {
    "cri": (
        "runtime.signal after",
        "runtime.remove after",
        "network.detach after",
        "volumes.tear_down before",
        "volumes.tear_down after",
    ),
    "docker": ("runtime.signal after", "runtime.remove after", "volumes.tear_down before"),
}


@pytest.fixture(scope="module", params=["containerd", "docker", with_crio])
def one(request: pytest.FixtureRequest) -> Iterator[TroubleHost]:
    with bed_of_one(request.param) as bed:
        yield TroubleHost(bed, request.param)
        no_traceback(bed)


def _kill_at_each(one: TroubleHost, calls: tuple[str, ...]) -> None:
    """Kill kubelite at the first call, and each that is started then at the next one."""
    one.kubelite.until_dead()
    for call in calls[1:]:
        one.kubelite.die_at(call)
        one.kubelite.begin()
        one.kubelite.until_dead()
    one.restart()


def test_1_a_pod_whose_start_is_cut_off_everywhere_runs_once(one: TroubleHost) -> None:
    one.cluster.apply(spec("other"))
    one.until_ready("other")
    one.kubelite.kill()
    one.restart()
    one.kubelite.die_at(STARTS[one.api][0])
    # It may die before it answers; the pod is stored all the same, or nothing would make it die.
    one.kubectl("create", "-f", "-", stdin=json.dumps(spec("pod")), check=False)
    _kill_at_each(one, STARTS[one.api])
    one.until_ready("pod", "other")
    pod, other = one.pod("pod"), one.pod("other")
    [status] = pod["status"]["containerStatuses"]
    assert status["restartCount"] == 0
    assert one.containers() == {"POD": 2, "app": 2}
    assert len(one.links()) == 2
    assert pod["status"]["podIP"] != other["status"]["podIP"]
    for one_pod in (pod, other):
        mounts = one.mounts(one_pod["metadata"]["uid"])
        assert len(mounts) == len(set(mounts)) == 2  # and that of its token
        address = one_pod["status"]["podIP"]
        assert one_pod["metadata"]["name"] in one.cluster.ask(one.host, address)


def test_2_a_pod_whose_end_is_cut_off_everywhere_is_gone(one: TroubleHost) -> None:
    pod = one.pod("pod")
    one.kubelite.die_at(STOPS[one.api][0])
    one.kubectl("delete", "pod", "pod", "--wait=false")
    _kill_at_each(one, STOPS[one.api])
    one.until_gone("pod")
    assert one.containers() == {"POD": 1, "app": 1}
    assert len(one.left_containers()) == 2
    assert len(one.links()) == 1
    assert one.mounts(pod["metadata"]["uid"]) == []
    assert one.rules_with(pod["status"]["podIP"]) == []
    assert one.pod_folders() == [one.pod("other")["metadata"]["uid"]]


def test_3_a_reset_leaves_nothing(one: TroubleHost) -> None:
    one.kubectl("run", "last", f"--image={IMAGE}", "--restart=Never")
    one.until_ready("last")
    one.kubelite.kill()
    one.host.run(*one.kubelite.program("reset", "--yes"))
    assert one.left_containers() == []
    assert one.links() == []
