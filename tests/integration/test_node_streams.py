"""Logs, exec, attach, cp and port-forward by a stock kubectl, over WebSocket and over SPDY."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from testbed.hosts import Host, Server, missing_tools
from testbed.waiting import wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip")
POD = """
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: kubelite.local/hello:1
    imagePullPolicy: IfNotPresent
    stdin: true
    command:
    - sh
    - -c
    - |
      hostname > /index.html
      httpd -p 127.0.0.1:8080 -h /
      echo ready
      while read line; do echo got $line; done
"""
SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}
WEBSOCKET: dict[str, str] = {}

pytestmark = [
    pytest.mark.docker,
    pytest.mark.kubectl,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-streams-"))
    host = Host("kubelite-streams", folder)
    try:
        host.start_engine()
        server = Server(host, folder)
        images = folder / "data" / "agent" / "images"
        images.mkdir(parents=True)
        host.run("python3", str(EXAMPLE / "image.py"), str(images / "hello.tar"))
        server.start()
        try:
            # The first token of a namespace's account may come a moment after the server is ready.
            wait_for(
                lambda: "created" in server.kubectl("create", "-f", "-", stdin=POD, check=False),
                "pod",
            )
            server.kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=60s")
            yield server
        finally:
            server.stop()
    finally:
        host.close()


def run(
    server: Server, *arguments: str, stdin: bytes = b"", variables: dict[str, str]
) -> subprocess.CompletedProcess[bytes]:
    assert server.host is not None
    line = server.host.command("kubectl", f"--kubeconfig={server.kubeconfig}", *arguments)
    return subprocess.run(
        line, input=stdin, capture_output=True, timeout=60, env={**os.environ, **variables}
    )


@pytest.mark.parametrize("variables", [WEBSOCKET, SPDY], ids=["websocket", "spdy"])
def test_exec_carries_streams_and_the_exit_code(server: Server, variables: dict[str, str]) -> None:
    done = run(
        server, "exec", "-i", "talker", "--", "sh", "-c", "cat; echo oops >&2; exit 3",
        stdin=b"given", variables=variables,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stdout == b"given"
    assert done.stderr.startswith(b"oops\n")


@pytest.mark.parametrize("variables", [WEBSOCKET, SPDY], ids=["websocket", "spdy"])
def test_megabytes_arrive_unchanged_both_ways(server: Server, variables: dict[str, str]) -> None:
    data = os.urandom(8 << 20)
    done = run(server, "exec", "-i", "talker", "--", "cat", stdin=data, variables=variables)
    assert done.returncode == 0
    assert done.stdout == data


def _log_with(server: Server, word: str) -> str:
    text = server.kubectl("logs", "talker")
    return text if word in text else ""


def test_logs_show_what_was_attached(server: Server) -> None:
    run(server, "attach", "-i", "talker", stdin=b"hello\n", variables=WEBSOCKET)
    log = wait_for(lambda: _log_with(server, "got"), "attached line in the log")
    assert log.splitlines()[:2] == ["ready", "got hello"]
    tail = server.kubectl("logs", "talker", "--tail=1", "--timestamps")
    assert tail.split()[1:] == ["got", "hello"]


FLOOD = """
apiVersion: v1
kind: Pod
metadata: {name: flood}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: OnFailure
  containers:
  - name: app
    image: kubelite.local/hello:1
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "yes 0123456789abcdef0123456789abcdef | head -n 4000000; echo last; exit 1"]
"""
WRITTEN_BYTES = 4_000_000 * 33 + 5
KEPT_BYTES = 5 * 10 * 1024 * 1024  # of the engine's files, in which a line of 33 bytes has 110


def test_a_container_that_writes_much_keeps_little_and_is_read_once_it_has_ended(
    server: Server,
) -> None:
    server.kubectl("create", "-f", "-", stdin=FLOOD)
    wait_for(
        lambda: "CrashLoopBackOff" in server.kubectl("get", "pod", "flood"), "end of flood", 120
    )
    for options in ([], ["--previous"]):
        assert server.kubectl("logs", "flood", "--tail=1", *options) == "last\n"
    whole = server.kubectl("logs", "flood")
    assert WRITTEN_BYTES > 2 * KEPT_BYTES > 20 * 1024 * 1024
    assert KEPT_BYTES // 8 < len(whole) < KEPT_BYTES
    assert whole.endswith("last\n")
    assert server.kubectl("logs", "flood", "--limit-bytes=10") == whole[:10]
    server.kubectl("delete", "pod", "flood")


@pytest.mark.parametrize("variables", [WEBSOCKET, SPDY], ids=["websocket", "spdy"])
def test_a_forwarded_port_reaches_a_server_on_loopback(
    server: Server, variables: dict[str, str]
) -> None:
    assert server.host is not None
    line = server.host.command(
        "kubectl", f"--kubeconfig={server.kubeconfig}", "port-forward", "pod/talker", "18080:8080"
    )
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, env={**os.environ, **variables}
    ) as forwarding:
        try:
            assert forwarding.stdout is not None
            assert b"18080 -> 8080" in forwarding.stdout.readline()
            for _ in range(3):
                found = server.host.run("curl", "-s", "http://127.0.0.1:18080/index.html")
                assert found == "talker\n"
        finally:
            forwarding.terminate()


BUSY = [sys.executable, "-c", "while True: pass"]
ROUNDS, AT_ONCE = 16, 4


def test_a_pod_that_ends_as_it_is_attached_never_hangs_its_client(server: Server) -> None:
    """`kubectl run -i` attaches just when the container ends: what it prints and returns is right all the same."""
    burning = [subprocess.Popen(BUSY) for _ in range(2 * (os.cpu_count() or 1))]

    def round_of(number: int) -> subprocess.CompletedProcess[bytes]:
        line = ["run", f"short-{number}", "-i", "--rm", "--restart=Never", "--quiet"]
        line += [
            "--image=kubelite.local/hello:1",
            "--image-pull-policy=IfNotPresent",
            "--command",
            "--",
        ]
        return run(server, *line, "sh", "-c", "sleep 0.1; echo said; exit 5", variables=WEBSOCKET)

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            rounds = list(pool.map(round_of, range(ROUNDS)))
    finally:
        for process in burning:
            process.kill()
            process.wait()
    assert [done.returncode for done in rounds] == [5] * ROUNDS, [done.stderr for done in rounds]
    # One that attached between its last words and its end has nothing to print, as on any cluster.
    assert {done.stdout for done in rounds} <= {b"said\n", b""}


def test_a_client_that_leaves_during_output_is_no_error(server: Server) -> None:
    assert server.host is not None
    for variables in (WEBSOCKET, SPDY):
        line = server.host.command("kubectl", f"--kubeconfig={server.kubeconfig}", "exec", "talker")
        with subprocess.Popen(
            [*line, "--", "yes"], stdout=subprocess.PIPE, env={**os.environ, **variables}
        ) as talking:
            assert talking.stdout is not None
            assert len(talking.stdout.read(1 << 20)) == 1 << 20
            talking.kill()
    assert run(server, "exec", "talker", "--", "true", variables=WEBSOCKET).returncode == 0
    assert "Traceback" not in server.log.read_text()
    assert "ERROR" not in server.log.read_text()


def test_a_forwarded_port_ends_with_its_pod(server: Server) -> None:
    assert server.host is not None
    server.kubectl("create", "-f", "-", stdin=POD.replace("talker", "goes"))
    server.kubectl("wait", "--for=condition=Ready", "pod/goes", "--timeout=60s")
    line = server.host.command(
        "kubectl", f"--kubeconfig={server.kubeconfig}", "port-forward", "pod/goes", "18081:8080"
    )
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as forwarding:
        try:
            assert forwarding.stdout is not None
            assert b"18081 -> 8080" in forwarding.stdout.readline()
            server.kubectl("delete", "pod", "goes", "--grace-period=1")
            assert forwarding.wait(30) == 1
            assert forwarding.stderr is not None
            assert b"lost connection to pod" in forwarding.stderr.read()
        finally:
            forwarding.kill()


@pytest.mark.parametrize("variables", [WEBSOCKET, SPDY], ids=["websocket", "spdy"])
def test_input_that_no_process_reads_does_not_keep_the_server(
    server: Server, variables: dict[str, str]
) -> None:
    """Last of all: the server is stopped, with a hundred megabytes on their way, and started again."""
    assert server.host is not None
    line = server.host.command("kubectl", f"--kubeconfig={server.kubeconfig}", "exec", "-i")
    with subprocess.Popen(
        [*line, "talker", "--", "sleep", "600"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **variables},
    ) as feeding:
        assert feeding.stdin is not None
        os.set_blocking(feeding.stdin.fileno(), False)
        stuck = time.monotonic() + 2
        while time.monotonic() < stuck:
            try:
                os.write(feeding.stdin.fileno(), bytes(1 << 20))
                stuck = time.monotonic() + 2
            except BlockingIOError:
                time.sleep(0.01)
        # With a deadline of its own: a server that does not end is killed by it and returns another code.
        assert server.stop() == 0
        log = server.log.read_text()
        feeding.kill()
    server.start()
    server.kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=60s")
    assert "Traceback" not in log
    assert "AssertionError" not in log
