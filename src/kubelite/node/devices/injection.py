"""Joins what plugins answered for one container; of two answers for one place the first counts. Pure."""

from collections.abc import Iterable

from kubelite.node.devices.messages import ContainerAllocation
from kubelite.node.devices.protocol import Injection
from kubelite.node.runtime import HostDevice, Mount


def injection_of(responses: Iterable[ContainerAllocation]) -> Injection:
    """Return what puts the devices of a container into it."""
    environment: dict[str, str] = {}
    annotations: dict[str, str] = {}
    mounts: dict[str, Mount] = {}
    devices: dict[str, HostDevice] = {}
    names: dict[str, None] = {}
    for response in responses:
        environment = {**response.envs, **environment}
        annotations = {**response.annotations, **annotations}
        for mount in response.mounts:
            found = Mount(mount.host_path, mount.container_path, mount.read_only)
            mounts.setdefault(mount.container_path, found)
        for device in response.devices:
            file = HostDevice(device.host_path, device.container_path, device.permissions)
            devices.setdefault(device.container_path, file)
        names |= dict.fromkeys(one.name for one in response.cdi_devices)
    return Injection(
        environment, tuple(mounts.values()), tuple(devices.values()), annotations, tuple(names)
    )


def joined(first: Injection, second: Injection) -> Injection:
    """Return both; of two for one place the first counts."""
    taken = {mount.target for mount in first.mounts}
    files = {device.target for device in first.devices}
    return Injection(
        {**second.environment, **first.environment},
        (*first.mounts, *(one for one in second.mounts if one.target not in taken)),
        (*first.devices, *(one for one in second.devices if one.target not in files)),
        {**second.annotations, **first.annotations},
        tuple(dict.fromkeys((*first.cdi_devices, *second.cdi_devices))),
    )
