"""Rules of devices."""

from fakes.rule_samples import changed

from kubelite.api.registry.rules import devices


def test_devices() -> None:
    request = {"name": "gpu", "exactly": {"deviceClassName": "gpu.x.io"}}
    claim = {"spec": {"devices": {"requests": [request]}}}
    assert devices.resource_claim(claim) == []
    assert len(devices.resource_claim({"spec": {"devices": {"requests": [{"name": "g"}]}}})) == 1
    assert len(devices.fixed_spec({"spec": {"a": 1}}, {"spec": {"a": 2}})) == 1
    slice_ = {"spec": {"driver": "x.io", "pool": {"name": "p"}, "nodeName": "n"}}
    assert devices.resource_slice(slice_) == []
    assert len(devices.resource_slice(changed(slice_, "spec.nodeName", None))) == 1
