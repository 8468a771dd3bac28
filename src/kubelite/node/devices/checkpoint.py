"""Keeps allocations on disk, so that a restart of the node gives no device to a second container.

The file has the place, name and fields of upstream's, which monitoring agents of vendors read; the checksum is ours.
Blocking: call it in a thread.
"""

import base64
import json
import zlib
from pathlib import Path
from typing import Any, Final

import msgspec

from kubelite.grpc.protobuf import decode, encode
from kubelite.limits import DEVICE_CHECKPOINT
from kubelite.node.devices.durable_file import read_durable
from kubelite.node.devices.messages import ContainerAllocation
from kubelite.node.devices.table import NO_NODE, Allocated, DeviceTable

NAME: Final = "kubelet_internal_checkpoint"


class CheckpointEntry(msgspec.Struct, frozen=True, rename="pascal"):
    """One allocation."""

    pod_uid: str = msgspec.field(name="PodUID", default="")
    container_name: str = ""
    resource_name: str = ""
    device_ids: dict[str, list[str]] = msgspec.field(name="DeviceIDs", default_factory=dict)
    response: str = msgspec.field(name="AllocResp", default="")  # base64


class CheckpointData(msgspec.Struct, frozen=True, rename="pascal"):
    """All allocations, and the healthy devices by resource."""

    pod_device_entries: list[CheckpointEntry] | None = None
    registered_devices: dict[str, list[str]] | None = None


class Checkpoint(msgspec.Struct, frozen=True, rename="pascal"):
    """The whole file."""

    data: CheckpointData
    checksum: int


def encode_table(table: DeviceTable) -> bytes:
    """Return a table as a checkpoint holds it."""
    entries = [
        _entry(uid, container, resource, allocated)
        for uid, containers in sorted(table.pods.items())
        for container, held in sorted(containers.items())
        for resource, allocated in sorted(held.items())
    ]
    registered = {name: sorted(table.healthy(name)) for name in sorted(table.resources)}
    data = CheckpointData(entries, registered)
    return msgspec.json.encode(Checkpoint(data, _checksum(data)))


def decode_table(data: bytes) -> DeviceTable:
    """Return the table of a checkpoint: each resource is away until its plugin registers. Raises ValueError."""
    checkpoint = msgspec.json.decode(data, type=Checkpoint)
    if checkpoint.checksum != _checksum(checkpoint.data):
        raise ValueError("checkpoint is corrupted")
    table = DeviceTable()
    for entry in checkpoint.data.pod_device_entries or ():
        nodes: dict[str, tuple[int, ...]] = {}
        for node, devices in entry.device_ids.items():
            for device in devices:
                nodes[device] = (*nodes.get(device, ()), int(node))
        response = decode(ContainerAllocation, base64.b64decode(entry.response, validate=True))
        held = table.pods.setdefault(entry.pod_uid, {}).setdefault(entry.container_name, {})
        held[entry.resource_name] = Allocated(nodes, response)
    for resource in checkpoint.data.registered_devices or ():
        table.leave(resource)
    return table


def read_checkpoint(folder: Path) -> DeviceTable:
    """Return the table of the last checkpoint; an empty one, with a log line, if it cannot be read."""
    return read_durable(folder / NAME, DEVICE_CHECKPOINT, decode_table) or DeviceTable()


def _entry(uid: str, container: str, resource: str, allocated: Allocated) -> CheckpointEntry:
    devices: dict[str, list[str]] = {}
    for device, nodes in allocated.nodes.items():
        for node in nodes or (NO_NODE,):
            devices.setdefault(str(node), []).append(device)
    response = base64.b64encode(encode(allocated.response)).decode()
    return CheckpointEntry(uid, container, resource, devices, response)


def _checksum(data: CheckpointData) -> int:
    fields: Any = msgspec.to_builtins(data)
    return zlib.crc32(json.dumps(fields, sort_keys=True).encode())
