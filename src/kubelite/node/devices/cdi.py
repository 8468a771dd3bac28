"""Devices of the Container Device Interface: how their specs change a container. Reading blocks: call it in a thread.

Vendors put specs, as JSON or YAML, into /etc/cdi and /var/run/cdi; of two for one device that in the later folder
counts. Engines that know CDI are given the names of devices alone. For the others the node applies the edits, as far as
their API has a place for them: hooks have none, and a container that needs one is refused rather than half made.
Source: github.com/cncf-tags/container-device-interface, SPEC.md.
"""

import logging
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from kubelite.api.errors import APIError
from kubelite.limits import CDI_SPEC, CDI_SPECS
from kubelite.node.runtime import ContainerSpec, HostDevice, Mount, RuntimeFailure

log = logging.getLogger(__name__)

FOLDERS: Final = (Path("/etc/cdi"), Path("/var/run/cdi"))
# What a mount option becomes in an engine's API; those that it sets itself or that change nothing stand for nothing.
_PROPAGATION: Final = frozenset({"rprivate", "rslave", "rshared", "private", "slave", "shared"})
_PLAIN: Final = frozenset({"ro", "rw", "bind", "rbind", "nosuid", "nodev", "noexec", "exec", ""})


class CDIUnavailable(RuntimeFailure):
    """A container cannot have a device of the Container Device Interface."""


class CDINode(Struct, frozen=True, rename="camel"):
    """A device file; `type`, `major` and `minor` are those of the host's file where they are not given."""

    path: str
    host_path: str = ""
    permissions: str = ""


class CDIMount(Struct, frozen=True, rename="camel"):
    """A folder or file of the host."""

    host_path: str
    container_path: str
    options: list[str] = []


class Edits(Struct, frozen=True, rename="camel"):
    """What a device changes in its container."""

    env: list[str] = []
    device_nodes: list[CDINode] = []
    mounts: list[CDIMount] = []
    hooks: list[dict[str, object]] = []
    additional_gids: list[int] = msgspec.field(name="additionalGids", default_factory=list)


class SpecDevice(Struct, frozen=True, rename="camel"):
    """One device of a spec."""

    name: str
    container_edits: Edits = Edits()


class CDISpec(Struct, frozen=True, rename="camel"):
    """The devices of one kind, VENDOR/CLASS."""

    kind: str
    devices: list[SpecDevice] = []
    container_edits: Edits = Edits()  # for a container that has any of the devices


def read_specs(folders: Sequence[Path] = FOLDERS) -> list[CDISpec]:
    """Return all specs, those that count first; one that cannot be read is passed over with a log line."""
    found: list[CDISpec] = []
    for folder in reversed(folders):
        try:
            names = sorted(entry.name for entry in os.scandir(folder))
        except OSError:  # most hosts have none
            continue
        for name in names:
            if not name.endswith((".json", ".yaml", ".yml")):
                continue
            if len(found) >= CDI_SPECS.value:
                CDI_SPECS.reached()
                return found
            try:
                found.append(_read(folder / name))
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                log.warning("cannot read CDI spec %s: %s", folder / name, error)
    return found


def _read(path: Path) -> CDISpec:
    # Not to be caught by a FIFO: only a regular file is read, and never more than the bound.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is not a regular file")
        data = file.read(CDI_SPEC.value + 1)
    if len(data) > CDI_SPEC.value:
        CDI_SPEC.reached()
        raise ValueError("it is too large")
    if path.suffix == ".json":
        return msgspec.json.decode(data, type=CDISpec)
    from kubelite.api.machinery.yaml_reading import Unreadable, read_yaml

    try:
        return msgspec.convert(read_yaml(data).value, CDISpec)
    except (Unreadable, APIError) as error:
        raise ValueError(str(error)) from error


def with_edits(spec: ContainerSpec, specs: Sequence[CDISpec]) -> ContainerSpec:
    """Return a container's spec with the edits of its devices in place of their names. Raises CDIUnavailable."""
    edits: list[Edits] = []
    kinds: set[str] = set()
    unknown = []
    for name in spec.cdi_devices:
        found = _device(name, specs)
        if found is None:
            unknown.append(name)
            continue
        whole, device = found
        if whole.kind not in kinds:
            kinds.add(whole.kind)
            edits.append(whole.container_edits)
        edits.append(device.container_edits)
    if unknown:
        raise CDIUnavailable(
            f"CDI device injection failed: unresolvable CDI devices {', '.join(unknown)}"
        )
    return _edited(spec, edits)


def _device(name: str, specs: Iterable[CDISpec]) -> tuple[CDISpec, SpecDevice] | None:
    kind, _, own = name.partition("=")
    for spec in specs:
        for device in spec.devices if spec.kind == kind else ():
            if device.name == own:
                return spec, device
    return None


def _edited(spec: ContainerSpec, edits: Sequence[Edits]) -> ContainerSpec:
    environment = dict(spec.environment)
    mounts = {mount.target: mount for mount in spec.mounts}
    devices = {device.target: device for device in spec.devices}
    groups = dict.fromkeys(spec.groups)
    for edit in edits:
        if edit.hooks:
            raise CDIUnavailable(
                "CDI device injection failed: this engine cannot run the hooks of a CDI spec "
                "(Docker from 28 can)"
            )
        environment.update(text.partition("=")[::2] for text in edit.env)
        for node in edit.device_nodes:
            permissions = node.permissions or "rwm"
            devices[node.path] = HostDevice(node.host_path or node.path, node.path, permissions)
        for mount in edit.mounts:
            mounts[mount.container_path] = _mount(mount)
        groups |= dict.fromkeys(gid for gid in edit.additional_gids if gid > 0)
    return msgspec.structs.replace(
        spec,
        cdi_devices=(),
        environment=tuple(environment.items()),
        mounts=tuple(mounts.values()),
        devices=tuple(devices.values()),
        groups=tuple(groups),
    )


def _mount(mount: CDIMount) -> Mount:
    propagation = next((one for one in mount.options if one in _PROPAGATION), "")
    for option in mount.options:
        if option not in _PROPAGATION and option not in _PLAIN:
            raise CDIUnavailable(
                f"CDI device injection failed: this engine has no mount option {option}"
            )
    return Mount(
        mount.host_path, mount.container_path, "ro" in mount.options, propagation=propagation
    )
