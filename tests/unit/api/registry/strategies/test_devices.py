"""What drivers reported about a device goes when the claim loses it."""

from typing import Any

from fakes.server import Server

PLACE = "resource.k8s.io/v1/resourceclaims"
DEVICE = {"driver": "gpu.example.com", "pool": "p", "device": "d"}
CLAIM: dict[str, Any] = {
    "metadata": {"name": "c"},
    "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}},
}


async def test_reports_of_devices_that_are_given_back_are_dropped() -> None:
    server = Server()
    await server.create(PLACE, CLAIM)
    given = {"devices": {"results": [{**DEVICE, "request": "r"}]}}
    told = {"allocation": given, "devices": [{**DEVICE, "data": {"x": 1}}]}
    kept = await server.patch(f"{PLACE}/status", "c", {"status": told})
    assert [one["data"] for one in kept["status"]["devices"]] == [{"x": 1}]
    freed = await server.patch(f"{PLACE}/status", "c", {"status": {"allocation": None}})
    assert "devices" not in freed["status"]
