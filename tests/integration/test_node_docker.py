"""Pods on a real Docker engine: start, stop, restart, probes, volumes, recovery."""

import asyncio
import base64
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from integration.node_host import (
    TERM,
    RealNode,
    container,
    engine_folder,
    is_ready,
    needs_engine,
    running_node,
)
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.node.capabilities import NAMES, bounding_set
from kubelite.node.runtime import LogQuery

pytestmark = [*needs_engine, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    yield from engine_folder()


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[RealNode]:
    async with running_node(folder) as made:
        yield made


async def test_a_pod_runs_is_looked_into_and_goes_without_a_trace(node: RealNode) -> None:
    await node.create({"containers": [container(script=f"echo out; echo err >&2; {TERM}")]})
    pod = await node.until(is_ready)
    assert pod.status.phase == "Running"
    code, output = await node.exec(pod, "sh", "-c", "hostname; cat /etc/resolv.conf; exit 7")
    assert code == 7
    assert output.splitlines()[0] == "pod"
    assert "nameserver 10.43.0.10" in output
    assert "ndots:5" in output
    container_id = pod.status.containerStatuses[0].containerID.partition("//")[2]
    entries = [entry async for entry in node.runtime.logs(container_id, LogQuery())]
    assert {(entry.stream, entry.data) for entry in entries} == {
        ("stdout", b"out\n"),
        ("stderr", b"err\n"),
    }
    logs = node.folder / "log"
    link = logs / "containers" / f"pod_default_app-{container_id}.log"
    assert link.readlink() == logs / f"pods/default_pod_{pod.metadata.uid}/app/0.log"
    lines = [msgspec.json.decode(line) for line in link.read_bytes().splitlines()]
    assert {(line["stream"], line["log"]) for line in lines} == {
        ("stdout", "out\n"),
        ("stderr", "err\n"),
    }
    started = asyncio.get_running_loop().time()
    await node.client.delete(Pod, "pod", "default")
    await node.until_gone()
    assert asyncio.get_running_loop().time() - started < 4, "SIGTERM was not obeyed"
    assert await node.runtime.records() == []
    assert list((node.folder / "pods").iterdir()) == []
    assert [
        path for path in logs.rglob("*") if path not in (logs / "pods", logs / "containers")
    ] == []
    assert list(Path("/sys/fs/cgroup").glob(f"**/pod{pod.metadata.uid}")) == []


async def test_a_restarted_agent_finds_its_pods_and_removes_what_nobody_wants(
    node: RealNode,
) -> None:
    await node.create({"containers": [container(script=TERM)]}, "stays")
    await node.create({"containers": [container(script=TERM)]}, "goes")
    before = await node.until(is_ready, "stays")
    await node.until(is_ready, "goes")
    shutil.rmtree(node.folder / "log" / "pods" / f"default_stays_{before.metadata.uid}")
    foreign = node.engine.docker("run", "-d", "--network=none", "kubelite.local/hello:1")
    await node.stop()
    await node.client.delete(Pod, "goes", "default", grace_seconds=0)
    await node.restart()
    assert node.kubelet is not None
    async with asyncio.timeout(30):
        while len(await node.runtime.records()) != 2:
            await asyncio.sleep(0.05)
    after = await node.client.get(Pod, "stays", "default")
    assert after.status.containerStatuses == before.status.containerStatuses
    assert after.status.podIP == before.status.podIP
    (link,) = (node.folder / "log" / "containers").iterdir()
    assert link.name.startswith("stays_default_app-")
    assert link.exists()  # all of the way to the engine's file
    assert node.engine.docker("inspect", "-f", "{{.State.Running}}", foreign) == "true"


async def test_a_renamed_node_ends_what_it_ran_under_its_former_name(node: RealNode) -> None:
    await node.create({"containers": [container(script=TERM)]})
    await node.until(is_ready)
    before = {record.id for record in await node.runtime.records()}
    assert len(before) == 2
    await node.stop()
    node.name = "node-2"
    await node.restart()
    # The pod is bound to a node that is not this one, so here nobody wants it: its containers end first,
    # then its folders go.
    async with asyncio.timeout(60):
        while before & set(node.engine.docker("ps", "-aq", "--no-trunc").split()):
            assert (node.folder / "pods" / (await node.until(bool)).metadata.uid).is_dir()
            await asyncio.sleep(0.05)
        while list((node.folder / "pods").iterdir()):
            await asyncio.sleep(0.05)


# An engine that dies at the wrong instant leaves a half-made connection to aiohttp's finalizer, which closes and warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_killed_engine_comes_back_and_containers_live_on(node: RealNode) -> None:
    await node.create({"containers": [container(script=TERM)]})
    before = await node.until(is_ready)
    pid = (await node.runtime.records())[0].pid
    engine = node.engine.pid()
    os.kill(engine, 9)
    async with asyncio.timeout(30):
        while not node.kubelet or not node.kubelet.engine_error:
            await asyncio.sleep(0.02)
        while node.kubelet.engine_error:
            await asyncio.sleep(0.05)
    assert node.engine.pid() != engine
    assert pid in {record.pid for record in await node.runtime.records()}
    after = await node.client.get(Pod, "pod", "default")
    assert after.status.containerStatuses == before.status.containerStatuses
    await node.client.delete(Pod, "pod", "default")
    await node.until_gone()


async def test_a_crashing_container_backs_off_and_says_what_it_left(node: RealNode) -> None:
    script = "echo broken > /dev/termination-log; exit 3"
    await node.create({"containers": [container(script=script)]})

    def is_backing_off(pod: Pod) -> bool:
        statuses = pod.status.containerStatuses
        waiting = statuses[0].state.waiting if statuses else None
        return waiting is not None and waiting.reason == "CrashLoopBackOff"

    pod = await node.until(is_backing_off)
    status = pod.status.containerStatuses[0]
    assert status.restartCount == 1
    last = status.lastState.terminated
    assert last is not None
    assert (last.exitCode, last.reason, last.message) == (3, "Error", "broken\n")
    await asyncio.sleep(0.2)
    assert any("Back-off restarting failed container app" in text for text in await node.events())


async def test_the_end_of_the_log_says_why_a_container_failed(node: RealNode) -> None:
    # The engine reads the two streams one beside the other: what follows at once may stand before the numbers' end.
    script = "seq 1 1000; sleep 1; echo 'fatal: no disk' >&2; exit 3"
    said = container(script=script, terminationMessagePolicy="FallbackToLogsOnError")
    silent = container("silent", script)
    await node.create({"containers": [said, silent], "restartPolicy": "Never"})
    pod = await node.until(lambda pod: pod.status.phase == "Failed")
    messages = [
        one.state.terminated.message for one in pod.status.containerStatuses if one.state.terminated
    ]
    expected = "".join(f"{number}\n" for number in range(922, 1001)) + "fatal: no disk\n"
    assert messages == [expected, ""]  # 80 lines, of both streams


async def test_a_command_that_does_not_exist_is_reported(node: RealNode) -> None:
    await node.create({"containers": [container(command=["/no/such/command"])]})
    pod = await node.until(
        lambda pod: any(s.lastState.terminated for s in pod.status.containerStatuses)
    )
    last = pod.status.containerStatuses[0].lastState.terminated
    assert last is not None
    assert last.reason == "ContainerCannotRun"
    assert "no such file or directory" in last.message


async def test_probes_gate_readiness_and_restart(node: RealNode) -> None:
    exec_probe = {"exec": {"command": ["test", "-e", "/tmp/ok"]}, "periodSeconds": 1}
    liveness = {
        "exec": {"command": ["test", "!", "-e", "/tmp/sick"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    app = container(script=TERM, readinessProbe=exec_probe, livenessProbe=liveness)
    await node.create({"containers": [app]})
    pod = await node.until(lambda pod: pod.status.phase == "Running")
    assert not is_ready(pod)
    await node.exec(pod, "touch", "/tmp/ok")
    pod = await node.until(is_ready)
    await node.exec(pod, "touch", "/tmp/sick")
    pod = await node.until(lambda pod: pod.status.containerStatuses[0].restartCount == 1)
    assert any("failed liveness probe, will be restarted" in text for text in await node.events())


async def test_volumes_and_environment_show_what_they_refer_to(node: RealNode) -> None:
    meta = ObjectMeta(name="settings", namespace="default")
    await node.client.create(ConfigMap(metadata=meta, data={"colour": "blue", "size": "7"}))
    secret = base64.b64encode(b"hidden").decode()
    await node.client.create(Secret(metadata=meta, data={"word": secret}))
    volumes = [
        {"name": "config", "configMap": {"name": "settings"}},
        {"name": "secret", "secret": {"secretName": "settings", "defaultMode": 0o400}},
        {"name": "labels", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]  # fmt: skip
    mounts = [
        {"name": "config", "mountPath": "/config"},
        {"name": "config", "mountPath": "/one", "subPath": "colour"},
        {"name": "secret", "mountPath": "/secret", "readOnly": True},
        {"name": "labels", "mountPath": "/labels"},
        {"name": "scratch", "mountPath": "/scratch"},
        {"name": "memory", "mountPath": "/memory"},
    ]
    env = [
        {"name": "SIZE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "size"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "BOTH", "value": "$(NAME)-$(SIZE)-$$(SIZE)"},
    ]
    init = container("init", "echo from-init > /scratch/file", volumeMounts=mounts)
    app = container(script=TERM, volumeMounts=mounts, env=env)
    spec = {"volumes": volumes, "initContainers": [init], "containers": [app]}
    await node.create(spec, labels={"tier": "front"})
    pod = await node.until(is_ready)
    script = (
        "cat /config/colour; echo; cat /one; echo; cat /secret/word; echo; cat /labels/labels; echo;"
        "cat /scratch/file; echo $BOTH; grep -c ' /memory tmpfs' /proc/mounts; stat -Lc %a /secret/word"
    )
    code, output = await node.exec(pod, "sh", "-c", script)
    assert code == 0
    assert output.splitlines() == [
        "blue", "blue", "hidden", 'tier="front"', "from-init", "pod-7-$(SIZE)", "1", "400",
    ]  # fmt: skip


async def test_volumes_follow_what_they_show(node: RealNode) -> None:
    meta = ObjectMeta(name="settings", namespace="default")
    await node.client.create(ConfigMap(metadata=meta, data={"colour": "blue"}))
    secret = {"word": base64.b64encode(b"old").decode()}
    await node.client.create(Secret(metadata=meta, data=secret))
    sources = [
        {"configMap": {"name": "settings"}},
        {"secret": {"name": "settings"}},
        {"downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]  # fmt: skip
    mounts = [{"name": "all", "mountPath": "/all"}]
    spec = {
        "volumes": [{"name": "all", "projected": {"sources": sources}}],
        "containers": [container(script=TERM, volumeMounts=mounts)],
    }
    await node.create(spec, labels={"tier": "front"})
    pod = await node.until(is_ready)
    secret = {"word": base64.b64encode(b"new").decode()}
    changes: list[tuple[Any, str, dict[str, Any], str, str]] = [
        (ConfigMap, "settings", {"data": {"colour": "red"}}, "colour", "red"),
        (Secret, "settings", {"data": secret}, "word", "new"),
        (Pod, "pod", {"metadata": {"labels": {"tier": "back"}}}, "labels", 'tier="back"'),
    ]
    for kind, name, change, file, text in changes:
        await node.client.patch(kind, name, change, "default")
        wait = f"until grep -q '{text}' /all/{file}; do :; done; cat /all/{file}"
        async with asyncio.timeout(10):  # far below the minute that a tick would take
            assert await node.exec(pod, "sh", "-c", wait) == (0, text)


async def test_a_missing_config_map_holds_a_pod_until_it_is_there(node: RealNode) -> None:
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "a"}}}]
    await node.create({"containers": [container(script=TERM, env=env)]})

    def reason(pod: Pod) -> str:
        statuses = pod.status.containerStatuses
        waiting = statuses[0].state.waiting if statuses else None
        return waiting.reason if waiting is not None else ""

    pod = await node.until(lambda pod: reason(pod) == "CreateContainerConfigError")
    waiting = pod.status.containerStatuses[0].state.waiting
    assert waiting is not None
    assert waiting.message == 'configmap "late" not found'
    meta = ObjectMeta(name="late", namespace="default")
    await node.client.create(ConfigMap(metadata=meta, data={"a": "1"}))
    await node.until(is_ready)


async def test_hooks_run_and_process_namespaces_can_be_shared(node: RealNode) -> None:
    lifecycle = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo started > /shared/start"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopped > /shared/stop"]}},
    }
    shared = Path(tempfile.mkdtemp(dir=node.folder))
    volume = {"name": "shared", "hostPath": {"path": str(shared), "type": "Directory"}}
    mount = {"name": "shared", "mountPath": "/shared"}
    app = container(script=TERM, lifecycle=lifecycle, volumeMounts=[mount])
    other = container("other", script=TERM)
    spec = {"shareProcessNamespace": True, "volumes": [volume], "containers": [app, other]}
    await node.create(spec)
    pod = await node.until(is_ready)
    assert (shared / "start").read_text() == "started\n"
    # An orphan goes to process 1, the pause program, which must not leave it a zombie.
    script = "(sleep 0.1 &) ; sleep 0.5; cat /proc/1/cmdline; grep -l 'State:.Z' /proc/*/status"
    _, output = await node.exec(pod, "sh", "-c", script)
    assert output.startswith("/pause")
    assert "status" not in output
    await node.client.delete(Pod, "pod", "default")
    await node.until_gone()
    assert (shared / "stop").read_text() == "stopped\n"


async def test_a_container_is_resized_in_place(node: RealNode) -> None:
    small = {"limits": {"cpu": "100m", "memory": "32Mi"}}
    await node.create({"containers": [container(script=TERM, resources=small)]})
    before = await node.until(is_ready)
    change = {"spec": {"containers": [{"name": "app", "resources": {
        "limits": {"cpu": "200m", "memory": "48Mi"}, "requests": {"cpu": "200m", "memory": "48Mi"}}}]}}  # fmt: skip
    await node.client.patch(
        Pod, "pod", change, "default", patch_type="strategic", subresource="resize"
    )

    def limits(pod: Pod) -> dict[str, str]:
        resources = pod.status.containerStatuses[0].resources
        return resources.limits if resources is not None else {}

    after = await node.until(lambda pod: limits(pod) == {"cpu": "200m", "memory": "48Mi"})
    assert (
        after.status.containerStatuses[0].containerID
        == before.status.containerStatuses[0].containerID
    )
    container_id = after.status.containerStatuses[0].containerID.partition("//")[2]
    shown = node.engine.docker(
        "inspect", "-f", "{{.HostConfig.CpuQuota}} {{.HostConfig.Memory}}", container_id
    )
    assert shown == f"20000 {48 << 20}"


async def test_containers_share_what_their_pod_may_have(node: RealNode) -> None:
    resources = {
        "limits": {"cpu": "500m", "memory": "64Mi"},
        "requests": {"cpu": "250m", "memory": "64Mi"},
    }
    containers = [container(script=TERM), container("other", TERM)]
    await node.create({"containers": containers, "resources": resources})
    pod = await node.until(is_ready)
    record = next(one for one in await node.runtime.records() if not one.is_sandbox)
    groups = {
        controller: group
        for line in Path(f"/proc/{record.pid}/cgroup").read_text().splitlines()
        for controller, group in [line.split(":", 2)[1:]]
    }
    root, shared = Path("/sys/fs/cgroup"), f"kubelite/burstable/pod{pod.metadata.uid}"

    def read(controller: str, file: str) -> str:
        return (root / controller / shared / file).read_text().strip()

    if (root / "cgroup.controllers").exists():
        assert groups[""].rpartition("/")[0] == f"/{shared}"
        assert [read("", f"{name}.max") for name in ("cpu", "memory")] == [
            "50000 100000",
            "67108864",
        ]
    else:
        assert groups["cpu"].rpartition("/")[0] == f"/{shared}"
        assert read("cpu", "cpu.shares") == "256"
        assert read("cpu", "cpu.cfs_quota_us") == "50000"
        assert read("memory", "memory.limit_in_bytes") == "67108864"
    await node.restart()  # and again, with containers in it
    assert node.kubelet is not None
    async with asyncio.timeout(10):
        while not any(one.group_limits for one in node.kubelet.memories.values()):
            await asyncio.sleep(0.02)


async def test_a_host_that_withholds_something_says_so_once(node: RealNode) -> None:
    limits = {"cpu": "100m", "memory": "32Mi"}
    app = container(
        script=f"trap 'exit 1' USR1; {TERM}",
        securityContext={"privileged": True},
        resources={"limits": limits, "requests": limits},
    )
    await node.create({"containers": [app]})
    pod = await node.until(is_ready)
    script = "mount -t tmpfs none /tmp && grep ' /tmp ' /proc/mounts; grep CapEff /proc/1/status"
    code, output = await node.exec(pod, "sh", "-c", script)
    assert code == 0, output
    assert "none /tmp tmpfs" in output
    effective = int(output.split()[-1], 16)
    bounding = bounding_set()
    granted = {f"CAP_{name}" for i, name in enumerate(NAMES) if effective >> i & 1}
    assert {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"} & bounding <= granted <= bounding
    _, score = await node.exec(pod, "cat", "/proc/1/oom_score_adj")
    may_protect = "CAP_SYS_RESOURCE" in bounding
    assert int(score) == (-997 if may_protect else 0)
    await node.exec(pod, "kill", "-USR1", "1")
    await node.until(lambda pod: pod.status.containerStatuses[0].restartCount == 1)
    await node.until(is_ready)
    await asyncio.sleep(0.5)
    events = [
        e for e in await node.client.list(Event, "default") if e.reason == "ReducedPrivileges"
    ]
    told = {event.message.partition(": ")[2]: event.count for event in events}
    expected = {}
    if not may_protect:
        expected["this host does not let it be spared when memory runs out"] = 1
    if len(bounding) < len(NAMES):
        expected["this host withholds capabilities from privileged containers"] = 1
    assert told == expected
