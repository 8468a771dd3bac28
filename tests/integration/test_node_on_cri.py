"""A whole cluster on hosts that have containerd or CRI-O and no Docker: found without a flag, and left as it was."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from testbed.bed import Bed
from testbed.cluster import Cluster, deployment, pod_on, service
from testbed.waiting import wait_for

from integration.beds import bed_of_one, needs_bed, no_traceback, with_crio

pytestmark = needs_bed
IMAGE = "kubelite.local/hello:1"


class OneHost:
    """A server on one host, and kubectl there."""

    def __init__(self, bed: Bed, engine: str) -> None:
        self.name = engine
        self.host = bed["alpha"]
        self.engine = self.host.engine_kind
        self.cluster = Cluster(bed, "alpha")

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        config = f"--kubeconfig={self.host.kubeconfig}"
        return self.host.run("kubectl", config, *arguments, check=check)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def running(self) -> set[str]:
        """Return the ids of what runs for pods, sandboxes and containers."""
        return set(self.engine.running(self.host))


@pytest.fixture(scope="module", params=["containerd", with_crio])
def one(request: pytest.FixtureRequest) -> Iterator[OneHost]:
    with bed_of_one(request.param) as bed:
        yield OneHost(bed, request.param)
        no_traceback(bed)


def test_1_the_engine_is_found_and_pods_run(one: OneHost) -> None:
    one.cluster.apply(deployment("web", 3, is_spread=False), service("web"))
    one.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    [node] = one.get("nodes")["items"]
    version = node["status"]["nodeInfo"]["containerRuntimeVersion"]
    scheme = {"containerd": "containerd", "crio": "cri-o"}[one.name]
    assert version.startswith(f"{scheme}://")
    for pod in one.get("pods")["items"]:
        assert pod["status"]["containerStatuses"][0]["containerID"].startswith(f"{scheme}://")


def test_2_pods_answer_at_their_addresses_and_their_service(one: OneHost) -> None:
    [address] = {item["spec"]["clusterIP"] for item in [one.get("service", "web")]}
    names = {pod["metadata"]["name"] for pod in one.get("pods")["items"]}

    def answered() -> bool:
        said = one.host.run("curl", "-s", "-m2", f"http://{address}:80", check=False)
        return any(name in said for name in names)

    wait_for(answered, "answer of the service", 20)
    for pod in one.get("pods")["items"]:
        said = one.host.run("curl", "-s", "-m2", f"http://{pod['status']['podIP']}:8080")
        assert pod["metadata"]["name"] in said


def test_3_logs_exec_and_usage(one: OneHost) -> None:
    [pod, *_] = one.get("pods")["items"]
    name = pod["metadata"]["name"]
    assert "answers on port 8080" in one.kubectl("logs", name)
    assert one.kubectl("exec", name, "--", "/bin/sh", "-c", "echo out; exit 0").strip() == "out"
    failed = one.kubectl("exec", name, "--", "/bin/sh", "-c", "exit 7", check=False)
    assert "exit code 7" in failed
    wait_for(lambda: name in one.kubectl("top", "pod", check=False), "usage of the pod", 40)


def test_4_attach_port_forward_and_logs_that_follow(one: OneHost) -> None:
    [pod, *_] = one.get("pods", "-l", "app=web")["items"]
    name = pod["metadata"]["name"]
    ports = one.host.start("forward", *one.cluster.kubectl_line("port-forward", name, "9000:8080"))
    wait_for(lambda: "Forwarding" in ports.output(), "forwarded port", 20)
    assert name in one.host.run("curl", "-s", "-m2", "http://127.0.0.1:9000")
    ports.stop()
    asks = pod_on("alpha", "asks", "read line; echo got $line; exit 3", restartPolicy="Never")
    asks["spec"]["containers"][0] |= {"stdin": True, "stdinOnce": True}
    one.cluster.apply(asks)
    one.kubectl("wait", "--for=condition=Ready", "pod/asks", "--timeout=60s")
    follows = one.host.start("follows", *one.cluster.kubectl_line("logs", "-f", "asks"))
    one.host.run(*one.cluster.kubectl_line("attach", "-i", "asks"), stdin="word\n")
    assert follows.wait() == 0
    assert follows.output() == "got word\n"
    ended = "--for=jsonpath={.status.containerStatuses[0].state.terminated.exitCode}=3"
    one.kubectl("wait", ended, "pod/asks", "--timeout=30s")
    one.kubectl("delete", "pod/asks")


def test_5_pods_go_on_while_kubelite_and_its_engine_restart(one: OneHost) -> None:
    before = one.running()
    one.host.kubelite.restart()
    one.kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=web", "--timeout=30s")
    assert one.running() == before
    one.host.stop_engine()
    one.host.start_engine()
    one.kubectl("wait", "--for=condition=Ready", "node/alpha", "--timeout=60s")
    assert one.running() == before
    one.kubectl("run", "later", f"--image={IMAGE}", "--restart=Never")
    one.kubectl("wait", "--for=condition=Ready", "pod/later", "--timeout=60s")


def test_6_a_container_that_ends_is_started_again(one: OneHost) -> None:
    [pod, *_] = one.get("pods", "-l", "app=web")["items"]
    name = pod["metadata"]["name"]
    container = pod["status"]["containerStatuses"][0]["containerID"].partition("//")[2]
    one.engine.kill(one.host, container)

    def restarted() -> bool:
        status = one.get("pod", name)["status"]["containerStatuses"][0]
        return bool(status["restartCount"] and status["ready"])

    wait_for(restarted, "restart of the container", 60)


def test_7_what_is_deleted_and_reset_leaves_nothing(one: OneHost) -> None:
    one.kubectl("delete", "deployment/web", "pod/later", "--wait=true", "--timeout=60s")
    wait_for(lambda: not one.running(), "end of all sandboxes", 60)
    assert "@kl" not in one.host.run("ip", "-br", "link", "show", "type", "veth")
    one.kubectl("run", "last", f"--image={IMAGE}", "--restart=Never")
    one.kubectl("wait", "--for=condition=Ready", "pod/last", "--timeout=60s")
    assert one.host.kubelite.stop() == 0
    one.host.run(*one.host.kubelite.program("reset", "--yes"))
    assert not one.engine.left(one.host)
    assert not (one.host.folder / "etc" / "cni" / "net.d" / "10-kubelite.conflist").exists()
