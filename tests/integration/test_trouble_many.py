"""As many pods as a node takes, all at once: all become ready, all go, and nothing of them is left."""

import os
from collections.abc import Iterator

import pytest
from testbed.cluster import deployment
from testbed.waiting import wait_for

from integration.beds import bed_of_one, needs_bed, no_traceback, with_crio
from integration.trouble_host import TroubleHost

pytestmark = needs_bed
PODS = 60 if os.environ.get("CI") else 110  # the default of --max-pods takes 40 s
READY_SECONDS = 200.0


@pytest.fixture(scope="module", params=["containerd", with_crio])
def one(request: pytest.FixtureRequest) -> Iterator[TroubleHost]:
    with bed_of_one(request.param) as bed:
        yield TroubleHost(bed, request.param, f"--max-pods={PODS}")
        no_traceback(bed)


def test_1_all_pods_that_a_node_takes_are_ready_once_each(one: TroubleHost) -> None:
    many = deployment("many", PODS, is_spread=False, terminationGracePeriodSeconds=1)
    one.cluster.apply(many)
    pods = one.cluster.ready_pods("many", PODS, READY_SECONDS)
    assert one.containers() == {"POD": PODS, "hello": PODS}
    assert len(one.links()) == PODS
    assert len({pod["status"]["podIP"] for pod in pods}) == PODS
    assert sum(one.cluster.restarts().values()) == 0


def test_2_one_more_pod_finds_no_room(one: TroubleHost) -> None:
    one.cluster.apply(deployment("more", 1, is_spread=False))

    def refused() -> bool:
        [pod] = one.cluster.pods("more")
        conditions = pod["status"].get("conditions", [])
        return any("Too many pods" in each.get("message", "") for each in conditions)

    wait_for(refused, "refusal of one more pod")
    one.kubectl("delete", "deployment/more")


def test_3_nothing_is_left_of_them(one: TroubleHost) -> None:
    one.kubectl("delete", "deployment/many", "--wait=true")
    one.cluster.no_pods("many", READY_SECONDS)
    assert one.containers() == {}
    assert one.left_containers() == []
    assert one.links() == []
    assert one.pod_folders() == []
