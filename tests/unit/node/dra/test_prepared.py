"""The file of prepared claims, which has upstream's form."""

import json
import zlib

import msgspec
import pytest

from kubelite.node.dra.prepared import (
    ClaimTable,
    DeviceState,
    PreparedClaim,
    decode_claims,
    encode_claims,
)

GPU = "gpu.example.com"
# As a kubelet of 1.36 writes it.
UPSTREAM = (
    '{"kind":"DRACheckpoint","apiVersion":"checkpoint.dra.kubelet.k8s.io/v1","ClaimInfoStateList":'
    '[{"ClaimUID":"c1","ClaimName":"claim","Namespace":"default","PodUIDs":{"p1":{}},'
    '"DriverState":{"gpu.example.com":{"Devices":[{"PoolName":"pool","DeviceName":"gpu-0",'
    '"ShareID":null,"RequestNames":["gpu"],"CDIDeviceIDs":["example.com/gpu=0"]}]},'
    '"other.example.com":{"Devices":null}}}]}'
)


def table() -> ClaimTable:
    made = ClaimTable()
    claim = PreparedClaim("c1", ("default", "claim"), (GPU, "other.example.com"))
    claim.pods = {"p1", "p2"}
    claim.drivers[GPU] = [
        DeviceState("pool", "gpu-0", None, ["gpu"], ["example.com/gpu=0"]),
        DeviceState("pool", "gpu-1", "s", [], ["example.com/gpu=1", "example.com/all=1"]),
    ]
    made.claims[claim.key] = claim
    return made


def checkpoint(data: str, checksum: int | None = None) -> bytes:
    found = zlib.crc32(data.encode()) if checksum is None else checksum
    return json.dumps({"Data": data, "Checksum": found}).encode()


def test_claims_are_read_as_they_were_written_but_count_as_not_prepared() -> None:
    written = table()
    written.claims["default", "claim"].is_prepared = True
    claim = decode_claims(encode_claims(written)).claims["default", "claim"]
    assert (claim.uid, claim.pods, claim.is_prepared) == ("c1", {"p1", "p2"}, False)
    assert claim.drivers == written.claims["default", "claim"].drivers


def test_a_file_of_another_kubelet_is_read() -> None:
    claim = decode_claims(checkpoint(UPSTREAM)).claims["default", "claim"]
    assert claim.pods == {"p1"}
    assert claim.cdi_devices("") == ["example.com/gpu=0"]
    assert claim.drivers["other.example.com"] == []


def test_no_claims_need_no_file() -> None:
    assert encode_claims(ClaimTable()) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        checkpoint(UPSTREAM, 1),
        checkpoint(UPSTREAM.replace("io/v1", "io/v9")),
        checkpoint('{"kind":"x"}'),
    ],
    ids=["empty", "cut off", "checksum", "version", "fields"],
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        decode_claims(data)


def test_a_container_gets_the_devices_of_its_requests() -> None:
    claim = table().claims["default", "claim"]
    assert claim.cdi_devices("") == ["example.com/gpu=0", "example.com/gpu=1", "example.com/all=1"]
    assert claim.cdi_devices("gpu") == claim.cdi_devices("")
    # A device without requests belongs to all.
    assert claim.cdi_devices("nic") == ["example.com/gpu=1", "example.com/all=1"]


def test_the_pods_of_a_device_are_found() -> None:
    made = table()
    assert made.pods_with(GPU, [("pool", "gpu-1")]) == {"p1", "p2"}
    assert made.pods_with(GPU, [("pool", "gpu-9")]) == set()
    assert made.pods_with("other.example.com", [("pool", "gpu-1")]) == set()
