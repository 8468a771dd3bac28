"""An agent behind translation, far away on a poor line: nobody can call it, and all that kubectl does works."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed.api import Object
from testbed.bed import Bed
from testbed.cluster import PORT, Cluster, pod_on
from testbed.processes import Process
from testbed.topology import HOME, LAN, spread
from testbed.waiting import wait_for

from integration.beds import needs_bed, no_traceback

pytestmark = needs_bed

DELAY_SECONDS = 0.02  # each way
COUNTER = (
    "trap 'exit 0' TERM; echo begun; n=0; while read line; do echo heard $line; done;"
    " while true; do n=$((n+1)); echo line $n; sleep 0.1; done"
)
TALKER = "trap 'exit 0' TERM; n=0; while true; do n=$((n+1)); echo line $n; sleep 0.1; done"
SERVER = "mkdir -p /www; hostname >/www/index.html; exec httpd -f -p 8080 -h /www"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Bed(spread(alpha=LAN, beta=HOME, client=LAN)) as bed:
        made = Cluster(bed, "alpha")
        bed.fabric.delay("beta", sent=DELAY_SECONDS, received=DELAY_SECONDS)
        made.join("beta")
        shell = pod_on("beta", "shell", SERVER)
        listener = pod_on("beta", "listener", COUNTER)
        listener["spec"]["containers"][0]["stdin"] = True
        made.apply(shell, listener, pod_on("beta", "talker", TALKER))
        for name in ("shell", "listener", "talker"):
            made.ready_pods(name, 1)
        yield made
        no_traceback(bed)


def client(cluster: Cluster, name: str, *arguments: str) -> Process:
    """Start a kubectl that goes on, on a host that is neither server nor node."""
    machine = cluster.bed["client"]
    return machine.start(name, *cluster.kubectl_line(*arguments, on=machine))


def test_nothing_on_it_listens_towards_the_network(cluster: Cluster) -> None:
    beta = cluster.bed["beta"]
    refused = cluster.bed.fabric.refused("home")
    rows = beta.run("cat", "/proc/net/tcp", only_network=True).splitlines()[1:]
    listening = {row.split()[1] for row in rows if row.split()[3] == "0A"}
    loopback = {row for row in listening if row.startswith("0100007F:")}
    dns = {row for row in listening if row == "0A002B0A:0035"}
    assert listening == loopback | dns, listening
    assert cluster.bed.fabric.refused("home") == refused, "the server tried to call it"


def test_exec_carries_both_directions_and_the_exit_code(cluster: Cluster) -> None:
    kubectl = cluster.kubectl
    assert kubectl("exec", "shell", "--", "hostname").strip() == "shell"
    text = "0123456789" * 200_000
    assert kubectl("exec", "-i", "shell", "--", "cat", stdin=text) == text
    failed = kubectl("exec", "shell", "--", "sh", "-c", "echo bad >&2; exit 7", check=False)
    assert "bad" in failed
    assert "exit code 7" in failed


def test_logs_end_and_follow(cluster: Cluster) -> None:
    assert "line 1\n" in cluster.kubectl("logs", "talker")
    following = client(cluster, "following", "logs", "-f", "--tail=1", "talker")
    wait_for(lambda: following.output().count("line ") >= 20, "twenty lines", 20, following.output)
    following.stop()
    numbers = [int(line.split()[1]) for line in following.output().splitlines()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_reader_that_stops_reading_stalls_nobody(cluster: Cluster) -> None:
    machine = cluster.bed["client"]
    line = cluster.kubectl_line("exec", "shell", "--", "cat", "/dev/zero", on=machine)
    slow = subprocess.Popen(
        machine.command(*line, only_network=True),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=machine.environment(),
    )
    try:
        assert slow.stdout is not None
        assert slow.stdout.read(100_000) == bytes(100_000)  # and then no more
        for _ in range(3):
            assert cluster.kubectl("exec", "shell", "--", "hostname").strip() == "shell"
    finally:
        slow.kill()
        slow.communicate()


def test_copies_go_both_ways(cluster: Cluster, tmp_path: Path) -> None:
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(bytes(range(256)) * 4000)
    cluster.kubectl("cp", str(source), "shell:/tmp/copied")
    cluster.kubectl("cp", "shell:/tmp/copied", str(back))
    assert back.read_bytes() == source.read_bytes()


def test_a_forwarded_port_answers(cluster: Cluster) -> None:
    machine = cluster.bed["client"]
    forward = client(cluster, "forward", "port-forward", "pod/shell", f"9000:{PORT}")
    wait_for(lambda: "Forwarding from" in forward.output(), "forwarded port", 20, forward.output)
    for _ in range(5):
        assert cluster.ask(machine, "127.0.0.1", 9000) == "shell"
    forward.stop()


def test_attach_speaks_with_the_running_process(cluster: Cluster) -> None:
    said = subprocess.Popen(
        cluster.server.command(
            *cluster.kubectl_line("attach", "-i", "-q", "listener"), only_network=True
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=cluster.server.environment(),
    )
    with said:
        assert said.stdin is not None
        assert said.stdout is not None
        said.stdin.write("hello\n")
        said.stdin.flush()
        try:
            for line in said.stdout:
                if "heard hello" in line:
                    break
            else:
                pytest.fail("attach ended without an answer")
        finally:
            said.kill()


def test_metrics_come_through(cluster: Cluster) -> None:
    def summary() -> Object:
        found: Object = json.loads(
            cluster.kubectl("get", "--raw", "/api/v1/nodes/beta/proxy/stats/summary")
        )
        return found

    pods = {pod["podRef"]["name"]: pod for pod in summary()["pods"]}
    assert {"shell", "listener", "talker"} <= set(pods)
    assert pods["talker"]["memory"]["workingSetBytes"] > 0
    resource = cluster.kubectl("get", "--raw", "/api/v1/nodes/beta/proxy/metrics/resource")
    assert 'container_memory_working_set_bytes{container="shell"' in resource


def test_the_api_proxies_to_its_pods(cluster: Cluster) -> None:
    path = f"/api/v1/namespaces/default/pods/shell:{PORT}/proxy/"
    assert cluster.kubectl("get", "--raw", path).strip() == "shell"


def test_streams_come_back_after_the_line_was_cut(cluster: Cluster) -> None:
    cluster.bed.fabric.unplug("beta")
    said = cluster.kubectl(
        "exec", "--request-timeout=3s", "shell", "--", "hostname", check=False, timeout_seconds=60
    )
    assert said.strip() != "shell"
    cluster.bed.fabric.plug("beta")
    wait_for(
        lambda: cluster.kubectl("exec", "shell", "--", "hostname", check=False).strip() == "shell",
        "exec after the cut",
        60,
        cluster.describe,
    )


def test_streams_come_back_after_the_server_was_restarted(cluster: Cluster) -> None:
    cluster.server.kubelite.restart()
    wait_for(
        lambda: cluster.kubectl("exec", "shell", "--", "hostname", check=False).strip() == "shell",
        "exec after the restart",
        30,
        cluster.describe,
    )
    [container] = cluster.pods("shell")[0]["status"]["containerStatuses"]
    assert container["restartCount"] == 0


def test_exec_survives_a_lossy_line(cluster: Cluster) -> None:
    cluster.bed.fabric.lose("beta", sent=0.02, received=0.02)
    text = "0123456789" * 20_000
    for _ in range(3):
        assert cluster.kubectl("exec", "-i", "shell", "--", "cat", stdin=text) == text
    cluster.bed.fabric.lose("beta")
