"""A server's state goes to a bucket on a schedule, and another machine takes over from it, addresses and all."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.bucket import KEYS, FakeBucket, fake_bucket
from testbed.bed import Bed
from testbed.cluster import Cluster, deployment
from testbed.hosts import SOURCE, Server, free_port
from testbed.topology import one_link
from testbed.waiting import wait_for

from integration.beds import needs_bed, no_traceback


def in_bed(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that needs hosts."""
    for mark in needs_bed:
        test = mark(test)
    return test


@pytest.fixture
def bucket() -> Iterator[FakeBucket]:
    with fake_bucket() as there:
        yield there


@pytest.fixture
def settings(tmp_path: Path, bucket: FakeBucket) -> list[str]:
    words, keys = tmp_path / "words", tmp_path / "keys"
    words.write_text("a passphrase of a test\n")
    keys.write_text(
        f"[default]\naws_access_key_id={KEYS.access_key}\naws_secret_access_key={KEYS.secret_key}\n"
    )
    for path in (words, keys):
        path.chmod(0o600)
    return [
        f"--snapshot-passphrase-file={words}",
        "--snapshot-s3-bucket=backups",
        f"--snapshot-s3-endpoint={bucket.url}",
        f"--snapshot-s3-credentials-file={keys}",
    ]


def _kubelite(*arguments: str) -> str:
    line = [sys.executable, "-m", "kubelite", *arguments]
    done = subprocess.run(
        line,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_another_machine_takes_over_from_the_bucket(
    tmp_path: Path, bucket: FakeBucket, settings: list[str]
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    schedule = ["--snapshot-schedule-cron=@every 1s", "--snapshot-retention=2", "--node-name=one"]
    flags = ["--disable-agent", "--secrets-encryption", *settings]
    one = Server(
        None, tmp_path / "one", "--bind-address=127.0.0.1", *flags, *schedule, port=free_port()
    )
    one.start()
    try:
        one.kubectl("create", "secret", "generic", "kept", "--from-literal=word=xyzzy")
        one.kubectl("create", "serviceaccount", "robot")
        token = one.kubectl("create", "token", "robot").strip()
        before = set(bucket.objects)
        wait_for(lambda: len(set(bucket.objects) - before) >= 2, "two snapshots in the bucket")
        metrics = one.kubectl("get", "--raw", "/metrics")
        assert 'kubelite_snapshots_total{result="success"}' in metrics
    finally:
        one.stop()
    assert not any(
        b"xyzzy" in content or token.encode() in content for content in bucket.objects.values()
    )
    newest = max(bucket.objects)
    here = f"--data-dir={tmp_path}/two/data"
    listed = _kubelite("snapshot", "list", "--s3", here, *settings)
    assert newest in listed
    assert len(bucket.objects) <= 3  # two, and one that was broken off before its turn to be pruned
    said = _kubelite("snapshot", "restore", "--s3", newest, here, *settings)
    assert "This machine has the cluster's keys now" in said
    two = Server(None, tmp_path / "two", "--bind-address=127.0.0.2", *flags, port=free_port())
    two.start()
    try:
        old = one.kubeconfig.read_text()
        moved = tmp_path / "moved.yaml"
        moved.write_text(old.replace(f"127.0.0.1:{one.port}", f"127.0.0.2:{two.port}"))
        two.kubeconfig = moved  # the administrator's of before, with another address
        secret = json.loads(two.kubectl("get", "secret", "kept", "-o", "json"))
        assert secret["data"] == {"word": "eHl6enk="}
        who = two.kubectl(
            "auth",
            "whoami",
            "-o",
            "json",
            f"--token={token}",
            "--kubeconfig=/dev/null",
            f"--server=https://127.0.0.2:{two.port}",
            "--insecure-skip-tls-verify",
        )
        assert (
            json.loads(who)["status"]["userInfo"]["username"]
            == "system:serviceaccount:default:robot"
        )
    finally:
        two.stop()


@pytest.fixture(scope="module")
def hosts() -> Iterator[Bed]:
    with Bed(one_link("alpha", "beta", "gamma")) as made:
        yield made
        no_traceback(made)


@in_bed
def test_agents_find_the_cluster_on_another_machine_and_their_pods_go_on(hosts: Bed) -> None:
    alpha, beta, gamma = (hosts[name] for name in ("alpha", "beta", "gamma"))
    words = alpha.folder / "home" / "words"
    words.write_text("a passphrase of a test\n")
    words.chmod(0o600)
    cluster = Cluster(hosts, "alpha")
    cluster.join("beta")
    cluster.apply(deployment("web", 1, nodeName="beta"))
    [before] = cluster.ready_pods("web", 1)
    snapshot = alpha.run(
        *alpha.kubelite.program("snapshot", "save", f"--snapshot-passphrase-file={words}")
    ).strip()
    moved = gamma.folder / "home" / "moved.sealed"
    copied = alpha.folder / "lib" / "kubelite" / "snapshots" / Path(snapshot).name
    moved.write_bytes(copied.read_bytes())
    alpha.power_off()
    gamma.run(
        *gamma.kubelite.program(
            "snapshot", "restore", str(moved), f"--snapshot-passphrase-file={words}"
        )
    )
    there = Cluster(hosts, "gamma")
    assert beta.kubelite.stop() == 0
    beta.kubelite.begin("agent", "--join", there.url)
    beta.kubelite.until_ready()
    there.ready_nodes(["beta"])
    [after] = there.ready_pods("web", 1)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    statuses = [pod["status"]["containerStatuses"][0] for pod in (before, after)]
    assert len({status["containerID"] for status in statuses}) == 1
    name = after["metadata"]["name"]
    # By the agent's tunnel to the new server; the agent has to find its containers again first.
    wait_for(
        lambda: there.kubectl("exec", name, "--", "hostname", check=False).strip() == name,
        "answer of the pod to exec",
    )
