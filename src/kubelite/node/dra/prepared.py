"""The claims that drivers prepare on a node, with their pods and devices, and how they are kept on disk. Pure.

The file has the place, name and form of upstream's, which drivers' tools read. After a restart no claim counts as
prepared, so that the next pod has its driver prepare it again, which it has to allow; containers use what is known.
"""

import zlib
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from kubelite.node.dra.messages import Claim, Device

KIND: Final = "DRACheckpoint"
API_VERSION: Final = "checkpoint.dra.kubelet.k8s.io/v1"
Key = tuple[str, str]  # namespace and name of a claim


class DeviceState(Struct, frozen=True, rename="pascal"):
    """A device of a claim, as its driver prepared it."""

    pool_name: str
    device_name: str
    share_id: str | None = msgspec.field(name="ShareID", default=None)
    request_names: list[str] | None = None  # none: of all requests
    cdi_device_ids: list[str] | None = msgspec.field(name="CDIDeviceIDs", default=None)

    @classmethod
    def of(cls, device: Device) -> "DeviceState":
        """Return what a driver answered."""
        return cls(
            device.pool_name,
            device.device_name,
            device.share_id,
            device.request_names,
            device.cdi_device_ids,
        )

    def serves(self, request: str) -> bool:
        """Return whether a container that wants a request, or with "" all, has the device."""
        return not request or not self.request_names or request in self.request_names


class PreparedClaim:
    """A claim that is prepared on the node, or is about to be."""

    def __init__(self, uid: str, key: Key, drivers: Iterable[str]) -> None:
        self.uid = uid
        self.key = key
        self.pods: set[str] = set()  # uids
        self.drivers: dict[str, list[DeviceState]] = {name: [] for name in drivers}
        self.is_prepared = False

    @property
    def request(self) -> Claim:
        """The claim as its drivers are told of it."""
        namespace, name = self.key
        return Claim(namespace=namespace, uid=self.uid, name=name)

    def cdi_devices(self, request: str) -> list[str]:
        """Return the names that a container which wants a request is given."""
        return [
            name
            for devices in self.drivers.values()
            for device in devices
            if device.serves(request)
            for name in device.cdi_device_ids or ()
        ]

    def has_device(self, driver: str, devices: Iterable[tuple[str, str]]) -> bool:
        """Return whether one of some devices, by pool and name, is the claim's."""
        own = {(one.pool_name, one.device_name) for one in self.drivers.get(driver, ())}
        return not own.isdisjoint(devices)


class ClaimTable:
    """The claims of the node's pods."""

    def __init__(self) -> None:
        self.claims: dict[Key, PreparedClaim] = {}

    def of_pod(self, uid: str) -> list[PreparedClaim]:
        """Return the claims that a pod uses, ordered by namespace and name."""
        return [claim for _, claim in sorted(self.claims.items()) if uid in claim.pods]

    def pods(self) -> set[str]:
        """Return the uids of all pods that use claims."""
        return {uid for claim in self.claims.values() for uid in claim.pods}

    def pods_with(self, driver: str, devices: Iterable[tuple[str, str]]) -> set[str]:
        """Return the uids of the pods that have one of some devices of a driver."""
        devices = set(devices)
        holding = (one for one in self.claims.values() if one.has_device(driver, devices))
        return {uid for claim in holding for uid in claim.pods}


class _DriverState(Struct, frozen=True, rename="pascal"):
    devices: list[DeviceState] | None = None


class _ClaimState(Struct, frozen=True, rename="pascal"):
    claim_uid: str = msgspec.field(name="ClaimUID")
    claim_name: str
    namespace: str
    pod_uids: dict[str, dict[str, str]] = msgspec.field(name="PodUIDs", default_factory=dict)
    driver_state: dict[str, _DriverState] = {}


class _Data(Struct, frozen=True):
    kind: str
    api_version: str = msgspec.field(name="apiVersion")
    claims: list[_ClaimState] | None = msgspec.field(name="ClaimInfoStateList", default=None)


class _Checkpoint(Struct, frozen=True, rename="pascal"):
    data: str
    checksum: int


def encode_claims(table: ClaimTable) -> bytes:
    """Return the claims as the file holds them; nothing for none."""
    states = [
        _ClaimState(
            claim.uid,
            name,
            namespace,
            {uid: {} for uid in sorted(claim.pods)},
            {driver: _DriverState(devices) for driver, devices in sorted(claim.drivers.items())},
        )
        for (namespace, name), claim in sorted(table.claims.items())
    ]
    if not states:
        return b""
    data = msgspec.json.encode(_Data(KIND, API_VERSION, states))
    return msgspec.json.encode(_Checkpoint(data.decode(), zlib.crc32(data)))


def decode_claims(data: bytes) -> ClaimTable:
    """Return the claims of a file. Raises ValueError and msgspec.MsgspecError."""
    checkpoint = msgspec.json.decode(data, type=_Checkpoint)
    if checkpoint.checksum != zlib.crc32(checkpoint.data.encode()):
        raise ValueError("checkpoint is corrupted")
    found = msgspec.json.decode(checkpoint.data, type=_Data)
    if found.api_version != API_VERSION:
        raise ValueError(f"the version {found.api_version} is not known")
    table = ClaimTable()
    for state in found.claims or ():
        key = (state.namespace, state.claim_name)
        claim = table.claims[key] = PreparedClaim(state.claim_uid, key, ())
        claim.pods = set(state.pod_uids)
        claim.drivers = {name: list(one.devices or ()) for name, one in state.driver_state.items()}
    return table
