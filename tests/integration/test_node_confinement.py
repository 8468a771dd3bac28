"""How a real Docker engine confines pods, and that nothing runs where it cannot confine them as they ask."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.node_host import (
    TERM,
    Engine,
    RealNode,
    container,
    engine_folder,
    is_ready,
    needs_engine,
    running_node,
)
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.node import RuntimeClass

pytestmark = [*needs_engine, pytest.mark.timeout(180)]
NO_MKDIR = """{
  "defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]
}"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    yield from engine_folder()


@pytest.fixture
async def node(folder: Path) -> AsyncIterator[RealNode]:
    async with running_node(folder, unsafe_sysctls=("net.ipv6.*", "net.core.somaxconn")) as made:
        yield made


async def status_of_process_1(node: RealNode, pod: Pod) -> dict[str, str]:
    _, output = await node.exec(pod, "cat", "/proc/1/status")
    return {
        name: " ".join(value.split())
        for name, _, value in (line.partition(":") for line in output.splitlines())
    }


async def refusal(node: RealNode, name: str, reason: str) -> str:
    """Wait until the container of a pod is refused; return the message."""

    def message(pod: Pod) -> str:
        states = [status.state.waiting for status in pod.status.containerStatuses]
        found = [one.message for one in states if one is not None and one.reason == reason]
        return found[0] if found else ""

    return message(await node.until(message, name))


async def names_of_containers(node: RealNode) -> set[str]:
    return {record.name for record in await node.runtime.records()}


async def test_seccomp_profiles_are_files_of_the_node(node: RealNode) -> None:
    seccomp = node.folder / "seccomp"
    seccomp.mkdir()
    (seccomp / "no-mkdir.json").write_text(NO_MKDIR)
    profile = {"type": "Localhost", "localhostProfile": "no-mkdir.json"}
    app = container(script=TERM, securityContext={"seccompProfile": profile})
    await node.create({"containers": [app]})
    pod = await node.until(is_ready)
    code, output = await node.exec(pod, "mkdir", "/tmp/made")
    assert code != 0
    assert "Operation not permitted" in output
    assert (await status_of_process_1(node, pod))["Seccomp"] == "2"


@pytest.mark.parametrize(
    "name", ["unconfined", "builtin", NO_MKDIR, '{"defaultAction":"SCMP_ACT_ALLOW"}', "no/such"]
)
async def test_no_name_of_a_seccomp_profile_takes_confinement_away(
    node: RealNode, name: str
) -> None:
    profile = {"type": "Localhost", "localhostProfile": name}
    await node.create({"containers": [container()], "securityContext": {"seccompProfile": profile}})
    message = await refusal(node, "pod", "CreateContainerError")
    assert message == f'cannot load seccomp profile "{name}": No such file or directory'
    assert await names_of_containers(node) == {"POD"}


async def test_the_engines_own_profile_and_none(node: RealNode) -> None:
    default = {"seccompProfile": {"type": "RuntimeDefault"}}
    await node.create({"containers": [container(script=TERM)], "securityContext": default}, "kept")
    await node.create({"containers": [container(script=TERM)]}, "free")
    kept, free = await node.until(is_ready, "kept"), await node.until(is_ready, "free")
    assert (await status_of_process_1(node, kept))["Seccomp"] == "2"
    assert (await status_of_process_1(node, free))["Seccomp"] == "0"


async def test_app_armor_is_enforced_or_refused(node: RealNode) -> None:
    default = {"appArmorProfile": {"type": "RuntimeDefault"}}
    await node.create({"containers": [container(script=TERM)], "securityContext": default})
    if node.enforces_apparmor:
        pod = await node.until(is_ready)
        _, output = await node.exec(pod, "cat", "/proc/1/attr/current")
        assert "docker-default" in output
    else:
        pod = await node.until(lambda pod: pod.status.phase == "Failed")
        assert pod.status.reason == "AppArmor"
        assert await names_of_containers(node) == set()


@pytest.mark.parametrize("name", ["unconfined", "docker-defaul", "a,unconfined", "a=unconfined"])
async def test_no_name_of_an_app_armor_profile_takes_confinement_away(
    folder: Path, name: str
) -> None:
    engine = Engine(folder)
    await engine.start()
    node = RealNode(engine, Path(tempfile.mkdtemp(dir=folder)))
    node.enforces_apparmor = True  # admitted, as on a host that has it: now the engine is asked
    try:
        await node.set_up()
        profile = {"type": "Localhost", "localhostProfile": name}
        await node.create(
            {"containers": [container()], "securityContext": {"appArmorProfile": profile}}
        )
        message = await refusal(node, "pod", "CreateContainerError")
        assert message == f'apparmor profile not found: "{name}"'
        assert await names_of_containers(node) == {"POD"}
        await node.tear_down()
    finally:
        await node.stop()
        await engine.stop()


def image_with_user(node: RealNode, user: str) -> str:
    name = f"kubelite.local/user-{user.encode().hex()}:1"
    made = node.engine.docker("create", "--network=none", "kubelite.local/hello:1")
    node.engine.docker("commit", "--change", f"USER {user}", made, name)
    node.engine.docker("rm", made)
    return name


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("00", "image will run as root"),
        ("000:5", "image will run as root"),
        ("+0", "image will run as root"),
        ("\N{ARABIC-INDIC DIGIT ZERO}", "image has non-numeric user"),
        ("root", "image has non-numeric user (root)"),
        ("4294967296", "image has an invalid user id (4294967296)"),
    ],
)
async def test_an_image_that_may_be_root_does_not_run_as_non_root(
    node: RealNode, user: str, why: str
) -> None:
    app = container(image=image_with_user(node, user), securityContext={"runAsNonRoot": True})
    await node.create({"containers": [app]})
    message = await refusal(node, "pod", "CreateContainerConfigError")
    assert message.startswith(f"container has runAsNonRoot and {why}")
    assert await names_of_containers(node) == {"POD"}


async def test_an_image_with_a_user_runs_as_that_user(node: RealNode) -> None:
    image = image_with_user(node, "01000:5")
    app = container(image=image, script=TERM, securityContext={"runAsNonRoot": True})
    await node.create({"containers": [app]})
    status = await status_of_process_1(node, await node.until(is_ready))
    assert (status["Uid"], status["Gid"]) == ("1000 1000 1000 1000", "5 5 5 5")


def sysctls(**values: str) -> dict[str, Any]:
    return {"sysctls": [{"name": name, "value": value} for name, value in values.items()]}


async def test_safe_sysctls_are_set_in_the_pod_alone(node: RealNode) -> None:
    wanted = {"net/ipv4/ip_local_port_range": "20000 30000", "net.core.somaxconn": "77"}
    context = sysctls(**wanted)
    await node.create({"containers": [container(script=TERM)], "securityContext": context})
    pod = await node.until(is_ready)
    paths = ("ipv4/ip_local_port_range", "core/somaxconn", "ipv6/conf/default/disable_ipv6")
    _, output = await node.exec(pod, "cat", *(f"/proc/sys/net/{path}" for path in paths))
    assert output.split() == ["20000", "30000", "77", "1"]
    assert Path("/proc/sys/net/core/somaxconn").read_text().strip() != "77"


@pytest.mark.parametrize(
    "name",
    [
        "kernel.msgmax",
        "kernel/shmmax",
        "kernel.core_pattern",
        "net.ipv6.conf.default.disable_ipv6",
        "net/ipv6/conf/all/disable_ipv6",
    ],
)
async def test_other_sysctls_fail_the_pod(node: RealNode, name: str) -> None:
    context = sysctls(**{name: "0"})
    await node.create({"containers": [container()], "securityContext": context})
    pod = await node.until(lambda pod: pod.status.phase == "Failed")
    assert pod.status.reason == "SysctlForbidden"
    shown = name.replace("/", ".")
    assert pod.status.message == (f'Pod was rejected: forbidden sysctl: "{shown}" not allowlisted')
    assert await names_of_containers(node) == set()


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"hostUsers": False}, "can't set `spec.hostUsers: false`, runtime does not support"),
        ({"runtimeClassName": "odd"}, 'no runtime for "no-such-runtime" is configured'),
    ],
)
async def test_no_sandbox_is_made_without_the_isolation_it_asks_for(
    node: RealNode, spec: dict[str, Any], why: str
) -> None:
    odd = RuntimeClass(metadata=ObjectMeta(name="odd"), handler="no-such-runtime")
    await node.client.create(odd)
    await node.create({"containers": [container()], **spec})
    async with asyncio.timeout(30):
        while not any(
            why in text and "Warning FailedCreatePodSandBox Failed to create pod sandbox: " in text
            for text in await node.events()
        ):
            await asyncio.sleep(0.05)
    assert (await node.client.get(Pod, "pod", "default")).status.phase == "Pending"
    assert await names_of_containers(node) == set()


async def test_a_runtime_class_chooses_the_engines_runtime(node: RealNode) -> None:
    plain = RuntimeClass(metadata=ObjectMeta(name="plain"), handler="runc")
    await node.client.create(plain)
    await node.create({"containers": [container(script=TERM)], "runtimeClassName": "plain"})
    await node.until(is_ready)
    for record in await node.runtime.records():
        runtime = node.engine.docker("inspect", "-f", "{{.HostConfig.Runtime}}", record.id)
        assert runtime == "runc"


async def test_a_debugger_sees_the_processes_of_its_target_alone(node: RealNode) -> None:
    await node.create(
        {"containers": [container(script=TERM), container("other", script=f": other; {TERM}")]}
    )
    await node.until(is_ready)
    debugger = container("debug", script="cat /proc/1/cmdline", targetContainerName="other")
    change = {"spec": {"ephemeralContainers": [debugger]}}
    await node.client.patch(
        Pod,
        "pod",
        change,
        "default",
        patch_type="strategic",
        subresource="ephemeralcontainers",
    )
    pod = await node.until(
        lambda pod: any(s.state.terminated for s in pod.status.ephemeralContainerStatuses)
    )
    ended = pod.status.ephemeralContainerStatuses[0]
    log = node.engine.docker("logs", ended.containerID.partition("//")[2])
    assert ": other; " in log
