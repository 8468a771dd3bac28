"""Devices from a driver's slices to a container: published, allocated, prepared, given back, given to the next pod."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed.api import Object
from testbed.bed import Bed
from testbed.cluster import Cluster, pod_on
from testbed.documents import commands, objects
from testbed.dra_program import DEVICE, DRIVER, POOL
from testbed.topology import one_link
from testbed.waiting import wait_for

from integration.beds import needs_bed

pytestmark = needs_bed
PROGRAM = Path(__file__).parents[1] / "testbed" / "dra_program.py"
GROUP = "resource.k8s.io/v1"
CDI = {
    "cdiVersion": "0.6.0",
    "kind": f"{DRIVER}/x",
    "devices": [{"name": DEVICE, "containerEdits": {"env": [f"GPU={DEVICE}"]}}],
}
SLICE = {
    "apiVersion": GROUP,
    "kind": "ResourceSlice",
    "metadata": {"name": "alpha-gpus"},
    "spec": {
        "driver": DRIVER,
        "nodeName": "alpha",
        "pool": {"name": POOL, "generation": 1, "resourceSliceCount": 1},
        "devices": [{"name": DEVICE, "attributes": {"model": {"string": "a100"}}}],
    },
}
# The class, the template, and what pods say are those of the page for users.
PAGE = "devices.md"
SHOWN = objects(PAGE)
CLASS, TEMPLATE = SHOWN["DeviceClass/gpu"], SHOWN["ResourceClaimTemplate/one-gpu"]


def pod(name: str, example: str = "claim") -> Object:
    """Return a pod that asks for the device as an example of the page does."""
    spec = SHOWN[f"Pod/{example}"]["spec"]
    made = pod_on("alpha", name, **{key: spec[key] for key in spec if key != "containers"})
    made["spec"]["containers"][0]["resources"] = spec["containers"][0]["resources"]
    return made


@pytest.fixture(scope="module", params=["docker", "containerd"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with Bed(one_link("alpha"), engine=request.param) as bed:
        host = bed["alpha"]
        host.run("mkdir", "-p", "/etc/cdi")
        host.run("sh", "-c", f"cat > /etc/cdi/test.json <<'E'\n{json.dumps(CDI)}\nE")
        made = Cluster(bed, "alpha")
        folders = "PYTHONPATH={0}/src:{0}/tests".format(PROGRAM.parents[2])
        kubelet = host.run("readlink", "-f", "/var/lib/kubelet").strip()
        host.start("driver", "env", folders, sys.executable, str(PROGRAM), kubelet)
        made.apply(SLICE, CLASS, TEMPLATE, SHOWN["ResourceQuota/devices"])
        yield made


def claims(cluster: Cluster) -> list[Any]:
    return cluster.api.items(f"/apis/{GROUP}/namespaces/default/resourceclaims")


def test_1_a_pod_gets_the_device_of_its_claim(cluster: Cluster) -> None:
    cluster.apply(pod("first"))
    cluster.ready_pods("first", 1)
    [claim] = claims(cluster)
    [result] = claim["status"]["allocation"]["devices"]["results"]
    assert (result["driver"], result["pool"], result["device"]) == (DRIVER, POOL, DEVICE)
    assert [user["name"] for user in claim["status"]["reservedFor"]] == ["first"]
    assert cluster.kubectl("exec", "first", "--", "/bin/sh", "-c", "echo $GPU").strip() == DEVICE
    assert "allocated,reserved" in cluster.kubectl("get", "resourceclaims")


def test_2_another_waits_until_it_is_free(cluster: Cluster) -> None:
    cluster.apply(pod("second"))

    def refusal() -> str:
        [waiting] = cluster.pods("second")
        conditions = waiting["status"].get("conditions", [])
        return "".join(c.get("message", "") for c in conditions if c["type"] == "PodScheduled")

    said = wait_for(refusal, "condition of the second pod")
    assert "cannot allocate all claims" in said
    cluster.kubectl("delete", "pod", "first", "--wait=false")
    cluster.ready_pods("second", 1)
    assert cluster.kubectl("exec", "second", "--", "/bin/sh", "-c", "echo $GPU").strip() == DEVICE


def test_3_all_is_given_back(cluster: Cluster) -> None:
    cluster.kubectl("delete", "pod", "second", "--wait=false")
    cluster.no_pods("second")
    wait_for(lambda: not claims(cluster), "end of all claims")
    log = cluster.server.logs / "driver.log"
    assert log.read_text() == ""


def test_4_a_pod_gets_the_device_as_an_extended_resource(cluster: Cluster) -> None:
    cluster.apply(pod("third", "count"))
    cluster.ready_pods("third", 1)
    assert cluster.kubectl("exec", "third", "--", "/bin/sh", "-c", "echo $GPU").strip() == DEVICE
    [claim] = claims(cluster)
    [made] = cluster.pods("third")
    named = made["status"]["extendedResourceClaimStatus"]
    assert named["resourceClaimName"] == claim["metadata"]["name"]
    assert claim["metadata"]["name"].startswith("third-extended-resources-")
    hard = cluster.api.get("/api/v1/namespaces/default/resourcequotas/devices")["status"]["used"]
    assert hard == {"gpu.deviceclass.resource.k8s.io/devices": "1", "requests.example.com/gpu": "1"}
    for words in commands(PAGE):
        assert cluster.kubectl(*words)
    # The next has it under the name made of the class, once the first is gone.
    cluster.apply(pod("fourth", "implicit"))
    cluster.kubectl("delete", "pod", "third", "--wait=false")
    cluster.ready_pods("fourth", 1)
    assert cluster.kubectl("exec", "fourth", "--", "/bin/sh", "-c", "echo $GPU").strip() == DEVICE
    cluster.kubectl("delete", "pod", "fourth", "--wait=false")
    wait_for(lambda: not claims(cluster), "end of all claims")
