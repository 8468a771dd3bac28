"""What a node cannot do it refuses, with the kubelet's words, and nothing of the pod runs."""

import asyncio
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.containers import EphemeralContainer
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.node import RuntimeClass
from kubelite.node.admission import unsupported
from kubelite.node.container_start import target_id
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.runtime import SANDBOX, Handler
from kubelite.node.simulated.runtime import SimulatedRuntime
from kubelite.node.sysctls import SysctlAllowList
from kubelite.randomness import SeededRandomness
from unit.node.cluster import Cluster, container, is_ready, run_virtually

STRICT = {"supplementalGroupsPolicy": "Strict"}


def sysctl(name: str) -> dict[str, Any]:
    return {"securityContext": {"sysctls": [{"name": name, "value": "1"}]}}


async def has_event(cluster: Cluster, reason: str, message: str) -> None:
    """Wait, in virtual time, for an event; the exact message is asked for."""
    found: list[Event] = []
    for _ in range(100):
        found = await cluster.client.list(Event, "default")
        if any((event.reason, event.message) == (reason, message) for event in found):
            return
        await asyncio.sleep(0.1)
    raise AssertionError([(event.reason, event.message) for event in found])


@pytest.mark.parametrize(
    ("spec", "labels", "reason", "message"),
    [
        (
            sysctl("kernel.msgmax"),
            {},
            "SysctlForbidden",
            'forbidden sysctl: "kernel.msgmax" not allowlisted',
        ),
        (
            sysctl("net/ipv6/conf/all/disable_ipv6"),
            {},
            "SysctlForbidden",
            'forbidden sysctl: "net.ipv6.conf.all.disable_ipv6" not allowlisted',
        ),
        (
            {"os": {"name": "windows"}},
            {},
            "PodOSNotSupported",
            "Failed to admit pod as the OS field doesn't match node OS",
        ),
        (
            {},
            {"kubernetes.io/os": "windows"},
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        ),
        (
            {"securityContext": STRICT},
            {},
            "SupplementalGroupsPolicyNotSupported",
            "SupplementalGroupsPolicy=Strict is not supported in this node",
        ),
    ],
)
def test_a_pod_that_can_never_run_here_fails(
    spec: dict[str, Any], labels: dict[str, str], reason: str, message: str
) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container()], **spec}, labels=labels)
            pod = await cluster.until(lambda pod: pod.status.phase == "Failed")
            assert pod.status.reason == reason
            assert pod.status.message == f"Pod was rejected: {message}"
            await has_event(cluster, reason, message)
            assert cluster.node.runtime.all_records() == []

    run_virtually(main())


@pytest.mark.parametrize("enforces", [True, False])
@pytest.mark.parametrize("kind", ["RuntimeDefault", "Unconfined", None])
def test_app_armor_is_refused_where_the_kernel_does_not_enforce_it(
    kind: str | None, enforces: bool
) -> None:
    pod = msgspec.convert(
        {
            "metadata": {"name": "p"},
            "spec": {
                "containers": [container()],
                "securityContext": {"appArmorProfile": {"type": kind} if kind else None},
            },
        },
        Pod,
    )
    refused = unsupported(pod, SysctlAllowList(), enforces_apparmor=enforces)
    if kind == "RuntimeDefault" and not enforces:
        assert refused is not None
        assert (refused.reason, refused.message) == (
            "AppArmor",
            "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host",
        )
    else:
        assert refused is None


@pytest.mark.parametrize("place", ["initContainers", "ephemeralContainers"])
def test_each_container_counts_for_app_armor(place: str) -> None:
    wanting = container("other", securityContext={"appArmorProfile": {"type": "RuntimeDefault"}})
    spec = {"containers": [container()], place: [wanting]}
    pod = msgspec.convert({"metadata": {"name": "p"}, "spec": spec}, Pod)
    assert unsupported(pod, SysctlAllowList(), enforces_apparmor=False) is not None


async def class_of(cluster: Cluster, name: str, handler: str) -> None:
    await cluster.client.create(RuntimeClass(metadata=ObjectMeta(name=name), handler=handler))


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        (
            {"hostUsers": False},
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: can't set `spec.hostUsers: false`, runtime does not support user namespaces",
        ),
        (
            {"runtimeClassName": "odd"},
            "FailedCreatePodSandBox",
            'Failed to create pod sandbox: failed to get sandbox runtime: no runtime for "unknown" is configured',
        ),
        (
            {"runtimeClassName": "gone"},
            "FailedCreatePodSandBox",
            'Failed to create pod sandbox: runtimeclass.node.k8s.io "gone" not found',
        ),
        (
            {"runtimeClassName": "plain", "hostUsers": False},
            "FailedCreatePodSandBox",
            (
                'Failed to create pod sandbox: can\'t set `spec.hostUsers: false`, RuntimeClass handler "runc" '
                "does not support user namespaces"
            ),
        ),
    ],
)
def test_a_pod_waits_for_a_sandbox_that_the_engine_cannot_make(
    spec: dict[str, Any], reason: str, message: str
) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await class_of(cluster, "odd", "unknown")
            await class_of(cluster, "plain", "runc")
            await cluster.create({"containers": [container()], **spec})
            await has_event(cluster, reason, message)
            await asyncio.sleep(300)
            pod = await cluster.pod()
            assert pod.status.phase == "Pending"
            waiting = pod.status.containerStatuses[0].state.waiting
            assert waiting is not None
            assert waiting.reason == "ContainerCreating"
            assert cluster.node.runtime.all_records() == []

    run_virtually(main())


def test_a_known_handler_runs_the_sandbox_and_all_containers() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await class_of(cluster, "plain", "runc")
            await cluster.create({"containers": [container()], "runtimeClassName": "plain"})
            await cluster.until(is_ready)
            runtime = cluster.node.runtime
            records = {record.name: record for record in runtime.all_records()}
            assert records[SANDBOX].labels["io.kubelite.handler"] == "runc"
            assert runtime.spec(records["app"].id).handler == "runc"

    run_virtually(main())


def test_a_node_says_what_its_engine_cannot_do() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await asyncio.sleep(1)
            status = (await cluster.client.get(Node, "node-1")).status
            assert {handler.name for handler in status.runtimeHandlers} == {"", "runc"}
            for handler in status.runtimeHandlers:
                assert handler.features is not None
                assert handler.features.userNamespaces is False
                assert handler.features.recursiveReadOnlyMounts is False
            assert status.features is not None
            assert status.features.supplementalGroupsPolicy is False

    run_virtually(main())


def test_a_pod_gets_users_of_its_own_where_the_engine_has_them() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.node.stop()
            cluster.node.runtime = SimulatedRuntime(
                cluster.clock, SeededRandomness(4), handlers=(Handler("", user_namespaces=True),)
            )
            await cluster.node.start()
            await cluster.create({"containers": [container()], "hostUsers": False})
            await cluster.until(is_ready)
            node = await cluster.client.get(Node, "node-1")
            (handler,) = node.status.runtimeHandlers
            assert handler.features is not None
            assert (handler.name, handler.features.userNamespaces) == ("", True)

    run_virtually(main())


@pytest.mark.parametrize(
    ("fields", "volumes", "message"),
    [
        (
            {
                "env": [
                    {
                        "name": "A",
                        "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "env", "key": "A"}},
                    }
                ]
            },
            [{"name": "v", "emptyDir": {}}],
            'environment variable "A": fileKeyRef is not supported by this node',
        ),
        (
            {"volumeDevices": [{"name": "disk", "devicePath": "/dev/xvda"}]},
            [{"name": "disk", "persistentVolumeClaim": {"claimName": "c"}}],
            'cannot find volume "disk" to pass into container "app"',
        ),
        (
            {
                "volumeMounts": [
                    {
                        "name": "v",
                        "mountPath": "/v",
                        "readOnly": True,
                        "recursiveReadOnly": "Enabled",
                        "mountPropagation": "None",
                    }
                ]
            },
            [{"name": "v", "emptyDir": {}}],
            (
                'failed to resolve recursive read-only mode: volume "v" requested recursive read-only mode, but '
                "it is not supported by the runtime"
            ),
        ),
    ],
)
def test_a_container_is_not_made_without_what_it_asks_for(
    fields: dict[str, Any], volumes: list[dict[str, Any]], message: str
) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container(**fields)], "volumes": volumes})

            def is_refused(pod: Pod) -> bool:
                states = [status.state.waiting for status in pod.status.containerStatuses]
                return any(
                    state is not None
                    and (state.reason, state.message) == ("CreateContainerConfigError", message)
                    for state in states
                )

            await cluster.until(is_refused)
            assert [record.name for record in cluster.node.runtime.all_records()] == [SANDBOX]

    run_virtually(main())


def test_read_only_below_as_far_as_possible_is_what_there_is() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            mount = {
                "name": "v",
                "mountPath": "/v",
                "readOnly": True,
                "recursiveReadOnly": "IfPossible",
                "mountPropagation": "None",
            }
            volumes = [{"name": "v", "emptyDir": {}}]
            await cluster.create(
                {"containers": [container(volumeMounts=[mount])], "volumes": volumes}
            )
            pod = await cluster.until(is_ready)
            assert pod.status.containerStatuses[0].volumeMounts[0].recursiveReadOnly == "Disabled"

    run_virtually(main())


@pytest.mark.parametrize(
    ("mode", "told"), [("Enabled", "Enabled"), ("IfPossible", "Enabled"), ("Disabled", "Disabled")]
)
def test_a_node_that_can_make_mounts_read_only_below_says_where_it_did(
    mode: str, told: str
) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.node.stop()
            cluster.node.recursive_read_only = True
            await cluster.node.start()
            mount = {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": mode}
            volumes = [{"name": "v", "emptyDir": {}}]
            await cluster.create(
                {"containers": [container(volumeMounts=[mount])], "volumes": volumes}
            )
            pod = await cluster.until(is_ready)
            assert pod.status.containerStatuses[0].volumeMounts[0].recursiveReadOnly == told

    run_virtually(main())


@pytest.mark.parametrize(("target", "found"), [("app", True), ("gone", False)])
def test_a_debugger_sees_the_processes_of_its_target(target: str, found: bool) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container("app"), container("other")]})
            pod = await cluster.until(is_ready)
            debugger = msgspec.convert(
                container("debug", targetContainerName=target), EphemeralContainer
            )
            memory = cluster.node.kubelet.memories[pod.metadata.uid]  # type: ignore[union-attr]  # it has been started
            if not found:
                with pytest.raises(ConfigUnavailable, match="unable to find target container gone"):
                    target_id(memory, debugger)
                return
            names = {record.id: record.name for record in memory.records.values()}
            assert names[target_id(memory, debugger)] == "app"
            assert target_id(memory, pod.spec.containers[0]) == ""

    run_virtually(main())


def test_a_pod_is_held_to_the_labels_of_its_node() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            spec = {"containers": [container()], "nodeSelector": {"disk": "ssd"}}
            await cluster.create(spec)
            pod = await cluster.until(lambda pod: pod.status.phase == "Failed")
            assert pod.status.reason == "NodeAffinity"
            assert cluster.node.runtime.all_records() == []

    run_virtually(main())


def test_a_status_that_somebody_wrote_lets_nothing_in() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.node.stop()
            await cluster.create({"containers": [container()], **sysctl("kernel.msgmax")})
            status = {"status": {"startTime": "2026-05-01T12:00:00Z"}}
            await cluster.client.patch(Pod, "pod", status, "default", subresource="status")
            await cluster.node.start()
            pod = await cluster.until(lambda pod: pod.status.phase == "Failed")
            assert pod.status.reason == "SysctlForbidden"
            assert cluster.node.runtime.all_records() == []

    run_virtually(main())


def test_a_pod_that_was_let_in_keeps_its_place_over_a_restart() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container()], **sysctl("net.ipv4.tcp_syncookies")})
            before = await cluster.until(is_ready)
            await cluster.node.stop()
            await cluster.node.start()
            await asyncio.sleep(30)
            assert (await cluster.pod()).status.containerStatuses == before.status.containerStatuses

    run_virtually(main())


def test_a_container_added_later_is_not_made_without_its_app_armor_profile() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.node.stop()
            cluster.node.enforces_apparmor = False
            await cluster.node.start()
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)
            confined = {"appArmorProfile": {"type": "RuntimeDefault"}}
            change = {"spec": {"ephemeralContainers": [container("e", securityContext=confined)]}}
            await cluster.client.patch(
                Pod,
                "pod",
                change,
                "default",
                patch_type="strategic",
                subresource="ephemeralcontainers",
            )

            def is_refused(pod: Pod) -> bool:
                waiting = [status.state.waiting for status in pod.status.ephemeralContainerStatuses]
                return any(
                    one is not None
                    and one.message
                    == "Cannot enforce AppArmor: AppArmor is not enabled on the host"
                    for one in waiting
                )

            await cluster.until(is_refused)
            names = {record.name for record in cluster.node.runtime.all_records()}
            assert names == {SANDBOX, "app"}

    run_virtually(main())
