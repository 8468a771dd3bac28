"""The story of a new user: `kubectl apply -f examples/hello`, and everything one then does, on one real node."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed.hosts import ADDRESS, Host, Server, missing_tools
from testbed.waiting import wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip")
URL = f"http://{ADDRESS}:30080/"

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-story-"))
    host = Host("kubelite-story", folder)
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


def _pods(server: Server) -> dict[str, dict[str, str]]:
    """Return what tells the pods of `hello` that are not going apart, by uid."""
    listed: dict[str, Any] = json.loads(
        server.kubectl("get", "pods", "-l", "app=hello", "-o", "json")
    )
    return {
        item["metadata"]["uid"]: {
            "name": item["metadata"]["name"],
            "phase": item["status"].get("phase", ""),
            "ip": item["status"].get("podIP", ""),
            "image": item["spec"]["containers"][0]["image"],
            "restarts": str(
                [status["restartCount"] for status in item["status"].get("containerStatuses", [])]
            ),
        }
        for item in listed["items"]
        if "deletionTimestamp" not in item["metadata"]
    }


def _values(server: Server, field: str) -> list[str]:
    return [pod[field] for pod in _pods(server).values()]


def _ask(server: Server, url: str) -> str:
    assert server.host is not None
    return server.host.run("curl", "-sS", "--max-time", "5", url, check=False).strip()


def _answers(server: Server, url: str, number: int = 40) -> set[str]:
    return {_ask(server, url) for _ in range(number)}


def _cluster_ip(server: Server) -> str:
    return server.kubectl("get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}")


def test_1_apply_brings_three_answering_pods(server: Server) -> None:
    server.kubectl("apply", "-f", str(EXAMPLE))
    wait_for(lambda: _ask(server, URL), "answer", 30)
    server.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    assert _values(server, "phase") == ["Running"] * 3
    addresses = _values(server, "ip")
    assert all(address.startswith("10.42.") for address in addresses)
    assert len(set(addresses)) == 3
    names = set(_values(server, "name"))
    assert _answers(server, URL) == names
    assert _answers(server, f"http://{_cluster_ip(server)}/") == names
    wide = server.kubectl("get", "pods", "-o", "wide")
    assert wide.count("Running") == 3
    assert "NOMINATED NODE" in wide


def test_2_names_logs_exec_and_describe(server: Server) -> None:
    pod = _values(server, "name")[0]
    found = server.kubectl("exec", pod, "--", "nslookup", "hello.default.svc.cluster.local")
    assert _cluster_ip(server) in found
    assert server.kubectl("exec", pod, "--", "hostname").strip() == pod
    assert server.kubectl("exec", "-i", pod, "--", "cat", stdin="through") == "through"
    failed = server.kubectl("exec", pod, "--", "sh", "-c", "echo bad >&2; exit 7", check=False)
    assert "bad" in failed
    assert "exit code 7" in failed
    assert server.kubectl("logs", pod) != ""
    described = server.kubectl("describe", "pod", pod)
    for words in ("Successfully assigned", "Pulled", "Created", "Started"):
        assert words in described
    assert "KubeletReady" in server.kubectl("describe", "node")


def test_3_scale_and_self_healing(server: Server) -> None:
    server.kubectl("scale", "deployment/hello", "--replicas=5")
    server.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    assert len(_pods(server)) == 5
    server.kubectl("scale", "deployment/hello", "--replicas=3")
    wait_for(lambda: len(_pods(server)) == 3, "three pods", 60)
    uid, victim = next(iter(_pods(server).items()))
    server.kubectl("delete", "pod", victim["name"], "--wait=false")

    def replaced() -> bool:
        pods = _pods(server)
        return uid not in pods and [pod["phase"] for pod in pods.values()] == ["Running"] * 3

    wait_for(replaced, "replacement", 60)


def test_4_roll_out_and_back(server: Server) -> None:
    assert server.host is not None
    [before] = set(_values(server, "image"))
    after = "kubelite.local/hello:2"
    server.host.docker("tag", before, after)
    server.kubectl("set", "image", "deployment/hello", f"hello={after}")
    server.kubectl("rollout", "status", "deployment/hello", "--timeout=90s")
    wait_for(lambda: set(_values(server, "image")) == {after}, "new image", 60)
    assert "2 " in server.kubectl("rollout", "history", "deployment/hello")
    server.kubectl("rollout", "undo", "deployment/hello")
    server.kubectl("rollout", "status", "deployment/hello", "--timeout=90s")
    wait_for(lambda: set(_values(server, "image")) == {before}, "old image", 60)


def test_4_and_an_ingress_leads_to_them(server: Server) -> None:
    host = server.host
    assert host is not None
    refused = _ask(server, "http://127.0.0.1/")
    assert "Connection refused" in refused or not refused
    server.kubectl("create", "ingress", "hello", "--rule=hello.test/*=hello:http")
    by_host = ("curl", "-sS", "--max-time", "5", "-H", "Host: hello.test", "http://127.0.0.1/")
    names = set(_values(server, "name"))
    wait_for(lambda: host.run(*by_host, check=False).strip() in names, "answer", 30)
    shown = server.kubectl("get", "ingress", "hello")
    assert ADDRESS in shown
    assert "kubelite" in shown
    server.kubectl("rollout", "restart", "deployment/hello")
    answers = {host.run(*by_host, check=False).strip() for _ in range(60)}
    server.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    assert all(answer.startswith("hello-") for answer in answers), answers
    server.kubectl("delete", "ingress", "hello")
    wait_for(lambda: not host.run(*by_host, check=False).strip(), "closed port", 30)


def test_5_killed_and_started_again_nothing_is_lost(server: Server) -> None:
    assert server.host is not None
    wait_for(lambda: _values(server, "phase") == ["Running"] * 3, "three pods", 60)
    pods = _pods(server)

    def running() -> set[str]:
        assert server.host is not None
        return set(server.host.docker("ps", "-q", "--filter", "status=running").split())

    wait_for(lambda: len(running()) == 6, "three pods and their sandboxes", 60)
    containers = running()
    server.kill()
    assert running() == containers
    server.start()
    assert _answers(server, URL) == {pod["name"] for pod in pods.values()}
    assert _pods(server) == pods
    assert running() == containers
    server.kubectl("run", "later", "--image=kubelite.local/hello:1", "--restart=Never")
    wait_for(lambda: "Running" in server.kubectl("get", "pod", "later"), "new pod", 30)
    server.kubectl("delete", "pod", "later", "--grace-period=1")


def test_6_wrong_input_is_answered_with_every_cause(server: Server) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "Bad_Name"},
        "spec": {"containers": [{"name": "a", "image": ""}, {"name": "a", "image": "x"}]},
    }
    refused = server.kubectl("create", "-f", "-", stdin=json.dumps(pod), check=False)
    assert 'The Pod "Bad_Name" is invalid' in refused
    assert "metadata.name" in refused
    assert "spec.containers[0].image: Required value" in refused
    assert 'spec.containers[1].name: Duplicate value: "a"' in refused


def test_7_delete_removes_everything(server: Server) -> None:
    assert server.host is not None
    host = server.host
    server.kubectl("delete", "-f", str(EXAMPLE), "--wait=true")
    wait_for(lambda: not _pods(server), "empty list", 60)
    wait_for(lambda: not host.docker("ps", "-aq").strip(), "engine without containers", 60)
    assert "30080" not in host.run("nft", "list", "ruleset")


def test_8_stops_within_five_seconds(server: Server) -> None:
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 5
    server.start()
