"""A device plugin registers, its devices are counted, allocated, injected, and kept over restarts."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from testbed.device_plugin import DevicePlugin

from kubelite.api.kinds.core.pods import Pod
from kubelite.grpc.client import GrpcClient
from kubelite.grpc.status import GrpcError
from kubelite.limits import DEVICE_PLUGINS
from kubelite.node.devices.checkpoint import NAME
from kubelite.node.devices.manager import DeviceManager
from kubelite.node.devices.messages import (
    CDIDevice,
    ContainerAllocation,
    DeviceSpec,
    PluginMount,
    PluginOptions,
)
from kubelite.node.devices.protocol import AllocationFailed
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.runtime import HostDevice, Mount
from kubelite.tasks import TaskSet

GPU = "vendor.com/gpu"
HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"


def pod(uid: str = "u1", *, init: tuple[dict[str, Any], ...] = (), **amounts: int) -> Pod:
    """Return a pod; `amounts` are GPUs by container."""
    containers = [
        {"name": name, "resources": {"limits": {GPU: str(amount), "cpu": "1"}}}
        for name, amount in amounts.items()
    ]
    body = {
        "metadata": {"name": "pod", "namespace": "default", "uid": uid},
        "spec": {"containers": containers, "initContainers": list(init)},
    }
    return msgspec.convert(body, Pod)


def init_container(name: str, amount: int, **fields: str) -> dict[str, Any]:
    return {"name": name, "resources": {"limits": {GPU: str(amount)}}, **fields}


async def until(look: Callable[[], Any]) -> None:
    """Give way to the loop until something is so."""
    async with asyncio.timeout(30):
        while not look():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(folder: Path, **options: Any) -> AsyncGenerator[DeviceManager, None]:
    manager = DeviceManager(folder, GrpcClient, **options)
    await manager.restore()
    tasks = TaskSet()
    tasks.start(manager.run(), name="devices")
    await until((folder / "kubelet.sock").exists)
    try:
        yield manager
    finally:
        await tasks.stop()


@asynccontextmanager
async def plugged(
    folder: Path, plugin: DevicePlugin, manager: DeviceManager
) -> AsyncGenerator[DevicePlugin, None]:
    await plugin.start()
    whole = str(len(plugin.devices))
    await until(lambda: manager.capacity[0].get(plugin.resource) == whole)
    try:
        yield plugin
    finally:
        await plugin.stop()


def test_capacity_counts_all_devices_and_allocatable_the_healthy_ones(tmp_path: Path) -> None:
    async def main() -> None:
        told = []
        async with running(tmp_path) as manager:
            manager.on_capacity = lambda: told.append(manager.capacity)
            plugin = DevicePlugin(tmp_path, GPU, {"a": HEALTHY, "b": UNHEALTHY, "c": HEALTHY})
            async with plugged(tmp_path, plugin, manager):
                assert manager.capacity == ({GPU: "3"}, {GPU: "2"})
                plugin.change({"a": HEALTHY})
                await until(lambda: told[-1] == ({GPU: "1"}, {GPU: "1"}))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"version": "v1"},
            (
                'requested API version "v1" is not supported by kubelet. '
                'Supported version is ["v1beta1"]'
            ),
        ),
        ({"resource_name": "gpu"}, 'the ResourceName "gpu" is invalid'),
        ({"resource_name": "kubernetes.io/gpu"}, 'the ResourceName "kubernetes.io/gpu" is invalid'),
        ({"resource_name": "a.b/c d"}, 'the ResourceName "a.b/c d" is invalid'),
        ({"endpoint": "../other.sock"}, 'the endpoint "../other.sock" is invalid'),
        ({"endpoint": ".."}, 'the endpoint ".." is invalid'),
    ],
)
def test_registrations_are_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as manager:
            plugin = DevicePlugin(tmp_path, GPU)
            with pytest.raises(GrpcError) as refused:
                await plugin.register(**changes)
            assert refused.value.message == message
            assert manager.capacity == ({}, {})

    asyncio.run(main())


def test_a_plugin_that_does_not_serve_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as manager:
            with pytest.raises(GrpcError, match="failed to get device plugin options"):
                await DevicePlugin(tmp_path, GPU).register()
            assert manager.capacity == ({}, {})

    asyncio.run(main())


def test_plugins_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(DEVICE_PLUGINS, "value", 1)
        async with (
            running(tmp_path) as manager,
            plugged(tmp_path, DevicePlugin(tmp_path, GPU), manager) as plugin,
        ):
            with pytest.raises(GrpcError, match="too many device plugins"):
                await DevicePlugin(tmp_path, "vendor.com/other").start()
            await plugin.register()  # again, which is no other one

    asyncio.run(main())


def test_an_answer_of_the_plugin_becomes_an_injection(tmp_path: Path) -> None:
    def answer(devices: list[str]) -> ContainerAllocation:
        return ContainerAllocation(
            envs={"GPUS": ",".join(devices)},
            mounts=[PluginMount(container_path="/lib/gpu", host_path="/tmp", read_only=True)],
            devices=[DeviceSpec(container_path="/dev/g", host_path="/dev/null", permissions="rw")],
            annotations={"vendor.com/note": "x"},
            cdi_devices=[CDIDevice(name="vendor.com/gpu=a")],
        )

    async def main() -> None:
        async with running(tmp_path) as manager:
            plugin = DevicePlugin(tmp_path, GPU, answer=answer)
            async with plugged(tmp_path, plugin, manager):
                asks = pod(app=2, other=0)
                await manager.allocate(asks)
                app, other = asks.spec.containers
                injection = await manager.injection(asks, app)
                assert injection.environment == {"GPUS": "a,b"}
                assert injection.mounts == (Mount("/tmp", "/lib/gpu", read_only=True),)
                assert injection.devices == (HostDevice("/dev/null", "/dev/g", "rw"),)
                assert injection.annotations == {"vendor.com/note": "x"}
                assert injection.cdi_devices == ("vendor.com/gpu=a",)
                assert not (await manager.injection(asks, other)).environment
                assert plugin.allocations == [["a", "b"]]

    asyncio.run(main())


def test_a_device_is_given_to_one_pod_until_it_is_released(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            running(tmp_path) as manager,
            plugged(tmp_path, DevicePlugin(tmp_path, GPU), manager) as plugin,
        ):
            results = await asyncio.gather(
                *(manager.allocate(pod(f"u{i}", app=1)) for i in range(3)),
                return_exceptions=True,
            )
            (failure,) = [one for one in results if one is not None]
            assert isinstance(failure, AllocationFailed)
            assert str(failure) == (
                "requested number of devices unavailable for vendor.com/gpu. "
                "Requested: 1, Available: 0"
            )
            assert sorted(plugin.allocations) == [["a"], ["b"]]
            await manager.release("u0")
            await manager.allocate(pod("u4", app=1))

    asyncio.run(main())


def test_devices_of_pods_that_are_over_are_free(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            running(tmp_path) as manager,
            plugged(tmp_path, DevicePlugin(tmp_path, GPU), manager),
        ):
            await manager.allocate(pod("u1", app=2))
            manager.active = lambda: {"u1"}
            with pytest.raises(AllocationFailed):
                await manager.allocate(pod("u2", app=2))
            manager.active = lambda: {"u2"}
            await manager.allocate(pod("u2", app=2))

    asyncio.run(main())


def test_init_containers_hand_on_their_devices_and_sidecars_keep_them(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as manager:
            devices = dict.fromkeys("abc", HEALTHY)
            plugin = DevicePlugin(tmp_path, GPU, devices)
            async with plugged(tmp_path, plugin, manager):
                first = init_container("first", 2)
                sidecar = init_container("sidecar", 1, restartPolicy="Always")
                await manager.allocate(pod(init=(first, sidecar), app=2))
                assert plugin.allocations == [["a", "b"], ["a"], ["b", "c"]]

    asyncio.run(main())


def test_a_plugin_may_prefer_devices(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as manager:
            options = PluginOptions(has_preferred_allocation=True)
            plugin = DevicePlugin(tmp_path, GPU, dict.fromkeys("abcd", HEALTHY), options=options)
            plugin.prefers = ["d", "x", "c"]  # x is none of its own
            async with plugged(tmp_path, plugin, manager):
                await manager.allocate(pod(app=2))
                assert plugin.preferences == [(["a", "b", "c", "d"], [], 2)]
                assert plugin.allocations == [["c", "d"]]

    asyncio.run(main())


def test_a_failed_allocation_leaves_nothing_allocated(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            running(tmp_path) as manager,
            plugged(tmp_path, DevicePlugin(tmp_path, GPU), manager) as plugin,
        ):
            plugin.refusal = "no power"
            with pytest.raises(AllocationFailed) as failed:
                await manager.allocate(pod(app=2))
            assert str(failed.value) == "rpc error: code = Unknown desc = no power"
            plugin.refusal = ""
            await manager.allocate(pod("u2", app=2))

    asyncio.run(main())


def test_plugins_are_told_of_each_start_if_they_want_to_know(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as manager:
            options = PluginOptions(pre_start_required=True)
            plugin = DevicePlugin(tmp_path, GPU, options=options)
            async with plugged(tmp_path, plugin, manager):
                asks = pod(app=1)
                await manager.allocate(asks)
                for _ in range(2):
                    await manager.injection(asks, asks.spec.containers[0])
                assert plugin.starts == [["a"], ["a"]]
            with pytest.raises(AllocationFailed, match="has been stopped"):
                await manager.injection(asks, asks.spec.containers[0])

    asyncio.run(main())


def test_health_is_told_to_the_pods_that_have_the_device(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            running(tmp_path) as manager,
            plugged(tmp_path, DevicePlugin(tmp_path, GPU), manager) as plugin,
        ):
            told: list[str] = []
            manager.on_health = told.append
            await manager.allocate(pod("u1", app=1))
            await manager.allocate(pod("u2", app=1))
            plugin.change({"a": UNHEALTHY, "b": HEALTHY})
            await until(lambda: told)
            assert told == ["u1"]
            (status,) = manager.statuses(pod("u1"))["app"]
            assert status.name == GPU
            assert [(one.resourceID, one.health) for one in status.resources] == [
                ("a", "Unhealthy")
            ]
            with pytest.raises(AllocationFailed, match="no longer healthy"):
                await manager.allocate(pod("u1", app=1))

    asyncio.run(main())


def test_a_plugin_that_goes_leaves_unhealthy_devices_and_then_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, away_seconds=0.0) as manager:
            seen = []
            manager.on_capacity = lambda: seen.append(manager.capacity)
            async with plugged(tmp_path, DevicePlugin(tmp_path, GPU), manager):
                pass
            await until(lambda: seen[-1] == ({GPU: "0"}, {GPU: "0"}))
            assert ({GPU: "2"}, {GPU: "0"}) in seen
            async with plugged(tmp_path, DevicePlugin(tmp_path, GPU), manager):
                assert manager.capacity == ({GPU: "2"}, {GPU: "2"})

    asyncio.run(main())


def test_a_restart_keeps_allocations(tmp_path: Path) -> None:
    async def main() -> None:
        asks = pod(app=1)
        async with (
            running(tmp_path) as manager,
            plugged(tmp_path, DevicePlugin(tmp_path, GPU), manager),
        ):
            await manager.allocate(asks)
        async with running(tmp_path) as manager:
            assert manager.capacity == ({GPU: "0"}, {GPU: "0"})
            # A container that ends meanwhile starts again with what it had.
            injection = await manager.injection(asks, asks.spec.containers[0])
            assert injection.environment == {"DEVICES": "a"}
            with pytest.raises(AllocationFailed) as failed:
                await manager.allocate(pod("u2", app=1))
            assert str(failed.value) == (
                "no healthy devices present; cannot allocate unhealthy devices vendor.com/gpu"
            )
            async with plugged(tmp_path, DevicePlugin(tmp_path, GPU), manager) as plugin:
                await manager.allocate(asks)
                await manager.allocate(pod("u2", app=1))
                assert plugin.allocations == [["b"]]

    asyncio.run(main())


@pytest.mark.parametrize("damage", [b"", b"{", b'{"Data":{},"Checksum":1}', b"\xff"])
def test_an_unusable_checkpoint_is_set_aside(tmp_path: Path, damage: bytes) -> None:
    async def main() -> None:
        tmp_path.joinpath(NAME).write_bytes(damage)
        async with running(tmp_path) as manager:
            assert manager.capacity == ({}, {})
            assert tmp_path.joinpath(f"{NAME}.unusable").read_bytes() == damage
            async with plugged(tmp_path, DevicePlugin(tmp_path, GPU), manager):
                await manager.allocate(pod(app=1))

    asyncio.run(main())


def test_what_cannot_be_saved_is_not_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_folder: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        async with (
            running(tmp_path) as manager,
            plugged(tmp_path, DevicePlugin(tmp_path, GPU), manager),
        ):
            with monkeypatch.context() as patch:
                patch.setattr("kubelite.node.devices.durable_file.write_durable", full)
                with pytest.raises(AllocationFailed) as failed:
                    await manager.allocate(pod("u1", app=2))
            assert str(failed.value) == (
                'failed to write checkpoint file "kubelet_internal_checkpoint": '
                "No space left on device"
            )
            await manager.allocate(pod("u2", app=2))

    asyncio.run(main())


def test_sockets_that_were_left_are_removed_and_other_files_are_not(tmp_path: Path) -> None:
    async def main() -> None:
        left = DevicePlugin(tmp_path, GPU)
        async with running(tmp_path) as manager:
            await left.start()
            await until(lambda: manager.capacity[0])
        tmp_path.joinpath("note.txt").write_text("x")
        async with running(tmp_path):
            assert not tmp_path.joinpath("vendor.com_gpu.sock").exists()
            assert tmp_path.joinpath("note.txt").exists()
        await left.stop()

    asyncio.run(main())


def test_a_mount_whose_source_is_absent_is_refused(tmp_path: Path) -> None:
    def answer(_devices: list[str]) -> ContainerAllocation:
        return ContainerAllocation(
            mounts=[PluginMount(container_path="/lib/gpu", host_path="/nowhere/gpu")]
        )

    async def main() -> None:
        plugin = DevicePlugin(tmp_path, GPU, answer=answer)
        async with running(tmp_path) as manager, plugged(tmp_path, plugin, manager):
            asks = pod(app=1)
            await manager.allocate(asks)
            with pytest.raises(ConfigUnavailable) as failed:
                await manager.injection(asks, asks.spec.containers[0])
            assert str(failed.value) == 'path "/nowhere/gpu" does not exist'

    asyncio.run(main())
