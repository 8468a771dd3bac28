"""What drivers reported about a device goes when the claim loses it; taints have a date."""

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


async def test_taints_of_devices_are_dated() -> None:
    server = Server()
    taint = {"key": "broken", "effect": "NoExecute"}
    dated = {**taint, "key": "old", "timeAdded": "2020-01-01T00:00:00Z"}
    devices = [{"name": "d", "taints": [taint, dated]}]
    pool = {"name": "p", "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": DEVICE["driver"], "nodeName": "n", "pool": pool, "devices": devices}
    place = "resource.k8s.io/v1/resourceslices"
    made = await server.create(place, {"metadata": {"name": "s", "namespace": ""}, "spec": spec})
    first, second = made["spec"]["devices"][0]["taints"]
    assert first["timeAdded"] == made["metadata"]["creationTimestamp"]
    assert second["timeAdded"] == dated["timeAdded"]
